"""RandAugment with a policy for each image of a batch."""

from functools import partial

import torch
from torch import Tensor

from visionlab.data.color import blend, luma, mean_luma
from visionlab.data.geometric import affine, exact, warp
from visionlab.data.step import Step, apply_each
from visionlab.errors import ConfigError

_BINS = 30  # magnitudes go from 0 to this


class RandAugment(Step):
    """Apply some of 14 changes, drawn for each image, at one strength.

    Cubuk et al., "RandAugment: practical automated data augmentation with a reduced search space", NeurIPS 2020. The
    changes and what a magnitude means to each are torchvision's. Deviations: images are not rounded to bytes between
    two changes, and geometric ones resample bilinearly instead of taking the nearest pixel.

    Args:
        number: Changes an image, at least 1.
        magnitude: Strength, 0 to 30.
    """

    def __init__(self, *, number: int = 2, magnitude: int = 9) -> None:
        strong = isinstance(magnitude, int | float) and 0 <= magnitude <= _BINS
        if not isinstance(number, int) or number < 1 or not strong:
            raise ConfigError(
                f"RandAugment with number={number} and magnitude={magnitude}",
                where="augment",
                remedy=f"give a whole number from 1 and a magnitude from 0 to {_BINS}",
            )
        self.number, self.magnitude = number, magnitude
        self.draws = 2 * number

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Change images float [B, 3, H, W] in 0..1."""
        strength = self.magnitude / _BINS
        changes = (
            None,
            partial(_shear, amount=0.3 * strength, across=True),
            partial(_shear, amount=0.3 * strength, across=False),
            partial(_translate, amount=150 / 331 * strength, across=True),
            partial(_translate, amount=150 / 331 * strength, across=False),
            partial(_rotate, degrees=30 * strength),
            partial(_brightness, amount=0.9 * strength),
            partial(_saturation, amount=0.9 * strength),
            partial(_contrast, amount=0.9 * strength),
            partial(_sharpness, amount=0.9 * strength),
            partial(_posterize, bits=8 - round(self.magnitude / (_BINS / 4))),
            partial(_solarize, threshold=1 - strength),
            _stretch_contrast,
            _equalize,
        )
        for choice, sign in zip(u[:, 0::2].T, u[:, 1::2].T, strict=True):
            signs = 1 - 2 * (sign < 0.5).to(images.dtype)
            images = apply_each((choice * len(changes)).long(), changes, images, signs)
        return images


def _shear(images: Tensor, sign: Tensor, *, amount: float, across: bool) -> Tensor:
    """Slant by `amount` px a px from the top left corner, to the side or downwards."""
    height, width = images.shape[-2:]
    corner = height / 2 if across else width / 2
    slope = exact(sign) * amount
    to_input = torch.eye(2, 3, dtype=slope.dtype, device=slope.device).repeat(len(images), 1, 1)
    row = 0 if across else 1
    to_input[:, row, 1 - row] = slope
    to_input[:, row, 2] = slope * corner
    return warp(images, to_input)


def _translate(images: Tensor, sign: Tensor, *, amount: float, across: bool) -> Tensor:
    """Shift by a fraction of the side."""
    shift = sign * (amount * images.shape[-1 if across else -2])
    none = torch.zeros_like(shift)
    right, down = (shift, none) if across else (none, shift)
    return warp(images, affine(none, right, down, torch.ones_like(shift))[:, :2])


def _rotate(images: Tensor, sign: Tensor, *, degrees: float) -> Tensor:
    none = torch.zeros_like(sign)
    return warp(images, affine(sign * degrees, none, none, torch.ones_like(sign))[:, :2])


def _brightness(images: Tensor, sign: Tensor, *, amount: float) -> Tensor:
    return (images * (1 + sign * amount).view(-1, 1, 1, 1)).clamp_(0, 1)


def _saturation(images: Tensor, sign: Tensor, *, amount: float) -> Tensor:
    return blend(images, luma(images), 1 + sign * amount)


def _contrast(images: Tensor, sign: Tensor, *, amount: float) -> Tensor:
    return blend(images, mean_luma(images), 1 + sign * amount)


def _sharpness(images: Tensor, sign: Tensor, *, amount: float) -> Tensor:
    """Move away from, or towards, a version smoothed by a 3x3 kernel with centre 5; the border stays."""
    # Sums of shifted images instead of a convolution, whose rounding may depend on the size of the batch.
    rows = images[:, :, :-2] + images[:, :, 1:-1] + images[:, :, 2:]
    sums = rows[..., :-2] + rows[..., 1:-1] + rows[..., 2:]
    smooth = images.clone()
    smooth[:, :, 1:-1, 1:-1] = (sums + 4 * images[:, :, 1:-1, 1:-1]) / 13
    return blend(images, smooth, 1 + sign * amount)


def _posterize(images: Tensor, _: Tensor, *, bits: int) -> Tensor:
    """Keep the upper bits of each byte."""
    step = 2 ** (8 - bits)
    return (images * 255).round_().div_(step).floor_().mul_(step / 255)


def _solarize(images: Tensor, _: Tensor, *, threshold: float) -> Tensor:
    """Invert what is as bright as the threshold."""
    return torch.where(images >= threshold, 1 - images, images)


def _stretch_contrast(images: Tensor, _: Tensor) -> Tensor:
    """Stretch each channel to 0..1; one of a single value stays."""
    low, high = (f(images, (2, 3), keepdim=True) for f in (torch.amin, torch.amax))
    flat = high == low
    return (images - low.masked_fill(flat, 0)) / (high - low).masked_fill(flat, 1)


def _equalize(images: Tensor, _: Tensor) -> Tensor:
    """Make the histogram of each channel as even as can be, by Pillow's formula on bytes."""
    levels = (images * 255).round_().long().clamp_(0, 255).flatten(2)  # [B, 3, HW]
    counts = torch.zeros(*levels.shape[:2], 256, dtype=torch.int64, device=images.device)
    counts.scatter_add_(2, levels, torch.ones_like(levels))
    last = counts.gather(2, levels.amax(2, keepdim=True))
    step = (levels.shape[2] - last) // 255
    table = ((counts.cumsum(2) - counts + step // 2) // step.clamp(min=1)).clamp_(max=255)
    table = torch.where(step == 0, torch.arange(256, device=images.device), table)
    return (table.gather(2, levels).view_as(images) / 255).to(images.dtype)
