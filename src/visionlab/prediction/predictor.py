"""A trained run that names classes: its network on a device, in the arithmetic that it was evaluated in."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from visionlab.loading import load
from visionlab.models.gradcam import gradcam
from visionlab.prediction.mirrored import Mirrored
from visionlab.runs import Run
from visionlab.training import devices

MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


class Predictor:
    """Maps uint8 images of the network's size to probabilities.

    Args:
        run: A trained run.
        accelerator: Where to compute; as the run was trained unless given.
        tta: Whether to average the probabilities of an image and of its mirror image (left for right).

    Raises:
        DeviceError: This machine has no such accelerator.
        CheckpointError: The run's checkpoint is missing or damaged.
    """

    def __init__(self, run: Run, *, accelerator: str | None = None, tta: bool = False) -> None:
        trainer, model = run.config["trainer"], run.config["model"]
        self.device = _device(accelerator or trainer["accelerator"])
        # The CPU has no half precision worth the name, and what was trained in it can be computed in single.
        halved = self.device.type == "cpu" and trainer["precision"].startswith("16")
        self.precision: str = "32-true" if halved else trainer["precision"]
        self.format = torch.channels_last if model.get("channels_last") else torch.contiguous_format
        self.loaded = load(run, device=self.device)
        self.loaded.network.to(memory_format=self.format)
        self.network = Mirrored(self.loaded.network) if tta else self.loaded.network

    @torch.inference_mode()
    def probabilities(self, pixels: Tensor) -> Tensor:
        """Return the probabilities of the classes, float [B, K] on the CPU, of uint8 images [B, 3, H, W]."""
        images = self._prepare(pixels)
        with self._arithmetic():
            found: Tensor = self.network(images).float().softmax(1)
        return found.cpu()

    def heat(self, pixels: Tensor, classes: Tensor) -> Tensor:
        """Return where uint8 images [B, 3, H, W] speak for classes, int64 [B]: float [B, H, W] on the CPU."""
        with self._arithmetic():
            return gradcam(self.loaded.network, self._prepare(pixels), classes.to(self.device)).cpu()

    def _prepare(self, pixels: Tensor) -> Tensor:
        images: Tensor = self.loaded.preprocess(pixels.to(self.device))
        return images.contiguous(memory_format=self.format)

    def _arithmetic(self) -> AbstractContextManager[Any]:
        if self.precision in MIXED:
            return torch.autocast(self.device.type, dtype=MIXED[self.precision])
        return nullcontext()


def _device(accelerator: str) -> torch.device:
    devices.check({"accelerator": accelerator, "devices": 1, "precision": "32-true"})
    if accelerator == "auto":
        accelerator = next(kind for kind in ("gpu", "mps", "cpu") if kind in devices.available())
    return torch.device({"gpu": "cuda"}.get(accelerator, accelerator))
