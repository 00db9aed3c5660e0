"""The ROC curve and the thresholds of a run of two classes, against scikit-learn and by hand."""

import csv
import json

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from fabricate import make_run, written
from reading_html import read
from visionlab.reports.roc import Scores


@pytest.fixture(params=[1, 0.1])
def scores(request):
    """Of two hundred images, a third of them positive; also with many equal scores."""
    rng = np.random.default_rng(0)
    positive = rng.random(200) < 0.3
    return Scores(
        np.round(rng.normal(0.4 + 0.2 * positive, 0.2).clip(0, 1) / request.param, 1) * request.param, positive
    )


def test_the_area_is_that_of_scikit_learn_and_below_the_curve(scores):
    alarms, hits = scores.curve
    assert scores.area[0] == pytest.approx(roc_auc_score(scores.positive, scores.of))
    assert np.trapezoid(hits, alarms) == pytest.approx(scores.area[0])


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
    tested = [row for row in rows if row["split"] == "test"]
    said = [row["predicted"] == name for row in tested]
    above = [score >= limit for score, _ in of("test")]
    for cells, taken in ((plain, said), (chosen, above)):
        found = [one for one, row in zip(taken, tested, strict=True) if row["target"] == name]
        left = [not one for one, row in zip(taken, tested, strict=True) if row["target"] != name]
        assert cells[2] == f"{100 * np.mean(found):.2f} %" and cells[4] == f"{100 * np.mean(left):.2f} %"
    assert f"{name} is the positive class" in page.text
    assert f"{roc_auc_score([p for _, p in of('test')], [s for s, _ in of('test')]):.4f}" in page.text


def test_a_run_of_more_classes_has_no_such_section(tmp_path):
    assert "thresholds" not in read(written(make_run(tmp_path / "run"))).tables


def test_thresholds_of_a_run_without_a_test_split_are_said_to_flatter(tmp_path):
    run = make_run(tmp_path / "run", classes=("healthy", "lesion"), test=0, val=100)
    assert "so these figures flatter" in read(written(run)).text


def test_what_is_predicted_at_a_half_is_what_was_said(tmp_path):
    """0.5000003 is recorded as 0.5, and either class may have been named."""
    run = make_run(tmp_path / "run", classes=("healthy", "lesion"), test=30, val=10)
    lines = (run / "predictions.csv").read_text().splitlines()
    cells = [line.split(",") for line in lines[1:]]
    for row in cells:
        row[4] = "0.5"
    (run / "predictions.csv").write_text("\n".join([lines[0], *map(",".join, cells)]) + "\n")
    rows = [row for row in cells if row[0] == "test"]
    name = min(("healthy", "lesion"), key=lambda one: (sum(row[2] == one for row in rows), one == "healthy"))
    own = [row[3] == name for row in rows if row[2] == name]
    assert read(written(run)).tables["thresholds"][1][2] == f"{100 * np.mean(own):.2f} %"


def test_the_area_is_the_one_that_was_measured(tmp_path):
    """The recorded probabilities have six digits, of which a sure network needs more."""
    run = make_run(tmp_path / "run", classes=("healthy", "lesion"), test=300, val=100)
    result = json.loads((run / "result.json").read_text())
    result["metrics"]["test/auc"] = 0.9137
    (run / "result.json").write_text(json.dumps(result))
    (area, *_) = read(written(run)).tiles["Area under the curve"]
    assert area == "0.9137"


def test_no_interval_is_claimed_where_all_are_told_apart(tmp_path):
    run = make_run(tmp_path / "run", classes=("healthy", "lesion"), test=30, val=10, skill=1)
    lines = [line.split(",") for line in (run / "predictions.csv").read_text().splitlines()]
    sure = "\n".join(",".join([*cells[:4], "0.9", *cells[5:]]) for cells in lines[1:])
    (run / "predictions.csv").write_text(f"{','.join(lines[0])}\n{sure}\n")
    text = read(written(run)).text
    assert "1.0000" in text and "no error of it can be estimated" in text
