"""A run that was killed ends exactly as one that was not: the same weights, metrics and predictions, bit for bit."""

import csv
import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning import Callback
from lightning.pytorch.callbacks import Checkpoint

from visionlab import runs, train
from visionlab.config import compose, resolved
from visionlab.errors import CheckpointUnwritable
from visionlab.runs import Run
from visionlab.training import fit
from visionlab.training.interruption import Interrupted

# What has a state that a resume could lose: dropout, BatchNorm, accumulation, clipping, a schedule, early stopping.
RUN = [
    "data.image_size=8", "data.batch_size=100", "augment=flip", "model=simple_cnn_bn", "model.network.filters=[4,8]",
    "model.network.dense_units=16", "logger=none", "callbacks.progress.show=false", "trainer.max_epochs=4",
    "trainer.accelerator=cpu", "trainer.gradient_clip_val=1.0", "callbacks.early_stopping.patience=3",
    "callbacks.checkpoint.every_n_steps=3", "optimizer.lr=0.01",
]  # fmt: skip


class KillAt(Callback):
    """Kills its own process, as the kernel or a scheduler would, before a given batch or in a validation."""

    def __init__(self, moment: str) -> None:
        self.epoch, self.batch, self.where = (int(x) if x.isdigit() else x for x in moment.split(":"))

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        if self.where == "train" and (trainer.current_epoch, batch_idx) == (self.epoch, self.batch):
            os.kill(os.getpid(), signal.SIGKILL)

    def on_validation_batch_end(self, trainer, *_, **__):
        if self.where == "val" and trainer.current_epoch == self.epoch:
            finish_writing(trainer)
            os.kill(os.getpid(), signal.SIGKILL)


class AskAt(Callback):
    """Asks its own process to stop, before the first batch of a step."""

    def __init__(self, step: int, number: int = signal.SIGTERM) -> None:
        self.step, self.number, self.asked = step, number, False

    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == self.step and not self.asked:
            self.asked = True
            os.kill(os.getpid(), self.number)


class Snapshots(Checkpoint):
    """Keeps what a kill after each step would leave, had the checkpoint under way just been written.

    A Checkpoint, because Lightning calls those last.
    """

    def on_train_batch_end(self, trainer, *_, **__):
        finish_writing(trainer)
        run = Path(trainer.default_root_dir)
        if Run(run).checkpoint("last").exists():
            shutil.copytree(run, run.with_name(f"step-{trainer.global_step}"), dirs_exist_ok=True)


def finish_writing(trainer) -> None:
    """Wait for the checkpoint under way."""
    writing = trainer.strategy.checkpoint_io._executor
    if writing is not None:
        writing.submit(int).result()


def in_child(overrides: list[str], directory: Path, *callbacks: Callback) -> int:
    """Train in a forked process and return its exit status; forking spares the imports of a new interpreter."""
    child = os.fork()
    if child == 0:
        os.environ["TMPDIR"] = str(directory.parent)
        chosen = fit._chosen
        fit._chosen = lambda config: iter([*chosen(config), *callbacks])
        try:
            torch.set_num_threads(1)
            train(overrides, directory=directory)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(1)
    return os.waitpid(child, 0)[1]


def outcome(directory: Path) -> tuple[dict[str, torch.Tensor], list[dict[str, str]], str]:
    state = torch.load(Run(directory).checkpoint("best"), weights_only=True)["state_dict"]
    with (directory / "metrics.csv").open() as file:
        rows = [
            {k: v for k, v in row.items() if k not in ("seconds", "images_per_second")} for row in csv.DictReader(file)
        ]
    return state, rows, (directory / "predictions.csv").read_text()


def assert_same(one: Path, other: Path) -> None:
    (weights, rows, predictions), (weights2, rows2, predictions2) = outcome(one), outcome(other)
    assert rows == rows2
    assert predictions == predictions2
    assert weights.keys() == weights2.keys()
    assert all(torch.equal(value, weights2[key]) for key, value in weights.items())


@pytest.mark.parametrize(
    ("scheduler", "moments"),
    [
        (["scheduler=plateau", "scheduler.patience=0"], ["0:1:train", "1:0:train", "2:9:train", "3:0:val"]),
        (["scheduler=step", "scheduler.step_size=1", "trainer.accumulate_grad_batches=2"], ["1:5:train", "2:12:train"]),
        (["scheduler=onecycle", "optimizer=muon"], ["0:5:train", "2:0:train"]),
        (["scheduler=none", "model.freeze=backbone"], ["1:5:train"]),  # frozen norms stay as they are
        (["data=synthetic", "data.images=1600", "data.kinds=2", "monitor=val/auc"], ["1:5:train", "2:0:val"]),
    ],
)
def test_killed_and_continued_equals_never_stopped(tmp_path, scheduler, moments):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_child([*RUN, *scheduler], whole) == 0
    for moment in moments:
        assert in_child([*RUN, *scheduler], broken, KillAt(moment)) == signal.SIGKILL, f"was not killed at {moment}"
        assert Run(broken).status == "running"
    assert in_child([*RUN, *scheduler], broken) == 0
    assert len(Run(broken).metrics) == len(Run(whole).metrics) > 1
    assert_same(whole, broken)


def test_each_checkpoint_continues_to_the_same_end(tmp_path):
    """Also the first of an epoch and those by the clock, where gradients of two batches make a step."""
    run = [*RUN, "trainer.max_epochs=2", "trainer.accumulate_grad_batches=2", "callbacks.checkpoint.every_minutes=1e-9"]
    whole = tmp_path / "whole"
    assert in_child(run, whole, Snapshots()) == 0
    for step in (1, 6, 7, 8, 12):  # an epoch has 13 batches, which make 7 steps
        snapshot = tmp_path / f"step-{step}"
        assert Run(snapshot).status == "running"
        assert in_child(run, snapshot) == 0
        assert_same(whole, snapshot)


@pytest.mark.parametrize(
    ("settings", "step", "saved"),
    [
        (["callbacks.ema.decay=0.9"], 18, 19),
        (["callbacks.swa.start=0.25"], 30, 31),
        (["trainer.max_steps=18"], 17, 14),  # where the training ends there is still its validation to come
        (["trainer.accumulate_grad_batches=4"], 5, 6),  # 13 batches make 4 steps
        (["trainer.accumulate_grad_batches=4"], 3, 1),  # the last of an epoch
    ],
)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_asked_to_stop_at_a_step_it_continues_to_the_same_end(tmp_path, settings, step, saved, number):
    run = [*RUN, "callbacks.checkpoint.every_n_steps=null", *settings]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_child(run, whole) == 0
    assert in_child(run, broken, AskAt(step, number)) != 0
    assert Run(broken).status == "interrupted"
    assert torch.load(Run(broken).checkpoint("last"), weights_only=True)["global_step"] == saved
    assert in_child(run, broken) == 0
    assert_same(whole, broken)


@pytest.mark.parametrize("epoch", [1, 3])
def test_epochs_of_one_step_are_not_lost(tmp_path, epoch):
    run = [*RUN, "data.batch_size=2000", "scheduler=plateau", "scheduler.patience=0", "callbacks.ema.decay=0.5"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_child(run, whole) == 0
    assert in_child(run, broken, KillAt(f"{epoch}:0:val")) == signal.SIGKILL
    assert torch.load(Run(broken).checkpoint("last"), weights_only=True)["global_step"] == epoch
    assert in_child(run, broken) == 0
    assert_same(whole, broken)


def test_an_epoch_that_is_limited_to_one_step_begins_anew_with_its_first_batch(tmp_path):
    run = [*RUN, "trainer.limit_train_batches=1"]
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_child(run, whole) == 0
    assert in_child(run, broken, KillAt("2:0:val")) == signal.SIGKILL
    assert in_child(run, broken) == 0
    assert_same(whole, broken)


@pytest.mark.slow
def test_a_real_run_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    """Twenty kills of the command itself on CIFAR-10: some while it starts, some within three seconds of training."""
    root = Path(__file__).parents[2] / "data" / "cifar10"
    if not root.exists():
        pytest.skip("needs data/cifar10")
    command = [
        sys.executable, "-m", "visionlab.train", "data=cifar10", f"data.root={root}", "data.train_fraction=0.2",
        "augment=cifar_strong", "model=simple_cnn_bn", "scheduler=cosine", "trainer.max_epochs=8", "logger=none",
        "callbacks.checkpoint.every_n_steps=7", "callbacks.progress.show=false", "trainer.accelerator=cpu",
    ]  # fmt: skip
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    subprocess.run([*command, f"hydra.run.dir={whole}"], check=True, stdout=subprocess.DEVNULL)
    random, last = np.random.default_rng(0), Run(broken).checkpoint("last")
    for kill in range(20):
        before = last.stat().st_mtime_ns if last.exists() else 0
        process = subprocess.Popen([*command, f"hydra.run.dir={broken}"], stdout=subprocess.DEVNULL)
        while kill % 2 and (not last.exists() or last.stat().st_mtime_ns == before):
            assert process.poll() is None, f"it ended before kill {kill}"
            time.sleep(0.01)
        time.sleep(random.uniform(0, 3 if kill % 2 else 8))
        process.kill()
        assert process.wait() == -signal.SIGKILL, f"it ended before kill {kill}"
    subprocess.run([*command, f"hydra.run.dir={broken}"], check=True, stdout=subprocess.DEVNULL)
    assert_same(whole, broken)
    seconds = Run(broken).result["seconds"]
    assert seconds["total"] > seconds["fit"] > seconds["last_fit"], "the time before a kill is lost"


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capfd):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert in_child(RUN, whole) == 0
    assert in_child(RUN, broken, KillAt("2:9:train")) == signal.SIGKILL
    last = Run(broken).checkpoint("last")
    last.write_bytes(last.read_bytes()[:-100])
    assert in_child(RUN, broken) == 0
    assert "last.ckpt is damaged" in capfd.readouterr().out
    assert_same(whole, broken)


def test_a_full_disk_interrupts_and_the_run_goes_on_from_the_checkpoint_before(tmp_path, monkeypatch, capsys):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(RUN, directory=whole)
    save, calls = torch.save, []

    def full(content, file):
        calls.append(file)
        if len(calls) == 6:
            file.write(b"the first part")
            raise OSError(errno.ENOSPC, "No space left on device")
        save(content, file)

    with monkeypatch.context() as patch:
        patch.setattr(torch, "save", full)
        with pytest.raises(CheckpointUnwritable, match="No space left on device"):
            train(RUN, directory=broken)
    assert Run(broken).status == "interrupted"
    assert not list((broken / "checkpoints").glob(".*")), "a part of a checkpoint is left"
    capsys.readouterr()
    train(RUN, directory=broken)
    assert "Continuing the interrupted run from last.ckpt" in capsys.readouterr().out
    assert_same(whole, broken)


@pytest.mark.process
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_cleanly_and_the_same_command_continues(tmp_path, number, code):
    long = ["trainer.max_epochs=40", "callbacks.early_stopping.patience=null"]
    command = [sys.executable, "-m", "visionlab.train", *RUN, *long, f"hydra.run.dir={tmp_path}/run"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    while len(Run(tmp_path / "run").metrics) < 2:
        assert process.poll() is None, process.stderr.read()
    process.send_signal(number)
    error = process.communicate(timeout=60)[1]
    assert process.returncode == code, error
    assert "Traceback" not in error
    result = Run(tmp_path / "run").result
    assert result["status"] == "interrupted"
    assert (tmp_path / "run" / "report.html").exists(), "no page of what was learnt until then"
    assert in_child([*RUN, *long], tmp_path / "run") == 0
    assert [row["epoch"] for row in Run(tmp_path / "run").metrics] == list(range(40))


def test_a_signal_that_comes_with_the_result_does_not_take_it_back(tmp_path, monkeypatch):
    write = fit.outcome.write
    monkeypatch.setattr(fit.outcome, "write", lambda *given: (write(*given), os.kill(os.getpid(), signal.SIGTERM)))
    with pytest.raises(Interrupted):
        train([*RUN, "trainer.max_epochs=1"], directory=tmp_path / "run")
    assert Run(tmp_path / "run").status == "completed"
    assert (tmp_path / "run" / "report.html").exists()


def test_resuming_leaves_alone_what_hydra_noted_of_the_run_of_the_defaults(quick_run, tmp_path, monkeypatch):
    defaults = [f"outputs={tmp_path}"]
    run = Run(tmp_path / runs.name(resolved(compose(defaults))))
    run.update(status="completed")
    noted = run.dir / ".hydra" / "overrides.yaml"
    noted.parent.mkdir()
    noted.write_text("[seed=0]")
    monkeypatch.setattr(sys, "argv", ["visionlab.train", f"resume={quick_run.dir}", *defaults])
    train.main()
    assert noted.read_text() == "[seed=0]"
