"""CIFAR-10: 60,000 images of 32 x 32 px in ten classes (Krizhevsky, 2009)."""

from visionlab.data.batches import batches
from visionlab.data.download import Source
from visionlab.data.files import class_folders
from visionlab.data.index import Index
from visionlab.data.module import ImageDataModule


class CIFAR10(ImageDataModule):
    """The publisher's pickled batches, or `{train,test}/<class>/*`. Mean and deviation are those of its train split."""

    own_size = 32
    own_mean = (0.4914, 0.4822, 0.4465)
    own_std = (0.2470, 0.2435, 0.2616)
    source = Source(
        url="https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        md5="c58f30108f718f92721af3b95e74349a",
        size=170_498_071,
        folder="cifar-10-batches-py",
    )

    def present(self) -> bool:
        """Return whether either layout is there."""
        return super().present() or (self.root / "train").is_dir()

    def find(self) -> Index:
        """Return the image folders where they lie in `root`, else the batches."""
        if (self.root / "train").is_dir():
            return class_folders(self.root)
        return batches(self.root, self.source.folder)
