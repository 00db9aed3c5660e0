"""Two devices: one run directory, one config, every image once, and the figures of one device."""

import atexit
import json
import math
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from lightning import Callback
from torch import nn

import visionlab
from visionlab.runs import Run
from visionlab.training import ranks
from visionlab.training.interruption import Interrupted

pytestmark = pytest.mark.process

# No BatchNorm and no dropout, and batches that divide: then two devices compute what one does.
RUN = [
    "data=synthetic", "data.images=400", "data.kinds=4", "data.image_size=8", "data.batch_size=40",
    "data.val_fraction=0.1", "data.test_fraction=0.1", "model=simple_cnn", "model.network.filters=[4,8]",
    "model.network.dense_units=16", "trainer.max_epochs=2", "trainer.accelerator=cpu", "logger=none",
    "callbacks.progress.show=false", "augment=flip", "optimizer=sgd", "optimizer.lr=0.05",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu"]
WITNESS = [f"+callbacks.witness._target_={Path(__file__).stem}.Witness", "+callbacks.witness.folder="]


class Witness(Callback):
    """Writes down, for each rank of each run, what it really trained with, and whether it leaves its group at exit."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def on_train_start(self, trainer, pl_module):
        seen = {"rank": trainer.global_rank, "lr": trainer.optimizers[0].param_groups[0]["lr"]}
        place = self.folder / f"{seen['lr']:g}-{seen['rank']}.json"
        assert not place.exists(), "this rank has trained this config before"
        place.write_text(json.dumps(seen))
        atexit.register(lambda: place.write_text(json.dumps(seen | {"left": not torch.distributed.is_initialized()})))


class OddOnOne(nn.CrossEntropyLoss):
    """No number on rank 1 alone, in its third step."""

    steps = 0

    def forward(self, logits, labels):
        loss = super().forward(logits, labels)
        self.steps += self.training
        return loss * (math.nan if os.environ["RANK"] == "1" and self.steps == 3 else 1)


class AskOne(Callback):
    """Asks rank 1 alone to stop, while a step is being taken."""

    def on_before_optimizer_step(self, trainer, *_):
        if trainer.global_rank == 1 and trainer.global_step == 20:  # an epoch has 8
            os.kill(os.getpid(), signal.SIGTERM)


def door(*arguments: str, launcher: tuple[str, ...] = ("-m", "visionlab.train")) -> None:
    """Run the command line in a process of its own, with the witness importable in all its ranks."""
    done = subprocess.run([sys.executable, *launcher, *arguments], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


@pytest.fixture
def witness(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    folder = tmp_path / "seen"
    folder.mkdir()
    return [WITNESS[0], WITNESS[1] + str(folder)], folder


@pytest.fixture
def under_way(tmp_path):
    """A long run on two devices in its third epoch: its process and its directory."""
    long = [*RUN, *TWO, "trainer.max_epochs=200", f"hydra.run.dir={tmp_path / 'two'}"]
    process = subprocess.Popen([sys.executable, "-m", "visionlab.train", *long], stderr=subprocess.PIPE, text=True)
    run = Run(tmp_path / "two")
    while len(run.metrics) < 2:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    return process, run


def test_two_devices_give_the_figures_of_one(tmp_path, witness):
    seen, folder = witness
    (tmp_path / "my conf").mkdir()
    door("--config-dir", str(tmp_path / "my conf"), *RUN, *TWO, *seen, f"hydra.run.dir={tmp_path / 'two'}")
    assert sorted(path.name for path in folder.iterdir()) == ["0.05-0.json", "0.05-1.json"]
    assert all(json.loads(path.read_text())["left"] for path in folder.iterdir())
    one = visionlab.train(RUN, directory=tmp_path / "one")
    two = Run(tmp_path / "two")
    assert two.status == "completed"
    assert shlex.split(two.result["command"])[3:5] == ["--config-dir", str(tmp_path / "my conf")]
    for name, value in one.result["metrics"].items():
        assert two.result["metrics"][name] == pytest.approx(value, abs=2e-5), name
    assert [(p["image"], p["predicted"]) for p in two.predictions] == [
        (p["image"], p["predicted"]) for p in one.predictions
    ]
    assert len({p["image"] for p in two.predictions}) == len(two.predictions) == 76


def test_a_multirun_trains_one_config_on_all_ranks(tmp_path, witness):
    """Lightning's own launcher starts the whole sweep again in rank 1; there a job that rank 0 skips is not skipped."""
    seen, folder = witness
    outputs = f"outputs={tmp_path / 'outputs'}"
    door(*RUN, *TWO, *seen, outputs, "optimizer.lr=0.1")
    door("-m", *RUN, *TWO, *seen, outputs, "optimizer.lr=0.1,0.2")
    assert sorted(path.name for path in folder.iterdir()) == ["0.1-0.json", "0.1-1.json", "0.2-0.json", "0.2-1.json"]
    assert all(json.loads(p.read_text())["lr"] == float(p.name.split("-")[0]) for p in folder.iterdir())
    found = [path for path in (tmp_path / "outputs").iterdir() if path.name.startswith("synthetic-")]
    assert len(found) == 2 and all(Run(path).status == "completed" for path in found)


def test_a_run_of_two_devices_gets_its_test_when_asked(tmp_path, witness):
    """As the winner of a sweep does. Ranks that Lightning starts for it would wait for the lock of the first."""
    seen, _ = witness
    here = [*RUN, *TWO, *seen, f"hydra.run.dir={tmp_path / 'two'}"]
    door(*here, "test=false")
    door(*here)
    recorded = Run(tmp_path / "two").result
    assert recorded["evaluated"] == ["val", "test"]
    assert recorded["metrics"]["test/acc"] == pytest.approx(visionlab.evaluate(tmp_path / "two").metrics["acc"])


def test_a_longer_run_of_two_devices_goes_on_from_a_shorter_one(tmp_path):
    for place, epochs in (("both", 2), ("both", 3), ("alone", 3)):
        door(*RUN, *TWO, f"trainer.max_epochs={epochs}", f"outputs={tmp_path / place}")
    runs = {place: [Run(path) for path in (tmp_path / place).glob("synthetic-*")] for place in ("both", "alone")}
    (longer,) = [run for run in runs["both"] if run.result["epochs"] == 3]
    (alone,) = runs["alone"]
    assert "begun_by" in longer.result and "begun_by" not in alone.result
    assert longer.result["metrics"] == alone.result["metrics"]
    assert [row["train/loss"] for row in longer.metrics] == [row["train/loss"] for row in alone.metrics]


def test_ranks_that_torchrun_started_share_a_run(tmp_path, witness):
    seen, folder = witness
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "visionlab.train")
    for _ in range(2):  # the second time it is remembered, by both
        door(*RUN, *TWO, *seen, f"hydra.run.dir={tmp_path / 'two'}", launcher=torchrun)
    assert len(list(folder.iterdir())) == 2
    assert Run(tmp_path / "two").status == "completed"


def test_two_machines_share_a_run(tmp_path, witness):
    """Two of torchrun's agents, as on two nodes with a shared file system; here both are this machine."""
    seen, folder = witness
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    launcher = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", "--rdzv-backend=c10d",
        f"--rdzv-endpoint=localhost:{port}", "-m", "visionlab.train",
    ]  # fmt: skip
    machines = ["trainer=ddp", "trainer.num_nodes=2", "trainer.devices=1", "trainer.accelerator=cpu"]
    both = [
        subprocess.Popen([*launcher, *RUN, *machines, *seen, f"hydra.run.dir={tmp_path / 'two'}"]) for _ in range(2)
    ]
    assert [agent.wait(300) for agent in both] == [0, 0]
    assert sorted(path.name for path in folder.iterdir()) == ["0.05-0.json", "0.05-1.json"]
    assert all(json.loads(path.read_text())["left"] for path in folder.iterdir())
    one, two = visionlab.train(RUN, directory=tmp_path / "one"), Run(tmp_path / "two")
    assert two.status == "completed"
    assert two.result["metrics"] == pytest.approx(one.result["metrics"], abs=2e-5)


def test_ranks_that_torchrun_started_continue_a_run_together(tmp_path, witness):
    seen, folder = witness
    run = Run(tmp_path / "two")
    door(*RUN, *TWO, *seen, f"hydra.run.dir={run.dir}")
    run.update(status="interrupted")
    for path in folder.iterdir():
        path.unlink()
    torchrun = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m", "visionlab.train")
    door(f"resume={run.dir}", f"outputs={tmp_path / 'outputs'}", launcher=torchrun)
    assert run.status == "completed"
    assert len(list(folder.iterdir())) == 2, "one of the ranks trained alone"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_of_two_devices_can_be_stopped(under_way, number):
    process, run = under_way
    process.send_signal(number)
    error = process.communicate(timeout=100)[1]
    assert process.returncode == 128 + number, error
    # The two ranks and who started them; one that torchrun had to kill, or that trained to its end, says nothing.
    assert error.count("the same command continues it") == 3, error
    assert run.status == "interrupted"


def test_a_job_that_slurm_requeued_does_not_take_the_word_of_its_first_attempt(tmp_path, monkeypatch):
    monkeypatch.delenv("TORCHELASTIC_RESTART_COUNT", raising=False)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    first = ranks._word(Run(tmp_path))
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    assert ranks._word(Run(tmp_path)) != first


def test_where_one_rank_is_asked_to_stop_all_save_the_step(tmp_path, witness):
    ask = [f"+callbacks.ask._target_={Path(__file__).stem}.AskOne"]
    with pytest.raises(AssertionError, match="interrupted by SIGTERM"):
        door(*RUN, *TWO, *ask, "trainer.max_epochs=9", f"hydra.run.dir={tmp_path / 'two'}")
    run = Run(tmp_path / "two")
    assert run.status == "interrupted"
    assert torch.load(run.checkpoint("last"), weights_only=True)["global_step"] == 21


def test_where_one_rank_has_no_number_all_stop_and_say_so(tmp_path, witness):
    """Stopped alone, it would be taken for a lost connection: the run would go on from there for ever."""
    odd = [f"loss._target_={Path(__file__).stem}.OddOnOne", "~loss.label_smoothing"]
    with pytest.raises(AssertionError, match="NaN"):
        door(*RUN, *TWO, *odd, f"hydra.run.dir={tmp_path / 'two'}")
    run = Run(tmp_path / "two")
    assert (run.status, "in epoch 1, batch 3" in run.result["error"]) == ("failed", True), run.result["error"]


def test_a_rank_that_is_killed_only_interrupts(under_way):
    process, run = under_way
    found = subprocess.run(["pgrep", "-f", f"visionlab.training.ranks {run.dir}"], capture_output=True, text=True)
    both = [int(word) for word in found.stdout.split() if "torch.distributed" not in command_of(int(word))]
    os.kill(max(both), signal.SIGKILL)
    error = process.communicate(timeout=100)[1]
    assert process.returncode == 2, error
    assert run.status == "interrupted"
    assert run.checkpoint("last").exists()


def command_of(process: int) -> str:
    return Path(f"/proc/{process}/cmdline").read_text()


def test_a_signal_after_the_end_leaves_a_completed_run_completed(tmp_path, monkeypatch):
    """As while its page is written or its logger uploads: what the ranks have finished stands."""
    run = Run(tmp_path)

    class Ranks:
        def wait(self):
            run.update(status=self.status)
            os.kill(os.getpid(), signal.SIGTERM)
            return 0

        def send_signal(self, number):
            pass

    monkeypatch.setattr(subprocess, "Popen", lambda *_, **__: Ranks())
    for Ranks.status, expected in (("running", "interrupted"), ("completed", "completed")):
        with pytest.raises(Interrupted):
            ranks.launch(run, 2, [], None)
        assert run.status == expected
