"""Divides images by whole groups, as those of one patient: each class as near to its share as the groups allow."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionlab.data.index import IntArray

FloatArray = NDArray[np.float64]
Members = list[list[int]]  # the rows of each group, in the order in which groups are to be taken
EXCHANGED = 1_000  # groups; of more there are small ones, which fill what a large one leaves
DIGITS = 9  # of what is compared: the last bits of sums are not the same on every machine


def joined(rows: IntArray, *labellings: IntArray) -> IntArray:
    """Return int64 [N]: of each of the rows the first that it hangs together with, of any other the row itself.

    Args:
        rows: int64 [M], ascending.
        labellings: int64 [N] each, equal for rows that belong together; so do those that share a third.
    """
    first = np.arange(len(labellings[0]))
    before = np.zeros_like(first)
    while (first != before).any():
        before = first.copy()
        for labels in labellings:
            least = np.full(len(first), len(first))
            np.minimum.at(least, labels[rows], first[rows])
            first[rows] = least[labels[rows]]
    return first


@dataclass(frozen=True)
class _Counts:
    """How many images groups have.

    Attributes:
        kinds: Of each of G groups int64 [k], the classes that it has images of, counted among those that there are.
        images: Of each int64 [k], the number of its images of each of these.
        total: int64 [K], of all groups.
    """

    kinds: list[IntArray]
    images: list[IntArray]
    total: IntArray

    @classmethod
    def of(cls, members: Members, labels: IntArray) -> "_Counts":
        """Count the images of groups, of the classes int64 [N]."""
        _, present = np.unique(labels[[row for group in members for row in group]], return_inverse=True)
        parts = np.split(present, np.cumsum([len(group) for group in members])[:-1])
        found = [np.unique(part, return_counts=True) for part in parts]
        return cls([kinds for kinds, _ in found], [images for _, images in found], np.bincount(present))

    def shares(self, group: int) -> FloatArray:
        """Return float [K + 1]: the share of each class that a group is, and the weighted share of all images."""
        found = np.zeros(len(self.total) + 1)
        found[self.kinds[group]] = self.images[group] / self.total[self.kinds[group]]
        # All images weigh as much as the classes together: where there are few groups of each class, some classes are
        # divided too coarsely or not at all, but not all of them in the same direction.
        found[-1] = self.images[group].sum() / self.total.sum() * len(self.total) ** 0.5
        return found


def carve(members: Members, labels: IntArray, fraction: float) -> IntArray:
    """Take a stratified share of the images: whole groups, at least one, and never the last of a class.

    What is made small is the sum over the classes of (share taken - fraction) squared, and the same of all images
    times the number of classes. Groups are gone through in their order, and each is taken that makes it smaller; then
    single groups are taken, put back or exchanged, the best first, until none of that makes it smaller still.

    Args:
        members: The groups.
        labels: int64 [N], the classes of all rows.
        fraction: The share to take.

    Returns:
        int64 [T], rows, ascending; none where each group has all that there is of some class.
    """
    if not members:
        return np.zeros(0, dtype=np.int64)
    counts = _Counts.of(members, labels)
    goal = np.full(len(counts.total) + 1, fraction)
    goal[-1] *= len(counts.total) ** 0.5
    off, left = -goal, counts.total.copy()
    taken: list[int] = []
    best, least = -1, np.inf
    for group, (kinds, images) in enumerate(zip(counts.kinds, counts.images, strict=True)):
        if (images < left[kinds]).all():
            shares = counts.shares(group)
            change = round(float(shares @ (2 * off + shares)), DIGITS)
            if change < least:
                best, least = group, change
            if change < 0:
                taken.append(group)
                off += shares
                left[kinds] -= images
    if not taken and best >= 0:
        taken = [best]
    if taken and len(members) <= EXCHANGED:
        taken = _exchanged(counts, taken, goal)
    return np.sort(np.array([row for group in taken for row in members[group]], dtype=np.int64))


def _exchanged(counts: _Counts, taken: list[int], goal: FloatArray) -> list[int]:
    """Take, put back or exchange single groups as long as that brings float [K + 1] shares nearer to the goal."""
    nobody = len(counts.kinds)
    shares = np.array([*map(counts.shares, range(nobody)), np.zeros(len(goal))])
    while True:
        out, new = [nobody, *taken], [nobody, *sorted({*range(nobody)} - {*taken})]
        have = shares[taken].sum(0)
        off = have - goal
        less, more = ((step * (2 * off + step)).sum(1) for step in (-shares[out], shares[new]))
        change = (less[:, None] + more - 2 * shares[out] @ shares[new].T).round(DIGITS)
        for place in np.argsort(change, axis=None, kind="stable"):
            i, j = np.unravel_index(place, change.shape)
            if change[i, j] >= 0:
                return taken
            after = sorted(({*taken} - {out[i]} | {new[j]}) - {nobody})
            if after and (have - shares[out[i]] + shares[new[j]])[:-1].max() < 1 - 10**-DIGITS:
                taken = after
                break


def fold_numbers(members: Members, labels: IntArray, folds: int) -> IntArray:
    """Return int64 [G], the fold of each group: stratified, sizes as equal as that allows.

    The procedure of scikit-learn's StratifiedGroupKFold: the largest groups come first, those of a size in their order,
    and each goes to the fold that has least of its classes so far, and among such to the smallest. (That class itself
    refuses sets without a class of as many images as folds, and what it returns hangs on its version.)

    -1 is a group that is trained on in every fold, because a class would be left without images in one. No fold is
    empty where there are as many other groups.
    """
    counts = _Counts.of(members, labels)
    load, size = np.zeros((folds, len(counts.total)), dtype=np.int64), np.zeros(folds, dtype=np.int64)
    number = np.full(len(members), -1)
    for group in sorted(range(len(members)), key=lambda group: -len(members[group])):
        kinds, images = counts.kinds[group], counts.images[group]
        if (images < counts.total[kinds]).all():
            near = (load[:, kinds] @ (images / counts.total[kinds] ** 2)).round(DIGITS)
            number[group] = fold = int(np.lexsort((size, near))[0])
            load[fold, kinds] += images
            size[fold] += len(members[group])
    for kind in np.flatnonzero((load > 0).sum(0) == 1):
        own = [group for group, kinds in enumerate(counts.kinds) if kind in kinds]
        if (number[own] >= 0).all():
            number[own[0]] = -1
    return number


def part(train: IntArray, labels: IntArray, groups: IntArray, keys: IntArray, fraction: float) -> IntArray:
    """Return a share of each class in whole groups, at least one; a smaller share lies within a larger one.

    In the order of the keys each image has a place in its class, from 0 to 1; the groups are kept whose images have a
    mean place within the share.

    Args:
        train: int64 [T], rows.
        labels: int64 [N], the classes of all rows.
        groups: int64 [N], equal for rows that stay together.
        keys: int64 [N], the order; equal for those too.
        fraction: The share to keep.
    """
    order = train[np.lexsort((train, keys[train], labels[train]))]
    number = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
    place = (number + 0.5) / np.bincount(labels[order])[labels[order]]
    _, group = np.unique(groups[order], return_inverse=True)
    mean = np.bincount(group, weights=place) / np.bincount(group)
    mean[group[number == 0]] = 0  # of each class the first group is kept, whatever the share
    return np.sort(order[mean.round(DIGITS)[group] <= fraction])
