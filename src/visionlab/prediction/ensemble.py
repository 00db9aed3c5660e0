"""The mean of the probabilities of several networks (Hansen and Salamon, 1990); of one network, its own."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from visionlab.data.index import canonical
from visionlab.data.transform import Transform
from visionlab.prediction import sources
from visionlab.prediction.members import classes
from visionlab.prediction.predictor import Predictor
from visionlab.runs import Run


@dataclass(frozen=True)
class Views:
    """Some images as the networks take them, as far as all of these ways of reading them succeeded.

    Attributes:
        paths: B paths.
        pixels: For each way of reading, uint8 [B, 3, H, W] of its size.
        bad: What is wrong with the others, by path.
    """

    paths: list[Path]
    pixels: Mapping[Transform, Tensor]
    bad: dict[Path, str]


class Ensemble:
    """Maps images to the mean of the probabilities that runs give them, each with its own preprocessing.

    Args:
        runs: Trained runs of the same classes; the order of these is the first run's.
        accelerator: Where to compute; as each run was trained unless given.
        tta: Whether each network averages an image and its mirror image (left for right).

    Raises:
        DeviceError: This machine has no such accelerator.
        CheckpointError: The checkpoint of a run is missing or damaged.
    """

    def __init__(self, runs: Sequence[Run], *, accelerator: str | None = None, tta: bool = False) -> None:
        self.predictors = [Predictor(run, accelerator=accelerator, tta=tta) for run in runs]
        self.classes = classes(runs[0])
        self._orders = [_order(classes(run), self.classes) for run in runs]

    def read(self, images: Sequence[Path], batch_size: int) -> Iterator[Views]:
        """Read images in batches, as `sources.read`, once for each different way of the runs."""
        ways = list(dict.fromkeys(predictor.loaded.transform for predictor in self.predictors))
        for parts in zip(*(sources.read(images, way, batch_size) for way in ways), strict=True):
            bad = {path: why for part in parts for path, why in part.bad.items()}
            kept = [torch.tensor([path not in bad for path in part.paths], dtype=torch.bool) for part in parts]
            pixels = {way: part.pixels[those] for way, part, those in zip(ways, parts, kept, strict=True)}
            yield Views([path for path in parts[0].paths if path not in bad], pixels, bad)

    def probabilities(self, views: Views) -> Tensor:
        """Return the mean probabilities of B images, float [B, K] on the CPU."""
        found = [
            predictor.probabilities(views.pixels[predictor.loaded.transform])[:, order]
            for predictor, order in zip(self.predictors, self._orders, strict=True)
        ]
        return torch.stack(found).mean(0)


def _order(own: Sequence[str], wanted: Sequence[str]) -> list[int]:
    """Return where each of the wanted classes stands among a run's own."""
    places = {canonical(name): place for place, name in enumerate(own)}
    return [places[canonical(name)] for name in wanted]
