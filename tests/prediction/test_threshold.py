"""A threshold of one's own: what is predicted, recorded, submitted and evaluated agree; mistakes are said."""

import csv
import html
import json
import re
import shlex
import shutil
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, recall_score

import visionlab
from quick import QUICK
from reading_html import read
from visionlab.errors import ConfigError
from visionlab.prediction.predictor import Predictor
from visionlab.reports import applying
from visionlab.reports.reading import Reading
from visionlab.runs import Run

CLASSES = ["nævus (benign)", "melanoma"]  # one of which Hydra's braces cannot hold


@pytest.fixture(scope="session")
def spots(tmp_path_factory):
    """Noise that is a little darker of one class; twice as many images of the other."""
    root = tmp_path_factory.mktemp("spots")
    random = np.random.default_rng(0)
    for split, count in (("train", 30), ("val", 20), ("test", 20)):
        for name, images, dark in ((CLASSES[0], 2 * count, 0), (CLASSES[1], count, 25)):
            (root / split / name).mkdir(parents=True)
            for number in range(images):
                pixels = random.integers(60, 200, (8, 8, 3)) - random.integers(0, 60) - dark
                Image.fromarray(pixels.clip(0).astype(np.uint8)).save(root / split / name / f"{number:02}.png")
    return root


@pytest.fixture(scope="session")
def two(spots, tmp_path_factory):
    """A run on them that is unsure; tests only read it."""
    given = ["data=folder", f"data.root={spots}", "optimizer.lr=0.002", "trainer.max_epochs=3", "data.batch_size=30"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("visionlab.reports.run_figures.draw", lambda run, folder: None)
        return visionlab.train([*QUICK, *given], directory=tmp_path_factory.mktemp("two") / "run")


@pytest.fixture
def door(tmp_path, monkeypatch, capsys):
    """A command in this process; returns the exit code and what was printed."""
    monkeypatch.chdir(tmp_path)

    def call(name, *arguments):
        from visionlab import evaluate, predict

        monkeypatch.setattr(sys, "argv", [f"visionlab.{name}", *arguments])
        code = 0
        try:
            {"predict": predict, "evaluate": evaluate}[name].main()
        except SystemExit as left:
            code = left.code
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


def command_of(page):
    (command,) = re.findall("<code>(python -m visionlab.predict [^<]*)</code>", page)
    return shlex.split(html.unescape(command))


def limit_between(records):
    """A threshold at the probability that a quarter of the images have less of, so that it changes most answers."""
    return sorted(record["probabilities"]["melanoma"] for record in records)[len(records) // 4]


@pytest.mark.parametrize("several", [False, True])
def test_the_class_its_confidence_and_the_files_agree(two, spots, tmp_path, several):
    other = visionlab.train([*two.result["overrides"], "seed=1"], directory=tmp_path / "other") if several else two
    runs = [two, other] if several else two
    plain = visionlab.predict(runs, spots / "test", probabilities=True)
    limit = limit_between(plain)
    (tmp_path / "sample.csv").write_text("id,label\n" + "".join(f"{CLASSES[1]}/{n:02},\n" for n in range(20)))
    given = {"threshold": {"melanoma": limit}, "probabilities": True, "submission": tmp_path / "sample.csv"}
    found = visionlab.predict(runs, spots / "test", **given, out=tmp_path / "out")
    assert any(one["predicted"] != other["predicted"] for one, other in zip(plain, found, strict=True))
    assert {record["predicted"] for record in found} == set(CLASSES)
    for before, record in zip(plain, found, strict=True):
        chances = record["probabilities"]
        assert chances == before["probabilities"]
        assert record["predicted"] == CLASSES[chances["melanoma"] >= limit]
        assert record["confidence"] == chances[record["predicted"]]
        assert record["top"][0] == {"class": record["predicted"], "confidence": record["confidence"]}
        assert {each["class"]: each["confidence"] for each in record["top"]} == chances
    listing = json.loads((tmp_path / "out/predictions.json").read_text(encoding="utf-8"))
    assert listing["images"] == found and listing["threshold"] == {"melanoma": limit}
    with (tmp_path / "out/predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["predicted"] for row in rows] == [record["predicted"] for record in found]
    assert [row["confidence"] for row in rows] == [row[f"p({row['predicted']})"] for row in rows]
    with (tmp_path / "out/submission.csv").open(newline="", encoding="utf-8") as file:
        submitted = {row["id"]: row["label"] for row in csv.DictReader(file)}
    named = {record["image"].rpartition("test/")[2].removesuffix(".png"): record["predicted"] for record in found}
    assert submitted == {name: named[name] for name in submitted} and set(submitted.values()) == set(CLASSES)


def test_a_threshold_of_either_class_is_the_same_decision(two, spots):
    limit = limit_between(visionlab.predict(two, spots / "test", probabilities=True)) + 1e-5
    ours = visionlab.predict(two, spots / "test", threshold={"melanoma": limit})
    others = visionlab.predict(two, spots / "test", threshold={CLASSES[0]: 1 - limit})
    assert ours == others
    for least, name in ((0, "melanoma"), (1, CLASSES[0])):
        found = visionlab.predict(two, spots / "test", threshold=f"melanoma:{least}")
        assert {record["predicted"] for record in found} == {name}


def test_pictures_are_of_the_class_that_is_named(two, spots, tmp_path, monkeypatch):
    asked, heat = [], Predictor.heat
    monkeypatch.setattr(Predictor, "heat", lambda self, *given: asked.extend(given[1].tolist()) or heat(self, *given))
    source = spots / "test" / CLASSES[0]
    found = visionlab.predict(two, source, threshold={"melanoma": 0}, gradcam=True, out=tmp_path)
    assert asked == [two.result["data"]["classes"].index("melanoma")] * len(found)


def test_evaluate_measures_what_predict_decides(two, spots, tmp_path):
    by_name = {record["image"]: record for record in visionlab.predict(two, spots / "test", probabilities=True)}
    limit = limit_between(list(by_name.values())) + 1e-5
    plain = visionlab.evaluate(two)
    found = visionlab.evaluate(two, threshold={"melanoma": limit}, out=tmp_path / "out")
    predicted = {image: record["probabilities"]["melanoma"] >= limit for image, record in by_name.items()}
    with (tmp_path / "out/predictions.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        image = str(spots / row["image"])
        assert row["predicted"] == CLASSES[predicted[image]]
        assert float(row["confidence"]) == pytest.approx(by_name[image]["probabilities"][row["predicted"]], abs=1e-5)
        assert row["correct"] == str(int(row["predicted"] == row["target"]))
    truth, said = [[row[key] for row in rows] for key in ("target", "predicted")]
    order = two.result["data"]["classes"]
    assert found.confusion.tolist() == confusion_matrix(truth, said, labels=order).tolist()
    assert found.confusion.tolist() != plain.confusion.tolist()
    wanted = {
        "acc": np.mean([one == other for one, other in zip(truth, said, strict=True)]),
        "f1": f1_score(truth, said, average="macro"),
        "balanced_acc": balanced_accuracy_score(truth, said),
        "sensitivity": recall_score(truth, said, pos_label="melanoma"),
        "specificity": recall_score(truth, said, pos_label=CLASSES[0]),
        "loss": plain.metrics["loss"],
        "auc": plain.metrics["auc"],
    }
    assert found.metrics == pytest.approx(wanted, abs=1e-6)
    written = json.loads((tmp_path / "out/metrics.json").read_text(encoding="utf-8"))
    assert written["threshold"] == {"melanoma": limit} and written["test/sensitivity"] == found.metrics["sensitivity"]
    assert torch.equal(found.label_probability, plain.label_probability)


def test_a_class_without_images_has_no_sensitivity(two, spots, tmp_path):
    shutil.copytree(spots, tmp_path / "spots")
    shutil.rmtree(tmp_path / "spots/test/melanoma")
    found = visionlab.evaluate(two, data={"root": str(tmp_path / "spots")}, threshold="melanoma:0.2")
    assert "sensitivity" not in found.metrics and 0 <= found.metrics["specificity"] <= 1


def test_the_command_on_the_page_does_what_the_page_measured(two, spots, door, tmp_path):
    """The row of the thresholds' table, on the test images: as evaluate and predict come to it."""
    page = read(two.page)
    (row,) = [cells for cells in page.tables["thresholds"] if cells[0] == "sensitivity of 95 %"]
    assert "with the threshold for a sensitivity of 95 %" in page.text
    words = command_of(two.page.read_text(encoding="utf-8"))
    (typed,) = [word for word in words if word.startswith("threshold=")]
    assert float(typed.rstrip("'").rpartition(":")[2]) == pytest.approx(float(row[1]), abs=1e-4)
    code, text = door("evaluate", f"run={two.dir}", typed)
    assert code == 0, text
    figures = dict(re.findall(r"test/(\w+) +([\d.]+)", text))
    assert f"{100 * float(figures['sensitivity']):.2f} %" == row[2]
    assert f"{100 * float(figures['specificity']):.2f} %" == row[4]
    assert "Taken for melanoma from a probability of 0." in text
    (tmp_path / "photos").symlink_to(spots / "test" / "melanoma")
    code, text = door("predict", f"run={two.dir}", *words[4:], "out=out")
    assert code == 0 and "Taken for melanoma from a probability of 0." in text
    with (tmp_path / "out/predictions.csv").open(newline="", encoding="utf-8") as file:
        found = [line["predicted"] == "melanoma" for line in csv.DictReader(file)]
    assert f"{100 * np.mean(found):.2f} %" == row[2]


def test_the_command_holds_any_name_and_finds_the_image_that_the_limit_is_of(two, door, tmp_path):
    """0.2499996 is recorded as 0.25."""
    for name, limit, least in (
        (CLASSES[0], 0.25, 0.2499995),
        ("melanoma", 0.0, 0.0),
        ("melanoma", 1e-6, 5e-7),  # not 0, from which on all images are of it
        ("melanoma", 1.0, 0.9999995),
    ):
        (_, code) = applying.threshold(Reading(two.dir), name, limit, 0.95)
        Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
        answer, text = door("predict", f"run={two.dir}", "source=a.png", command_of(code)[-1])
        assert answer == 0 and f"Taken for {name} from a probability of {least:g} on." in text


@pytest.mark.parametrize(
    ("typed", "least"),
    [
        ("threshold={melanoma: 0.25}", 0.25),
        ("threshold={melanoma:1}", 1),
        ("threshold=melanoma:.5", 0.5),
        ("threshold=melanoma: 2e-1", 0.2),
        (f'threshold="{CLASSES[0]}:0.25"', 0.25),
    ],
)
def test_how_it_may_be_typed(two, door, tmp_path, typed, least):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    code, text = door("predict", f"run={two.dir}", "source=a.png", typed)
    assert code == 0 and f"from a probability of {least:g} on." in text


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("threshold=0.3", "0.3 is no probability of one of the classes"),
        ("threshold=melanoma", "is no probability of one of the classes"),
        ("threshold={melanoma: 0.3, other: 0.2}", "is no probability of one of the classes"),
        ("threshold={}", "is no probability of one of the classes"),
        ("threshold=melanome:0.3", "did you mean 'melanoma'"),
        ("threshold=melanoma:1.5", "1.5 is no probability"),
        ("threshold=melanoma:-0.1", "-0.1 is no probability"),
        ("threshold=melanoma:nan", "nan is no probability"),
        ("threshold=melanoma:high", "high is no probability"),
        ("threshold={melanoma: true}", "True is no probability"),
        ("threshold={melanoma: null}", "None is no probability"),
    ],
)
@pytest.mark.parametrize("name", ["predict", "evaluate"])
def test_a_mistake_is_said(two, door, tmp_path, name, typed, says):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    code, text = door(name, f"run={two.dir}", *(["source=a.png"] if name == "predict" else []), typed)
    assert code == 2 and says in text and "in: threshold" in text and "Traceback" not in text


def test_more_classes_have_none(quick_run, tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    for use in (lambda: visionlab.evaluate(quick_run, threshold={"1": 0.3}),
                lambda: visionlab.predict(quick_run, tmp_path, threshold={"1": 0.3})):  # fmt: skip
        with pytest.raises(ConfigError, match="decides between two classes, and the run has 10"):
            use()


def test_a_class_may_have_the_name_of_a_number_or_a_truth_value(two, spots, tmp_path):
    copy = Run(shutil.copytree(two.dir, tmp_path / "run"))
    for names, given in ((["0", "1"], {1: 0.0}), (["false", "true"], {True: 0.0}), (["a:b", "c"], "a:b:0")):
        copy.update(data=copy.result["data"] | {"classes": names})
        found = visionlab.predict(copy, spots / "test" / "melanoma", threshold=given)
        assert {record["predicted"] for record in found} == {names[1] if isinstance(given, dict) else names[0]}
