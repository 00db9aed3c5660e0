"""Caltech101: 8,677 photographs of 101 kinds of object (Fei-Fei et al., 2004)."""

import dataclasses

import numpy as np

from visionlab.data.files import class_folders
from visionlab.data.index import Index, Split
from visionlab.data.module import ImageDataModule

BACKGROUND = frozenset({"BACKGROUND_Google"})


class Caltech101(ImageDataModule):
    """`101_ObjectCategories/<class>/*`, with train.txt and test.txt beside it or without."""

    own_mean = own_std = (0.5, 0.5, 0.5)

    def find(self) -> Index:
        """Return the images of the 101 classes, divided as train.txt and test.txt say where they stand."""
        index = class_folders(self.root / "101_ObjectCategories", drop=BACKGROUND)
        lists = {Split.TRAIN: self.root / "train.txt", Split.TEST: self.root / "test.txt"}
        if not all(path.is_file() for path in lists.values()):
            return index
        listed = {
            line.strip(): split
            for split, path in lists.items()
            for line in path.read_text(encoding="utf-8").splitlines()
        }
        splits = np.array([listed.get(name, Split.FREE) for name in index.names], dtype=np.int64)
        return dataclasses.replace(index, splits=splits)
