"""The area under the ROC curve: that of scikit-learn, on any number of devices, and where there is none."""

import json
import math
import subprocess
import sys

import pytest
import torch
from PIL import Image
from sklearn.metrics import roc_auc_score

import visionlab
from quick import QUICK
from visionlab.errors import ConfigError
from visionlab.runs import Run
from visionlab.training.auroc import Auroc
from visionlab.training.classifier import ImageClassifier

TWO = [
    "data=synthetic", "data.images=400", "data.kinds=2", "data.image_size=8", "data.batch_size=40",
    "data.val_fraction=0.2", "data.test_fraction=0.2", "model=simple_cnn", "model.network.filters=[4,8]",
    "model.network.dense_units=8", "trainer.max_epochs=3", "trainer.accelerator=cpu", "logger=none",
    "callbacks.progress.show=false", "optimizer=sgd", "optimizer.lr=0.002", "loss.label_smoothing=0.1",
]  # fmt: skip


@pytest.fixture
def scores():
    """Logits of 500 images, a tenth of the second class; many of them tied, some so far apart that p is 1."""
    generator = torch.Generator().manual_seed(0)
    labels = (torch.rand(500, generator=generator) < 0.1).long()
    logits = torch.randn(500, 2, generator=generator) * 6
    logits[:, 1] += 6 * labels
    return logits.round(), labels


@pytest.mark.parametrize("count", range(3, 90, 4))
def test_what_is_told_apart_perfectly_has_an_area_of_exactly_one(count):
    auroc = Auroc()
    auroc.update(torch.stack([torch.zeros(count), torch.arange(count) + 0.0], 1), (torch.arange(count) > 1).long())
    assert auroc.compute().item() == 1


def test_the_area_is_that_of_scikit_learn_with_ties_and_padding_and_small_batches(scores):
    logits, labels = scores
    auroc = Auroc()
    for part in torch.arange(500).split(33):
        auroc.update(logits[part], labels[part])
        auroc.update(logits[:2], torch.full((2,), -1))
    wanted = roc_auc_score(labels, logits.double().softmax(1)[:, 1])
    assert auroc.compute().item() == pytest.approx(wanted, abs=1e-6)
    assert wanted != pytest.approx(roc_auc_score(labels, logits.softmax(1)[:, 1]), abs=1e-4)  # rounded to 1, and tied


def test_the_area_does_not_depend_on_which_class_comes_first(scores):
    logits, labels = scores
    one, other = Auroc(), Auroc()
    one.update(logits, labels)
    other.update(logits.flip(1), 1 - labels)
    assert one.compute().item() == pytest.approx(other.compute().item(), abs=1e-6)


def test_no_area_without_images_of_both_classes_and_none_of_a_network_that_returns_nan():
    auroc = Auroc()
    auroc.update(torch.eye(2), torch.tensor([1, 1]))
    auroc.update(torch.eye(2), torch.tensor([-1, -1]))
    assert auroc.compute() is None
    auroc.reset()
    auroc.update(torch.tensor([[0, 1], [0, torch.nan]]), torch.tensor([0, 1]))
    assert math.isnan(auroc.compute())


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    given = ["monitor=val/auc", "scheduler=plateau", "scheduler.patience=0", "callbacks.early_stopping.patience=3"]
    return visionlab.train([*TWO, *given, "logger=tensorboard"], directory=tmp_path_factory.mktemp("two") / "run")


def test_the_recorded_area_is_that_of_the_recorded_probabilities(run):
    for split in ("val", "test"):
        rows = [row for row in run.predictions if row["split"] == split]
        second = [row["target"] == "class1" for row in rows]
        own = [float(row["target_probability"]) for row in rows]
        chances = [chance if it else 1 - chance for chance, it in zip(own, second, strict=True)]
        area = run.result["metrics"][f"{split}/auc"]
        assert 0.5 < area < 1 and area == pytest.approx(roc_auc_score(second, chances), abs=1e-6)
        assert visionlab.evaluate(run, split).metrics["auc"] == area


def test_the_best_epoch_is_that_of_the_largest_area(run):
    areas = [row["val/auc"] for row in run.metrics]
    assert run.result["best_epoch"] == areas.index(max(areas))
    assert run.result["metrics"]["val/auc"] == pytest.approx(max(areas), abs=1e-7)


def test_other_numbers_of_classes_have_no_area_and_keep_no_scores(quick_run, monkeypatch):
    assert not any("auc" in name for name in (*quick_run.metrics[0], *quick_run.result["metrics"]))
    monkeypatch.setattr(Auroc, "update", lambda *_: pytest.fail("scores are kept"))
    visionlab.evaluate(quick_run, "val")


def test_training_steps_keep_no_scores(monkeypatch, tmp_path):
    steps, update = [], Auroc.update
    monkeypatch.setattr(Auroc, "update", lambda self, *given: (steps.append(1), update(self, *given))[1])
    monkeypatch.setattr(ImageClassifier, "on_validation_epoch_end", lambda self: steps.append("end"))
    visionlab.train([*TWO, "trainer.max_epochs=2", "test=false"], directory=tmp_path / "run")
    assert steps == [1, 1, "end", 1, 1, "end", 1, 1]  # 64 images to validate; the last two of the best epoch


@pytest.mark.parametrize(
    ("key", "given"),
    [(f"{place}monitor", "val/auc") for place in ("", "callbacks.early_stopping.", "callbacks.rollback.")]
    + [("sweep.objectives", "{val/auc: max}"), ("sweep.objectives", "{val/top5: max}")],
)
def test_more_classes_have_no_area_to_follow(tmp_path, key, given):
    with pytest.raises(ConfigError, match=r"area under the ROC curve \(val/auc\) of 3|top-5") as caught:
        visionlab.train([*TWO, "data.kinds=3", f"{key}={given}"], directory=tmp_path / "run")
    assert caught.value.where == key and not Run(tmp_path / "run").metrics


@pytest.fixture
def lopsided(tmp_path):
    """Photographs whose validation split is of one class, and whose test split of the other."""
    folders = [("train", "healthy"), ("train", "lesion"), ("val", "healthy"), ("test", "lesion")]
    for at, (split, name) in enumerate(folders):
        (tmp_path / "photos" / split / name).mkdir(parents=True)
        for number in range(12):
            image = Image.new("RGB", (8, 8), (9 * number, 60 * at, 90))
            image.save(tmp_path / "photos" / split / name / f"{number}.png")
    return [*QUICK, "data=folder", f"data.root={tmp_path / 'photos'}"]


def test_a_split_of_one_class_has_no_area_and_says_so(lopsided, tmp_path, caplog):
    """Not 0, which torchmetrics returns, nor NaN, which no JSON has."""
    run = visionlab.train(lopsided, directory=tmp_path / "run")
    assert run.status == "completed" and "val/balanced_acc" in run.result["metrics"]
    assert "auc" not in (run.dir / "result.json").read_text() + (run.dir / "metrics.csv").read_text()
    for split in ("val", "test"):
        assert f"all {split} images are of one class, and have no area" in caplog.text
    assert run.page.exists()
    visionlab.evaluate(run, out=tmp_path / "out")
    assert "test/auc" not in json.loads((tmp_path / "out/metrics.json").read_text())


def test_a_split_of_one_class_cannot_be_followed(lopsided, tmp_path):
    with pytest.raises(ConfigError, match="of one class, healthy, and have no area") as caught:
        visionlab.train([*lopsided, "monitor=val/auc"], directory=tmp_path / "run")
    assert caught.value.where == "monitor"
    few = ["trainer.limit_val_batches=1", "data.batch_size=1", "scheduler=plateau", "scheduler.monitor=val/auc"]
    with pytest.raises(ConfigError, match="of one class") as caught:
        visionlab.train([*TWO, *few], directory=tmp_path / "few")
    assert caught.value.where == "scheduler.monitor"


@pytest.mark.process
def test_two_devices_give_the_area_of_one(tmp_path):
    """Of 67 images, so that one device pads its last batch."""
    uneven = [*TWO, "data.images=335", "monitor=val/auc", "trainer.max_epochs=1"]
    one = visionlab.train(uneven, directory=tmp_path / "one")
    words = [*uneven, "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", f"hydra.run.dir={tmp_path}/two"]
    command = [sys.executable, "-m", "visionlab.train", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    two = Run(tmp_path / "two")
    for split in ("val", "test"):
        area = one.result["metrics"][f"{split}/auc"]
        assert two.result["metrics"][f"{split}/auc"] == pytest.approx(area, abs=1e-3) and area < 1
        rows = [row for row in two.predictions if row["split"] == split]
        second = [row["target"] == "class1" for row in rows]
        own = [float(row["target_probability"]) for row in rows]
        chances = [chance if it else 1 - chance for chance, it in zip(own, second, strict=True)]
        assert two.result["metrics"][f"{split}/auc"] == pytest.approx(roc_auc_score(second, chances), abs=1e-6)
    assert [row["val/auc"] for row in two.metrics] == pytest.approx([row["val/auc"] for row in one.metrics], abs=1e-3)
