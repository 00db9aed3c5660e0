"""What the callbacks of the reports do to a run."""

from types import SimpleNamespace

import pytest
import torch
from lightning import LightningModule, Trainer

import visionlab
from quick import QUICK
from visionlab.runs import Run
from visionlab.training import callbacks
from visionlab.training.records import Records

LONGER = [*QUICK, "trainer.max_epochs=6", "model=simple_cnn_bn", "model.network.filters=[4,8]"]


def train(tmp_path, *overrides, name="run"):
    return visionlab.train([*LONGER, *overrides], directory=tmp_path / name)


def test_early_stopping_ends_training_and_keeps_the_best_epoch(tmp_path):
    # A learning rate of next to nothing: no epoch is better than the first by 10 points.
    run = train(
        tmp_path, "optimizer.lr=1e-9", "callbacks.early_stopping.patience=2", "callbacks.early_stopping.min_delta=0.1"
    )
    assert run.result["epochs"] == 3
    best = max(run.metrics, key=lambda row: row["val/acc"])
    assert run.result["metrics"]["val/acc"] == pytest.approx(best["val/acc"], abs=1e-7)


def test_rollback_returns_to_the_best_weights_with_a_lower_rate(tmp_path, capsys):
    # The third epoch's steps, twelve times too long, ruin the network; patience 1 puts the best weights back.
    run = train(
        tmp_path, "optimizer=sgd", "optimizer.lr=0.05", "callbacks.rollback.patience=1",
        "callbacks.rollback.lr_factor=0.01",
        "scheduler=multistep", "scheduler.milestones=[2]", "scheduler.gamma=12", "trainer.max_epochs=5",
    )  # fmt: skip
    said = capsys.readouterr().out
    assert "Rolled back to the best weights" in said
    rates = [row["lr"] for row in run.metrics]
    assert rates[2] == pytest.approx(0.6) and rates[3] == pytest.approx(0.006)
    best = max(row["val/acc"] for row in run.metrics[:2])
    assert run.metrics[2]["val/acc"] < best
    assert run.result["metrics"]["val/acc"] >= best - 1e-7


def test_epochs_without_validation_are_no_reason_to_roll_back(tmp_path, capsys):
    better = ["optimizer.lr=1e-3", "monitor=val/loss", "mode=min"]  # the loss falls from one validation to the next
    every = "+trainer.check_val_every_n_epoch=2"
    run = train(tmp_path, *better, every, "callbacks.rollback.patience=1", "trainer.max_epochs=4")
    found = [row["val/loss"] for row in run.metrics]
    assert found[0] is found[2] is None and found[3] < found[1]
    assert "Rolled back" not in capsys.readouterr().out
    assert len({row["images_per_second"] for row in run.metrics}) == 4, "an epoch repeats the time of the one before"


def test_a_plateau_is_looked_for_where_there_is_a_validation(tmp_path):
    run = train(
        tmp_path, "scheduler=plateau", "scheduler.patience=0", "scheduler.threshold=1e9", "scheduler.factor=0.5",
        "optimizer.lr=0.01", "+trainer.check_val_every_n_epoch=2",
    )  # fmt: skip
    # no validation is better by a billion than the first, so that each after it halves the learning rate
    assert [row["lr"] for row in run.metrics] == pytest.approx([0.01] * 4 + [0.005] * 2)


@pytest.mark.parametrize("averaging", ["callbacks.ema.decay=0.9", "callbacks.swa.start=0.5"])
def test_averaged_weights_are_what_is_validated_kept_and_evaluated(tmp_path, averaging):
    plain, averaged = (
        train(tmp_path, name="plain"),
        train(tmp_path, averaging, "monitor=val/loss", "mode=min", name="averaged"),
    )
    rows = averaged.metrics
    assert [row["train/loss"] for row in rows] == [row["train/loss"] for row in plain.metrics], (
        "the path itself changed"
    )
    assert [row["val/loss"] for row in rows] != [row["val/loss"] for row in plain.metrics]
    best = min(rows, key=lambda row: row["val/loss"])
    assert averaged.result["metrics"]["val/loss"] == pytest.approx(best["val/loss"], rel=1e-5)
    assert visionlab.evaluate(averaged, "val").metrics["loss"] == pytest.approx(best["val/loss"], rel=1e-5)


def test_the_moving_average_is_taken_after_each_step():
    """By hand: a weight that is -1, -2 and -3 after its steps, and begins the average at -1, of which half is kept."""

    class Falling(LightningModule):
        def __init__(self):
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def training_step(self, batch, batch_idx):
            return self.weight.sum()

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=1.0)

    module = Falling()
    trainer = Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[callbacks.ema(decay=0.5)], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader(range(3)))
    assert module.weight.item() == pytest.approx(0.5 * (0.5 * -1 + 0.5 * -2) + 0.5 * -3)


def test_the_mean_of_the_weights_is_their_mean(tmp_path):
    from lightning import Callback

    kept = []

    class Keep(Callback):
        def on_train_epoch_end(self, trainer, pl_module):
            kept.append({k: v.clone() for k, v in pl_module.network.state_dict().items() if v.is_floating_point()})

    import visionlab.training.fit as fit_module

    chosen = fit_module._chosen
    fit_module._chosen = lambda config: iter([*chosen(config), Keep()])
    try:
        run = train(tmp_path, "callbacks.swa.start=0.5", "trainer.max_epochs=4")
    finally:
        fit_module._chosen = chosen
    # Epochs 2, 3 and 4 end at half of the training or later; `last` is written after the first step of epoch 4.
    last = torch.load(run.checkpoint("last"), weights_only=True)
    for name, value in last["state_dict"].items():
        if name.startswith("network.") and value.is_floating_point():
            short = name.removeprefix("network.")
            assert torch.allclose(value, (kept[1][short] + kept[2][short]) / 2, atol=1e-6), name


def test_gradual_unfreezing_trains_the_last_layer_first(tmp_path):
    run = train(tmp_path, "callbacks.unfreezing.epochs_per_layer=100", "trainer.max_epochs=2")
    fresh = visionlab.train([*LONGER, "trainer.max_epochs=1", "optimizer.lr=1e-12"], directory=tmp_path / "fresh")
    changed = {
        name.removesuffix(".weight")
        for (name, value), other in zip(
            visionlab.load(run).network.named_parameters(), visionlab.load(fresh).network.parameters(), strict=True
        )
        if name.endswith("weight") and not torch.equal(value, other)
    }
    assert len(changed) == 1 and next(iter(changed)).startswith("classifier")
    about = run.result["model"]
    assert about["trained_layers"] == list(changed) and about["trainable_parameters"] < about["parameters"]
    assert fresh.result["model"]["trained_layers"] == "all"


def test_frozen_layers_keep_weights_and_statistics(tmp_path):
    first = train(tmp_path, "trainer.max_epochs=1", name="first")
    run = train(
        tmp_path, f"model.weights={first.dir}", "model.freeze=backbone", "trainer.max_epochs=1", "seed=1", name="second"
    )
    before, after = visionlab.load(first).network.state_dict(), visionlab.load(run).network.state_dict()
    features = [name for name in before if name.startswith("features")]
    assert features and all(torch.equal(before[name], after[name]) for name in features)
    assert any(not torch.equal(before[name], after[name]) for name in before if name.startswith("classifier"))
    assert run.result["model"]["trainable_parameters"] < run.result["model"]["parameters"]
    assert Run(run.dir).result["model"]["weights"] == str(first.dir)


@pytest.mark.parametrize(("policy", "still"), [("eval", True), ("train", False)])
def test_frozen_norms_keep_their_statistics_or_follow_the_images(tmp_path, policy, still):
    small = ["model=simple_cnn_bn", "model.freeze=backbone", "trainer.max_epochs=1"]
    run = train(tmp_path, *small, f"model.frozen_norms={policy}")
    norms = [module for module in visionlab.load(run).network.features.modules() if hasattr(module, "running_mean")]
    assert norms and all((module.running_mean == 0).all() == still for module in norms)


@pytest.mark.parametrize("average", [callbacks.ema(decay=0.9), callbacks.swa(start=0.5)])
def test_an_average_lies_where_its_network_is(average):
    """Lightning makes it while the network is still on the CPU."""
    module = LightningModule()
    module.network = torch.nn.Linear(2, 2)
    average.setup(Trainer(logger=False, enable_checkpointing=False), module, "fit")
    average.on_fit_start(None, module.to("meta"))
    assert {parameter.device.type for parameter in average._average_model.parameters()} == {"meta"}


def test_the_throughput_is_that_of_training_alone(tmp_path, monkeypatch):
    """100 images in two seconds, and eight seconds of validation."""
    clock = iter([0.0, 2.0, 10.0])
    monkeypatch.setattr("visionlab.training.records.time.perf_counter", lambda: next(clock))
    records = Records(Run(tmp_path))
    trainer = SimpleNamespace(current_epoch=0, global_step=1, callback_metrics={}, world_size=1, is_global_zero=False)
    records.on_train_epoch_start(trainer, None)
    records.on_train_batch_end(trainer, None, None, SimpleNamespace(labels=torch.zeros(100)), 0)
    records.on_validation_start(trainer, None)
    records.on_train_epoch_end(trainer, None)
    assert (records.rows[0]["seconds"], records.rows[0]["images_per_second"]) == (10.0, 50.0)
