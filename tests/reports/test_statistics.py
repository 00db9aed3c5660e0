from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binomtest, norm, ttest_rel
from sklearn.metrics import classification_report

from visionlab.reports.paired import PairedTest, each_pair, holm, mcnemar, same_images
from visionlab.reports.reading import Predictions
from visionlab.reports.statistics import calibration, class_scores, wilson


@pytest.mark.parametrize(("correct", "total"), [(8, 10), (0, 10), (10, 10), (7123, 10000)])
def test_wilson_agrees_with_scipy(correct, total):
    theirs = binomtest(correct, total).proportion_ci(method="wilson")
    assert wilson(correct, total) == pytest.approx((theirs.low, theirs.high), abs=1e-12)


def test_wilson_needs_images():
    with pytest.raises(ValueError, match="at least one image"):
        wilson(0, 0)


@pytest.mark.parametrize("seed", range(3))
def test_class_scores_agree_with_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    k = 6
    target, predicted = rng.integers(0, k - 1, 200), rng.integers(0, k - 1, 200)
    predicted[:3] = k - 1  # predicted, but never true
    confusion = np.zeros((k, k), np.int64)
    np.add.at(confusion, (target, predicted), 1)
    theirs = classification_report(target, predicted, labels=range(k), output_dict=True, zero_division=0)
    ours = class_scores(confusion)
    for i in range(k):
        mine = (ours.precision[i], ours.recall[i], ours.f1[i], ours.support[i])
        assert mine == pytest.approx(tuple(theirs[str(i)].values()))
    assert ours.macro == pytest.approx(tuple(theirs["macro avg"].values())[:3])
    assert ours.weighted == pytest.approx(tuple(theirs["weighted avg"].values())[:3])
    assert ours.accuracy == pytest.approx((target == predicted).mean())


def test_a_class_that_is_neither_true_nor_predicted_takes_no_part_in_the_averages():
    target, predicted = [0, 0, 2, 2, 2], [0, 2, 2, 2, 0]
    confusion = np.zeros((4, 4), np.int64)
    np.add.at(confusion, (target, predicted), 1)
    theirs = classification_report(target, predicted, output_dict=True)
    assert class_scores(confusion).macro == pytest.approx(tuple(theirs["macro avg"].values())[:3])


def test_calibration_by_hand():
    confidence = np.array([0.95, 0.95, 0.95, 0.95, 0.55, 0.55, np.nan])
    correct = np.array([True, True, True, False, True, False, True])
    found = calibration(confidence, correct, bins=10)
    assert found.counts.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 4]
    assert found.accuracy[9] == 0.75
    assert found.confidence[5] == pytest.approx(0.55)
    assert np.isnan(found.accuracy[0])
    assert found.ece == pytest.approx((4 * 0.2 + 2 * 0.05) / 6)


def test_a_confidence_of_exactly_one_and_zero_lies_in_the_outer_bins():
    found = calibration(np.array([1.0, 0.0]), np.array([True, False]), bins=4)
    assert found.counts.tolist() == [1, 0, 0, 1]


def test_a_confidence_on_an_edge_lies_in_the_bin_below():
    found = calibration(np.array([0.25, 0.5, 0.5, 0.75]), np.array([True, True, False, False]), bins=4)
    assert found.counts.tolist() == [1, 2, 1, 0]
    assert found.ece == pytest.approx((0.75 + 0 + 0.75) / 4)


def test_mcnemar_mid_p_of_the_paper():
    # Fagerland et al. 2013, table 2: 1 and 7 discordant pairs have p = 0.039; and equal counts say nothing.
    assert mcnemar(np.array([1, 7, 4]), np.array([7, 1, 4])) == pytest.approx([0.0390625, 0.0390625, 1.0])


def test_holm_by_hand():
    assert holm(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.06, 0.06])
    assert holm(np.array([0.6, 0.9])).tolist() == [1, 1]


def predictions(images, right):
    names = [f"{i}.jpg" for i in images]
    return Predictions(
        "test", names, ["a"] * len(names), ["a"] * len(names), np.ones(len(names)), np.array(right, bool)
    )


def test_a_pair_is_compared_image_by_image_in_whatever_order():
    a = predictions([0, 1, 2, 3], [1, 1, 1, 0])
    b = predictions([3, 2, 1, 0], [1, 0, 0, 1])  # right on 3 and 0
    (found,) = each_pair(["A", "B"], [[a], [b]])
    assert (found.only_a, found.only_b, found.images) == (2, 1, 4)
    assert found.difference == 0.25
    assert found.better is None


def test_a_clear_difference_names_the_better_run():
    rng = np.random.default_rng(0)
    good, bad = rng.random(500) < 0.9, rng.random(500) < 0.6
    (found,) = each_pair(["bad", "good"], [[predictions(range(500), bad)], [predictions(range(500), good)]])
    assert found.better == "good"
    low, high = found.interval
    assert low < bad.mean() - good.mean() < high < 0


def test_the_interval_is_that_of_the_mean_of_the_differences():
    rng = np.random.default_rng(0)
    a, b = rng.random(200) < 0.8, rng.random(200) < 0.7
    (found,) = each_pair(["A", "B"], [[predictions(range(200), a)], [predictions(range(200), b)]])
    each = a.astype(float) - b
    half = norm.ppf(0.975) * each.std() / 200**0.5
    assert found.interval == pytest.approx((each.mean() - half, each.mean() + half))


def test_the_verdict_is_by_the_corrected_p():
    found = PairedTest("A", "B", 100, only_a=20, only_b=8, p=0.03, adjusted=0.06, error=0.05)
    assert found.better is None
    assert replace(found, adjusted=0.04).better == "A"


def test_images_are_the_same_only_with_the_same_classes():
    a, turned = predictions([0, 1, 2], [1, 1, 0]), predictions([2, 1, 0], [1, 1, 0])
    assert same_images(a, a) and same_images(a, turned)
    assert not same_images(a, predictions([0, 1, 3], [1, 1, 0]))
    for other in (a, turned):
        assert not same_images(a, replace(other, target=["a", "b", "a"]))


def trainings(rng, *, seeds, images=500, of_seed=0.0, gain=0.0):
    """Answers of two networks: what is easy is so for both, and each of their seeds has its luck."""
    easy = rng.standard_normal(images)

    def answers(own):
        luck, rest = rng.standard_normal((seeds, 1)) * of_seed, rng.standard_normal((seeds, images)) * 0.45
        score = easy + rng.standard_normal(images) * 0.4 + luck + rest + own
        return [predictions(range(images), row > 0) for row in score]

    return [answers(1.1 + gain), answers(1.1)]


def right(runs):
    return np.stack([run.correct for run in runs]).astype(float)


@pytest.mark.parametrize("seeds", [2, 3])
@pytest.mark.parametrize("of_seed", [0.0, 0.1])
def test_networks_that_are_equally_good_are_seldom_told_apart(seeds, of_seed):
    """Where the seed matters, tests of single runs find a difference that another seed would not show."""
    rng = np.random.default_rng(0)
    worlds = [trainings(rng, seeds=seeds, of_seed=of_seed) for _ in range(400)]
    found = [each_pair("AB", world)[0] for world in worlds]
    wrong = np.mean([test.p < 0.05 for test in found])
    covered = np.mean([test.interval[0] <= 0 <= test.interval[1] for test in found])
    assert wrong <= 0.075 and covered == pytest.approx(1 - wrong)  # 0.05 and two standard errors of 400
    single = np.mean([each_pair("AB", [[a[0]], [b[0]]])[0].p < 0.05 for a, b in worlds])
    assert single > 0.2 if of_seed else single < 0.08


def test_a_gain_over_all_seeds_is_found():
    found = each_pair("AB", trainings(np.random.default_rng(0), seeds=3, gain=0.4))[0]
    assert found.better == "A" and found.runs == (3, 3) and found.interval[0] > 0


def test_repeated_experiments_by_hand():
    """The difference is that of the means; where the runs agree with each other the p is that of the paired t test."""
    rng = np.random.default_rng(0)
    a, b = trainings(rng, seeds=3, of_seed=0.1)
    (found,) = each_pair("AB", [a, b])
    assert found.difference == pytest.approx(right(a).mean() - right(b).mean())
    pairs = [((x > y).sum(), (x < y).sum()) for x in right(a) for y in right(b)]
    assert (found.only_a, found.only_b) == pytest.approx(np.mean(pairs, axis=0))
    # Of a table of runs and images: what images explain, what runs explain, and the rest, which both of these hold.
    parts = []
    for table in (right(a), right(b)):
        rest = table - table.mean(0) - table.mean(1)[:, None] + table.mean()
        parts.append((table.mean(1).var(ddof=1) / 3, (rest**2).sum() / (2 * 500) / (3 * 500)))
    of_images = (right(a).mean(0) - right(b).mean(0)).var() / 500
    expected = of_images + sum(of_runs - rest for of_runs, rest in parts)
    assert found.error**2 == pytest.approx(expected, rel=0.01) and expected > 1.2 * of_images
    (same,) = each_pair("AB", [a[:1] * 3, b[:1] * 3])
    plain = ttest_rel(right(a)[0], right(b)[0])
    assert same.p == pytest.approx(plain.pvalue, rel=0.02)  # n for n - 1
    (twins,) = each_pair("AB", [a, a])
    assert (twins.p, twins.better, twins.difference) == (1, None, 0)


def test_the_deviation_over_seeds_widens_the_interval():
    """Runs without images in common between right and wrong: all that differs is how many each seed has right."""
    counts = [[400, 300, 200], [310, 290, 300]]
    a, b = ([predictions(range(500), np.arange(500) < count) for count in each] for each in counts)
    (found,) = each_pair("AB", [a, b])
    of_runs = sum(np.var([c / 500 for c in each], ddof=1) / 3 for each in counts)
    assert found.error**2 >= of_runs and found.freedom < 4 and found.better is None
    (of_one,) = each_pair("AB", [a[:1], b[:1]])
    assert of_one.better == "A", "the lucky seed alone looks better"


def test_an_experiment_of_one_run_is_given_the_deviation_of_the_other():
    rng = np.random.default_rng(0)
    worlds = [trainings(rng, seeds=2, of_seed=0.1) for _ in range(800)]
    found = [each_pair("AB", [a, b[:1]])[0] for a, b in worlds]
    assert {test.runs for test in found} == {(2, 1)}
    assert np.mean([test.p < 0.05 for test in found]) <= 0.065  # 0.05 and two standard errors of 800
    turned = [each_pair("BA", [b[:1], a])[0] for a, b in worlds]
    assert [test.p for test in turned] == pytest.approx([test.p for test in found])
