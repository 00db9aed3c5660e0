"""Training that a limit cuts short: validated at its end, recorded as it was, on images of all classes."""

import pytest
import torch
from PIL import Image

import visionlab
from quick import QUICK
from visionlab.errors import ConfigError, DataError
from visionlab.models.airbench import Airbench
from visionlab.training import optimizers


def train(tmp_path, *overrides):
    return visionlab.train([*QUICK, *overrides], directory=tmp_path / "run")


@pytest.mark.parametrize(
    ("steps", "extra", "epochs"),
    [
        (15, "test=true", 2),  # an epoch has 10 steps
        (3, "callbacks.early_stopping.patience=2", 1),
        (3, "callbacks.rollback.patience=2", 1),
    ],
)
def test_the_last_steps_are_validated_too(tmp_path, steps, extra, epochs):
    run = train(tmp_path, "trainer.max_epochs=3", f"trainer.max_steps={steps}", extra)
    assert [row["step"] for row in run.metrics] == [10, steps][-epochs:]
    assert len({row["val/loss"] for row in run.metrics}) == epochs
    assert visionlab.evaluate(run, "val").metrics["acc"] == pytest.approx(max(row["val/acc"] for row in run.metrics))


def test_a_step_is_the_mean_of_its_batches_also_where_an_epoch_has_fewer_for_it(tmp_path):
    """Lightning divides by trainer.accumulate_grad_batches all the same."""
    plain = ["optimizer=sgd", "optimizer.lr=0.1", "trainer.max_epochs=1", "data.test_fraction=null"]
    plain += ["data.val_fraction=0.2", "data.train_fraction=0.1", "model.network.dropout=0"]
    one = visionlab.train([*QUICK, *plain, "data.batch_size=1000"], directory=tmp_path / "one")
    images = one.result["data"]["train"]
    assert images % 2 == 0
    parts = [f"data.batch_size={images // 2}", "trainer.accumulate_grad_batches=16"]
    two = visionlab.train([*QUICK, *plain, *parts], directory=tmp_path / "two")
    for mine, theirs in zip(*(visionlab.load(run).network.parameters() for run in (one, two)), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-6)


def test_an_epoch_without_validation_repeats_no_figures(tmp_path):
    run = train(tmp_path, "trainer.max_epochs=3", "+trainer.check_val_every_n_epoch=2")
    assert [row["val/acc"] is None for row in run.metrics] == [True, False, True]
    assert all(row["train/loss"] for row in run.metrics)
    assert run.result["best_epoch"] == 1


def test_a_part_of_the_validation_images_is_of_all_classes(tmp_path, capsys):
    """Images come in the order of their names, class by class, so that the first ones are of one class."""
    for kind in ("cat", "dog", "eel"):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for number in range(60):
            color = ("cat", "dog", "eel").index(kind) * 80, 4 * number, 100
            Image.new("RGB", (8, 8), color).save(tmp_path / "photos" / kind / f"{number}.png")
    run = train(
        tmp_path, "data=folder", f"data.root={tmp_path / 'photos'}", "data.image_size=8", "data.batch_size=12",
        "data.val_fraction=0.2", "data.test_fraction=0.2", "trainer.limit_val_batches=1",
        "trainer.limit_test_batches=0.7", "trainer.max_epochs=1",
    )  # fmt: skip
    printed = capsys.readouterr().out
    for split, images in (("val", 12), ("test", 24)):
        seen = [row["target"] for row in run.predictions if row["split"] == split]
        assert len(seen) == images and set(seen) == {"cat", "dog", "eel"}
        assert visionlab.evaluate(run, split).metrics["acc"] == run.result["metrics"][f"{split}/acc"]
        assert f"{split} ({images} images)" in printed
    assert run.metrics[0]["val/acc"] == pytest.approx(run.result["metrics"]["val/acc"])
    assert len(visionlab.evaluate(run, "train").rows) == run.result["data"]["train"]


def test_a_schedule_by_epochs_is_as_long_as_the_training(tmp_path):
    schedule = ["scheduler=cosine", "scheduler.interval=epoch"]
    run = train(tmp_path, *schedule, "trainer.max_epochs=100", "trainer.max_steps=35")  # an epoch has 10 steps
    assert [row["lr"] for row in run.metrics] == pytest.approx([0.01, 0.00854, 0.005, 0.00146], rel=0.01)


def test_weights_are_averaged_also_where_steps_end_the_training(tmp_path):
    limits = ["trainer.max_epochs=100", "trainer.max_steps=25"]
    plain, averaged = (train(tmp_path / name, *limits, *given) for name, given in
                       (("plain", []), ("averaged", ["callbacks.swa.start=0.6"])))  # fmt: skip
    losses = [[row["val/loss"] for row in run.metrics] for run in (plain, averaged)]
    assert [a == b for a, b in zip(*losses, strict=True)] == [True, True, False]


def test_seconds_end_a_training(tmp_path):
    run = train(tmp_path, "trainer.max_epochs=100000", "trainer.max_time=1")
    assert run.status == "completed" and run.result["epochs"] < 100000


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["trainer.max_time=1", "scheduler=cosine", "callbacks.swa.start=0.9"], "the scheduler and callbacks.swa"),
        (["trainer.max_time=1"], ""),
        (["trainer.max_time=1000", "trainer.max_epochs=1", "scheduler=cosine"], ""),
    ],
)
def test_what_was_planned_to_the_end_is_told_to_be_cut_off(tmp_path, caplog, given, told):
    run = train(tmp_path, "trainer.max_epochs=100000", *given)
    said = f"trainer.max_time ended the training after {run.result['epochs']} of 100000 epochs"
    assert (said in caplog.text) == ("trainer.max_time" in caplog.text) == bool(told)
    assert told in caplog.text


def test_no_fused_optimizer_where_scaled_gradients_are_clipped(tmp_path, monkeypatch):
    """Lightning refuses it, so `auto` must not choose it."""
    asked, really = [], optimizers.build
    monkeypatch.setattr(optimizers, "build", lambda *a, **k: asked.append(k["fusible"]) or really(*a, **k))
    for number, settings in enumerate((["trainer.precision=bf16-mixed"], ["trainer.gradient_clip_val=1"])):
        train(tmp_path / str(number), *settings, "trainer.max_epochs=1")
    train(tmp_path / "both", "trainer.precision=bf16-mixed", "trainer.gradient_clip_val=1", "trainer.max_epochs=1")
    assert asked == [True, True, False]


def test_a_network_learns_from_smaller_images_than_it_is_tested_on(tmp_path, monkeypatch):
    seen, really = set(), Airbench.forward
    monkeypatch.setattr(
        Airbench, "forward", lambda self, x: (seen.add((self.training, *x.shape[2:])), really(self, x))[1]
    )
    smaller = ["data.image_size=32", "augment=resized_crop", "augment.steps.crop.size=[24,20]", "trainer.max_epochs=1"]
    run = visionlab.train(["model=airbench", *smaller, "test=true"], directory=tmp_path / "first")
    assert {shape for shape in seen if shape[0]} == {(True, 24, 20)}
    assert {shape for shape in seen if not shape[0]} == {(False, 32, 32)}
    assert run.result["data"]["image_size"] == [32, 32] and run.result["metrics"]["test/acc"] > 0.2
    visionlab.evaluate(run, data={"image_size": 40})
    assert (False, 40, 40) in seen
    with pytest.raises(DataError, match=r"20x20 px.*built for 32x32 px") as caught:
        train(tmp_path, "data.image_size=32", "augment=resized_crop", "augment.steps.crop.size=20")
    assert "augmentation" in caught.value.remedy


def test_top5_of_few_classes_is_no_monitor(tmp_path):
    for key in ("", "callbacks.early_stopping."):
        with pytest.raises(ConfigError, match="top-5"):
            train(tmp_path, "data=synthetic", "data.kinds=4", "data.image_size=8", f"{key}monitor=val/top5")
