"""Ten classes of Tiny-ImageNet (Stanford CS231n): 64 x 64 px, 400 train, 50 validation and 50 test images each."""

from visionlab.data.files import class_folders
from visionlab.data.index import Index
from visionlab.data.module import ImageDataModule


class TinyImageNet10(ImageDataModule):
    """`{train,val,test}/<wnid>/images/*` beside words.txt, which gives the classes their names."""

    own_size = 64

    def find(self) -> Index:
        """Return the images, the classes named by words.txt where it lies beside them."""
        index = class_folders(self.root)
        index.classes = named(index.classes, self.root)
        return index


def named(wnids: list[str], root: object) -> list[str]:
    """Return the first of the words of each WordNet id."""
    from pathlib import Path

    words = Path(str(root)) / "words.txt"
    if not words.is_file():
        return wnids
    lines = (line.split("\t", 1) for line in words.read_text(encoding="utf-8").splitlines() if "\t" in line)
    known = {wnid: meaning.split(",")[0].strip() for wnid, meaning in lines}
    return [known.get(wnid, wnid) for wnid in wnids]
