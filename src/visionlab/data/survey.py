"""Measures a data set before anything is trained on it: classes, shapes, bad files, duplicates, colours."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visionlab.data import duplicates
from visionlab.data.checks import identical
from visionlab.data.duplicates import Looks, Pairs
from visionlab.data.index import IntArray, printable
from visionlab.data.module import ImageDataModule

log = logging.getLogger(__name__)
_PART = 1 << 22  # numbers of pixels held as floats at once: 16 MiB
FENCE = 3.5  # robust deviations from the median beyond which a shape is unusual
RARE = 0.1  # largest share of the images that can be unusual for not having the one usual size


@dataclass(frozen=True)
class Shapes:
    """What is usual among the shapes of the images, and what is not.

    Attributes:
        table: Of each (width, height), how often; the most frequent first.
        unusual: int64 [U], rows of unusual shape, the most unusual first.
        why: Of each of them, in words.
        overrides: Settings that leave such images out, each with the rows that it removes.
    """

    table: list[tuple[tuple[int, int], int]]
    unusual: IntArray
    why: list[str]
    overrides: list[tuple[str, IntArray]]


@dataclass(frozen=True)
class Colours:
    """Statistics of the pixels of some images, in 0 to 1.

    Attributes:
        images: How many.
        mean: Of red, green, blue.
        std: Standard deviations of the same.
    """

    images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]


class Survey:
    """What was measured of a data module that is set up.

    Args:
        data: The data; with `on_bad_image=skip`, as bad files are what one wants to see.
    """

    def __init__(self, data: ImageDataModule) -> None:
        self.data = data
        self.index, self.store = data.index, data.store
        bad = np.zeros(len(self.index), dtype=np.bool_)
        bad[list(self.store.errors)] = True
        self.readable: IntArray = np.flatnonzero(~bad)
        self.splits = {"train": data.splits.train, "val": data.splits.val, "test": data.splits.test}

    @cached_property
    def split_of(self) -> NDArray[np.str_]:
        """Of each row, train, val, test, or empty where it is in none (bad, filtered out, or a leak)."""
        names = np.full(len(self.index), "", dtype="<U5")
        for name, rows in self.splits.items():
            names[rows] = name
        return names

    def across(self, rows: Iterable[int]) -> bool:
        """Whether images stand in different ones of train, val and test."""
        return len({str(split) for split in self.split_of[list(rows)]} - {""}) > 1

    def disputed(self, rows: Iterable[int]) -> bool:
        """Whether images stand in different classes."""
        return len({int(label) for label in self.index.labels[list(rows)]}) > 1

    def name(self, row: int) -> str:
        """The path of an image."""
        return printable(self.index.names[row])

    def class_of(self, row: int) -> str:
        """The class of an image."""
        return self.index.classes[int(self.index.labels[row])]

    @cached_property
    def class_counts(self) -> dict[str, IntArray]:
        """int64 [K] each: of all images found, of each split, and of those in none of them."""
        k = len(self.index.classes)
        counts = {"all": np.bincount(self.index.labels, minlength=k)}
        for name, rows in self.splits.items():
            counts[name] = np.bincount(self.index.labels[rows], minlength=k)
        counts["left out"] = counts["all"] - sum(counts[name] for name in self.splits)
        return counts

    @cached_property
    def untaught(self) -> list[str]:
        """The classes without an image to train on: all of theirs are bad, filtered out, or held back."""
        return [self.index.classes[label] for label in np.flatnonzero(self.class_counts["train"] == 0)]

    @cached_property
    def shapes(self) -> Shapes:
        """Frequent and unusual shapes of the readable images."""
        return measure_shapes(self.store.sizes, self.readable)

    @cached_property
    def shape_filters(self) -> list[tuple[str, int]]:
        """Settings that leave out the images of unusual shape, each with their number.

        They are the exception, and every class keeps an image to train on: where all pictures of pencils are long and
        thin, that is what pencils look like.
        """
        kept = np.isin(np.arange(len(self.index)), self.splits["train"])
        classes = len(np.unique(self.index.labels[kept]))
        found = []
        for setting, removed in self.shapes.overrides:
            rest = kept.copy()
            rest[removed] = False
            if len(removed) <= RARE * len(self.readable) and len(np.unique(self.index.labels[rest])) == classes:
                found.append((setting, len(removed)))
                kept = rest
        return found

    @cached_property
    def unreadable(self) -> list[tuple[str, str]]:
        """Name of each bad file, and what is wrong with it."""
        return [(self.name(row), why) for row, why in sorted(self.store.errors.items())]

    @cached_property
    def exact(self) -> list[list[int]]:
        """Groups of rows whose files are equal byte for byte, the largest first."""
        group = identical(self.store.digests, self.readable)[self.readable]
        order = np.argsort(group, kind="stable")
        _, starts = np.unique(group[order], return_index=True)
        members = np.split(self.readable[order], starts[1:])
        return sorted(([int(row) for row in m] for m in members if len(m) > 1), key=lambda m: (-len(m), m[0]))

    @cached_property
    def near(self) -> Pairs | None:
        """Pairs of pictures that are alike but not equal; None where there are too many images to compare all.

        Of files that are equal byte for byte one is compared with others, if possible one that stands in a split.
        """
        _, looks = self._seen
        if looks is None:
            return None
        group = identical(self.store.digests, self.readable)[self.readable]
        order = np.lexsort((self.split_of[self.readable] == "", group))
        chosen = np.sort(order[np.unique(group[order], return_index=True)[1]])
        found = duplicates.alike(looks[chosen])
        if not found.complete:
            log.warning(
                "%d pairs or more look alike, as frames of a video do; those of the first images alone are compared",
                duplicates.MOST_PAIRS,
            )
        return Pairs(self.readable[chosen][found.rows], found.correlation, found.complete)

    @cached_property
    def colours(self) -> dict[str, Colours]:
        """Means and deviations of the pixels as the network gets them, of all readable images and of each split."""
        moments, _ = self._seen
        chosen = {"all": self.readable, **self.splits}
        return {name: _colours(moments[rows]) for name, rows in chosen.items() if len(rows)}

    @cached_property
    def _seen(self) -> tuple[Tensor, Looks | None]:
        """In one pass over the pixels: float64 [N, 2, 3] means of values and squares; looks of R images."""
        pixels = self.store.pixels
        moments = torch.zeros(len(pixels), 2, 3, dtype=torch.float64)
        looks = Looks.room(len(self.readable)) if len(self.readable) <= duplicates.LIMIT else None
        place = np.full(len(pixels), -1)
        place[self.readable] = np.arange(len(self.readable))
        # Images of one shape together: they fill the same part of the frame.
        sizes = self.store.sizes[self.readable] if self._framed else np.zeros((len(self.readable), 2), dtype=np.int64)
        order = np.lexsort(sizes.T)
        cuts = np.flatnonzero((np.diff(sizes[order], axis=0) != 0).any(axis=1)) + 1
        size = max(1, _PART // int(pixels[0].numel()))
        for run in np.split(self.readable[order], cuts):
            for start in range(0, len(run), size):
                rows = run[start : start + size]
                images = self.store.gather(torch.from_numpy(rows)).float()
                if looks is not None:
                    inside = self._content(*map(int, self.store.sizes[rows[0]])) if self._framed else ...
                    looks.put(place[rows], images[inside])
                moments[rows, 0] = images.mean(3).mean(2).double()
                moments[rows, 1] = images.square_().mean(3).mean(2).double()
        return moments, looks

    @property
    def _framed(self) -> bool:
        """Whether images may have black around them, by which all would look alike."""
        return self.data.transform.resize in ("pad", "none")

    def _content(self, height: int, width: int) -> tuple[Any, ...]:
        """The part of the stored frame that an image of this original size fills."""
        frame = self.data.transform.size
        scale = min(frame[0] / height, frame[1] / width) if self.data.transform.resize == "pad" else 1.0
        inner = [min(f, max(1, round(side * scale))) for f, side in zip(frame, (height, width), strict=True)]
        start = [(f - i) // 2 for f, i in zip(frame, inner, strict=True)]
        return (..., *(slice(s, s + i) for s, i in zip(start, inner, strict=True)))


def _colours(moments: Tensor) -> Colours:
    mean, square = (moments.mean(0) / torch.tensor([[255.0], [255.0**2]])).unbind()
    std = (square - mean.square()).clamp(min=0).sqrt()
    return Colours(len(moments), tuple(mean.tolist()), tuple(std.tolist()))


def measure_shapes(sizes: IntArray, rows: IntArray) -> Shapes:
    """Say which shapes are usual.

    Where nine of ten images have one size, each other size is unusual. Else an image is unusual if the logarithm
    of its shorter side or of its aspect ratio lies more than 3.5 robust deviations from the median (Iglewicz and
    Hoaglin, "How to detect and handle outliers", 1993).

    Args:
        sizes: int64 [N, 2], height and width in px.
        rows: int64 [M], the rows to look at.
    """
    kinds, counts = np.unique(sizes[rows], axis=0, return_counts=True)
    order = np.lexsort((kinds[:, 0], kinds[:, 1], -counts))
    table = [((int(kinds[i, 1]), int(kinds[i, 0])), int(counts[i])) for i in order]
    (width, height), frequent = table[0] if table else ((0, 0), 0)
    if len(rows) - frequent <= RARE * len(rows):
        return _unlike(sizes, rows, table, width, height)
    side = np.log(sizes[rows].min(axis=1))
    aspect = np.log(sizes[rows].max(axis=1)) - side
    small, large, long = -deviations(side), deviations(side), deviations(aspect)
    far = np.maximum(np.maximum(small, large), long)
    picked = np.flatnonzero(far > FENCE)
    picked = picked[np.argsort(-far[picked], kind="stable")]
    why = ["long and thin" if long[i] == far[i] else "small" if small[i] == far[i] else "large" for i in picked]
    overrides = []
    if (small > FENCE).any():
        least = int(sizes[rows[small > FENCE]].min(axis=1).max()) + 1
        overrides.append((f"data.min_side={least}", rows[np.exp(side) < least - 0.5]))
    if (long > FENCE).any():
        most = float(np.ceil(np.exp(aspect[long <= FENCE].max()) * 100) / 100)
        overrides.append((f"data.max_aspect={most:g}", rows[np.exp(aspect) > most]))
    return Shapes(table, rows[picked], why, overrides)


def _unlike(
    sizes: IntArray, rows: IntArray, table: list[tuple[tuple[int, int], int]], width: int, height: int
) -> Shapes:
    other = rows[(sizes[rows] != (height, width)).any(axis=1)]
    far = np.abs(np.log(sizes[other] / (height, width))).sum(axis=1)
    picked = other[np.argsort(-far, kind="stable")]
    overrides = [(f"data.keep_sizes=[{width}x{height}]", other)] if len(other) else []
    return Shapes(table, picked, [f"not {width} x {height}"] * len(picked), overrides)


def deviations(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance of each value [M] from the median, in robust standard deviations."""
    distance = values - np.median(values)
    spread = 1.4826 * np.median(np.abs(distance))
    if spread == 0:  # more than half are equal
        spread = 1.2533 * np.abs(distance).mean()
    return distance / spread if spread > 0 else distance
