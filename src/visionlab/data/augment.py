"""Random changes of training images, on the device, on the batch, with parameters for each image.

The parameters of an image are a function of (seed, epoch, place in the epoch's order) alone. So they do not depend on
how the epoch is cut into batches, on the number of devices, or on where a run was interrupted; and a balanced sampler
that shows an image twice shows two versions of it.
"""

from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from visionlab.data.draws import key, keys, uniforms
from visionlab.data.mix import Erasing, Mix
from visionlab.data.own import traces
from visionlab.data.step import Step
from visionlab.errors import ConfigError

_BLOCK = 256  # places whose parameters are drawn at once from an operation of a library
_CHUNK = 1 << 25  # numbers in the part of a batch that the CPU takes at once: 128 MiB, a bound on its memory


class Augmentation:
    """A list of random changes, then erasing, then mixing.

    Args:
        name: What it is called in tables.
        steps: By name, in order: each a `Step`, or an augmentation module of kornia.
        mixup: The alpha of mixup; 0 is off.
        cutmix: The alpha of cutmix; 0 is off.
        erasing: The probability of random erasing; 0 is off.

    Raises:
        ConfigError: A step is neither or has a name that is taken, or a value is out of its range.
    """

    def __init__(
        self,
        *,
        name: str = "custom",
        steps: Mapping[str, Any] | None = None,
        mixup: float = 0.0,
        cutmix: float = 0.0,
        erasing: float = 0.0,
    ) -> None:
        self.name = name
        self.steps: dict[str, Step | Library] = {}
        for label, step in (steps or {}).items():
            if not isinstance(step, Step) and not hasattr(step, "forward_parameters"):
                what = f"'{label}' is {step!r}, which is no augmentation"
                remedy = (
                    "give a _target_ in visionlab.data.geometric, .color or .policy, one in kornia.augmentation, or a "
                    "subclass of visionlab.data.step.Step"
                )
                raise ConfigError(what, where=f"augment.steps.{label}", remedy=remedy)
            self.steps[label] = step if isinstance(step, Step) else Library(step)
        for taken, on in (("erasing", erasing), ("mix", mixup or cutmix)):  # whose numbers are drawn by these names
            if on and taken in self.steps:
                what = f"a step is called '{taken}', as what is done after the steps is"
                raise ConfigError(what, where=f"augment.steps.{taken}", remedy="give it another name")
        if erasing:
            self.steps["erasing"] = Erasing(p=erasing)
        self.mix = Mix(mixup=mixup, cutmix=cutmix) if mixup or cutmix else None
        self._keys = lru_cache(maxsize=2)(self._make_keys)

    def __bool__(self) -> bool:
        """Whether it does anything."""
        return bool(self.steps or self.mix)

    def __repr__(self) -> str:
        return f"Augmentation({self.steps!r}){traces(self, *self.steps.values())}"

    def __call__(
        self, images: Tensor, labels: Tensor, *, seed: int, epoch: int, places: Tensor, classes: int | None = None
    ) -> tuple[Tensor, Tensor]:
        """Change the images of a batch, and its labels when mixing.

        Bytes stay bytes as long as steps only move pixels, which is four times less to move.

        Args:
            images: uint8, or float in 0..1, [B, 3, H, W].
            labels: int64 [B].
            seed: Of the run.
            epoch: Number of the epoch.
            places: int64 [B], each image's place in the epoch's order over all batches and devices.
            classes: Number of classes; needed when mixing.

        Returns:
            images uint8 or float in 0..1, [B, 3, H, W]; labels int64 [B], or float [B, classes] when mixing.
        """
        if not self:
            return images, labels
        on_device = places.to(images.device, non_blocking=True)
        u = uniforms(on_device, self._keys(seed, epoch, images.device))
        # Row i of a result depends on row i of its inputs alone, so the batch may be gone through in parts.
        count = max(1, _CHUNK // images[0].numel()) if images.device.type == "cpu" else len(images)
        rows = zip(images.split(count), u.split(count), places.split(count), strict=True)
        parts = [self._change(*part, seed=seed, epoch=epoch) for part in rows]
        images = torch.cat(parts) if len(parts) > 1 else parts[0]
        if self.mix:
            assert classes is not None, "mixing needs the number of classes"
            return self.mix(_float(images), labels, u[:, -self.mix.draws :], on_device, classes)
        return images, labels

    def _change(self, images: Tensor, u: Tensor, places: Tensor, *, seed: int, epoch: int) -> Tensor:
        at = 0
        for label, step in self.steps.items():
            if not step.keeps_bytes:
                images = _float(images)
            if isinstance(step, Library):
                images = step(images, places, key(seed, epoch, label))
            else:
                images = step(images, u[:, at : at + step.draws])
                at += step.draws
        return images

    def _make_keys(self, seed: int, epoch: int, device: torch.device) -> Tensor:
        """Keys for one row of numbers: those of each step in order, then those of the mixing. int64 [2, K]."""
        users = {label: step.draws for label, step in self.steps.items()} | (
            {"mix": self.mix.draws} if self.mix else {}
        )
        # By the name of the step, so that adding one leaves the numbers of the others as they are.
        parts = [keys(seed, epoch, label, count=draws) for label, draws in users.items()]
        return torch.cat(parts, 1).to(device)


class Library:
    """An augmentation module of kornia, with parameters drawn by place.

    kornia draws from torch's global generator for a whole batch. Here it draws for blocks of 256 places, each seeded on
    its own, and an image takes the row of its place. What the module draws once a call (the order of kornia's
    ColorJitter, the policy of its RandAugment) is shared within a block; where that matters there are steps of our own.

    Args:
        module: Anything with kornia's `forward_parameters(shape)` and `module(images, params=...)`.
    """

    draws = 0
    keeps_bytes = False

    def __init__(self, module: Any) -> None:
        self.module = module
        self._block = lru_cache(maxsize=2)(self._draw)

    def __repr__(self) -> str:
        return f"{self.module!r}{traces(self.module)} of kornia {version('kornia')}"

    def __call__(self, images: Tensor, places: Tensor, seed: int) -> Tensor:
        """Change images float [B, 3, H, W]. With places on an accelerator, the host waits for them."""
        blocks = (places.cpu() // _BLOCK).tolist()
        out = []
        start = 0
        while start < len(blocks):
            stop = start + 1
            while stop < len(blocks) and blocks[stop] == blocks[start]:
                stop += 1
            part, rows = images[start:stop], places[start:stop].cpu() % _BLOCK
            out.append(
                self.module(part, params=_take(self._block(seed, blocks[start], tuple(part.shape[1:])), rows, part))
            )
            start = stop
        return torch.cat(out).clamp_(0, 1)  # as kornia promises nothing: its noise and its sharpness leave the range

    def _draw(self, seed: int, block: int, shape: tuple[int, ...]) -> Any:
        with torch.random.fork_rng(devices=[]):  # parameters are drawn on the CPU, whatever the device
            torch.manual_seed(key(seed, block) >> 1)
            return self.module.forward_parameters(torch.Size((_BLOCK, *shape)))


def _take(parameters: Any, rows: Tensor, images: Tensor) -> Any:
    """Pick the rows of all tensors of a block; kornia nests them in dictionaries, lists and named tuples."""
    if isinstance(parameters, Mapping):
        return {
            name: torch.tensor(images.shape) if name == "forward_input_shape" else _take(value, rows, images)
            for name, value in parameters.items()
        }
    if isinstance(parameters, tuple) and hasattr(parameters, "_fields"):
        return type(parameters)(*(_take(value, rows, images) for value in parameters))
    if isinstance(parameters, list):
        return [_take(value, rows, images) for value in parameters]
    if isinstance(parameters, Tensor) and parameters.dim() and len(parameters) == _BLOCK:
        return parameters[rows]
    return parameters


def _float(images: Tensor) -> Tensor:
    """Bytes as numbers in 0..1; numbers as they are."""
    return images if images.is_floating_point() else images.to(torch.float32).mul_(1 / 255)
