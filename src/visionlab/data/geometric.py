"""Steps that move pixels: flips, crops, and one warp for rotation, translation, scaling and perspective."""

import math
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from visionlab.data.step import Step, apply_each, between, interval, probability
from visionlab.data.values import pair
from visionlab.errors import ConfigError

_WITHOUT_DOUBLE = ("mps",)  # kinds of devices whose tensors cannot be float64: Apple's GPUs


class Flip(Step):
    """Mirror images left to right, top to bottom, or both, each with its own probability.

    Args:
        horizontal: Probability of a left-to-right flip.
        vertical: Probability of a top-to-bottom flip.
    """

    draws = 2
    keeps_bytes = True

    def __init__(self, *, horizontal: float = 0.5, vertical: float = 0.0) -> None:
        self.horizontal = probability(horizontal, "a flip's horizontal")
        self.vertical = probability(vertical, "a flip's vertical")

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Flip images [B, 3, H, W]."""
        choice = (u[:, 0] < self.horizontal).long() + 2 * (u[:, 1] < self.vertical)
        return apply_each(choice, (None, *(partial(torch.flip, dims=dims) for dims in ([-1], [-2], [-1, -2]))), images)


class Crop(Step):
    """Pad images with black on each side and cut a window of the original size out at a random place.

    Args:
        padding: px on each side, at least 1.
    """

    draws = 2
    keeps_bytes = True

    def __init__(self, *, padding: int = 4) -> None:
        if not isinstance(padding, int) or padding < 1:
            raise ConfigError(f"a crop's padding is {padding}", where="augment", remedy="give 1 pixel or more")
        self.padding = padding

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Crop images [B, 3, H, W]."""
        offsets = (u * (2 * self.padding + 1)).long()
        return crop(images, offsets[:, 0], offsets[:, 1], self.padding)


def crop(images: Tensor, top: Tensor, left: Tensor, padding: int) -> Tensor:
    """Cut windows of the images' own size out of the padded images.

    Each row of a window is contiguous in memory, so the crop is one selection from an overlapping view of all runs of
    W pixels: three times as fast as indexing pixel by pixel.

    Args:
        images: [B, 3, H, W].
        top: int64 [B], first row of the window in the padded image, 0 .. 2 * padding.
        left: int64 [B], first column.
        padding: px on each side.

    Returns:
        [B, 3, H, W], contiguous.
    """
    count, channels, height, width = images.shape
    flat = F.pad(images, (padding,) * 4).contiguous().view(-1)
    tall, wide = height + 2 * padding, width + 2 * padding
    runs = flat.as_strided((flat.numel() - width + 1, width), (1, 1))
    planes = torch.arange(count * channels, device=images.device).view(count, channels, 1) * (tall * wide)
    rows = (top[:, None] + torch.arange(height, device=images.device)) * wide + left[:, None]
    return runs.index_select(0, (planes + rows[:, None]).view(-1)).view_as(images)


class ResizedCrop(Step):
    """Cut a part of random size and aspect ratio out at a random place and scale it to one size.

    What networks for ImageNet are trained with (Szegedy et al., "Going deeper with convolutions", 2015), and drawn as
    by torchvision's RandomResizedCrop: the first of ten draws that fits into the image, else the largest part from its
    middle. Bilinear without antialiasing, so `size` should be no less than half of the image.

    Args:
        scale: [smallest, largest] share of the image's area, above 0 to 1.
        ratio: [lowest, highest] width over height, above 0.
        size: Of the result: a side in px or [height, width]; None for the images' own. Below `data.image_size`, a
            network learns from smaller images, at less cost, than it is tested on (Touvron et al., "Fixing the
            train-test resolution discrepancy", 2019).
    """

    tries = 10
    draws = 2 * tries + 2

    def __init__(
        self,
        *,
        scale: Sequence[float] = (0.08, 1.0),
        ratio: Sequence[float] = (3 / 4, 4 / 3),
        size: int | Sequence[int] | None = None,
    ) -> None:
        self.scale = interval(scale, "a crop's scale", low=1e-3, high=1)
        self.ratio = interval(ratio, "a crop's ratio", low=1e-3, high=1e3)
        self.size = None if size is None else pair(size, "a crop's size", "augment")

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Crop and scale images float [B, 3, H, W]."""
        height, width = images.shape[-2:]
        to_height, to_width = self.size or (height, width)
        tall, wide, top, left = self.windows(height, width, u)
        none = torch.zeros_like(tall)
        right, down = left + (wide - width) / 2, top + (tall - height) / 2
        rows = (wide / to_width, none, right, none, tall / to_height, down)
        return warp(images, torch.stack(rows, 1).view(-1, 2, 3), self.size, outside="border")

    def windows(self, height: int, width: int, u: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return height, width, first row and first column of each part, float [B] of whole px."""
        draws = u[:, : 2 * self.tries].view(-1, self.tries, 2)
        area = between(draws[..., 0], *self.scale) * (height * width)
        ratio = between(draws[..., 1], *map(math.log, self.ratio)).exp()
        tall, wide = (area / ratio).sqrt().round(), (area * ratio).sqrt().round()
        fits = (tall >= 1) & (tall <= height) & (wide >= 1) & (wide <= width)
        order = torch.arange(self.tries, dtype=u.dtype, device=u.device)
        first = torch.where(fits, order, self.tries).amin(1).long()  # all of them where none fits
        ratio_at_last = min(max(width / height, self.ratio[0]), self.ratio[1])
        last = round(min(height, width / ratio_at_last)), round(min(width, height * ratio_at_last))
        tall, wide = (
            torch.cat([sides, sides.new_full((len(u), 1), side)], 1).gather(1, first[:, None])[:, 0]
            for sides, side in zip((tall, wide), last, strict=True)
        )
        room = torch.stack([height - tall, width - wide], 1)
        at = torch.where((first < self.tries)[:, None], u[:, -2:] * (room + 1), room / 2).floor()
        return tall, wide, at[:, 0], at[:, 1]


class Warp(Step):
    """Rotation, translation, scaling, then perspective, in one resampling.

    One bilinear resampling instead of one for each of the four is faster and blurs less. What comes from outside the
    image is black. Perspective is that of torchvision's RandomPerspective: the corners move inwards.

    Args:
        degrees: Largest angle to either side, or [lowest, highest].
        translate: Largest shift to either side as a fraction of the width and the height, 0 to 1.
        scale: [lowest, highest] factor, above 0; below 1 shrinks.
        perspective: How far a corner moves inwards at most, as a fraction of half the side, 0 to 1.
        perspective_p: Probability that an image gets a perspective.
    """

    draws = 13

    def __init__(
        self,
        *,
        degrees: float | Sequence[float] = 0.0,
        translate: float = 0.0,
        scale: Sequence[float] = (1.0, 1.0),
        perspective: float = 0.0,
        perspective_p: float = 0.5,
    ) -> None:
        self.degrees = interval(degrees, "a warp's degrees", low=-360, high=360)
        self.translate = probability(translate, "a warp's translate")
        self.scale = interval(scale, "a warp's scale", low=1e-3, high=1e3)
        self.perspective = probability(perspective, "a warp's perspective")
        self.perspective_p = probability(perspective_p, "a warp's perspective_p")

    def __call__(self, images: Tensor, u: Tensor) -> Tensor:
        """Warp images float [B, 3, H, W]."""
        height, width = images.shape[-2:]
        move = between(u[:, 1:3], -self.translate, self.translate)
        to_input = affine(
            between(u[:, 0], *self.degrees), move[:, 0] * width, move[:, 1] * height, between(u[:, 3], *self.scale)
        )
        if self.perspective:
            inwards = u[:, 5:13].view(-1, 4, 2) * self.perspective * (u[:, 4] < self.perspective_p).view(-1, 1, 1)
            corners = _corners(height, width, images.device) * (1 - inwards)
            to_input = product(to_input, homography(corners, height, width))
        return warp(images, to_input if self.perspective else to_input[:, :2])


def affine(degrees: Tensor, right: Tensor, down: Tensor, scale: Tensor) -> Tensor:
    """Matrices that take a pixel of the result to the pixel of the input that it shows.

    Args:
        degrees: [B], clockwise, about the centre.
        right: [B], shift in px.
        down: [B], shift in px.
        scale: [B], factor.

    Returns:
        float64 [B, 3, 3] on pixel coordinates from the centre; double, so that no rounding depends on how the batch
        is split.
    """
    degrees, right, down, scale = map(exact, (degrees, right, down, scale))
    angle = degrees * (math.pi / 180)
    cos, sin = angle.cos() / scale, angle.sin() / scale
    zero, one = torch.zeros_like(cos), torch.ones_like(cos)
    rows = (cos, sin, -cos * right - sin * down, -sin, cos, sin * right - cos * down, zero, zero, one)
    return torch.stack(rows, 1).view(-1, 3, 3)


def homography(corners: Tensor, height: int, width: int) -> Tensor:
    """Matrices that take four corners of the result to the corners of the input.

    The closed form for a rectangle (Heckbert, "Fundamentals of texture mapping and image warping", 1989) needs no
    linear solver, which would make the host wait for an accelerator.

    Args:
        corners: [B, 4, 2], x and y in px from the centre: top left, top right, bottom right, bottom left.
        height: Of the image, px.
        width: Of the image, px.

    Returns:
        float64 [B, 3, 3] on pixel coordinates from the centre.
    """
    (x0, y0), (x1, y1), (x2, y2), (x3, y3) = (corner.unbind(1) for corner in exact(corners).unbind(1))
    ax, ay, bx, by = x1 - x2, y1 - y2, x3 - x2, y3 - y2
    cx, cy = x0 - x1 + x2 - x3, y0 - y1 + y2 - y3
    area = ax * by - bx * ay
    g, h = (cx * by - bx * cy) / area, (ax * cy - cx * ay) / area
    a, b, d, e = x1 - x0 + g * x1, x3 - x0 + h * x3, y1 - y0 + g * y1, y3 - y0 + h * y3
    # The rows of the adjugate of [[a, b, x0], [d, e, y0], [g, h, 1]], which takes the corners to the unit square ...
    right = torch.stack((e - y0 * h, x0 * h - b, b * y0 - x0 * e), 1)
    down = torch.stack((y0 * g - d, a - x0 * g, x0 * d - a * y0), 1)
    unit = torch.stack((d * h - e * g, b * g - a * h, a * e - b * d), 1)
    # ... and that square stretched to the image, with its origin moved to the centre.
    return torch.stack(((width - 1) * (right - unit / 2), (height - 1) * (down - unit / 2), unit), 1)


def exact(numbers: Tensor) -> Tensor:
    """Return numbers in double precision: where they are, or on the CPU if their device has none."""
    return (numbers.cpu() if numbers.device.type in _WITHOUT_DOUBLE else numbers).double()


def product(left: Tensor, right: Tensor) -> Tensor:
    """Multiply matrices [B, 3, 3] element by element: a BLAS may round differently for another B."""
    terms = [left[:, :, i, None] * right[:, i, None, :] for i in range(3)]
    return terms[0] + terms[1] + terms[2]


def warp(
    images: Tensor,
    to_input: Tensor,
    size: tuple[int, int] | None = None,
    outside: Literal["zeros", "border"] = "zeros",
) -> Tensor:
    """Resample images bilinearly.

    Args:
        images: float [B, 3, H, W].
        to_input: [B, 3, 3], or [B, 2, 3] without perspective, from pixel coordinates of the result to those of the
            input, both from the centre.
        size: Height and width of the result, px; None for those of the images.
        outside: What lies outside the image: zeros, which is black, or the nearest pixel of its border.

    Returns:
        float [B, 3, *size].
    """
    height, width = images.shape[-2:]
    x, y = _coordinates(*(size or (height, width)), images.device)
    grid = images.new_empty(len(images), y.shape[1], x.shape[2], 2)
    for axis, side in ((0, width), (1, height)):
        a, b, c = _rows(to_input[:, axis] * (2 / side), images)  # -1..1, edge to edge
        torch.add(x * a, y * b + c, out=grid[..., axis])
    if to_input.shape[1] == 3:
        a, b, c = _rows(to_input[:, 2], images)
        grid /= (x * a + (y * b + c)).unsqueeze(-1)
    return F.grid_sample(images, grid, padding_mode=outside, align_corners=False)


def _rows(row: Tensor, images: Tensor) -> tuple[Tensor, ...]:
    """Three numbers of each image, of [B, 3], each [B, 1, 1, 1] of the kind of the images and on their device."""
    return row.to(images.dtype).to(images.device).view(-1, 3, 1, 1).unbind(1)  # in this order: see `exact`


@lru_cache(maxsize=4)
def _coordinates(height: int, width: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Pixel coordinates from the centre, [1, 1, W] and [1, H, 1]."""
    x = torch.arange(width, device=device, dtype=torch.float32) - (width - 1) / 2
    y = torch.arange(height, device=device, dtype=torch.float32) - (height - 1) / 2
    return x.view(1, 1, -1), y.view(1, -1, 1)


@lru_cache(maxsize=4)
def _corners(height: int, width: int, device: torch.device) -> Tensor:
    """Top left, top right, bottom right, bottom left in px from the centre, [4, 2]."""
    x, y = (width - 1) / 2, (height - 1) / 2
    return torch.tensor([[-x, -y], [x, -y], [x, y], [-x, y]], device=device)
