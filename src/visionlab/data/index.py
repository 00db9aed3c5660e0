"""Which images there are, what they show and which split their publisher put them in."""

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
ByteArray = NDArray[np.uint8]
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


class Split(IntEnum):
    """Where an image belongs. FREE: its publisher did not say, so `visionlab.data.splits` decides."""

    FREE = -1
    TRAIN = 0
    VAL = 1
    TEST = 2


@dataclass
class Index:
    """The images of a data set, in the order of their names.

    Attributes:
        root: Folder that the names are relative to.
        names: N posix paths relative to `root` (N unique invented names when the pixels come from `frames`). Bytes
            that are not UTF-8 are kept as surrogates, so that the file can be opened; `printable` is for people.
        labels: int64 [N], positions in `classes`.
        classes: K class names.
        splits: int64 [N] of `Split`.
        stamps: int64 [N, 2] of size in bytes and modification time in ns, which tell a changed file; None for pixels
            that are computed, and for `ImageDataModule` to find.
        frames: Returns uint8 [h, w, 3] of a row, for sets whose images are no files of their own.
        empty: Class folders without an image, which make no class.
        others: Files of the class folders that were left out for their endings, counted by these.
        groups: int64 [N], equal for images that must stay together, as those of one patient: the first row of these;
            None where nobody says which do.
    """

    root: Path
    names: list[str]
    labels: IntArray
    classes: list[str]
    splits: IntArray
    stamps: IntArray | None = None
    frames: Callable[[int], ByteArray] | None = None
    empty: tuple[str, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)
    groups: IntArray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def listing(self) -> dict[str, int | str]:
        """Return the number of files and a digest of their names, sizes and classes: what a glance can compare.

        Without their times, so that a copy of the folder has the same.
        """
        assert self.stamps is not None
        digest = hashlib.sha256(np.ascontiguousarray(self.stamps[:, 0]).tobytes() + self.labels.tobytes())
        for name in self.names:
            digest.update(canonical(name) + b"\0")
        told = self.splits.tobytes() + (b"" if self.groups is None else self.groups.tobytes())
        splits = hashlib.sha256(told).hexdigest()[:16]  # as a list of files can change them
        return {"files": len(self), "digest": digest.hexdigest()[:16], "splits": splits}


def canonical(name: str) -> bytes:
    """Return the bytes that a name is ordered and hashed by: the same on systems that store accents differently."""
    return name.encode() if name.isascii() else os.fsencode(unicodedata.normalize("NFC", name))


def printable(name: str) -> str:
    r"""Return a name that any file and terminal can hold: control characters and bytes not of UTF-8 become \xNN."""
    if name.isascii() and name.isprintable():
        return name
    text = os.fsencode(name).decode("utf-8", "backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)
