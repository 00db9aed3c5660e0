"""Sizes of images: what a network can take, and whether they are small."""

from collections.abc import Sequence

import torch
from torch import Tensor

from visionlab.errors import ConfigError, DataError

SMALL = 64  # px; up to here `small_images: auto` leaves the early downsampling out


def check_size(images: Tensor, min_size: int, *, exact: tuple[int, int] | None = None) -> None:
    """Raise unless a network can take the images.

    Args:
        images: `[B, 3, H, W]`.
        min_size: The smallest height and width, px.
        exact: The only height and width that the network takes, px: one that flattens its features has one size.

    Raises:
        DataError: The images are smaller than `min_size`, not of the `exact` size or have not three channels.
    """
    channels, height, width = images.shape[-3:]
    if channels != 3:
        raise DataError(f"The network takes images with 3 channels, not {channels}.")
    if min(height, width) < min_size:
        raise DataError(
            f"The images are {height}x{width} px; the smallest that this network takes is {min_size}x{min_size} px.",
            where="data.image_size",
            remedy=f"Scale or pad them: data.image_size={min_size} or more.",
        )
    if exact is not None and (height, width) != exact:
        raise DataError(
            f"The images are {height}x{width} px; this network was built for {exact[0]}x{exact[1]} px "
            f"(the smallest that its architecture takes is {min_size}x{min_size} px).",
            where="data.image_size",
            remedy="Give images of the size that it was built with, or build it for this one; no step of augmentation "
            "may change it.",
        )


def height_width(image_size: int | Sequence[int]) -> tuple[int, int]:
    """Return (height, width) in px of an image size: one number for a square, or the two."""
    height, width = (image_size, image_size) if isinstance(image_size, int) else image_size
    return int(height), int(width)


def one_or_two(image_size: Sequence[int]) -> int | tuple[int, int]:
    """Return what a network's `image_size` is given: the side where (height, width) is a square, else both, px."""
    height, width = image_size
    return height if height == width else (height, width)


def fixed_size(image_size: int | Sequence[int], min_size: int) -> tuple[int, int]:
    """Return (height, width) in px for a network that is built for one size of images.

    Raises:
        DataError: They are smaller than `min_size`, the smallest that the architecture takes.
    """
    height, width = height_width(image_size)
    check_size(torch.empty(0, 3, height, width), min_size)
    return height, width


def is_small(small_images: bool | str, image_size: int | Sequence[int]) -> bool:
    """Decide whether the early downsampling, made for ImageNet's 224 px, is to be left out.

    Args:
        small_images: True, False or "auto" (at most 64 px on the larger side).
        image_size: Side of the images or (height, width), px.

    Raises:
        ConfigError: `small_images` is something else.
    """
    if small_images == "auto":
        return max(height_width(image_size)) <= SMALL
    if isinstance(small_images, bool):
        return small_images
    raise ConfigError(
        f"small_images is '{small_images}'.", where="model.network.small_images", remedy="Use auto, true or false."
    )
