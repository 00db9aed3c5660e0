"""A data set of one's own is one subclass: all else is there."""

import numpy as np

from visionlab.data.index import Index, Split
from visionlab.data.module import ImageDataModule


class Stripes(ImageDataModule):
    """Stripes one way or the other; the last tenth is for test."""

    own_size = 12
    own_mean = own_std = (0.5, 0.5, 0.5)

    def find(self) -> Index:
        labels = np.arange(200) % 2
        return Index(
            root=self.root,
            names=[f"{row:03d}" for row in range(200)],
            labels=labels,
            classes=["rows", "columns"],
            splits=np.where(np.arange(200) < 180, Split.FREE, Split.TEST),
            frames=lambda row: np.random.default_rng(row).permuted(self.stripes(labels[row]), axis=labels[row]),
        )

    @staticmethod
    def stripes(label: int) -> np.ndarray:
        return np.repeat(np.arange(144, dtype=np.uint8).reshape(12, 12, 1), 3, axis=2)


def test_a_subclass_has_splits_batches_and_statistics(tmp_path):
    data = Stripes(name="stripes", root=tmp_path, batch_size=10, folds=3, fold=1)
    data.setup()
    assert (len(data.splits.train), len(data.splits.val), len(data.splits.test)) == (120, 60, 20)
    assert data.splits.test.tolist() == list(range(180, 200))
    assert data.class_counts.tolist() == [60, 60]
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (10, 3, 12, 12)
    assert data.preprocess(batch.images).abs().max() <= 1
