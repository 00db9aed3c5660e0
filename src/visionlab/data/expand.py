"""What an enlarged training set is made of: variants of each training image, made once, before training.

`visionlab.data.variants` keeps them beside the store. What a variant looks like is a function of the seed, the place of
its image in the training split and the number of the variant.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor

from visionlab.data.augment import Augmentation
from visionlab.data.geometric import Warp
from visionlab.data.own import traces
from visionlab.errors import ConfigError

_VERSION = 1  # raise it when the same images would get other variants


class Expansion(ABC):
    """Makes variants of images.

    Attributes:
        copies: C, variants of each image, beside the image itself.
    """

    copies: int

    @property
    def key(self) -> str:
        """Name what is made: equal for equal results."""
        return f"{_VERSION} {self!r}{traces(self)}"

    def expand(self, images: Tensor, *, places: Tensor, seed: int) -> Tensor:
        """Make the variants.

        Args:
            images: uint8 [B, 3, H, W].
            places: int64 [B], the place of each image in the training split.
            seed: Of the random choices.

        Returns:
            uint8 [C, B, 3, H, W].
        """
        return torch.stack([self.variant(number, images, places, seed) for number in range(1, self.copies + 1)])

    @abstractmethod
    def variant(self, number: int, images: Tensor, places: Tensor, seed: int) -> Tensor:
        """Return variant 1 to C of each image: uint8 [B, 3, H, W]."""


class Eightfold(Expansion):
    """The image, its horizontal, vertical and double flips, then each of these four scaled and rotated at random.

    The report on tomatoes, cherries and strawberries found it better than changes drawn anew for each epoch: 26,496
    images from 3,312.

    Args:
        scale: Smallest and largest factor.
        degrees: Largest angle to either side.
    """

    copies = 7

    def __init__(self, *, scale: Sequence[float] = (0.8, 1.0), degrees: float | Sequence[float] = 15.0) -> None:
        self.random = Augmentation(steps={"warp": Warp(scale=scale, degrees=degrees)})

    def __repr__(self) -> str:
        return f"Eightfold({self.random!r})"

    def variant(self, number: int, images: Tensor, places: Tensor, seed: int) -> Tensor:
        """Return a flip (1 to 3), or the image or a flip, scaled and rotated (4 to 7)."""
        axes = [axis for axis, bit in ((-1, 1), (-2, 2)) if number & bit]
        flipped = images.flip(axes)
        return flipped if number < 4 else _changed(self.random, flipped, places, seed, number)


class Copies(Expansion):
    """Copies of the image, each changed by an augmentation: how the report on AlexNet Light enlarged its set.

    Args:
        copies: Of each image, from 1.
        augment: The changes; they must not mix images.
    """

    def __init__(self, *, copies: int, augment: Augmentation) -> None:
        if not isinstance(copies, int) or copies < 1:
            raise ConfigError(f"{copies} copies of each image", where="data.expand.copies", remedy="give 1 or more")
        if augment.mix or not augment:
            what = "copies cannot be mixed with other images" if augment else "copies without changes are duplicates"
            remedy = "choose changes that keep labels, for example augment@data.expand.augment=alexnet_light"
            raise ConfigError(what, where="data.expand.augment", remedy=remedy)
        self.copies, self.augment = copies, augment

    def __repr__(self) -> str:
        # One copy is named without its number, as it was before there was one: what is cached stays valid.
        return f"Copies({self.augment!r})" if self.copies == 1 else f"Copies({self.copies}, {self.augment!r})"

    def variant(self, number: int, images: Tensor, places: Tensor, seed: int) -> Tensor:
        """Return a changed copy."""
        return _changed(self.augment, images, places, seed, number)


def _changed(augment: Augmentation, images: Tensor, places: Tensor, seed: int, number: int) -> Tensor:
    changed, _ = augment(images, places, seed=seed, epoch=number, places=places)
    if changed.shape != images.shape:
        sizes = " and ".join(f"{height}x{width} px" for *_, height, width in (changed.shape, images.shape))
        raise ConfigError(
            f"a variant and its image have two sizes: {sizes}",
            where="data.expand.augment",
            remedy="give its steps no size",
        )
    # A step of one's own may leave 0..1, and as a byte -0.01 would be 253.
    return (changed * 255).round_().clamp_(0, 255).to(torch.uint8) if changed.is_floating_point() else changed
