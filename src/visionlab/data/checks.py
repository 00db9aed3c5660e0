"""Decides which images are fit for use, before the first step: readable, of the wanted shapes, no two alike."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from visionlab.data.endings import left_out
from visionlab.data.index import ByteArray, Index, IntArray, printable
from visionlab.data.store import Store
from visionlab.errors import ConfigError, DataError

log = logging.getLogger(__name__)
NAMED = 100  # bad files that an error names; a person reads no more
SAMPLED = 64  # images that are looked at for their brightness
DARK = 63  # of 255; what 14 bits reach in a file of 16
FEW = 10  # one in so many may be dark


@dataclass(frozen=True)
class Filters:
    """Which shapes of images are used.

    Attributes:
        keep_sizes: (width, height) pairs, px; None for all.
        min_side: Least shorter side, px; None for any.
        max_aspect: Largest ratio of the longer to the shorter side; None for any.
    """

    keep_sizes: tuple[tuple[int, int], ...] | None = None
    min_side: int | None = None
    max_aspect: float | None = None

    @classmethod
    def of(cls, keep_sizes: Sequence[str] | None, min_side: int | None, max_aspect: float | None) -> "Filters":
        """Read the config's values; sizes are "300x200", width first.

        Raises:
            ConfigError: A size that is none, or no list of them.
        """
        if not isinstance(keep_sizes, list | tuple | None):
            raise _no_size(keep_sizes)
        return cls(None if keep_sizes is None else tuple(map(_size, keep_sizes)), min_side, max_aspect)

    def passed(self, sizes: IntArray) -> dict[str, "np.ndarray[tuple[int], np.dtype[np.bool_]]"]:
        """Return for each filter in use, by its key, bool [N]: which of the sizes int64 [N, 2] (H, W) pass it."""
        short, long = sizes.min(axis=1), sizes.max(axis=1)
        passed = {}
        if self.keep_sizes is not None:
            wanted = [(sizes == (height, width)).all(axis=1) for width, height in self.keep_sizes]
            passed["keep_sizes"] = np.logical_or.reduce(wanted) if wanted else np.zeros(len(sizes), dtype=np.bool_)
        if self.min_side is not None:
            passed["min_side"] = short >= self.min_side
        if self.max_aspect is not None:
            passed["max_aspect"] = long <= self.max_aspect * short
        return passed


def _size(text: str) -> tuple[int, int]:
    width, x, height = str(text).lower().partition("x")
    if not (x and width.isdigit() and height.isdigit()):
        raise _no_size(text)
    return int(width), int(height)


def _no_size(given: object) -> ConfigError:
    return ConfigError(
        f"data.keep_sizes has {given!r}, which is no size",
        where="data.keep_sizes",
        remedy="give a list of WIDTHxHEIGHT in px, for example 'data.keep_sizes=[300x300]'",
    )


@dataclass(frozen=True)
class Fit:
    """The result of the checks.

    Attributes:
        rows: int64 [M], ascending: the rows that are fit for use.
        groups: int64 [N], equal for byte-identical images.
        skipped: int, bad files left out.
        removed: Images that each filter removed, by its config key; an image counts at the first that it fails.
    """

    rows: IntArray
    groups: IntArray
    skipped: int
    removed: dict[str, int]


def check(
    index: Index, store: Store, policy: Literal["error", "skip"], filters: Filters, *, empty_classes: bool = False
) -> Fit:
    """Find the images that are fit for use.

    Args:
        index: The images.
        store: Their pixels, and what is known of them.
        policy: What bad files are: an error, or left out.
        filters: Which of the others are left out.
        empty_classes: Whether classes may be left without images, as long as there are any.

    Raises:
        DataError: Bad files under the policy "error", or a class of which nothing is left.
    """
    if store.errors and policy == "error":
        raise bad_images(index, store.errors)
    usable = np.ones(len(index), dtype=np.bool_)
    usable[list(store.errors)] = False
    if store.errors:
        left = f"{len(store.errors):,} image{'s' * (len(store.errors) != 1)}"
        log.warning("left out %s that cannot be read: %s", left, _list(index, store.errors, 5))
    removed = {}
    for name, passed in filters.passed(store.sizes).items():
        removed[name] = int((usable & ~passed).sum())
        usable &= passed
    rows = np.flatnonzero(usable)
    counts = np.bincount(index.labels[rows], minlength=len(index.classes))
    if len(gone := np.flatnonzero(counts == 0)) and not (empty_classes and len(rows)):
        causes = [f"{count} by data.{name}" for name, count in removed.items() if count]
        causes += [f"{len(store.errors)} that cannot be read"] if store.errors else []
        raise DataError(
            f"no image is left of {len(gone)} of {len(counts)} classes: "
            + ", ".join(index.classes[label] for label in gone[:10])
            + f" (left out: {'; '.join(causes)})",
            where=str(index.root),
            remedy="loosen the filters, repair the files, or move the folders of these classes away",
        )
    if index.empty:
        verb = "folder has no images and makes" if len(index.empty) == 1 else "folders have no images and make"
        log.warning("%d %s no class: %s", len(index.empty), verb, ", ".join(index.empty[:10]))
    if index.others:
        log.warning("%s", left_out(index.others))
    _warn_of_darkness(store, rows)
    return Fit(rows, identical(store.digests, rows), len(store.errors), removed)


def _warn_of_darkness(store: Store, rows: IntArray) -> None:
    """Say where images are all but black: networks do not fail on them, they only learn little."""
    sample = rows[:: -(-len(rows) // SAMPLED)].tolist()
    brightest = np.array([int(store.pixels[row].max()) for row in sample])
    dark = brightest <= DARK
    if dark.sum() * FEW > len(sample):
        log.warning(
            "%d of %d images looked at are nearly black: no pixel of them is above %d of 255. If they are of 10 to 14 "
            "bits in files of 16, say which value is white, as '+data.white=4095' for 12 bits (data=folder).",
            *(dark.sum(), len(sample), brightest[dark].max()),
        )


def identical(digests: ByteArray, rows: IntArray) -> IntArray:
    """Return int64 [N] that is equal for rows with equal digests uint8 [N, 16]; other rows are groups of their own."""
    groups = np.arange(len(digests))
    words = np.ascontiguousarray(digests[rows]).view("<u8")  # two of 64 bits each
    order = np.lexsort((words[:, 1], words[:, 0]))  # stable: a group's first member has its lowest row
    same = (words[order[1:]] == words[order[:-1]]).all(axis=1)
    if same.any():
        start = np.concatenate([[True], ~same])
        first = order[np.flatnonzero(start)][np.cumsum(start) - 1]
        groups[rows[order]] = rows[first]
    return groups


def bad_images(index: Index, errors: dict[int, str]) -> DataError:
    """Return the error that names all bad files at once."""
    return DataError(
        f"{len(errors)} of {len(index)} images cannot be read:\n" + _list(index, errors, NAMED, "\n    "),
        where=str(index.root),
        remedy="repair or remove them, or leave them out with data.on_bad_image=skip",
    )


def _list(index: Index, errors: dict[int, str], most: int, between: str = "; ") -> str:
    named = [f"{printable(index.names[row])} ({why})" for row, why in sorted(errors.items())[:most]]
    rest = [f"and {len(errors) - most} more"] if len(errors) > most else []
    return (between if "\n" in between else "").lstrip("\n") + between.join(named + rest)
