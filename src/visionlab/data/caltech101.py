"""Caltech101: 8,677 photographs of 101 kinds of object (Fei-Fei et al., 2004)."""

from pathlib import Path
from typing import Any

import numpy as np

from visionlab.data.download import Source
from visionlab.data.files import Placed, build, class_folders, stamped
from visionlab.data.index import Index, Split
from visionlab.data.module import ImageDataModule
from visionlab.data.splits import carve, leading, order_keys
from visionlab.data.values import at_least_one

BACKGROUND = frozenset({"BACKGROUND_Google"})  # no class: images of anything
TEST_FRACTION = 1 / 3  # that of the lists of report 003


class Caltech101(ImageDataModule):
    """`101_ObjectCategories/<class>/*`, with train.txt and test.txt beside it or without.

    Args:
        train_per_class: Images of each class to learn from (customarily 30), the rest being test; None for the lists,
            or a third for test where there are none.
        **common: See `ImageDataModule`.
    """

    own_mean = own_std = (0.5, 0.5, 0.5)
    source = Source(
        url="https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
        md5="3138e1922a9193bfa496528edbbc45d0",
        size=137_414_764,
        folder="101_ObjectCategories",
        inner="caltech-101/101_ObjectCategories.tar.gz",
    )

    def __init__(self, *, train_per_class: int | None = None, **common: Any) -> None:
        super().__init__(**common)
        if train_per_class is not None:
            at_least_one("train_per_class", train_per_class)
        self.train_per_class = train_per_class

    def find(self) -> Index:
        """Return the images of the 101 classes and their division."""
        lists = {Split.TRAIN: self.root / "train.txt", Split.TEST: self.root / "test.txt"}
        if self.train_per_class is None and all(path.is_file() for path in lists.values()):
            return listed_in(self.root, self.source.folder, lists)
        index = class_folders(self.root, f"{self.source.folder}/", drop=BACKGROUND)
        rows = np.arange(len(index))
        keys = order_keys(index, rows, rows, self.plan.seed)
        if self.train_per_class is None:
            test = carve(rows, index.labels, rows, keys, TEST_FRACTION)
        else:
            most = np.full(len(index.classes), self.train_per_class)
            test = np.setdiff1d(rows, leading(rows, index.labels, keys, most))
        index.splits = np.where(np.isin(rows, test), Split.TEST, Split.TRAIN).astype(np.int64)
        return index


def listed_in(root: Path, folder: str, lists: dict[Split, Path]) -> Index:
    """Index the images whose paths below `root/folder` the text files list, one a line."""
    found: list[Placed] = []
    for split, path in lists.items():
        for line in path.read_text(encoding="utf-8").split():
            name = line.split("/")[0]
            if name not in BACKGROUND:
                found.append((*stamped(root, f"{folder}/{line}"), name, split))
    return build(root, found)
