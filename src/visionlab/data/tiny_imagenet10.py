"""Ten classes of Tiny-ImageNet (Stanford CS231n): 64 x 64 px, 400 train, 50 validation and 50 test images each."""

from pathlib import Path, PurePosixPath

from visionlab.data.download import Source
from visionlab.data.files import SPLIT_FOLDERS, Placed, build, class_folders, folders, images
from visionlab.data.index import Index, Split, printable
from visionlab.data.module import ImageDataModule
from visionlab.errors import DataError

# Of each class, report 002 trains on the images numbered from 100 on and validates on the first or the second fifty.
VALIDATED_ON_THE_FIRST = {"n01443537", "n01698640", "n01768244", "n01774384"}


class TinyImageNet10(ImageDataModule):
    """`{train,val,test}/<wnid>/images/*`, or the official tree, whose train folder is divided in the same way."""

    own_size = 64
    source = Source(
        url="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
        md5="90528d7ca1a48142e341f4ef8d21d0de",
        size=248_100_043,
        folder="tiny-imagenet-200",
    )

    def present(self) -> bool:
        """Return whether either layout is there."""
        return super().present() or (self.root / "train").is_dir()

    def find(self) -> Index:
        """Return the images of the first ten classes; words.txt names them where it lies beside them."""
        below = f"{self.source.folder}/" if (self.root / self.source.folder).is_dir() else ""
        tree = self.root / below
        wnids = folders(tree / "train")
        others = [tree / top for top in folders(tree) if top != "train" and top.lower() in SPLIT_FOLDERS]
        divided = any((split / wnid).is_dir() for split in others for wnid in wnids)
        index = class_folders(self.root, below) if divided or not wnids else first_ten(self.root, below)
        index.classes = named(index.classes, tree / "words.txt")
        return index


def first_ten(root: Path, below: str) -> Index:
    """Index the labelled images of the official tree's first ten classes.

    Raises:
        DataError: A file has no number, by which it would be held out or not.
    """
    found: list[Placed] = []
    for wnid in folders(root / below / "train")[:10]:
        for file in images(root, f"{below}train/{wnid}"):
            digits = PurePosixPath(file[0]).stem.rsplit("_", 1)[-1]
            if not digits.isdecimal():
                raise DataError(
                    f"the name of {printable(file[0])} has no number, as images of the official tree have",
                    where=str(root),
                    remedy="unpack the archive anew, or sort all images into train, val and test",
                )
            number = int(digits)
            held_out = Split.VAL if (number < 50) == (wnid in VALIDATED_ON_THE_FIRST) else Split.TEST
            found.append((*file, wnid, Split.TRAIN if number >= 100 else held_out))
    return build(root, found)


def named(wnids: list[str], words: Path) -> list[str]:
    """Return the first of the words of each WordNet id."""
    if not words.is_file():
        return wnids
    wanted, meanings = set(wnids), {}
    with words.open(encoding="utf-8") as lines:  # 82,000 of them, so only the wanted ones are taken apart
        for line in lines:
            if (wnid := line[: line.find("\t")]) in wanted:
                meanings[wnid] = line.split("\t", 1)[1].split(",")[0].strip()
    return [meanings.get(wnid, wnid) for wnid in wnids]
