"""What an augmentation is made of: steps that change each image by its own row of random numbers."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from visionlab.errors import ConfigError


class Step(ABC):
    """A random change of images, fully given by `draws` numbers an image.

    Called with images [B, 3, H, W] and uniform numbers float32 [B, draws] in [0, 1); returns as many images, of the
    same size or all of one other.
    Row i of the result depends on row i of both alone, so any split of a batch gives the same images.
    Images are float in 0..1; a step that only moves pixels sets `keeps_bytes` and is then given uint8 as well, which is
    four times less to move.
    """

    draws: int
    keeps_bytes = False

    def __repr__(self) -> str:
        """Return all that the step's results depend on, its code aside; stored variants are named by it."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"

    @abstractmethod
    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Return the changed images."""


def apply_each(
    choice: Tensor, changes: Sequence[Callable[..., Tensor] | None], images: Tensor, *parameters: Tensor
) -> Tensor:
    """Change each image by the function that is chosen for it.

    On the CPU the images are sorted by choice, and each function computes its own images only. On an accelerator each
    computes all images, because finding out how many chose it would make the host wait for the device.

    Args:
        choice: int64 [B], number of the function.
        changes: Called with images [n, 3, H, W] and n rows of each parameter; return images of the same shape.
            None leaves an image as it is, bit for bit.
        images: [B, 3, H, W].
        parameters: Tensors [B, ...].

    Returns:
        [B, 3, H, W].
    """
    if images.device.type != "cpu":
        result = images
        for number, change in enumerate(changes):
            if change is not None:
                changed = change(images, *parameters)
                result = torch.where((choice == number).view(-1, 1, 1, 1), changed, result)
        return result
    counts = torch.bincount(choice, minlength=len(changes)).tolist()
    order = choice.argsort()
    if max(counts) < len(choice):  # else all images chose the same, and no copy is needed
        images = images.index_select(0, order)
        parameters = tuple(p.index_select(0, order) for p in parameters)
    groups = zip(changes, images.split(counts), *(p.split(counts) for p in parameters), strict=True)
    parts = [change(part, *own) if change and len(part) else part for change, part, *own in groups]
    return (
        torch.cat(parts).index_select(0, order.argsort())
        if max(counts) < len(choice)
        else parts[counts.index(max(counts))]
    )


def apply_where(mask: Tensor, change: Callable[..., Tensor], images: Tensor, *parameters: Tensor) -> Tensor:
    """Change those images for which the mask (bool [B]) is true, as `apply_each` does."""
    return apply_each(mask.long(), (None, change), images, *parameters)


def between(u: Tensor, low: float, high: float) -> Tensor:
    """Stretch numbers in [0, 1) to [low, high)."""
    return u * (high - low) + low


def probability(value: float, name: str) -> float:
    """Return the value, or raise ConfigError when it is no number in 0..1."""
    if not isinstance(value, int | float) or not 0.0 <= value <= 1.0:
        raise ConfigError(f"{name} is {value}", where="augment", remedy="give a probability from 0 to 1")
    return float(value)


def interval(value: float | Sequence[float], name: str, *, low: float, high: float) -> tuple[float, float]:
    """Return a range [a, b] with low <= a <= b <= high; a number a stands for [-a, a]. Else raise ConfigError."""
    ends = (-value, value) if isinstance(value, int | float) else tuple(value) if isinstance(value, Sequence) else ()
    numbers = len(ends) == 2 and all(isinstance(end, int | float) for end in ends)
    if not numbers or not low <= ends[0] <= ends[1] <= high:
        raise ConfigError(
            f"{name} is {value}", where="augment", remedy=f"give a range [a, b] with {low} <= a <= b <= {high}"
        )
    return float(ends[0]), float(ends[1])
