"""What images in groups, as those of one patient, are worth: intervals and tests in worlds where the truth is known."""

import numpy as np
import pytest
from scipy.stats import t, ttest_1samp

from fabricate import make_run, written
from reading_html import read
from visionlab.compare import compare
from visionlab.reports import closing
from visionlab.reports.paired import each_pair
from visionlab.reports.reading import Predictions, Reading, pooled
from visionlab.reports.roc import Scores
from visionlab.reports.statistics import alike_in_size, interval, wilson
from visionlab.runs import Run


def predictions(right, groups):
    names = [f"{i:05d}" for i in range(len(right))]
    told = None if groups is None else [f"patient {group}" for group in groups]
    classes = ["a"] * len(names)
    return Predictions("test", names, classes, classes, np.ones(len(names)), np.array(right, bool), told)


def patients(rng, count, most=15):
    return np.repeat(np.arange(count), rng.integers(1, most + 1, count))


def test_the_interval_by_hand():
    """Three of four patients are wholly right, one is wholly wrong: so many images tell no more than four."""
    groups = np.repeat(["a", "b", "c", "d"], 5)
    right = groups != "d"
    variance = 4 / 3 * (3 * (5 * 0.25) ** 2 + (5 * 0.75) ** 2) / 20**2
    effective = 0.75 * 0.25 / variance * (1.959963984540054 / t.ppf(0.975, 3)) ** 2
    assert interval(right, groups) == pytest.approx(wilson(0.75 * effective, effective))
    assert effective < 4
    assert interval(right, groups)[0] < 0.35 < wilson(15, 20)[0]


def test_groups_of_one_image_are_worth_as_much_as_images():
    right = np.random.default_rng(0).random(400) < 0.8
    assert interval(right) == wilson(int(right.sum()), 400)
    assert interval(right, [str(i) for i in range(400)]) == pytest.approx(wilson(int(right.sum()), 400), abs=0.001)
    assert interval(right, np.arange(400) // 2)[0] < wilson(int(right.sum()), 400)[0] + 0.01


def test_at_the_ends():
    """Of one patient nothing is known about others; without a mistake nothing tells how alike the images are."""
    assert interval(np.ones(50, bool), ["a"] * 50) == (0, 1)
    every = interval(np.ones(50, bool), np.arange(50) % 10)
    effective = 10 * (1.959963984540054 / t.ppf(0.975, 9)) ** 2  # each patient is one
    assert every == pytest.approx(wilson(effective, effective)) and every[1] == 1
    assert interval(np.zeros(50, bool), np.arange(50) % 10) == pytest.approx((0, 1 - every[0]))
    assert interval(np.array([1] * 40 + [0], bool), ["a"] * 40 + ["b"])[1] > 0.99, "of a large and a tiny one"
    with pytest.raises(ValueError, match="image"):
        interval(np.zeros(0, bool), [])


@pytest.mark.parametrize(
    ("truth", "count", "alike", "least"), [(0.8, 60, 0.2, 0.92), (0.97, 20, 0.9, 0.9), (0.95, 10, 0.3, 0.9)]
)
def test_the_interval_holds_the_truth_as_often_as_it_says(truth, count, alike, least):
    """Also where often no image of any patient is wrong."""
    rng, kept, beta = np.random.default_rng(0), [], (1 - alike) / alike
    for _ in range(400):
        groups = patients(rng, count)
        right = rng.random(len(groups)) < rng.beta(beta * truth, beta * (1 - truth), count)[groups]
        ends = interval(right, groups), interval(right)
        kept.append([low <= truth <= high for low, high in ends])
    by_group, by_image = np.mean(kept, axis=0)
    assert by_group > least and by_image < 0.85


def test_a_few_large_groups_are_worth_less_than_as_many_of_one_size():
    right = np.arange(100) % 4 > 0
    equal, unequal = np.arange(100) // 10, np.minimum(np.arange(100) // 3, 9)
    assert alike_in_size(equal) == 10 and alike_in_size(unequal) == pytest.approx(100**2 / (9 * 9 + 73**2))
    low, high = interval(right, equal)
    assert interval(right, unequal)[0] < low and high < interval(right, unequal)[1]


def test_an_interval_is_never_narrower_than_of_independent_images():
    """Each patient has as many right: their variance is none."""
    right = np.arange(60) % 3 > 0
    assert interval(right, np.arange(60) // 3)[0] <= wilson(40, 60)[0]


def equal_networks(rng, groups, runs=1):
    """Two networks that are equally good, of which each fails on patients of its own."""
    count = groups.max() + 1
    common, own = rng.normal(size=count)[groups], rng.normal(size=len(groups))
    return [
        [
            predictions(1.2 + common + own + rng.normal(size=count)[groups] + rng.normal(size=len(groups)) > 0, groups)
            for _ in range(runs)
        ]
        for _ in range(2)
    ]


@pytest.mark.parametrize("count", [8, 60])
def test_equally_good_networks_are_seldom_told_apart(count):
    rng, found = np.random.default_rng(0), []
    for _ in range(300):
        a, b = equal_networks(rng, patients(rng, count))
        (test,) = each_pair("AB", [a, b])
        (blind,) = each_pair("AB", [[predictions(one.correct, None)] for (one,) in (a, b)])
        found.append((test.p < 0.05, test.interval[0] <= 0 <= test.interval[1], blind.p < 0.05))
    wrong, covered, blindly = np.mean(found, axis=0)
    assert wrong < 0.08 and covered > 0.92 and blindly > 0.15


def test_a_pair_by_hand():
    """Of groups of one size the test is the t test of the groups' differences."""
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(40), 5)
    a, b = (rng.random(200) < rng.beta(2, 1, 40)[groups] for _ in range(2))
    (found,) = each_pair("AB", [[predictions(a, groups)], [predictions(b, groups)]])
    each = (a.astype(float) - b).reshape(40, 5).mean(1)
    plain = ttest_1samp(each, 0)
    assert found.error == pytest.approx(each.std(ddof=1) / 40**0.5) and found.freedom == pytest.approx(39)
    assert (found.p, found.groups) == (pytest.approx(plain.pvalue), 40)
    assert found.interval == pytest.approx(plain.confidence_interval())
    unequal = np.minimum(np.arange(200) // 3, 39)
    (found,) = each_pair("AB", [[predictions(a, unequal)], [predictions(b, unequal)]])
    assert found.freedom == pytest.approx(alike_in_size(unequal) - 1) and found.freedom < 5 and found.groups == 40


def test_the_test_is_never_surer_than_of_independent_images():
    """Two patients with the same difference: their variance is none, which must not look like certainty."""
    a, b = np.array([1, 1, 1, 0] * 2), np.array([1, 1, 0, 0] * 2)
    groups = np.repeat([0, 1], 4)
    (found,) = each_pair("AB", [[predictions(a, groups)], [predictions(b, groups)]])
    (blind,) = each_pair("AB", [[predictions(a, None)], [predictions(b, None)]])
    assert found.p >= blind.p and found.error >= blind.error > 0
    a, b = np.ones(80), np.arange(80) % 32 > 0
    (found,) = each_pair("AB", [[predictions(one, np.arange(80) // 2)] for one in (a, b)])
    assert found.p == pytest.approx(0.125), "McNemar's"
    assert 2 * t.sf(found.difference / found.error, found.freedom) < 0.1, "that of the t test"
    (of_one,) = each_pair("AB", [[predictions(a, [0] * 80)], [predictions(b, [0] * 80)]])
    assert (of_one.p, of_one.better, of_one.interval) == (1, None, (-1, 1))


def test_the_order_of_the_images_does_not_matter():
    rng = np.random.default_rng(0)
    groups = patients(rng, 20)
    (a,), (b,) = equal_networks(rng, groups)
    turned = rng.permutation(len(groups))
    columns = ([getattr(b, key)[i] for i in turned] for key in ("images", "target", "predicted"))
    shuffled = Predictions("test", *columns, b.confidence, b.correct[turned], [b.groups[i] for i in turned])
    assert each_pair("AB", [[a], [shuffled]]) == each_pair("AB", [[a], [b]])
    assert each_pair("AB", [[shuffled], [a]])[0].p == each_pair("AB", [[a], [b]])[0].p


def test_repetitions_on_groups_by_hand():
    """What is left to neither runs nor images is in both parts, and taken off once: by whole groups."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 6)
    a, b = equal_networks(rng, groups, runs=4)
    (found,) = each_pair("AB", [a, b])
    tables = [np.stack([run.correct for run in runs]).astype(float).reshape(4, 30, 6).mean(2) for runs in (a, b)]
    of_images = (tables[0].mean(0) - tables[1].mean(0)).var(ddof=1) / 30
    parts = []
    for table in tables:
        rest = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
        parts.append((table.mean(1).var(ddof=1) / 4, (rest**2).sum() / 3 / 30**2 / 4))
    of_runs = sum(part for part, _ in parts)
    expected = max(of_images, of_runs, of_images + of_runs - sum(rest for _, rest in parts))
    assert found.error**2 == pytest.approx(expected) and found.groups == 30


def test_the_error_of_an_area_is_that_of_other_patients():
    """By many sets of patients of one kind, some with images of both classes."""
    rng = np.random.default_rng(0)

    def drawn():
        groups = patients(rng, 50, most=10)
        positive = rng.random(len(groups)) < rng.beta(0.5, 1, 50)[groups]
        scores = rng.normal(0.8 * positive, 1) + rng.normal(size=50)[groups]
        by_group, by_image = Scores(scores, positive, groups), Scores(scores, positive)
        return *by_group.area, by_image.area[1]

    areas, errors, blind = np.array([drawn() for _ in range(500)]).T
    assert errors.mean() == pytest.approx(areas.std(ddof=1), rel=0.1)
    assert abs(blind.mean() / areas.std(ddof=1) - 1) > 0.2


def test_groups_of_one_image_leave_the_error_of_an_area_as_it_is():
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.3
    alone = Scores(rng.normal(positive), positive)
    assert Scores(alone.of, positive, np.arange(200)).area == pytest.approx(alone.area)
    patient = np.where(positive, 0, np.arange(200))
    assert Scores(alone.of, positive, patient).area[1] == 0, "one patient has all positive images"


def test_pages_and_the_terminal_count_groups(tmp_path, capsys):
    names = {"classes": ("healthy", "lesion"), "test": 300, "val": 100}
    runs = [
        make_run(tmp_path / f"run{i}", **names, seed=i, grouped=10, skill=0.7, config={"model.name": f"net{i}"})
        for i in range(2)
    ]
    accuracy = Reading(runs[0]).accuracies["test"]
    assert accuracy.groups == 30 and accuracy.interval == interval(
        Reading(runs[0]).predictions("test").correct, np.arange(300) // 10
    )
    text = read(written(runs[0])).text
    assert f"CI {accuracy.ends}, n = 300 in 30 groups".replace(" ", "") in text.replace("\u00a0", "").replace(" ", "")
    assert "(Obuchowski)" in text
    closing.finished(Run(runs[0]))
    assert f"{accuracy.ends} %" in capsys.readouterr().out
    page = read(compare(*runs, out=tmp_path / "page").page).text
    assert "The images come in 30 groups" in page and "a t test by groups" in page


def test_the_intervals_of_a_class_and_of_a_rate_count_groups(tmp_path):
    run = make_run(tmp_path / "run", classes=("healthy", "lesion"), test=300, val=100, grouped=10, skill=0.7)
    found = Reading(run).predictions("test")
    ends = {}
    for name in ("healthy", "lesion"):
        own = np.array(found.target) == name
        ends[name] = interval(found.correct[own], np.array(found.groups)[own])
    page = written(run).read_text(encoding="utf-8")
    for low, high in ends.values():
        assert f"95 % CI {100 * low:.0f} to {100 * high:.0f} %" in page
    positive = min(ends, key=found.target.count)
    low, high = ends[positive]
    (row,) = (row for row in read(written(run)).tables["thresholds"] if row[0] == "as predicted")
    assert row[3] == f"{100 * low:.1f} to {100 * high:.1f}"


def test_an_area_that_few_groups_tell_has_a_wider_interval():
    positive = np.arange(60) < 20
    scores = Scores(np.random.default_rng(0).normal(positive), positive, np.arange(60) // 5)
    assert scores.half == pytest.approx(t.ppf(0.975, 3) * scores.area[1]), "four patients of the positive class"
    alone = Scores(scores.of, positive)
    assert alone.half == pytest.approx(1.96 * alone.area[1], rel=0.01)


def test_answers_that_are_pooled_keep_their_groups():
    a, b = predictions([1, 0], [0, 0]), predictions([1, 1], [1, 2])
    assert pooled([a, b]).groups == ["patient 0", "patient 0", "patient 1", "patient 2"]
    assert pooled([a, predictions([1], None)]).groups is None
