"""Random images of any number, size and class count, for measuring speed."""

from typing import Any

import numpy as np

from visionlab.data.index import ByteArray, Index, Split
from visionlab.data.module import ImageDataModule
from visionlab.data.values import at_least_one


class Synthetic(ImageDataModule):
    """Noise whose brightness tells the class, so that a network has something to learn.

    Args:
        images: Number of images.
        kinds: Number of classes.
        **common: See `ImageDataModule`.
    """

    own_size = 32
    own_mean = own_std = (0.5, 0.5, 0.5)

    def __init__(self, *, images: int = 10_000, kinds: int = 10, **common: Any) -> None:
        super().__init__(**common)
        at_least_one("images", images)
        at_least_one("kinds", kinds)
        self.images, self.kinds = images, kinds

    def find(self) -> Index:
        """Return the images, computed one by one; `root` is not read."""
        labels = np.arange(self.images) % self.kinds
        height, width = self.image_size

        def frame(row: int) -> ByteArray:
            noise = np.random.default_rng(row).integers(0, 128, (height, width, 3), dtype=np.uint8)
            return noise + np.uint8(127 * labels[row] // max(1, self.kinds - 1))

        return Index(
            root=self.root,
            names=[f"{row:08d}" for row in range(self.images)],
            labels=labels,
            classes=[f"class{i}" for i in range(self.kinds)],
            splits=np.full(self.images, Split.FREE, dtype=np.int64),
            frames=frame,
        )
