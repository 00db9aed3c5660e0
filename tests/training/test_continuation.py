"""A longer run goes on from a shorter one, and is what it would have been by itself, bit for bit."""

import json
import shutil

import pytest
import torch

import visionlab
from visionlab import runs
from visionlab.config import compose, resolved
from visionlab.runs import Run

# What has a state: dropout, BatchNorm, the order of the images, their augmentation.
SHARED = [
    "data.image_size=8", "data.batch_size=100", "data.train_fraction=0.3", "augment=flip", "model=simple_cnn_bn",
    "model.network.filters=[4,8]", "model.network.dense_units=16", "logger=none", "callbacks.progress.show=false",
    "trainer.accelerator=cpu",
]  # fmt: skip


def train(outputs, *words, epochs):
    return visionlab.train([*SHARED, *words, f"trainer.max_epochs={epochs}", f"outputs={outputs}"])


def weights(run, which):
    return torch.load(run.checkpoint(which), weights_only=True)["state_dict"]


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["scheduler=step", "scheduler.step_size=2", "scheduler.warmup_epochs=1.5"],
        ["scheduler=multistep", "scheduler.milestones=[1,3]", "callbacks.ema.decay=0.9"],
        ["scheduler=exponential", "optimizer=sgd", "optimizer.lr=0.05"],
        ["scheduler=plateau", "scheduler.patience=0", "callbacks.early_stopping.patience=2", "optimizer.lr=0.03"],
        ["callbacks.rollback.patience=1", "optimizer.lr=0.05", "trainer.accumulate_grad_batches=2"],
    ],
)
def test_it_ends_as_if_it_had_been_trained_by_itself(tmp_path, capsys, words):
    shorter = train(tmp_path / "both", *words, epochs=3)
    longer = train(tmp_path / "both", *words, epochs=5)
    assert f"It goes on from the last of the 3 epochs of {shorter.dir}." in capsys.readouterr().out
    alone = train(tmp_path / "alone", *words, epochs=5)
    assert longer.result["begun_by"] == str(shorter.dir) and "begun_by" not in alone.result
    assert f"begun by {shorter.dir.name}" in longer.page.read_text()
    assert longer.result["metrics"] == alone.result["metrics"]
    assert longer.result["best_epoch"] == alone.result["best_epoch"]
    assert longer.predictions == alone.predictions
    places = ("seconds", "images_per_second")
    rows = [[{k: v for k, v in row.items() if k not in places} for row in run.metrics] for run in (longer, alone)]
    assert rows[0] == rows[1]
    for which in ("best", "last"):
        one, other = weights(longer, which), weights(alone, which)
        assert one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)
    assert shorter.status == "completed" and shorter.result["epochs"] == 3, "the shorter one stays as it was"


@pytest.mark.parametrize(
    "words",
    [
        ["scheduler=cosine"],
        ["scheduler=onecycle"],
        ["callbacks.swa.start=0.5"],
        ["trainer.max_time=3600"],
        ["+callbacks.mine._target_=lightning.Callback"],
    ],
)
def test_what_follows_the_length_is_trained_from_the_start(tmp_path, capsys, words):
    train(tmp_path, *words, epochs=2)
    assert "begun_by" not in train(tmp_path, *words, epochs=3).result
    assert "It goes on" not in capsys.readouterr().out


def test_only_the_same_settings_images_and_software_will_do(tmp_path):
    shorter = train(tmp_path, epochs=2)
    for words in (["seed=1"], ["optimizer.lr=0.02"], ["force=true"]):
        assert "begun_by" not in train(tmp_path, *words, epochs=3).result
    shutil.rmtree(tmp_path / runs.name(resolved(compose([*SHARED, "trainer.max_epochs=3"]))))
    then = shorter.result["environment"]
    shorter.update(environment=then | {"versions": then["versions"] | {"torch": "1.0"}})
    assert "begun_by" not in train(tmp_path, epochs=4).result


def test_a_shorter_run_that_lost_its_checkpoint_or_its_config_is_passed_over(tmp_path):
    for file in ("checkpoints/last.ckpt", "config.yaml"):
        shorter = train(tmp_path / file, epochs=1)
        (shorter.dir / file).unlink()
        assert train(tmp_path / file, epochs=2).status == "completed"


def test_the_longest_of_several_is_taken_and_a_longer_one_never(tmp_path):
    for epochs in (1, 2, 6):
        train(tmp_path, epochs=epochs)
    longest = train(tmp_path, epochs=4)
    assert Run(longest.result["begun_by"]).result["epochs"] == 2


def test_a_grid_over_the_length_trains_each_epoch_once(tmp_path):
    sweep = visionlab.sweep([*SHARED, "trainer.max_epochs=1,2,4", f"outputs={tmp_path}"])
    begun = [Run(ranked.dirs[0]).result.get("begun_by") for ranked in sorted(sweep.ranking, key=lambda one: one.trial)]
    assert begun[0] is None and all(begun[1:])


def test_a_sweep_that_watches_the_epochs_sees_all_of_them(tmp_path):
    train(tmp_path, "optimizer.lr=1e-2", epochs=3)
    words = [
        "sweep=architectures",
        "model=choice(simple_cnn_bn)",
        "optimizer.lr=1e-2,1e-7",
        "trainer.max_epochs=4",
        f"outputs={tmp_path}",
    ]
    sweep = visionlab.sweep([*SHARED, *words])
    assert sweep.best.values["optimizer.lr"] == 0.01
    assert "begun_by" not in Run(sweep.best.dirs[0]).result


def test_curves_of_a_longer_run_begin_with_the_first_epoch(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    words, curves = ["logger=tensorboard"], []
    train(tmp_path / "both", *words, epochs=3)
    for place in ("both", "alone"):
        events = EventAccumulator(str(train(tmp_path / place, *words, epochs=5).dir))
        events.Reload()
        points = {tag: [(point.step, point.value) for point in events.Scalars(tag)] for tag in ("val/acc", "lr")}
        curves.append({tag: sorted(set(known)) for tag, known in points.items()})
    assert json.dumps(curves[0]) == json.dumps(curves[1]) and len(curves[0]["val/acc"]) == 5
