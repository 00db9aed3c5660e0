"""A trained run as something to call: model, preprocessing and class names."""

from collections.abc import Sequence
from pathlib import Path

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from visionlab.data.normalize import Normalize
from visionlab.data.transform import Transform
from visionlab.models.sizes import one_or_two
from visionlab.runs import Run
from visionlab.training import checkpoint_io, environment
from visionlab.training.supply import supply


class Loaded(nn.Module):
    """The network of a run with everything that stands between an image file and a class name.

    Attributes:
        network: Maps normalised float [B, 3, H, W] to logits [B, K]; in eval mode.
        preprocess: Maps uint8 [B, 3, H, W] to what the network takes.
        transform: Reads an image file and brings it to the network's size.
        classes: The K class names.
        run: Where it came from.
    """

    def __init__(self, run: Run, network: nn.Module, preprocess: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.run, self.network, self.preprocess, self.transform = run, network, preprocess, transform
        self.classes: list[str] = run.result["data"]["classes"]

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images [B, 3, H, W] of the network's size to logits, float [B, K]."""
        logits: Tensor = self.network(self.preprocess(images))
        return logits

    @torch.inference_mode()
    def predict(self, images: Tensor) -> list[str]:
        """Return the most probable class of each of the uint8 images [B, 3, H, W]."""
        return [self.classes[index] for index in self(images).argmax(1).tolist()]


def load(run: str | Path | Run, *, device: str | torch.device = "cpu") -> Loaded:
    """Load the best checkpoint of a run.

    Args:
        run: The run or its directory.
        device: Where the network is to lie.

    Raises:
        RunError: No run lies there.
        ConfigError: Its network is a class of one's own that cannot be imported from here.
        CheckpointError: Its checkpoint is missing or damaged.
    """
    run = run if isinstance(run, Run) else Run.open(run)
    environment.require_code(run, "model")
    data, config = run.result["data"], run.config
    factory = instantiate(OmegaConf.create(config["model"]["network"]), _convert_="all")
    network = supply(factory, num_classes=len(data["classes"]), image_size=one_or_two(data["image_size"]))
    checkpoint_io.load_network(network, run.answer())
    height, width = data["image_size"]
    how = {key: config["data"][key] for key in ("resize", "crop_ratio", "white") if key in config["data"]}
    transform = Transform(size=(height, width), **how)
    return Loaded(run, network, Normalize(_three(data["mean"]), _three(data["std"])), transform).to(device).eval()


def _three(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue
