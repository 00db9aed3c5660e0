"""What several ranks write together: they must agree when, and the file must hold the sums of all."""

import errno
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import visionlab
from quick import QUICK
from visionlab.config import compose
from visionlab.runs import Run
from visionlab.training import build
from visionlab.training.checkpoint_io import WholeCheckpointIO, load
from visionlab.training.checkpoints import AGREE, Checkpoints


@pytest.mark.parametrize(("own", "all_of_them"), [(False, True), (True, False)])
def test_ranks_save_when_they_agree_whatever_their_own_clocks_say(tmp_path, own, all_of_them):
    checkpoints = Checkpoints(Run(tmp_path), monitor="val/acc", mode="max", every_minutes=1e-9 if own else 1e9)
    saved, asked = [], []
    trainer = SimpleNamespace(
        world_size=2, accumulate_grad_batches=1, is_last_batch=False, should_stop=False, global_step=0, max_steps=-1,
        save_checkpoint=lambda path: saved.append(trainer.global_step),
        strategy=SimpleNamespace(reduce_boolean_decision=lambda mine, all: asked.append((mine, all)) or all_of_them),
    )  # fmt: skip
    checkpoints.on_train_start(trainer, None)
    for batch in range(2 * AGREE):
        trainer.global_step = 100 * AGREE + batch
        checkpoints.on_train_batch_end(trainer, None, None, None, batch)
    assert asked == [(own, False)]  # not with each step, nor right after the save that each epoch begins with
    assert saved == [100 * AGREE] + [101 * AGREE] * all_of_them


def test_the_sums_of_an_epoch_are_saved_for_all_ranks_and_go_on_once():
    config = compose(["data=synthetic", "data.kinds=3", "data.image_size=8", "model=mlp"])
    classifier = build.classifier(config, build.data_module(config))
    classifier.train_tally.update(torch.tensor(2.0), torch.eye(3), torch.tensor([0, 1, 0]))
    checkpoint = {"state_dict": classifier.state_dict()}
    reduce = SimpleNamespace(reduce=lambda value, reduce_op: {"sum": 2 * value}[reduce_op])
    for rank, images in ((0, 3), (1, 0)):
        classifier._trainer = SimpleNamespace(world_size=2, global_rank=rank, strategy=reduce)
        written = {"state_dict": dict(checkpoint["state_dict"]), "current_model_state": dict(checkpoint["state_dict"])}
        classifier.on_save_checkpoint(written)
        assert written["current_model_state"]["train_tally.images"] == 6, "what averaged weights are resumed with"
        assert written["state_dict"]["train_tally.images"] == 6 == written["state_dict"]["train_tally.confusion"].sum()
        assert classifier.train_tally.images == 3, "the sums that go on were changed"
        assert written["state_dict"].keys() == checkpoint["state_dict"].keys()
        classifier.on_train_start()
        assert classifier.train_tally.images == images


@pytest.mark.parametrize(
    ("mode", "values"), [("max", [float("nan"), 0.5, 0.7, 0.7, 0.6]), ("min", [float("nan"), 0.7, 0.5, 0.5, 0.6])]
)
def test_the_earliest_of_the_best_epochs_is_kept_and_a_nan_is_none(tmp_path, mode, values):
    checkpoints, saved = Checkpoints(Run(tmp_path), monitor="val/x", mode=mode), []
    trainer = SimpleNamespace(
        callbacks=[], save_checkpoint=lambda path, weights_only: saved.append((path.name, trainer.current_epoch))
    )
    for epoch, value in enumerate(values):
        trainer.callback_metrics, trainer.current_epoch = {"val/x": torch.tensor(value)}, epoch
        checkpoints.on_train_epoch_end(trainer, None)
    assert saved == [("best.ckpt", 1), ("best.ckpt", 2)]
    assert checkpoints.best_epoch == 2 and checkpoints.best == pytest.approx(values[2])


@pytest.mark.parametrize("links", [True, False])
def test_the_one_before_stays_under_a_second_name_and_a_kill_leaves_no_gap(tmp_path, monkeypatch, links):
    writer, best, really = WholeCheckpointIO(), tmp_path / "best.ckpt", Path.replace

    def killed(path, target):
        if path.suffix == ".part" and target == best and best.exists():
            raise KeyboardInterrupt
        return really(path, target)

    def refused(*names):
        raise OSError(errno.EPERM, "no links here")

    writer.save_checkpoint({"number": 1}, best)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        for _ in range(2):
            with pytest.raises(KeyboardInterrupt):
                writer.save_checkpoint({"number": 2}, best)
            assert load(best) == {"number": 1}
    if not links:
        monkeypatch.setattr(os, "link", refused)
    writer.save_checkpoint({"number": 3}, best)
    assert load(best) == {"number": 3} and load(tmp_path / "previous-best.ckpt") == {"number": 1}
    assert not list(tmp_path.glob(".*.link"))


def test_a_checkpoint_of_a_gpu_is_read_without_one(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(torch.serialization, "location_tag", lambda storage: "cuda:0")
        torch.save({"weight": torch.ones(2)}, tmp_path / "last.ckpt")
    # As Lightning's strategies call it, which move the states to the device themselves.
    content = WholeCheckpointIO().load_checkpoint(tmp_path / "last.ckpt", weights_only=True)
    assert content["weight"].device.type == "cpu"


def test_what_reads_its_own_checkpoint_at_once_waits_for_it():
    """Lightning's learning-rate test does, which has no callbacks."""
    config = compose(QUICK)
    assert isinstance(build.trainer(config).strategy.checkpoint_io, WholeCheckpointIO)


def test_a_run_of_which_no_epoch_was_validated_has_the_weights_that_were_evaluated(tmp_path):
    given = ["trainer.max_epochs=2", "trainer.max_steps=1", "+trainer.check_val_every_n_epoch=2"]
    run = visionlab.train([*QUICK, *given, "data.batch_size=100"], directory=tmp_path / "run")
    assert run.status == "completed"
    assert visionlab.evaluate(run).metrics["loss"] == pytest.approx(run.result["metrics"]["test/loss"])
