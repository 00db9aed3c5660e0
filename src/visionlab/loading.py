"""A trained run as something to call: model, preprocessing and class names."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from torch import Tensor, nn

from visionlab.data.normalize import Normalize
from visionlab.data.transform import Transform
from visionlab.errors import DataError, nearest
from visionlab.models.sizes import one_or_two
from visionlab.runs import Run
from visionlab.training import checkpoint_io, environment
from visionlab.training.supply import supply

if TYPE_CHECKING:
    from visionlab.prediction.given import One

WHITEST = 2.0  # of float images, whose white is 1; some ways to enlarge go a little beyond it


class Loaded(nn.Module):
    """The network of a run with everything that stands between an image file and a class name.

    Its methods take images as a program has them: paths, the bytes of an upload, PIL images, arrays; one or a list.
    They compute in single precision, whatever the run was trained in.

    Attributes:
        network: Maps normalised float [B, 3, H, W] to logits [B, K]; in eval mode.
        preprocess: Maps uint8 [B, 3, H, W] to what the network takes.
        transform: Brings a PIL image to the network's size, and with `load` the bytes of a file.
        classes: The K class names.
        run: Where it came from.
    """

    def __init__(self, run: Run, network: nn.Module, preprocess: nn.Module, transform: Transform) -> None:
        super().__init__()
        self.run, self.network, self.preprocess, self.transform = run, network, preprocess, transform
        self.classes: list[str] = run.result["data"]["classes"]

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 images [B, 3, H, W] of the network's size to logits, float [B, K]; float images are of 0 to 1.

        Raises:
            DataError: Float images are of 0 to 255: taken for those of 0 to 1, they would be 255 times as bright.
        """
        # A program that is being exported takes uint8, of which nothing is asked here.
        if images.is_floating_point() and images.numel() and images.max() > WHITEST:
            what = f"float images are of 0 to 1, and these go up to {float(images.max()):g}"
            raise DataError(what, remedy="give them as uint8, or divide them by 255")
        logits: Tensor = self.network(self.preprocess(images))
        return logits

    def predict(self, images: "One | Sequence[One]") -> list[str]:
        """Return the most probable class of each image.

        Args:
            images: One or several, see `visionlab.prediction.given.pixels`.

        Raises:
            DataError: One cannot be read.
        """
        return [self.classes[index] for index in self.probabilities(images).argmax(1).tolist()]

    @torch.inference_mode()
    def probabilities(self, images: "One | Sequence[One]") -> Tensor:
        """Return the probabilities of the classes, float [B, K] on the CPU, in the order of `classes`.

        Args:
            images: As of `predict`.

        Raises:
            DataError: One cannot be read.
        """
        found: Tensor = self.network(self._prepared(images)).softmax(1)
        return found.cpu()

    def features(self, images: "One | Sequence[One]") -> Tensor:
        """Return what the network's last layer is given of each image, float [B, D] on the CPU, to find similar ones.

        Args:
            images: As of `predict`.

        Raises:
            DataError: One cannot be read.
        """
        from visionlab.models.features import features

        return features(self.network, self._prepared(images)).cpu()

    def gradcam(self, images: "One | Sequence[One]", classes: str | Sequence[str] | None = None) -> Tensor:
        """Return where the network sees a class in each image, float [B, H, W] from 0 to 1 on the CPU.

        Args:
            images: As of `predict`.
            classes: The class that is asked for in each of them; the one that it predicts unless given.

        Raises:
            DataError: An image cannot be read, or there is no such class.
            ConfigError: The network has no convolution behind which there are still places.
        """
        from visionlab.models.gradcam import gradcam

        with torch.inference_mode(False):  # it needs gradients, whatever the caller does without
            prepared = self._prepared(images)
            if classes is None:
                with torch.no_grad():
                    places = self.network(prepared).argmax(1)
            else:
                asked = [classes] if isinstance(classes, str) else classes
                for name in asked:
                    if name not in self.classes:
                        raise DataError(f"there is no class '{name}'", remedy=nearest(name, self.classes))
                places = torch.tensor([self.classes.index(name) for name in asked], device=prepared.device)
            if len(places) != len(prepared):
                what = f"{len(places)} classes are asked for in {len(prepared)} images"
                raise DataError(what, remedy="give one for each")
            return gradcam(self.network, prepared, places).cpu()

    def _prepared(self, images: "One | Sequence[One]") -> Tensor:
        """Return what the network takes of images, float [B, 3, H, W]."""
        from visionlab.prediction.given import pixels

        prepared: Tensor = self.preprocess(pixels(images, self.transform).to(next(self.parameters()).device))
        return prepared


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
