"""Which of two networks of two classes has the larger area under its ROC curve: in worlds where the truth is known."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

import visionlab
from fabricate import make_run
from reading_html import read
from visionlab.reports.paired import each_pair
from visionlab.reports.reading import Predictions

TWO = ("healthy", "lesion")


def predictions(scores, positive, groups=None):
    """What a network says that gives each image this score, from minus to plus infinity."""
    probability = norm.cdf(scores)
    names = np.array(TWO)
    return Predictions(
        "test",
        [f"{i:05d}" for i in range(len(scores))],
        list(names[positive.astype(int)]),
        list(names[(probability > 0.5).astype(int)]),
        np.maximum(probability, 1 - probability),
        (probability > 0.5) == positive,
        None if groups is None else [f"patient {group}" for group in groups],
    )


def trainings(rng, seeds=1, gain=0.0, of_seed=0.0, images=300, of_patient=0.0, patients=None):
    """Two trainings of `seeds` networks; the second's scores tell the classes apart by `gain` more."""
    positive = np.arange(images) % 4 == 0
    groups = None if patients is None else rng.integers(0, patients, images)
    hard = rng.normal(size=images)
    if groups is not None:
        positive = rng.random(patients)[groups] < 0.4
    made = []
    for skill in (1.0, 1.0 + gain):
        own = of_patient * rng.normal(size=patients)[groups] if groups is not None else 0
        made.append(
            [
                predictions(
                    (skill + of_seed * rng.normal()) * (positive - 0.5) + 0.5 * hard + own + rng.normal(size=images),
                    positive,
                    groups,
                )
                for _ in range(seeds)
            ]
        )
    return made


def test_two_single_runs_by_the_kernel_of_delong():
    """DeLong's covariances from their definition, by comparing each positive image with each other one."""
    a, b = ([one] for (one,) in trainings(np.random.default_rng(0), gain=0.3))
    positive = np.array(a[0].target) == "lesion"

    def parts(told):
        lesion = np.where(np.array(told.predicted) == "lesion", told.confidence, 1 - told.confidence)
        above = (lesion[positive, None] > lesion[~positive]) + 0.5 * (lesion[positive, None] == lesion[~positive])
        return above.mean(1), above.mean(0)

    (of_a, of_others_a), (of_b, of_others_b) = parts(a[0]), parts(b[0])
    covariance = np.cov(of_a, of_b) / positive.sum() + np.cov(of_others_a, of_others_b) / (~positive).sum()
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    (found,) = each_pair("AB", [a, b], by_area=True)
    assert found.areas == pytest.approx((of_a.mean(), of_b.mean()))
    assert found.error == pytest.approx(error) and found.only_a is None
    assert found.p == pytest.approx(2 * norm.sf(abs(found.difference) / error))
    assert found.interval == pytest.approx((found.difference - 1.96 * error, found.difference + 1.96 * error), rel=1e-3)


@pytest.mark.parametrize(
    "world",
    [{}, {"seeds": 3}, {"seeds": 3, "of_seed": 0.3}, {"patients": 60, "of_patient": 1.0}],
    ids=["single", "seeds", "lucky seeds", "patients"],
)
def test_networks_that_are_equally_good_are_seldom_told_apart(world):
    rng = np.random.default_rng(0)
    found = [each_pair("AB", trainings(rng, **world), by_area=True)[0] for _ in range(300)]
    wrong = np.mean([test.p < 0.05 for test in found])
    covered = np.mean([test.interval[0] <= 0 <= test.interval[1] for test in found])
    assert wrong <= 0.075 and covered == pytest.approx(1 - wrong)  # 0.05 and two standard errors of 300


def test_patients_that_a_network_does_not_know_are_not_a_difference():
    """Blind to the patients, the test finds one much more often than at 5 %."""
    rng = np.random.default_rng(0)
    found = [trainings(rng, patients=30, of_patient=1.5) for _ in range(150)]
    blind = [[[replace(one, groups=None) for one in each] for each in world] for world in found]
    wrong = [np.mean([each_pair("AB", w, by_area=True)[0].p < 0.05 for w in worlds]) for worlds in (found, blind)]
    assert wrong[0] <= 0.085 < 0.15 < wrong[1]


def test_a_gain_is_found_and_twins_are_not():
    a, b = trainings(np.random.default_rng(0), seeds=3, gain=1.0)
    (found,) = each_pair(["few", "good"], [a, b], by_area=True)
    assert found.better == "good" and found.interval[1] < 0 and found.runs == (3, 3)
    (twins,) = each_pair("AB", [a, a], by_area=True)
    assert (twins.p, twins.better, twins.difference) == (1, None, 0)


def test_one_image_of_a_class_tells_nothing():
    positive = np.arange(50) == 7
    rng = np.random.default_rng(0)
    a, b = ([predictions(rng.normal(size=50) + skill * positive, positive)] for skill in (0, 4))
    (found,) = each_pair("AB", [a, b], by_area=True)
    assert found.better is None and found.interval == (-1, 1)


def test_three_classes_have_no_area():
    told = Predictions("test", list("abc"), list("xyz"), list("xyz"), np.ones(3), np.ones(3, bool))
    with pytest.raises(ValueError, match="two classes"):
        each_pair("AB", [[told], [told]], by_area=True)


@pytest.fixture
def runs(tmp_path):
    """Three runs chosen by the area; the first has the largest."""
    made = []
    for name, skill in (("good", 0.95), ("fair", 0.75), ("poor", 0.55)):
        run = make_run(
            tmp_path / name, classes=TWO, auc=True, skill=skill, test=300, seed=len(made), config={"model.name": name}
        )
        result = json.loads((run / "result.json").read_text())
        result |= {"monitor": "val/auc"}
        result["metrics"] |= {"test/auc": skill, "val/auc": skill - 0.01}
        (run / "result.json").write_text(json.dumps(result))
        made.append(run)
    return made


def test_a_comparison_of_runs_chosen_by_the_area_ranks_and_tests_by_it(runs, tmp_path, capsys):
    found = visionlab.compare(*runs[::-1], out=tmp_path / "out")
    assert found.metric == "test/auc"
    page = read(found.page)
    assert page.tiles["Best test area under the ROC curve"][0] == "0.9500"
    assert "95 % CI 0.9" in page.tiles["Best test area under the ROC curve"][1]
    head, first, *_ = page.tables["runs"]
    assert first[head.index("test/auc")] == "0.9500" and " to " in first[head.index("test/auc") + 1]
    tests = page.tables["tests"]
    assert tests[0][tests[0].index("of A")] and "only A right" not in tests[0]
    assert "DeLong" in found.page.read_text() and "McNemar" not in found.page.read_text()
    assert {test.only_a for test in found.tests} == {None} and found.tests[0].better == found.tests[0].a
    assert "test AUC" in found.tex.read_text()


def test_by_accuracy_where_one_was_chosen_by_it(runs, tmp_path):
    path = runs[0] / "result.json"
    path.write_text(path.read_text().replace('"val/auc"', '"val/acc"', 1))
    assert visionlab.compare(*runs, out=tmp_path / "out").metric == "test/acc"


def test_a_sweep_that_seeks_the_area_is_told_by_it(runs, tmp_path):
    folder = tmp_path / "sweeps" / "areas"
    folder.mkdir(parents=True)
    trials = [
        {"dir": f"../../{run.name}", "trial": i, "overrides": {"model": run.name}, "status": "completed", "error": None,
         "value": json.loads((run / "result.json").read_text())["metrics"]["val/auc"]}
        for i, run in enumerate(runs)
    ]  # fmt: skip
    content = {
        "name": "areas", "kind": "grid", "status": "completed", "monitor": "val/auc", "mode": "max",
        "objectives": {"val/auc": "max"}, "swept": ["model"], "replicates": {}, "test": "best", "seconds": 61.5,
        "best": None, "runs": trials, "tested": ["good"],
    }  # fmt: skip
    (folder / "sweep.json").write_text(json.dumps(content))
    found = visionlab.compare(folder)
    page = read(found.page)
    value, below = page.tiles["Best val/auc"]
    assert value == "0.9400" and below.startswith("95 % CI 0.9")
    assert page.tiles["Its area under the ROC curve on test"][0] == "0.9500"
    assert found.metric == "val/auc" and found.tests[0].better == found.tests[0].a
    head, first, second, *_ = page.tables["trials-areas"]
    assert [row[head.index("test/auc")] for row in (first, second)] == ["0.9500", "–"]  # noqa: RUF001 (as a page writes none)
    assert "Is the best really better?" in page.text
    assert (folder / "figures" / "area_by_parameters.svg").is_file() is ("Cost" in page.text)
