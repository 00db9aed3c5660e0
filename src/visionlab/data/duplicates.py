"""Finds pictures that are alike without being equal: other scale, crop of a few pixels, compression or tone.

Two steps. A perceptual hash of 64 bits (Zauner, "Implementation and benchmarking of perceptual image hash functions",
2010) compares all pairs: the signs of the lowest frequencies of the grey image of 32 x 32 px, here each relative to its
median over the data set, so that what all images share (a black border, a face in the middle) says nothing. Pairs that
differ in at most 8 bits then count if their colour thumbnails of 16 x 16 px correlate by at least 0.95, both less the
mean thumbnail of the set (or all portraits would) and less their own mean colours (or all blue skies would).
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from visionlab.data.color import luma
from visionlab.data.index import IntArray

SIDE = 32  # px of the thumbnails
BITS = 64
MOST_BITS = 8  # that a pair may differ in
LEAST_CORRELATION = 0.95
LIMIT = 300_000  # images; all pairs of more would take minutes
MOST_PAIRS = 200_000  # that are looked at; of the frames of videos each pair may be alike
_BLOCK = 2048
_PRODUCTS = 1 << 26  # hashes of a block times hashes of all: 256 MiB
_ROWS = 64  # of a block, whose pairs are listed at once


@dataclass(frozen=True)
class Pairs:
    """Pairs of images that are alike, the most alike first.

    Attributes:
        rows: int64 [P, 2], each pair ascending.
        correlation: float32 [P], of the thumbnails: the lesser of the two.
        complete: Whether these are all, and not only those among the first images, as there are too many.
    """

    rows: IntArray
    correlation: NDArray[np.float32]
    complete: bool = True


@dataclass(frozen=True)
class Looks:
    """What images are compared by: 3.3 kB of each.

    Attributes:
        frequencies: float [N, 64], the lowest of the grey image.
        colours: float [N, 3, 16, 16], thumbnails.
    """

    frequencies: Tensor
    colours: Tensor

    @classmethod
    def room(cls, count: int) -> "Looks":
        """Return room for so many images."""
        return cls(torch.zeros(count, BITS), torch.zeros(count, 3, SIDE // 2, SIDE // 2))

    def __getitem__(self, rows: IntArray) -> "Looks":
        """Return the looks of some rows."""
        return Looks(self.frequencies[rows], self.colours[rows])

    def put(self, rows: IntArray, images: Tensor) -> None:
        """Look at images float [B, 3, H, W], and keep it as these rows."""
        thumbs = thumbnails(images)
        self.frequencies[rows], self.colours[rows] = frequencies(thumbs), F.avg_pool2d(thumbs, 2)


def thumbnails(images: Tensor) -> Tensor:
    """Shrink images to means of areas.

    Args:
        images: float [B, 3, H, W].

    Returns:
        float [B, 3, 32, 32].
    """
    height, width = images.shape[-2:]
    if height % SIDE or width % SIDE:
        return F.adaptive_avg_pool2d(images, SIDE)
    return F.avg_pool2d(images, (height // SIDE, width // SIDE))  # the same, several times as fast


def frequencies(thumbs: Tensor) -> Tensor:
    """Return the lowest frequencies but the mean, float [N, 64], of thumbnails float [N, 3, 32, 32] in grey."""
    numbers, places = torch.arange(9.0)[:, None], torch.arange(SIDE) + 0.5
    cosines = (numbers * places * (math.pi / SIDE)).cos()
    found = cosines @ luma(thumbs)[:, 0] @ cosines.T  # [N, 9, 9]
    rank = (torch.arange(9)[:, None] + torch.arange(9)).flatten()
    return found.flatten(1)[:, rank.argsort(stable=True)[1 : BITS + 1]]


def alike(looks: Looks) -> Pairs:
    """Find the pairs of images that are alike, at most `MOST_PAIRS` of them."""
    found = _close(hashes(looks.frequencies))
    colours = looks.colours
    mean = colours.mean(0)
    parts = []
    for part in found.split(_BLOCK):  # else all thumbnails would be copied for each of the two views
        one, two = colours[part[:, 0]], colours[part[:, 1]]
        parts.append(torch.minimum(_correlation(one - mean, two - mean), _correlation(_centred(one), _centred(two))))
    correlation = torch.cat(parts)
    order = correlation.argsort(descending=True)
    order = order[correlation[order] >= LEAST_CORRELATION]
    return Pairs(found[order].numpy(), correlation[order].numpy(), complete=len(found) < MOST_PAIRS)


def _centred(colours: Tensor) -> Tensor:
    """Take its mean colour from each thumbnail float [B, 3, 16, 16]."""
    return colours - colours.mean((2, 3), keepdim=True)


def _correlation(one: Tensor, two: Tensor) -> Tensor:
    """Return the cosines, float [P], of the angles between rows of float [P, ...]."""
    return (F.normalize(one.flatten(1)) * F.normalize(two.flatten(1))).sum(1)


def hashes(found: Tensor) -> Tensor:
    """Return the hashes of frequencies float [N, 64]: float [N, 64] of -1 and 1."""
    return (found > found.median(0).values).float() * 2 - 1


def _close(signs: Tensor) -> Tensor:
    """Return the first pairs int64 [P, 2] of rows of float [N, 64] that differ in at most `MOST_BITS` places."""
    least = BITS - 2 * MOST_BITS  # a product of signs loses 2 for each bit that differs
    found = [torch.zeros(0, 2, dtype=torch.int64)]
    count = 0
    size = min(_BLOCK, _PRODUCTS // max(1, len(signs)))
    for start in range(0, len(signs), size):
        block = signs[start : start + size]
        products = block @ signs[start:].T
        products[:, : len(block)].triu_(1)  # each pair once
        rows = (products.amax(1) >= least).nonzero().squeeze(1)  # few, so the rest is not looked at in detail
        for part in rows.split(_ROWS):
            pairs = (products[part] >= least).nonzero()
            found.append(torch.stack([part[pairs[:, 0]], pairs[:, 1]], 1) + start)
            count += len(pairs)
            if count >= MOST_PAIRS:
                return torch.cat(found)[:MOST_PAIRS]
    return torch.cat(found)


def groups(rows: IntArray) -> list[list[int]]:
    """Join pairs int64 [P, 2] that share an image; the largest groups first, each ascending."""
    above: dict[int, int] = {}

    def top(row: int) -> int:
        while above.setdefault(row, row) != row:
            above[row] = row = above[above[row]]
        return row

    for a, b in rows.tolist():
        first, second = sorted((top(a), top(b)))
        above[second] = first
    members: dict[int, list[int]] = {}
    for row in sorted(above):
        members.setdefault(top(row), []).append(row)
    return sorted(members.values(), key=lambda group: (-len(group), group[0]))
