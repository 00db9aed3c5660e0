"""The ROC curve and the thresholds of a run of two classes, against scikit-learn and by hand."""

import csv

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from fabricate import make_run, written
from reading_html import read
from visionlab.reports.two_classes import Scores


@pytest.fixture(params=[1, 0.1])
def scores(request):
    """Of two hundred images, a third of them positive; also with many equal scores."""
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.3
    return Scores(
        np.round(rng.normal(0.4 + 0.2 * positive, 0.2).clip(0, 1) / request.param, 1) * request.param, positive
    )


def test_the_curve_and_its_area_are_those_of_scikit_learn(scores):
    alarms, hits = scores.curve
    expected = roc_curve(scores.positive, scores.of, drop_intermediate=False)
    assert alarms == pytest.approx(expected[0]) and hits == pytest.approx(expected[1])
    assert scores.area[0] == pytest.approx(roc_auc_score(scores.positive, scores.of))


def test_the_error_of_the_area_is_that_of_other_images():
    """By many sets of images of one kind: DeLong's estimate is the deviation of their areas."""
    rng = np.random.default_rng(0)

    def drawn():
        positive = np.arange(300) < 60
        return Scores(rng.normal(0.8 * positive, 1), positive).area

    areas, errors = np.array([drawn() for _ in range(500)]).T
    assert errors.mean() == pytest.approx(areas.std(ddof=1), rel=0.1)


def test_a_threshold_is_the_largest_that_finds_enough():
    positive = np.array([True] * 10 + [False] * 4)
    scores = Scores(np.array([0.95, 0.9, 0.85, 0.8, 0.75, 0.7, 0.65, 0.6, 0.55, 0.1, 0.7, 0.2, 0.2, 0.05]), positive)
    assert [scores.threshold(share) for share in (0.5, 0.9, 0.91, 1)] == [0.75, 0.55, 0.1, 0.1]
    assert scores.at(0.55) == (9, 3) and scores.at(0.1) == (10, 1)


def test_the_page_measures_on_test_what_was_chosen_on_validation(tmp_path):
    """By hand from predictions.csv."""
    run = make_run(tmp_path / "run", classes=("healthy", "lesion"), test=300, val=100)
    with (run / "predictions.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    def of(split):
        return [
            (
                float(row["confidence"]) if row["predicted"] == name else 1 - float(row["confidence"]),
                row["target"] == name,
            )
            for row in rows
            if row["split"] == split
        ]

    counts = [sum(row["target"] == each and row["split"] == "test" for row in rows) for each in ("healthy", "lesion")]
    name = "healthy" if counts[0] < counts[1] else "lesion"
    page = read(written(run))
    head, plain, _, chosen, _ = page.tables["thresholds"]
    assert head[:3] == ["chosen for", "threshold", "sensitivity"] and chosen[0] == "sensitivity of 95 %"
    ours = sorted((score for score, positive in of("val") if positive), reverse=True)
    limit = ours[-(-95 * len(ours) // 100) - 1]
    for cells, threshold in ((plain, 0.5000001), (chosen, limit)):
        found = [score >= threshold for score, positive in of("test") if positive]
        left = [score < threshold for score, positive in of("test") if not positive]
        assert cells[2] == f"{100 * np.mean(found):.2f} %" and cells[4] == f"{100 * np.mean(left):.2f} %"
    assert f"{name} is the positive class" in page.text
    assert f"{roc_auc_score([p for _, p in of('test')], [s for s, _ in of('test')]):.4f}" in page.text


def test_a_run_of_more_classes_has_no_such_section(tmp_path):
    assert "thresholds" not in read(written(make_run(tmp_path / "run"))).tables


def test_thresholds_of_a_run_without_a_test_split_are_said_to_flatter(tmp_path):
    run = make_run(tmp_path / "run", classes=("healthy", "lesion"), test=0, val=100)
    assert "so these figures flatter" in read(written(run)).text
