"""CIFAR-10: 60,000 images of 32 x 32 px in ten classes (Krizhevsky, 2009)."""

import numpy as np

from visionlab.data.files import class_folders
from visionlab.data.index import Index, Split
from visionlab.data.module import ImageDataModule

BATCHES = "cifar-10-batches-py"


class CIFAR10(ImageDataModule):
    """Either `{train,test}/<class>/*` or the publisher's pickled batches."""

    own_size = 32
    own_mean = (0.4914, 0.4822, 0.4465)
    own_std = (0.2470, 0.2435, 0.2616)

    def find(self) -> Index:
        """Return the batches where they lie in `root`, else the image folders."""
        if not (self.root / BATCHES).is_dir():
            return class_folders(self.root)
        from torchvision.datasets import CIFAR10 as Published

        parts = [Published(self.root, train=train) for train in (True, False)]
        frames = np.concatenate([part.data for part in parts])
        return Index(
            root=self.root,
            names=[
                f"{kind}/{i:05d}" for kind, part in zip(("train", "test"), parts, strict=True) for i in range(len(part))
            ],
            labels=np.array(parts[0].targets + parts[1].targets, dtype=np.int64),
            classes=list(parts[0].classes),
            splits=np.repeat([Split.TRAIN, Split.TEST], [len(part) for part in parts]).astype(np.int64),
            frames=frames.__getitem__,
        )
