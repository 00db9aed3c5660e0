"""Images of one group, as those of one patient, are never divided."""

import itertools
import json

import numpy as np
import pytest

from quick import QUICK
from visionlab import train
from visionlab.data.grouped import joined
from visionlab.data.index import Index, Split
from visionlab.data.listing import listed
from visionlab.data.splits import Plan, divide
from visionlab.errors import DataError

LABELS = {"class0": "a", "class1": "b"}


def index_of(groups) -> Index:
    """Index groups, each the numbers of its images of each class."""
    labels = [label for counts in groups for label, count in enumerate(counts) for _ in range(count)]
    numbers = np.repeat(np.arange(len(groups)), [sum(counts) for counts in groups])
    first = np.searchsorted(numbers, numbers)
    names = [f"{row:05d}.jpg" for row in range(len(labels))]
    classes = [f"class{label}" for label in range(len(groups[0]))]
    return Index(".", names, np.array(labels), classes, np.full(len(labels), Split.FREE), groups=first)


def split(index, copies=None, **plan):
    rows = np.arange(len(index))
    return divide(index, rows, rows if copies is None else copies, Plan(**plan))


def per_class(index, rows):
    return np.bincount(index.labels[rows], minlength=len(index.classes))


def whole(index, *parts):
    """Whether no group has rows in two of the parts."""
    return not any(set(index.groups[one]) & set(index.groups[two]) for one, two in itertools.combinations(parts, 2))


def patients(seed, count=30, classes=3, mixed=True):
    """Make groups of 1 to 20 images, of several classes or of one."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet([0.5] * classes, count) if mixed else np.eye(classes)[np.arange(count) % classes]
    return index_of([rng.multinomial(rng.integers(1, 21), share).tolist() for share in shares])


@pytest.mark.parametrize("mixed", [True, False], ids=["of several classes", "of one class"])
@pytest.mark.parametrize("fraction", [0.1, 0.2, 0.4])
def test_no_group_is_divided_between_splits_whose_shares_are_near_those_wished(mixed, fraction):
    for seed in range(15):
        index = patients(seed, mixed=mixed)
        parts = split(index, val_fraction=fraction, test_fraction=fraction, seed=seed)
        assert whole(index, parts.train, parts.val, parts.test)
        assert sorted([*parts.train, *parts.val, *parts.test]) == list(range(len(index)))
        shares = per_class(index, parts.test) / per_class(index, np.arange(len(index)))
        assert np.abs(shares - fraction).mean() < 0.05, "of ten groups a class, the largest are an eighth of it"
        assert abs(len(parts.test) / len(index) - fraction) < 0.02


def test_few_large_groups_are_chosen_to_fit():
    """By hand: 30 % of each class are one group of 30, and of the first those of 20 and 10 as well."""
    index = index_of([(40, 0), (30, 0), (20, 0), (10, 0), (0, 40), (0, 30), (0, 30)])
    for seed in range(30):
        assert per_class(index, split(index, val_fraction=0.3, seed=seed).val).tolist() == [30, 30]


@pytest.mark.parametrize("folds", [2, 5])
def test_folds_are_a_partition_of_whole_groups_and_stratified(folds):
    for seed in range(10):
        index = patients(seed, count=40)
        parts = [split(index, folds=folds, fold=fold, seed=seed) for fold in range(folds)]
        assert sorted(np.concatenate([part.val for part in parts])) == list(range(len(index)))
        assert whole(index, *(part.val for part in parts))
        for part in parts:
            assert sorted([*part.train, *part.val]) == list(range(len(index)))
            shares = per_class(index, part.val) / per_class(index, np.arange(len(index)))
            assert np.abs(shares - 1 / folds).max() < 0.08


def test_a_seed_is_a_division_and_fixed_for_ever():
    index = patients(1)
    hashes = [split(index, val_fraction=0.2, test_fraction=0.2, seed=seed).hash(index) for seed in (3, 3, 4)]
    folds = split(index, folds=3, fold=1, seed=3).hash(index)
    part = split(index, train_fraction=0.4, seed=3).hash(index)
    assert hashes[0] == hashes[1] != hashes[2]
    # A change of these means that everybody's splits change with an update: do not let that happen unnoticed.
    assert (hashes[0], folds, part) == ("5b62ddeb01a4c6d8", "66c1d3b23b83b379", "0b0470a2f959facb")


def test_a_part_of_train_is_whole_groups_and_lies_within_a_larger_part():
    index = patients(2, count=60)
    sizes = [split(index, train_fraction=fraction) for fraction in (0.01, 0.2, 0.5, 0.8, 1.0)]
    everything = sizes[-1].train
    for small, large in itertools.pairwise(sizes):
        assert set(small.train) < set(large.train)
        assert (small.val == large.val).all()
        assert whole(index, small.train, np.setdiff1d(everything, small.train))
    assert per_class(index, sizes[0].train).min() > 0
    assert np.abs(per_class(index, sizes[2].train) / per_class(index, everything) - 0.5).max() < 0.15


def test_groups_that_share_a_copy_stay_together():
    index = index_of([(4, 4)] * 12)
    copies = np.arange(len(index))
    copies[[8, 16]] = 0  # images of the first three groups are one and the same
    for seed in range(20):
        for plan in ({"val_fraction": 0.4}, {"folds": 3}):
            parts = split(index, copies, seed=seed, **plan)
            sides = [{0, 8, 16} & set(index.groups[rows].tolist()) for rows in (parts.train, parts.val)]
            assert sorted(map(len, sides)) == [0, 3]
            assert whole(index, parts.train, parts.val) and not len(parts.leaks)
    index.splits[:8] = Split.TRAIN  # so the other two are trained on whole, and not their copies alone
    for seed in range(20):
        assert set(range(24)) <= set(split(index, copies, seed=seed, val_fraction=0.44).train)
    assert joined(np.arange(5), np.array([0, 0, 2, 2, 4]), np.array([0, 1, 1, 3, 4])).tolist() == [0, 0, 0, 0, 4]
    assert joined(np.array([1, 2]), np.array([0, 0, 0])).tolist() == [0, 1, 1], "a row that is not used joins nothing"


def test_a_class_of_one_group_is_trained_on():
    index = index_of([(5, 0)] * 6 + [(0, 5)])
    for seed in range(10):
        for plan in ({"val_fraction": 0.5}, {"test_fraction": 0.5}, {"folds": 3, "fold": 1}, {"folds": 6, "fold": 5}):
            parts = split(index, seed=seed, **plan)
            assert per_class(index, parts.train)[1] == 5 and len(parts.val) > 0


def test_a_class_keeps_a_group_to_train_on_however_large_the_share():
    index = index_of([(5, 0)] * 20 + [(0, 5)] * 2)
    assert per_class(index, split(index, val_fraction=0.95).train).tolist() == [5, 5]


def test_groups_that_are_trained_on_in_every_fold_take_no_place_in_one():
    index = index_of([(1, 9), (1, 0), (1, 0), (1, 0)])
    assert [len(split(index, folds=3, fold=fold).val) for fold in range(3)] == [1, 1, 1]


def test_folds_of_classes_with_fewer_groups_than_folds_are_of_one_size():
    index = index_of([counts for label in range(4) for counts in [5 * np.eye(4, dtype=int)[label]] * 2])
    assert [len(split(index, folds=4, fold=fold).val) for fold in range(4)] == [10] * 4


def test_a_class_whose_groups_would_all_be_in_one_fold_is_trained_on():
    """By hand: the first group goes to a fold, the second to the other, the third to the first for its second class."""
    index = index_of([(9, 0), (0, 3), (1, 1)])
    for fold in range(2):
        parts = split(index, folds=2, fold=fold)
        assert per_class(index, parts.train).min() > 0 and len(parts.val) > 0


def test_a_share_that_groups_make_quite_another_is_told(caplog):
    index = index_of([(5, 5)] * 4)
    assert len(split(index, val_fraction=0.25).val) == 10 and not caplog.text
    assert len(split(index, val_fraction=0.05).val) == 10
    assert "groups stay together, so 25 % of the images are to validate on, not 5 %" in caplog.text


def test_too_few_groups_are_refused():
    with pytest.raises(DataError, match=r"fewer groups of images \(4\) than folds \(5\)(.|\n)*data\.folds=4 or less"):
        split(index_of([(5, 5)] * 4), folds=5)
    with pytest.raises(DataError, match=r"groups of images \(2\) than folds \(3\); of 1 more each has all images of a"):
        split(index_of([(5, 0)] * 2 + [(0, 5)]), folds=3)
    with pytest.raises(DataError, match="left to validate on: 10 images in 1 group of 2 classes") as error:
        split(index_of([(5, 5)]))
    assert "of other groups" in error.value.remedy


@pytest.fixture
def table(make_folder):
    """Return a function that writes a table of 12 images, three of each of four groups, and returns its folder."""
    root = make_folder((6, 6))
    names = [f"class{label}/{number:03d}.png" for label in range(2) for number in range(6)]

    def write(groups, splits=("",) * 12, header="path,label,split,group"):
        rows = [",".join((name, LABELS[name[:6]], *more)) for name, *more in zip(names, splits, groups, strict=True)]
        (root / "list.csv").write_text("\n".join([header, *rows]))
        return root

    return write


def test_an_image_without_a_split_follows_its_group(table, folder):
    root = table(["p", "p", "q", "q", "r", ""] * 2, ["", "test", "train", "", "val", ""] + [""] * 6)
    expected = [Split.TEST, Split.TEST, Split.TRAIN, Split.TRAIN, Split.VAL, Split.FREE]
    assert listed(root, root / "list.csv").splits.tolist() == expected * 2
    data = folder(root, csv="list.csv")
    assert (data.splits.test.tolist(), data.splits.val.tolist()) == ([0, 1, 6, 7], [4, 10])
    for seed in range(5):
        anew = folder(root, csv="list.csv", val_fraction=0.5, split_seed=seed)
        assert {2, 3, 8, 9} <= set(anew.splits.train), "what a table says to train on stays there, with its group"
        assert whole(anew.index, anew.splits.train, anew.splits.val, anew.splits.test)


def test_a_group_in_two_splits_is_refused(table):
    root = table(["p", "q", "p 7", "p", "q", "p 7"] * 2, ["train", "test", "val", "", "", "test"] + [""] * 6)
    with pytest.raises(DataError, match=r"the group 'p 7' has images in val and in test\n.*list\.csv, line 7\n"):
        listed(root, root / "list.csv")


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["a.png,cat,p", "a.png,cat,q"], "listed twice.*or groups"),
        (['a.png,cat,"p', 'b.png,cat,"q'], "close all quotes"),
        (['a.png,cat,"p', 'b.png,cat"'], "a group has two lines"),
    ],
)
def test_a_wrong_column_is_refused(tmp_path, rows, message):
    (tmp_path / "list.csv").write_text("\n".join(["path,label,group", *rows]))
    with pytest.raises(DataError, match=message):
        listed(tmp_path, tmp_path / "list.csv")
    (tmp_path / "list.csv").write_text("path,label,group,Group\na.png,cat,p,q\n")
    with pytest.raises(DataError, match="two columns 'group'"):
        listed(tmp_path, tmp_path / "list.csv")


def test_an_empty_cell_is_a_group_of_its_own(table):
    root = table(["", " p ", "p", "", "", "q", "cafe\u0301", "caf\u00e9", "class0/000.png", "", "", "q"])
    groups = listed(root, root / "list.csv").groups
    assert groups.tolist() == [0, 1, 1, 3, 4, 5, 6, 6, 8, 9, 10, 5]


def test_a_column_of_empty_cells_is_none(table, folder):
    with_it = folder(table([""] * 12), csv="list.csv")
    hashes = {with_it.summary()["split_hash"]}
    assert "groups" not in with_it.summary() and with_it.index.groups is None
    table(["x"] * 12, header="path,label,split,patient")  # of another name it says nothing
    hashes.add(folder(with_it.root, csv="list.csv").summary()["split_hash"])
    assert len(hashes) == 1


PINNED = {
    False: ["799a92a47276499d", "ba55729ad89e97ec", "f8eb1e30d31a8582", "2dae481771a39347", "7c2d694d4c46ed5e"],
    True: ["33e79e4633001965", "a3136044eb99d59c", "119d417f90f93eb0", "e81e2fe1d7a475df", "0d26a5854363dfa9"],
}


@pytest.mark.parametrize("with_splits", [False, True])
def test_tables_without_the_column_divide_as_before_there_was_one(make_folder, folder, with_splits):
    root = make_folder((12, 9, 6))
    (root / "class1/copy.png").write_bytes((root / "class1/000.png").read_bytes())
    names = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.png"))
    said = itertools.cycle(["", "", "", "", "train", "train", "val", "test"])
    lines = [f"{name},{name.split('/')[0]}" + f",{next(said)}" * with_splits for name in names]
    (root / "list.csv").write_text("\n".join(["path,label" + ",split" * with_splits, *lines]))
    plans = [{}, {"val_fraction": 0.3, "test_fraction": 0.2}, {"folds": 3, "fold": 1},
             {"train_fraction": 0.5, "split_seed": 3}]  # fmt: skip
    data = [folder(root, csv="list.csv", **plan) for plan in plans]
    assert [each.summary()["split_hash"] for each in data] + [data[0].index.listing()["splits"]] == PINNED[with_splits]


def test_a_changed_group_is_seen_in_the_listing(table):
    root = table(["p", "p", "q", "q", "r", "r"] * 2)
    listings = [listed(root, root / "list.csv").listing()]
    for groups in (["x", "x", "y", "y", "z", "z"], ["p", "p", "q", "q", "q", "r"], [""] * 6):
        table(groups * 2)
        listings.append(listed(root, root / "list.csv").listing())
    assert listings[0] == listings[1], "their names do not matter"
    assert len({each["splits"] for each in listings[1:]}) == 3


def test_a_run_says_and_records_how_many_groups_it_has(table, tmp_path, capsys):
    root = table(["p", "p", "q", "q", "r", "r", "s", "s", "t", "t", "u", "u"])
    overrides = [each for each in QUICK if not each.startswith(("data=", "callbacks.progress"))]
    more = ["data=folder", f"data.root={root}", "data.csv=list.csv", "data.test_fraction=0.3", "trainer.max_epochs=1"]
    run = train([*overrides, *more, f"outputs={tmp_path / 'out'}"])
    assert json.loads((run.dir / "result.json").read_text())["data"]["groups"] == {"train": 3, "val": 1, "test": 2}
    said = " ".join(capsys.readouterr().out.split())
    assert "6 images of 3 groups to train, 2 of 1 group to validate, 4 of 2 groups to test" in said
    tested = [row for row in run.predictions if row["split"] == "test"]
    first = {row["image"]: f"{row['image'][:7]}{int(row['image'][7:10]) // 2 * 2:03d}.png" for row in tested}
    assert len(tested) == 4 and {row["image"]: row["group"] for row in tested} == first
    assert len(set(first.values())) == 2


def test_a_run_without_groups_has_no_column_of_them(table, tmp_path):
    overrides = [each for each in QUICK if not each.startswith("data=")]
    more = ["data=folder", f"data.root={table([''] * 12)}", "data.csv=list.csv", "trainer.max_epochs=1"]
    run = train([*overrides, *more, f"outputs={tmp_path / 'out'}"])
    assert "group" not in run.predictions[0]
