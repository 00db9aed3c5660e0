"""Sweeps of a network that trains in a tenth of a second, in this process or in a forked one that may be killed."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest

TINY = [
    "data=digits",
    "data.image_size=8",
    "data.batch_size=256",
    "data.train_fraction=0.5",
    "model=simple_cnn",
    "model.network.filters=[2,4]",
    "model.network.dense_units=4",
    "trainer.max_epochs=2",
    "trainer.accelerator=cpu",
    "logger=none",
]


class Sweeping:
    """Gives sweep commands with a folder of their own, and reads what came of them."""

    base = TINY

    def __init__(self, outputs: Path) -> None:
        self.outputs = outputs

    def command(self, *arguments: str) -> int:
        """Sweep in this process; return the exit code."""
        return self.give("-m", *TINY, f"outputs={self.outputs}", *arguments)

    def give(self, *arguments: str) -> int:
        """Give a command in this process as it is; return the exit code."""
        from visionlab.train import main

        argv, sys.argv = sys.argv, ["visionlab.train", *arguments]
        try:
            main()
        except SystemExit as leaving:
            return int(leaving.code or 0)
        finally:
            sys.argv = argv
        return 0

    def fork(self, *arguments: str) -> int:
        """Sweep in a child of this process, in a process group of its own; return its id."""
        child = os.fork()
        if child:
            return child
        try:
            os.setpgid(0, 0)
            log = os.open(self.outputs.parent / "child.log", os.O_CREAT | os.O_APPEND | os.O_WRONLY)
            os.dup2(log, 1), os.dup2(log, 2)
            os._exit(self.command(*arguments))
        finally:
            os._exit(70)

    def kill_after(self, seconds: float, *arguments: str, number: int = signal.SIGKILL) -> int | None:
        """Sweep in a child and send it a signal after some seconds; return its exit code, None where it was killed."""
        child = self.fork(*arguments)
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            done, status = os.waitpid(child, os.WNOHANG)
            if done:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.01)
        os.kill(child, number)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        return None if code == -signal.SIGKILL else code

    @property
    def sweeps(self) -> list[dict]:
        """The content of each sweep.json."""
        return [json.loads(path.read_text()) for path in sorted(self.outputs.glob("sweeps/*/sweep.json"))]

    @property
    def runs(self) -> dict[str, dict]:
        """The result.json of each run directory, by its name."""
        found = self.outputs.glob("*/result.json")
        return {path.parent.name: json.loads(path.read_text()) for path in sorted(found)}

    def statuses(self) -> list[str]:
        """The statuses of the runs of the only sweep, in order."""
        (content,) = self.sweeps
        return [run["status"] for run in content["runs"]]


@pytest.fixture(autouse=True)
def _few_threads(monkeypatch):
    """Keep to one thread: a forked child of a process with a thread pool may hang."""
    import torch

    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_pages(monkeypatch):
    """Leave the pages out: drawing one takes longer than these runs."""
    from visionlab.reports import run_page, sweep_page

    monkeypatch.setattr(run_page, "write", lambda directory: Path(directory) / "report.html")
    monkeypatch.setattr(sweep_page, "write", lambda sweep, **_: sweep.directory / "report.html")


@pytest.fixture
def sweeping(tmp_path, monkeypatch):
    """A folder for runs and sweeps, with the commands that fill it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("VISIONLAB_CACHE", str(tmp_path / "cache"))
    return Sweeping(tmp_path / "outputs")
