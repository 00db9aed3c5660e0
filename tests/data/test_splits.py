"""Splits are stratified, the same everywhere, and leave no copy of an image on the other side."""

import itertools
import subprocess
import sys

import numpy as np
import pytest

from visionlab.data.index import Index, Split
from visionlab.data.splits import Plan, divide, quotas
from visionlab.errors import ConfigError, DataError


def index_of(counts, splits=Split.FREE, root=".") -> Index:
    labels = np.repeat(np.arange(len(counts)), counts)
    names = [f"class{label}/{number:05d}.jpg" for label, count in enumerate(counts) for number in range(count)]
    published = np.full(len(labels), splits) if np.isscalar(splits) else np.asarray(splits)
    return Index(root, names, labels, [f"class{i}" for i in range(len(counts))], published.astype(np.int64))


def split(index, groups=None, **plan):
    rows = np.arange(len(index))
    return divide(index, rows, rows if groups is None else np.asarray(groups), Plan(**plan))


def per_class(index, rows):
    return np.bincount(index.labels[rows], minlength=len(index.classes)).tolist()


def test_fractions_are_stratified_and_cover_everything():
    index = index_of([100, 50, 10])
    parts = split(index, val_fraction=0.25, test_fraction=0.2)
    assert per_class(index, parts.test) == [20, 10, 2]
    assert per_class(index, parts.val) == [20, 10, 2]
    assert sorted([*parts.train, *parts.val, *parts.test]) == list(range(160))


def test_counts_of_the_reports():
    # report 004: one fifth of 4,141 is 829; report 003: half of 5,784
    index = index_of([1381, 1380, 1380])
    assert len(split(index, val_fraction=0.2).val) == 829
    counts = np.random.default_rng(0).integers(20, 300, 101)
    counts[-1] += -counts.sum() % 2
    assert len(split(index_of(counts), val_fraction=0.5).val) == counts.sum() // 2


@pytest.mark.parametrize("fraction", [0.01, 0.1, 1 / 3, 0.5, 0.9])
def test_quotas_sum_up_stay_near_their_share_and_keep_an_image(fraction):
    counts = np.array([1, 2, 3, 7, 50, 333])
    quota = quotas(counts, fraction)
    assert quota.sum() == min(np.ceil(round(396 * fraction, 6)), 390)
    assert (quota < counts).all()
    assert (np.abs(quota - counts * fraction) <= 2).all()


def test_the_same_in_another_process_and_fixed_for_ever():
    index = index_of([30, 30, 7])
    here = split(index, val_fraction=0.2, test_fraction=0.1, seed=3).hash(index)
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_splits import index_of, split\n"
        "i = index_of([30, 30, 7]); print(split(i, val_fraction=0.2, test_fraction=0.1, seed=3).hash(i))"
    )
    folder = __file__.rsplit("/", 1)[0]
    there = subprocess.run([sys.executable, "-c", code, folder], capture_output=True, text=True, check=True).stdout
    assert there.strip() == here
    # A change of this value means that everybody's splits change with an update: do not let that happen unnoticed.
    assert here == "3778b3abb3034c90"


def test_another_seed_is_another_split():
    index = index_of([50, 50])
    assert split(index, seed=0).hash(index) != split(index, seed=1).hash(index)
    assert split(index, seed=0).hash(index) == split(index, seed=0).hash(index)


def test_names_stored_differently_by_other_systems_split_alike():
    composed, decomposed = index_of([20, 20]), index_of([20, 20])
    composed.names = [f"\u00e9/{name}" for name in composed.names]  # as Linux stores an accent
    decomposed.names = [f"e\u0301/{name}" for name in decomposed.names]  # as macOS does
    composed.classes[0], decomposed.classes[0] = "\u00e9", "e\u0301"
    assert split(composed).hash(composed) == split(decomposed).hash(decomposed)


def test_an_added_image_moves_few_others():
    small, large = index_of([100, 100]), index_of([100, 101])
    before = {small.names[row] for row in split(small).val}
    after = {large.names[row] for row in split(large).val}
    assert len(before - after) <= 1


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_are_a_partition_and_stratified(folds):
    index = index_of([23, 41, 10])
    parts = [split(index, folds=folds, fold=fold, val_fraction=0.5) for fold in range(folds)]
    assert sorted(np.concatenate([part.val for part in parts])) == list(range(74))
    for part in parts:
        assert sorted([*part.train, *part.val]) == list(range(74))
        assert abs(len(part.val) - 74 / folds) <= 1
        assert (np.abs(np.array(per_class(index, part.val)) - np.array([23, 41, 10]) / folds) < 1).all()


def test_folds_are_fixed_for_ever():
    index = index_of([23, 41, 10])
    groups = np.arange(74)
    groups[20:26] = 20  # some of them of two classes
    hashes = [split(index, groups, folds=3, fold=fold, seed=1).hash(index) for fold in range(3)]
    assert hashes == ["621b2107cf87bcf0", "12bdd170dfee6efa", "65051d3753c70659"]


@pytest.mark.parametrize(
    ("counts", "groups"),
    [
        ([6, 5, 1], range(12)),
        ([6, 3], [0, 1, 2, 3, 4, 5, 6, 6, 6]),
        ([7, 2], [0, 1, 2, 3, 4, 5, 6, 0, 0]),
        ([7, 2], [0, 1, 2, 3, 4, 5, 6, 0, 2]),
    ],
    ids=["one image", "copies of one", "copies in another class too", "two such copies"],
)
def test_a_class_that_would_be_missing_in_one_fold_is_trained_on_in_all(counts, groups):
    index, groups = index_of(counts), np.array(groups)
    for seed, folds in itertools.product(range(5), (2, 3)):
        shown = []
        for fold in range(folds):
            parts = split(index, groups, folds=folds, fold=fold, seed=seed)
            assert min(per_class(index, parts.train)) > 0
            assert not set(groups[parts.train]) & set(groups[parts.val])
            assert sorted([*parts.train, *parts.val]) == list(range(len(groups)))
            shown += parts.val.tolist()
        assert len(shown) == len(set(shown)) >= len(groups) - 3


def test_folds_leave_the_test_split_alone():
    index = index_of([10, 10], splits=[Split.TRAIN] * 7 + [Split.TEST] * 3 + [Split.TRAIN] * 7 + [Split.TEST] * 3)
    for fold in range(3):
        assert split(index, folds=3, fold=fold).test.tolist() == [7, 8, 9, 17, 18, 19]


def test_copies_of_an_image_stay_together():
    index = index_of([60, 60])
    groups = np.arange(120)
    for first in range(0, 60, 4):
        groups[first : first + 4] = first
    for plan in ({"val_fraction": 0.3, "test_fraction": 0.3}, {"folds": 3, "fold": 1}):
        for seed in range(5):
            parts = split(index, groups, seed=seed, **plan)
            sides = [set(groups[rows]) for rows in (parts.train, parts.val, parts.test)]
            assert not (sides[0] & sides[1] or sides[0] & sides[2] or sides[1] & sides[2])
            assert len(parts.val) >= 21
            assert len(parts.train) + len(parts.val) + len(parts.test) == 120


def test_copies_across_published_splits_leave_the_training_side():
    index = index_of([6, 6], splits=[Split.TRAIN, Split.TRAIN, Split.TRAIN, Split.VAL, Split.VAL, Split.TEST] * 2)
    groups = np.arange(12)
    groups[5] = groups[0]  # test and train
    groups[4] = groups[1]  # validation and train
    groups[11] = groups[10]  # test and validation
    parts = split(index, groups)
    assert parts.leaks.tolist() == [0, 1, 10]
    assert parts.train.tolist() == [2, 6, 7, 8]
    assert parts.val.tolist() == [3, 4, 9]
    assert parts.test.tolist() == [5, 11]


def test_a_class_of_copies_alone_is_called_that():
    index = index_of((4, 4), np.array([Split.TRAIN, Split.TRAIN, Split.VAL, Split.VAL] * 2))
    with pytest.raises(DataError, match="2 of them are copies of images to validate or test on"):
        split(index, groups=np.array([2, 3, 2, 3, 4, 5, 6, 7]))


def test_published_splits_are_kept_and_fractions_divide_anew():
    index = index_of([10, 10], splits=([Split.TRAIN] * 6 + [Split.VAL] * 2 + [Split.TEST] * 2) * 2)
    kept = split(index)
    assert (len(kept.train), len(kept.val), len(kept.test)) == (12, 4, 4)
    anew = split(index, val_fraction=0.25)
    assert (len(anew.train), len(anew.val), anew.test.tolist()) == (12, 4, kept.test.tolist())
    assert len(split(index, test_fraction=0.5, val_fraction=0.5).test) == 10


def test_parts_of_train_are_nested_and_stratified():
    index = index_of([100, 40, 3])
    sizes = [split(index, train_fraction=fraction) for fraction in (0.05, 0.1, 0.5, 1.0)]
    for small, large in itertools.pairwise(sizes):
        assert set(small.train) < set(large.train)
        assert (small.val == large.val).all()
    assert per_class(index, sizes[2].train) == [40, 16, 1]
    assert per_class(index, sizes[0].train) == [4, 2, 1]


def test_a_class_of_one_image_is_trained_on():
    index = index_of([10, 1])
    parts = split(index, val_fraction=0.5)
    assert 10 in parts.train


def test_impossible_wishes_are_refused():
    for plan in ({"val_fraction": 1.5}, {"val_fraction": 0}, {"test_fraction": -0.1}, {"train_fraction": 0},
                 {"folds": 1}, {"folds": 5, "fold": 5}):  # fmt: skip
        with pytest.raises(ConfigError, match=r"data\."):
            Plan(**plan)
    with pytest.raises(DataError, match="validate"):
        split(index_of([1, 1]))
    with pytest.raises(DataError, match="train on of 1 of 2 classes: class1"):
        split(index_of([3, 3], splits=[Split.TRAIN] * 2 + [Split.VAL] + [Split.TEST] * 2 + [Split.VAL]))


def mixed(told=20, free=20):
    return index_of(
        [told + free] * 2, [Split.TRAIN] * told + [Split.FREE] * free + [Split.TRAIN] * told + [Split.FREE] * free
    )


@pytest.mark.parametrize("plan", [{}, {"val_fraction": 0.5}, {"test_fraction": 0.3}, {"folds": 4, "fold": 1}])
def test_what_a_list_says_to_train_on_is_trained_on(plan):
    index = mixed()
    parts = split(index, **plan)
    told = np.flatnonzero(index.splits == Split.TRAIN)
    assert set(told) <= set(parts.train) and len(parts.val) > 0
    shares = {"val_fraction": 20, "folds": 10}  # of 40 free ones
    assert len(parts.val) == next((shares[key] for key in plan if key in shares), 6 if plan else 8)


def test_what_a_list_says_to_validate_or_test_on_may_be_drawn_anew_beside_free_images():
    """By hand: of the 40 that are not said to be trained on a fifth is 8, and in four folds each is validated once."""
    listed = index_of([60], [Split.TRAIN] * 20 + [Split.VAL] * 20 + [Split.FREE] * 20)
    parts = split(listed, val_fraction=0.2)
    assert len(parts.val) == 8 and set(range(20)) <= set(parts.train)
    each = [split(listed, folds=4, fold=fold).val for fold in range(4)]
    assert sorted(np.concatenate(each)) == list(range(20, 60))
    tested = index_of([60], [Split.TRAIN] * 20 + [Split.TEST] * 20 + [Split.FREE] * 20)
    parts = split(tested, test_fraction=0.5)
    assert len(parts.test) == 20 and set(parts.test) & set(range(20, 40)) and set(range(20)) <= set(parts.train)


@pytest.mark.parametrize("wish", ["val", "test"])
def test_a_list_that_leaves_too_little_free_says_so(wish):
    sides = [Split.TRAIN] * 10 + [Split.VAL] * 4 * (wish == "test") + [Split.FREE]
    index = index_of([len(sides)], sides)
    with pytest.raises(DataError, match="10 are said to be trained on and stay there") as error:
        split(index, **{f"{wish}_fraction": 0.2})
    assert f"data.{wish}_fraction" in error.value.remedy and f"mark some as {wish}" in error.value.remedy


def test_a_copy_of_an_image_to_train_on_is_not_validated_on():
    index = mixed(told=2, free=3)
    groups = np.arange(10)
    groups[[2, 7]] = 0, 5  # the first free one of each class is a copy
    for seed in range(20):
        assert not {2, 7} & set(split(index, groups, val_fraction=0.5, seed=seed).val)
