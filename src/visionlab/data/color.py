"""Steps that change colours: jitter of brightness, contrast, saturation and hue, and greyscale."""

from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor

from visionlab.data.step import Step, apply_each, apply_where, between, interval, probability

LUMA = (0.2989, 0.587, 0.114)  # ITU-R BT.601, with the digits that torchvision takes


class ColorJitter(Step):
    """Change brightness, contrast, saturation and hue, in an order drawn for each image.

    What each does is torchvision's; a number b stands for a factor from max(0, 1 - b) to 1 + b.

    Args:
        brightness: Factor that multiplies the image.
        contrast: Factor of the distance from the image's mean grey.
        saturation: Factor of the distance from the pixel's grey.
        hue: Largest turn to either side as a fraction of the colour circle, 0 to 0.5.
    """

    draws = 8

    def __init__(
        self,
        *,
        brightness: float | Sequence[float] = 0.0,
        contrast: float | Sequence[float] = 0.0,
        saturation: float | Sequence[float] = 0.0,
        hue: float | Sequence[float] = 0.0,
    ) -> None:
        factors = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
        ranges = [
            interval(
                (max(0.0, 1 - v), 1 + v) if isinstance(v, int | float) else v, f"color jitter's {k}", low=0, high=10
            )
            for k, v in factors.items()
        ]
        ranges.append(interval(hue, "color jitter's hue", low=-0.5, high=0.5))
        neutral = [(1.0, 1.0)] * 3 + [(0.0, 0.0)]
        self.ranges = [None if r == n else r for r, n in zip(ranges, neutral, strict=True)]
        self.blends = [change for change in range(3) if self.ranges[change]]

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Jitter images float [B, 3, H, W] in 0..1."""
        values = torch.stack([between(u[:, i], *(r or (1.0, 1.0))) for i, r in enumerate(self.ranges)], 1)
        order = u[:, [4 + change for change in self.blends]].argsort(1)  # a permutation for each image
        if self.ranges[3] is None:
            return self._jitter(images, values, order, hue_at=-1)
        # Hue comes before blend 0, 1, ... or after the last.
        slots = [partial(self._jitter, hue_at=slot) for slot in range(len(self.blends) + 1)]
        return apply_each((u[:, 7] * len(slots)).long(), slots, images, values, order)

    def _jitter(self, images: Tensor, values: Tensor, order: Tensor, *, hue_at: int) -> Tensor:
        for turn in range(len(self.blends) + 1):
            if turn == hue_at:
                images = shift_hue(images, values[:, 3])
            if turn < len(self.blends):
                chosen = {change: order[:, turn] == number for number, change in enumerate(self.blends)}
                images = _blend_any(images, chosen, values)
        return images


class Grayscale(Step):
    """Turn images grey, keeping three equal channels.

    Args:
        p: Probability.
    """

    draws = 1

    def __init__(self, *, p: float = 0.1) -> None:
        self.p = probability(p, "grayscale's p")

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Turn images float [B, 3, H, W] grey with probability p."""
        return apply_where(u[:, 0] < self.p, lambda x: luma(x).expand_as(x), images)


def luma(images: Tensor) -> Tensor:
    """Grey of each pixel.

    Args:
        images: float [B, 3, H, W].

    Returns:
        float [B, 1, H, W].
    """
    red, green, blue = images.split(1, 1)
    grey: Tensor = (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])
    return grey


def mean_luma(images: Tensor) -> Tensor:
    """Mean grey of each image.

    The mean is taken along one axis after the other: over both at once, torch splits the sum over threads when there is
    one image only, which rounds differently.

    Args:
        images: float [B, 3, H, W].

    Returns:
        float [B, 1, 1, 1].
    """
    return luma(images).mean(3, keepdim=True).mean(2, keepdim=True)


def blend(images: Tensor, other: Tensor, factor: Tensor) -> Tensor:
    """Move away from another image (factor above 1) or towards it (below 1), clamped to 0..1.

    Args:
        images: float [B, 3, H, W].
        other: float, broadcastable to the images.
        factor: float [B].
    """
    return torch.lerp(other.expand_as(images), images, factor.view(-1, 1, 1, 1)).clamp_(0, 1)


def shift_hue(images: Tensor, turn: Tensor) -> Tensor:
    """Turn the colour circle, keeping value and saturation of HSV.

    Written without comparisons and selections, which torch does not vectorise on the CPU: ten times as fast as the
    textbook form, to which it is equal.

    Args:
        images: float [B, 3, H, W] in 0..1.
        turn: float [B], fraction of the circle, -1 to 1.
    """
    red, green, blue = images.unbind(1)
    high = torch.maximum(green, blue)
    low = torch.minimum(green, blue)
    torch.maximum(high, red, out=high)
    torch.minimum(low, red, out=low)
    chroma = high - low
    # The angle from red to either side, in sixths of the circle, is 1 + (green + blue - red - low) / chroma; its sign
    # is that of green - blue. Where chroma is 0 any angle will do.
    angle = (green + blue).sub_(red).sub_(low).div_(chroma.clamp(min=1e-20)).add_(1)
    angle = torch.copysign(angle, green - blue)
    angle = angle.div_(6).add_((turn + 2).view(-1, 1, 1)).frac_()  # 0..1, from red over green to blue
    # Each channel is full within a sixth of the circle around its own hue, falls over a sixth, and is then `low`.
    rest, six = low + 2 * chroma, chroma * 6
    out = torch.empty_like(images)
    torch.addcmul(low - chroma, (angle - 1 / 2).abs_().clamp_(1 / 6, 2 / 6), six, out=out[:, 0])
    torch.addcmul(rest, (angle - 1 / 3).abs_().clamp_(1 / 6, 2 / 6), six, value=-1, out=out[:, 1])
    torch.addcmul(rest, (angle - 2 / 3).abs_().clamp_(1 / 6, 2 / 6), six, value=-1, out=out[:, 2])
    return out.clamp_(0, 1)  # off by rounding only


def _blend_any(images: Tensor, chosen: Mapping[int, Tensor], values: Tensor) -> Tensor:
    """Brightness (0), contrast (1) or saturation (2), whichever is chosen for an image (bool [B] each).

    All three are `factor * image + (1 - factor) * other` with another `other`, so one formula serves a batch in which
    each image is at a different one of them.
    """
    factor = torch.stack([values[:, change] * mask for change, mask in chosen.items()]).sum(0)
    rest = (1 - factor).view(-1, 1, 1, 1)
    other = torch.zeros_like(rest)
    if 1 in chosen or 2 in chosen:
        grey = luma(images)
        if 1 in chosen:
            other = grey.mean(3, keepdim=True).mean(2, keepdim=True) * (rest * chosen[1].view(-1, 1, 1, 1))
        if 2 in chosen:
            other = grey.mul_(rest * chosen[2].view(-1, 1, 1, 1)).add_(other)
    return torch.addcmul(other, images, factor.view(-1, 1, 1, 1)).clamp_(0, 1)
