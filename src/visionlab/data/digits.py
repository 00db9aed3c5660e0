"""The 1,797 handwritten digits of 8 x 8 px that scikit-learn brings along: for first steps and tests, offline."""

import numpy as np

from visionlab.data.index import Index, Split
from visionlab.data.module import ImageDataModule


class Digits(ImageDataModule):
    """Grey digits as three equal channels; without a `test_fraction`, as conf/data/digits has one, no test split."""

    own_size = 32
    own_mean = (0.3054, 0.3054, 0.3054)
    own_std = (0.3234, 0.3234, 0.3234)

    def find(self) -> Index:
        """Return the bundled digits; `root` is not read."""
        from sklearn.datasets import load_digits

        digits = load_digits()
        frames = np.repeat((digits.images * (255 / 16)).round().astype(np.uint8)[..., None], 3, axis=-1)
        return Index(
            root=self.root,
            names=[f"{row:04d}" for row in range(len(frames))],
            labels=digits.target.astype(np.int64),
            classes=[str(digit) for digit in range(10)],
            splits=np.full(len(frames), Split.FREE, dtype=np.int64),
            frames=frames.__getitem__,
        )
