"""The area under the ROC curve wherever a run's other metrics stand, also beside runs from before it was measured."""

import csv
import io

import pytest
from rich.console import Console

import visionlab
from fabricate import make_run, make_sweep, written
from reading_html import read
from visionlab.reports import closing, run_page
from visionlab.reports.reading import Reading
from visionlab.runs import Run

TWO = ("healthy", "lesion")


@pytest.fixture
def runs(tmp_path):
    """One with areas, and one of before."""
    return [make_run(tmp_path / name, classes=TWO, auc=auc) for name, auc in (("new", True), ("old", False))]


def test_the_page_has_the_area_its_curve_and_a_column(runs):
    drawn = {}
    page = read(run_page.build(Reading(runs[0]), drawn.__setitem__).write(runs[0] / "report.html"))
    assert page.tiles["Test area under the curve"][0] == "0.8765"
    head, first, *_ = page.tables["epochs"]
    assert first[head.index("val/auc")] == "0.5000"
    assert "area under the ROC curve" in drawn["auc"]
    old = read(written(runs[1]))
    assert "Test area under the curve" not in old.tiles and "val/auc" not in old.tables["epochs"][0]


def test_the_png_figures_have_its_curve(runs, monkeypatch, tmp_path):
    from visionlab.reports import figures, run_figures

    made, really = [], figures.curves
    monkeypatch.setattr(figures, "curves", lambda series, **how: made.append(how["y"]) or really(series, **how))
    run_figures._draw(Reading(runs[0]), tmp_path)
    assert "area under the ROC curve" in made


def test_a_comparison_has_a_column_and_a_curve_of_those_that_know_it(runs, tmp_path):
    found = visionlab.compare(*runs, out=tmp_path / "out")
    head, *body = read(found.page).tables["runs"]
    assert sorted(row[head.index("test/auc")] for row in body) == ["0.8765", "–"]  # noqa: RUF001 (as a page writes none)
    assert sorted(map(str, (row["test/auc"] for row in found.rows))) == ["0.87654", "None"]
    with found.csv.open(newline="") as file:
        names = csv.DictReader(file).fieldnames
    assert names.index("test/auc") == names.index("test/balanced_acc") + 1
    assert "validation area under the ROC curve" in found.page.read_text()
    plain = visionlab.compare(runs[1], out=tmp_path / "plain").page
    assert "test/auc" not in read(plain).tables["runs"][0] and "ROC" not in plain.read_text().partition("<main")[2]


@pytest.mark.parametrize("splits", [["val", "test"], ["test"]])
def test_the_closing_table_has_it_of_the_splits_that_have_it(runs, splits):
    run = Run(runs[0])
    gone = [f"{split}/auc" for split in ("val", "test") if split not in splits]
    run.update(metrics={name: value for name, value in run.result["metrics"].items() if name not in gone})
    console = Console(width=100, file=io.StringIO())
    closing.finished(run, console)
    (line,) = [line for line in console.file.getvalue().splitlines() if "area under the curve" in line]
    assert line.split()[4:] == ["0.8765"] * len(splits)
    assert "66.00 %" in console.file.getvalue()


def test_a_sweep_that_seeks_it_writes_it_as_no_share(tmp_path):
    head = {"monitor": "val/auc", "objectives": {"val/auc": "max"}}
    folder = make_sweep(tmp_path, trials=3, epochs=2, failed=0, head=head)
    for number, path in enumerate(sorted(tmp_path.glob("made_up-*"))):
        run = Run(path)
        run.update(metrics=run.result["metrics"] | {"val/auc": 0.9 + number / 100})
    text = read(visionlab.compare(folder).page).text
    assert "0.9200" in text and "92.00 %" not in text
