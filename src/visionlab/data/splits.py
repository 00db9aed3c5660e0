"""Divides images into train, validation and test: stratified, without leaks, the same on every machine.

The order that images are taken in is that of sha256(seed, name), so it depends neither on a library's random numbers
nor on the order in which a file system lists files. Where an index has groups, `visionlab.data.grouped` takes whole
ones in that order.
"""

import hashlib
import logging
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionlab.data import grouped
from visionlab.data.index import Index, IntArray, Split, canonical
from visionlab.data.values import share
from visionlab.errors import ConfigError, DataError

log = logging.getLogger(__name__)
UNUSED, LEAK = -2, -3  # sides of images that are not fit for use, or have a copy on another side
VAL_FRACTION = 0.2  # where neither the publisher nor the user says anything


@dataclass(frozen=True)
class Plan:
    """How to divide.

    Attributes:
        val_fraction: Share of the training images that becomes validation; None keeps the publisher's validation
            split, or takes `VAL_FRACTION` where there is none. Where a list leaves some images free and says of others
            to train on them, this and `test_fraction` are of all but those.
        test_fraction: Share of the images that becomes test, without those of a publisher's validation split that is
            kept; None keeps the publisher's test split, if there is one.
        folds: Number of folds of a cross-validation, which then replace the validation split.
        fold: The fold that is validated on.
        train_fraction: Share of the training split that is used; a smaller part is contained in a larger one.
        seed: Of the order.
    """

    val_fraction: float | None = None
    test_fraction: float | None = None
    folds: int | None = None
    fold: int = 0
    train_fraction: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        for key in ("val_fraction", "test_fraction"):
            if getattr(self, key) is not None:
                share(key, getattr(self, key), whole=False)
        share("train_fraction", self.train_fraction, whole=True)
        if self.folds is not None and (self.folds < 2 or not 0 <= self.fold < self.folds):
            raise ConfigError(
                f"data.fold={self.fold} of data.folds={self.folds} does not exist",
                where="data.folds, data.fold",
                remedy="give at least 2 folds and count the fold from 0, for example data.folds=5 data.fold=0,1,2,3,4",
            )


@dataclass(frozen=True)
class Splits:
    """Rows of the index, each array ascending.

    Attributes:
        train: int64 [T].
        val: int64 [V].
        test: int64 [E], empty where the set has no test split.
        leaks: int64 [L], rows left out because a byte-identical image is in validation or test.
    """

    train: IntArray
    val: IntArray
    test: IntArray
    leaks: IntArray

    def hash(self, index: Index) -> str:
        """Return a digest of which image is in which split under which class."""
        classes = [canonical(name) for name in index.classes]
        digest = hashlib.sha256()
        for split, rows in (("train", self.train), ("val", self.val), ("test", self.test)):
            for row in rows:
                digest.update(f"{split}\t".encode() + classes[index.labels[row]] + b"\t" + canonical(index.names[row]))
                digest.update(b"\n")
        return digest.hexdigest()[:16]


def divide(index: Index, rows: IntArray, groups: IntArray, plan: Plan, *, empty_classes: bool = False) -> Splits:
    """Divide rows of an index.

    Args:
        index: The images.
        rows: int64 [M], the rows that are fit for use.
        groups: int64 [N], equal for images that are byte-identical; these are never divided, nor are those of one of
            the index's own groups.
        plan: How.
        empty_classes: Whether there may be classes without images to train on.

    Raises:
        DataError: No image is left to train or to validate on, or there are fewer groups than folds.
    """
    labels, keys = index.labels, order_keys(index, rows, groups, plan.seed)
    together = groups
    if index.groups is not None:
        together = grouped.joined(rows, index.groups, groups)
        keys[rows] = keys[together[rows]]  # that of its first image: the least of all would put large groups first
    side = np.full(len(index), UNUSED)
    side[rows] = np.where(index.splits[rows] == Split.FREE, Split.TRAIN, index.splits[rows])
    anew = plan.val_fraction is not None or plan.folds is not None
    if plan.test_fraction is not None:
        side[side == Split.TEST] = Split.TRAIN
    if anew:
        side[side == Split.VAL] = Split.TRAIN
    drawn = _drawn(index, rows, together)
    if plan.test_fraction is not None:
        pool = np.flatnonzero((side == Split.TRAIN) & drawn)
        side[_taken(index, pool, together, keys, plan.test_fraction, "test")] = Split.TEST
    # The publisher's own splits may share images. The copies go from the side that is learnt from.
    for above, below in ((Split.TEST, (Split.TRAIN, Split.VAL)), (Split.VAL, (Split.TRAIN,))):
        shown = np.zeros(len(index), dtype=np.bool_)
        shown[groups[side == above]] = True
        side[shown[groups] & np.isin(side, below)] = LEAK
    pool = np.flatnonzero((side == Split.TRAIN) & drawn)
    if plan.folds is not None:
        side[_fold(index, pool, together, keys, plan.folds, plan.fold)] = Split.VAL
    elif anew or not (side == Split.VAL).any():
        side[_taken(index, pool, together, keys, plan.val_fraction or VAL_FRACTION, "validate on")] = Split.VAL
    train, val, test, leaks = (np.flatnonzero(side == name) for name in (Split.TRAIN, Split.VAL, Split.TEST, LEAK))
    if index.groups is None or plan.train_fraction == 1:
        train = part(train, labels, keys, plan.train_fraction)
    else:
        train = grouped.part(train, labels, together, keys, plan.train_fraction)
    counts = np.bincount(index.labels[train], minlength=len(index.classes))
    if len(bare := np.flatnonzero(counts == 0)) and not (empty_classes and len(train)):
        copies = int(np.isin(labels[leaks], bare).sum())
        why = f"; {copies:,} of them are copies of images to validate or test on" if copies else ""
        raise DataError(
            f"no image is left to train on of {len(bare)} of {len(counts)} classes: "
            + ", ".join(index.classes[label] for label in bare[:10])
            + why,
            where=str(index.root),
            remedy="give each split images of its own" if copies else "add images of them, or move their folders away",
        )
    for name, key, part_of in (("validate on", "val", val), ("test", "test", test)):
        if len(part_of) or (name == "test" and plan.test_fraction is None):
            continue
        told = len(rows) - int(drawn[rows].sum())
        stay = f", of which {told} are said to be trained on and stay there" if told else ""
        own = 0 if index.groups is None else len(np.unique(index.groups[rows]))
        whole = f" in {own:,} group{'s' * (own > 1)}" if own else ""
        more = f"add images{' of other groups' if whole else ''}"
        raise DataError(
            f"no image is left to {name}: {len(rows)} images{whole} of {len(index.classes)} classes{stay}",
            where=str(index.root),
            remedy=f"{more}, mark some as {key} in the list, or choose another data.{key}_fraction"
            if told
            else f"{more} or choose another data.{key}_fraction",
        )
    return Splits(train=train, val=val, test=test, leaks=leaks)


def _taken(index: Index, pool: IntArray, together: IntArray, keys: IntArray, fraction: float, purpose: str) -> IntArray:
    """Take a share of the rows, and say so where whole groups make it quite another than was wished."""
    if index.groups is None:
        return carve(pool, index.labels, together, keys, fraction)
    taken = grouped.carve(whole_groups(pool, together, keys), index.labels, fraction)
    if len(taken) and abs(len(taken) - len(pool) * fraction) > len(pool) * fraction / 2:
        shares = round(100 * len(taken) / len(pool)), round(100 * fraction)
        log.warning("groups stay together, so %d %% of the images are to %s, not %d %%", shares[0], purpose, shares[1])
    return taken


def _fold(index: Index, pool: IntArray, together: IntArray, keys: IntArray, folds: int, fold: int) -> IntArray:
    """Return the rows of a fold.

    Raises:
        DataError: There are fewer groups than folds.
    """
    if index.groups is None:
        chosen: IntArray = pool[fold_numbers(pool, index.labels, together, keys, folds) == fold]
        return chosen
    members = whole_groups(pool, together, keys)
    number = grouped.fold_numbers(members, index.labels, folds)
    if len(np.unique(number[number >= 0])) < folds:
        free = int((number >= 0).sum())
        alone = f"; of {len(number) - free} more each has all images of a class" if free < len(number) else ""
        raise DataError(
            f"there are fewer groups of images ({free}) than folds ({folds}){alone}",
            where="data.folds",
            remedy=f"give data.folds={free} or less" if free > 1 else "add images of other groups",
        )
    return np.sort(np.array([row for one, at in zip(members, number, strict=True) if at == fold for row in one]))


def _drawn(index: Index, rows: IntArray, groups: IntArray) -> NDArray[np.bool_]:
    """Return bool [N]: which images may be drawn from those to train on, to validate or test on.

    What a list says to train on stays there, with its copies, where the list leaves other images free.
    """
    told = np.zeros(len(index), dtype=np.bool_)
    if (index.splits[rows] == Split.FREE).any():
        told[groups[rows[index.splits[rows] == Split.TRAIN]]] = True
    drawn: NDArray[np.bool_] = ~told[groups]
    return drawn


def order_keys(index: Index, rows: IntArray, groups: IntArray, seed: int) -> IntArray:
    """Return int64 [N], the random order of the rows; byte-identical images share their key."""
    prefix = f"{seed}/".encode()
    keys = np.zeros(len(index), dtype=np.int64)
    digests = b"".join(hashlib.sha256(prefix + canonical(index.names[row])).digest()[:8] for row in rows)
    keys[rows] = np.frombuffer(digests, dtype="<i8") >> 1  # halved, so that differences cannot overflow
    lowest = np.full(len(index), np.iinfo(np.int64).max)
    np.minimum.at(lowest, groups[rows], keys[rows])
    keys[rows] = lowest[groups[rows]]
    return keys


def carve(pool: IntArray, labels: IntArray, groups: IntArray, keys: IntArray, fraction: float) -> IntArray:
    """Take a stratified share of the rows, never a class's last image and never a part of a group."""
    classes = labels[pool]
    counts = np.bincount(classes)
    left = quotas(counts, fraction)
    if not len(pool) or np.bincount(groups[pool]).max() == 1:
        return leading(pool, labels, keys, left)
    taken: list[int] = []
    for members in whole_groups(pool, groups, keys):
        need = np.bincount(labels[members], minlength=len(left))
        if (need <= left).all():
            taken += members
            left -= need
    return np.sort(np.array(taken, dtype=np.int64))


def whole_groups(pool: IntArray, groups: IntArray, keys: IntArray) -> list[list[int]]:
    """Return the rows of each group, the groups in the order of their keys."""
    members: dict[int, list[int]] = {}
    for row in pool[np.lexsort((pool, keys[pool]))].tolist():
        members.setdefault(int(groups[row]), []).append(row)
    return list(members.values())


def quotas(counts: IntArray, fraction: float) -> IntArray:
    """Return how many of each class to take: largest remainders, the sum rounded up, one image of a class kept."""
    exact = counts * fraction
    quota: IntArray = np.floor(exact + 1e-9).astype(np.int64)
    limit = np.maximum(counts - 1, 0)
    quota = np.minimum(quota, limit)
    missing = min(math.ceil(round(counts.sum() * fraction, 6)), int(limit.sum())) - int(quota.sum())
    while missing > 0:
        open_classes = np.flatnonzero(quota < limit)
        # the class that is furthest below its share gets the next image; ties go to the first class
        best = open_classes[np.argsort(quota[open_classes] - exact[open_classes], kind="stable")[:missing]]
        quota[best] += 1
        missing -= len(best)
    return quota


def fold_numbers(pool: IntArray, labels: IntArray, groups: IntArray, keys: IntArray, folds: int) -> IntArray:
    """Return int64 [M], the fold of each row: stratified, groups whole, sizes as equal as that allows.

    -1 is a group that is trained on in every fold, because a class would be left without images in one.
    """
    per_class = np.zeros((labels.max() + 1, folds), dtype=np.int64)
    total = np.zeros(folds, dtype=np.int64)
    number = np.zeros(len(labels), dtype=np.int64)
    # Class by class, so that what one class leaves uneven the next ones level out.
    for members in sorted(whole_groups(pool, groups, keys), key=lambda rows: int(labels[rows[0]])):
        here = labels[members]
        fold = int(np.lexsort((total, per_class[here[0]]))[0])
        number[members] = fold
        per_class[:, fold] += np.bincount(here, minlength=len(per_class))
        total[fold] += len(members)
    for label in np.flatnonzero((per_class > 0).sum(axis=1) == 1):
        own = pool[labels[pool] == label]
        number[groups == groups[own[keys[own].argmin()]]] = -1
    return number[pool]


def part(train: IntArray, labels: IntArray, keys: IntArray, fraction: float) -> IntArray:
    """Return a share of each class, at least one image; a smaller share lies within a larger one."""
    if fraction == 1:
        return train
    return leading(train, labels, keys, np.maximum(1, np.round(np.bincount(labels[train]) * fraction)).astype(np.int64))


def leading(rows: IntArray, labels: IntArray, keys: IntArray, wanted: IntArray) -> IntArray:
    """Return the first `wanted` int64 [K] rows of each class in the order of the keys."""
    order = rows[np.lexsort((rows, keys[rows], labels[rows]))]
    place = np.arange(len(order)) - np.searchsorted(labels[order], labels[order])
    return np.sort(order[place < wanted[labels[order]]])


def tell_unseen(index: Index, splits: Splits) -> None:
    """Say of which classes validation or test has no image: figures say nothing about them."""
    for name, rows in (("validate on", splits.val), ("test", splits.test)):
        counts = np.bincount(index.labels[rows], minlength=len(index.classes))
        missing = [index.classes[label] for label in np.flatnonzero(counts == 0)]
        if missing and len(rows):
            shown = ", ".join(missing[:5] + ["..."] * (len(missing) > 5))
            log.warning("no image to %s of %d of %d classes: %s", name, len(missing), len(counts), shown)
