import csv
import json
import math
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from itertools import pairwise

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import classification_report

from fabricate import make_run, written
from reading_html import read
from visionlab.reports import figures, run_figures, run_page
from visionlab.reports.numbers import MISSING
from visionlab.reports.reading import Reading
from visionlab.reports.statistics import wilson

FIGURES = {
    "loss", "accuracy", "learning_rate", "confusion", "confusion_normalised", "accuracy_per_class", "reliability"
}  # fmt: skip


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def written_percent(value):
    return f"{100 * value:.2f} %"


@pytest.fixture
def page(run_dir):
    return read(written(run_dir))


def result_of(directory):
    return json.loads((directory / "result.json").read_text())


def test_the_headline_agrees_with_result_json(run_dir, page):
    result = result_of(run_dir)
    metrics = result["metrics"]
    for split, name in (("test", "Test"), ("val", "Validation")):
        value, below = page.tiles[f"{name} accuracy"]
        total = result["data"][split]
        low, high = wilson(round(metrics[f"{split}/acc"] * total), total)
        assert value == written_percent(metrics[f"{split}/acc"])
        assert below == f"95 % CI {100 * low:.1f} to {100 * high:.1f}, n = {total:,}"
    assert page.tiles["Test macro F1"][0] == written_percent(metrics["test/f1"])
    assert page.tiles["Test balanced accuracy"][0] == written_percent(metrics["test/balanced_acc"])
    assert page.tiles["Test loss"][0] == "0.8123"
    assert page.tiles["Best epoch"][0] == f"{result['best_epoch'] + 1} of {result['epochs']}"
    assert page.tiles["Training time"] == ("12.3 s", "14.0 s in all")
    assert page.tiles["Parameters"][0] == f"{result['model']['parameters']:,}"
    gap = 100 * (metrics["test/acc"] - 0.71)
    assert page.tiles["Reported test/acc"] == ("71.00 %", f"ours {gap:+.1f} points · a <b>report</b>")
    assert page.tiles["Reported train/acc"] == ("90.00 %", "a <b>report</b>"), "of which ours has no figure"


def test_files_that_were_left_out_for_their_endings_are_told_of(run_dir):
    result = result_of(run_dir)
    result["data"]["others"] = {".heic": 41, ".<b>": 1}
    (run_dir / "result.json").write_text(json.dumps(result))
    text = written(run_dir).read_text()
    assert "42 files with other endings are left out: 41 .heic, 1 .&lt;b&gt;" in text


def test_every_epoch_agrees_with_metrics_csv(run_dir, page):
    head, *body = page.tables["epochs"]
    recorded = rows(run_dir / "metrics.csv")
    assert len(body) == len(recorded)
    for cells, row in zip(body, recorded, strict=True):
        shown = dict(zip(head, cells, strict=True))
        assert int(shown["epoch"]) == int(row["epoch"]) + 1
        assert shown["val/acc"] == written_percent(float(row["val/acc"]))
        assert float(shown["train/loss"]) == pytest.approx(float(row["train/loss"]), rel=1e-3)


def test_the_report_and_the_matrix_agree_with_confusion_csv(run_dir, page):
    table = rows(run_dir / "confusion.csv")
    counts = np.array([[int(v) for k, v in row.items() if k != "target"] for row in table])
    shown = {cells[0]: cells for cells in page.tables["classification-report"][1:]}
    for i, row in enumerate(table):
        _, precision, recall, _, support = shown[row["target"]]
        assert precision == written_percent(counts[i, i] / counts[:, i].sum())
        assert recall == written_percent(counts[i, i] / counts[i].sum())
        assert support == str(counts[i].sum())
    assert shown["accuracy"][3] == written_percent(np.trace(counts) / counts.sum())
    heat = [json.loads(found["data-heat"]) for tag, found in page.tags if tag == "svg" and "data-heat" in found]
    assert len(heat) == 2
    for r, row in heat[0]["counts"].items():
        assert {int(c): n for c, n in row.items()} == {c: n for c, n in enumerate(counts[int(r)]) if n}
    names, listed = [row["target"] for row in table], page.tables["confusions"][1:]
    assert len(listed) == 6
    for true, taken, images, share in listed:
        count = counts[names.index(true), names.index(taken)]
        assert int(images) == count and share == f"{100 * count / counts[names.index(true)].sum():.1f} %"
    assert int(listed[0][2]) == max(counts[r, c] for r, c in np.ndindex(3, 3) if r != c)


def test_the_report_is_that_of_scikit_learn(run_dir, page):
    test = [row for row in rows(run_dir / "predictions.csv") if row["split"] == "test"]
    theirs = classification_report([r["target"] for r in test], [r["predicted"] for r in test], output_dict=True)
    accuracy, (_, *shown) = theirs.pop("accuracy"), page.tables["classification-report"]
    ours = {cells[0].replace("average", "avg"): cells[1:] for cells in shown}
    assert ours.pop("accuracy")[2] == written_percent(accuracy)
    assert ours.keys() == theirs.keys()
    for name, (precision, recall, f1, support) in ((name, row.values()) for name, row in theirs.items()):
        assert ours[name] == [*map(written_percent, (precision, recall, f1)), str(int(support))]


def test_calibration_and_samples_agree_with_predictions_csv(run_dir, page):
    test = [row for row in rows(run_dir / "predictions.csv") if row["split"] == "test"]
    confidence = np.array([float(row["confidence"]) for row in test])
    right = np.array([row["correct"] == "1" for row in test])
    place = np.minimum(np.ceil(confidence * 15).astype(int) - 1, 14)
    gaps = [abs(confidence[place == b].sum() - right[place == b].sum()) for b in range(15)]
    value, below = page.tiles["Expected calibration error"]
    assert value == written_percent(sum(gaps) / len(test))
    assert "15 bins" in below
    assert page.tiles["Mean confidence"][0] == written_percent(confidence.mean())
    assert page.tiles["Accuracy"] == (written_percent(right.mean()), "120 test images")
    pictures = [found for tag, found in page.tags if tag == "img"]
    chosen = np.load(run_dir / "samples.npz")["rows"]
    everything = rows(run_dir / "predictions.csv")
    assert [picture["alt"] for picture in pictures] == [everything[i]["image"] for i in chosen]
    wrong = sum(everything[i]["correct"] == "0" for i in chosen)
    assert sum((found.get("class") or "") == "wrong" for tag, found in page.tags if tag == "figure") == wrong


@pytest.mark.parametrize(("skill", "says"), [(0.3, "surer than it is right"), (0.98, "less sure than it could be")])
def test_a_model_that_is_too_sure_or_not_sure_enough_is_called_that(tmp_path, skill, says):
    page = read(written(make_run(tmp_path / "run", skill=skill)))
    assert page.tiles["Mean confidence"][1] == f"the model is {says}"


def test_settings_command_model_data_and_environment_stand_there(page, run_dir):
    result = result_of(run_dir)
    assert page.pairs["optimizer.lr"] == "0.01"
    assert result["command"] in page.text
    *layers, total = page.tables["layers"][1:]
    assert [cells[0] for cells in layers] == ["0.conv", "0.relu", "head"]
    assert int(total[3].replace(",", "")) == result["model"]["parameters"]
    assert page.pairs["split hash"] == result["data"]["split_hash"]
    assert page.pairs["train"] == "1,000"
    assert page.pairs["torch"] == "2.15.0"


def test_nothing_that_a_user_named_becomes_markup(page):
    assert "<script>alert(1)</script>" in page.text  # it is text
    assert sum(tag == "script" for tag, _ in page.tags) == 1  # ours
    assert all(tag != "b" for tag, _ in page.tags)


def test_the_page_needs_nothing_beside_itself(page):
    assert page.external == []


def test_every_figure_lies_there_as_png_and_svg(run_dir):
    run_page.write(run_dir)
    folder = run_dir / "figures"
    assert {path.stem for path in folder.glob("*.svg")} == FIGURES
    assert {path.stem for path in folder.glob("*.png")} == FIGURES | {"samples", "mistakes"}
    for path in folder.glob("*.svg"):
        text = path.read_text()
        ElementTree.fromstring(text)
        assert "var(" not in text, "a colour of the style sheet is left"
    for path in folder.glob("*.png"):
        with Image.open(path) as image:
            assert min(image.size) > 200
            assert len(set(image.convert("L").getdata())) > 10, f"{path.name} is empty"


def test_letters_that_no_font_has_are_no_warning(tmp_path, recwarn):
    directory = make_run(tmp_path / "run", classes=["\ue123\ue124", "cat"])
    run_page.write(directory)
    assert not [str(each.message) for each in recwarn if "Glyph" in str(each.message)]


def test_without_a_test_split_the_page_says_so(tmp_path):
    page = read(written(make_run(tmp_path / "run", test=0)))
    assert "Test accuracy" not in page.tiles
    assert "These are validation figures." in page.text
    assert page.tables["classification-report"][-1][-1] == "60"


@pytest.mark.parametrize("name", ["predictions.csv", "samples.npz", "config.yaml"])
def test_a_file_that_is_cut_off_is_left_out(run_dir, name):
    """As where a copy of the run was interrupted."""
    whole = (run_dir / name).read_bytes()
    (run_dir / name).write_bytes(b"- [" if name == "config.yaml" else whole[: len(whole) // 2])
    page = read(written(run_dir))
    assert page.tiles["Test accuracy"][0] == written_percent(result_of(run_dir)["metrics"]["test/acc"])
    assert ("Expected calibration error" in page.tiles) == (name != "predictions.csv")


@pytest.mark.parametrize(
    ("name", "table", "rows"),
    [("confusion.csv", "classification-report", {0, 7}), ("layers.csv", "layers", {0, 3, 4, 5})],
)
def test_a_table_that_is_cut_off_anywhere_stops_no_page(run_dir, name, table, rows):
    whole = (run_dir / name).read_bytes()
    for length in range(0, len(whole) - 1, 7):
        (run_dir / name).write_bytes(whole[:length])
        page = read(written(run_dir))
        assert len(page.tables.get(table, ())) in rows and "Test accuracy" in page.tiles


def test_a_class_without_images_has_no_bar(run_dir, monkeypatch):
    """A bar of 0 % would say that the network gets it wrong."""
    head, first, *others = (run_dir / "confusion.csv").read_text().splitlines()
    counts = [first.rpartition(",")[0].rpartition(",")[0].rpartition(",")[0] + ",0,0,0", *others]
    (run_dir / "confusion.csv").write_text("\n".join([head, *counts]))
    drawn = {}
    run_page.build(Reading(run_dir), drawn.__setitem__)
    tips = [element.get("data-tip", "") for element in ElementTree.fromstring(drawn["accuracy_per_class"]).iter()]
    assert sorted(tip.split()[0] for tip in tips if tip) == ["<script>alert(1)</script>", "dog"]
    shown = []
    monkeypatch.setattr(figures, "class_bars", lambda names, values, mean: shown.extend(values) or Figure())
    run_figures._draw(Reading(run_dir), run_dir)
    assert [math.isnan(value) for value in shown] == [False, False, True]


def test_a_nan_loss_interrupts_the_line_and_is_told(tmp_path):
    directory = make_run(tmp_path / "run", nan=True)
    page = read(run_page.write(directory))
    assert "The loss became NaN" in page.text
    assert "nan" not in (directory / "figures" / "loss.svg").read_text().lower()
    curves = [json.loads(found["data-lines"]) for tag, found in page.tags if "data-lines" in found]
    assert curves[0]["series"][0]["ys"][-1] is None


def test_an_epoch_without_validation_is_no_nan(tmp_path):
    directory = make_run(tmp_path / "run")
    with (directory / "metrics.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows[::2]:
        row.update({name: "" for name in row if name.startswith("val/")})
    with (directory / "metrics.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    page = read(written(directory))
    assert "became NaN" not in page.text
    head, first, second, *_ = page.tables["epochs"]
    at = head.index("val/loss")
    assert first[at] == MISSING and second[at] == f"{float(rows[1]['val/loss']):#.4g}"


def test_one_epoch_is_a_dot(tmp_path):
    directory = make_run(tmp_path / "run", epochs=1)
    run_page.write(directory)
    assert "<circle" in (directory / "figures" / "loss.svg").read_text()


@pytest.mark.parametrize(
    ("status", "said"),
    [("failed", "out of memory <now>"), ("interrupted", "the same command continues it"), ("pruned", "behind")],
)
def test_an_unfinished_run_says_why_and_shows_what_it_has(tmp_path, status, said):
    directory = make_run(tmp_path / "run", status=status, result={"error": "out of memory <now>", "metrics": {}})
    for name in ("predictions.csv", "confusion.csv", "samples.npz"):
        (directory / name).unlink()
    page = read(written(directory))
    assert said in page.text
    assert len(page.tables["epochs"]) == 9


def test_a_run_that_failed_at_once_has_a_page(tmp_path):
    directory = make_run(tmp_path / "run")
    for path in directory.iterdir():
        if path.name != "result.json":
            path.unlink()
    (directory / "result.json").write_text(json.dumps({"status": "failed", "error": "no space left"}))
    assert "no space left" in read(run_page.write(directory)).text


def test_101_classes_stay_small_and_readable(many_classes):
    path = written(many_classes)
    assert path.stat().st_size < 5e6
    page = read(path)
    assert len(page.tables["classification-report"]) == 1 + 101 + 3
    heat = next(found for tag, found in page.tags if "data-heat" in found)
    _, _, width, height = map(float, heat["viewbox"].split())
    assert 900 < width < 1400
    assert 900 < height < 1400


def test_two_classes(tmp_path):
    page = read(written(make_run(tmp_path / "run", classes=["yes", "no"])))
    assert [cells[0] for cells in page.tables["classification-report"][1:3]] == ["yes", "no"]


def test_writing_again_replaces_the_page(run_dir):
    first = run_page.write(run_dir).read_text()
    shutil.rmtree(run_dir / "figures")
    assert run_page.write(run_dir).read_text() == first
    assert (run_dir / "figures" / "loss.png").is_file()


def test_sections_come_in_the_order_of_the_questions(page):
    titles = ["Summary", "Settings", "Curves", "Confusion", "Classes", "Samples", "Calibration", "Model", "Data"]
    places = [page.text.index(title) for title in titles]
    assert all(a < b for a, b in pairwise(places))


def test_reports_import_neither_torch_nor_drawing():
    code = (
        "import sys, visionlab.reports.run_page, visionlab.reports.sweep_page, visionlab.reports.compare_page;"
        "heavy = {'torch', 'matplotlib', 'lightning', 'sklearn', 'scipy', 'optuna', 'PIL'} & set(sys.modules);"
        "sys.exit(str(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
