"""One run of a sweep, wherever it is executed: in this process, in a worker, on a node of a cluster."""

import contextlib
import gc
import logging
import sys
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from hydra.core.utils import JobStatus, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig


@dataclass(frozen=True)
class Job:
    """A run to be executed.

    Attributes:
        dir: Its directory.
        config: The composed config, Hydra's node included.
    """

    dir: Path
    config: DictConfig


@dataclass(frozen=True)
class Ended:
    """How the execution of a job ended; how the run itself ended stands in its directory.

    Attributes:
        error: Why it did not come to its end, in a line or a few; None where it did.
        traceback: Where, for what is not the user's to put right.
        killed: Whether its process vanished, so that the run can be continued.
        paused: Whether it used up the epochs that it was given, so that the run can be continued.
    """

    error: str | None = None
    traceback: str | None = None
    killed: bool = False
    paused: bool = False


class Executor(Protocol):
    """Executes jobs, several at a time where it has the slots for it."""

    slots: int

    def submit(self, job: Job) -> None:
        """Begin a job; at most as many as there are slots are under way."""

    def wait(self) -> list[tuple[Job, Ended]]:
        """Wait a moment for jobs to end, and return those that did."""

    def stop(self) -> None:
        """End all jobs so that they can be continued, and wait for that."""

    def close(self) -> None:
        """Give back what the executor holds."""


def execute(job: Job, context: HydraContext, task: TaskFunction) -> Ended:
    """Run a job as Hydra's launchers do, what it prints going to train.log in its directory."""
    try:
        with _printing_to(job.dir / "train.log"):
            done = run_job(
                task_function=task,
                config=job.config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
                hydra_context=context,
            )
        # return_value would raise it
        ended = Ended() if done.status is JobStatus.COMPLETED else ended_with(done._return_value)
        del done  # its traceback holds all that the job held, which is about to be given back
        return ended
    finally:
        _give_memory_back()


def ended_with(error: BaseException) -> Ended:
    """Describe the exception that ended a job."""
    from visionlab.errors import UserError

    if isinstance(error, UserError):
        return Ended(str(error))
    status = getattr(error, "run_status", None)  # visionlab.sweeps.pruning
    said = str(error).strip()
    if status is not None:
        return Ended(said, paused=status == "interrupted")
    named = f"{type(error).__name__}: {said}" if said else type(error).__name__
    return Ended(named, "".join(traceback.format_exception(error)))


@contextlib.contextmanager
def _printing_to(file: Path) -> Iterator[None]:
    """Send what is printed and logged in the body to a file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8", buffering=1) as log:
        try:
            with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
                yield
        finally:
            # The handlers of the job hold its files, which are closed now.
            root = logging.getLogger()
            for handler in list(root.handlers):
                root.removeHandler(handler)
                handler.close()


def _give_memory_back() -> None:
    """Free what the job held, so that the next one finds the memory and the GPU as the first one did."""
    gc.collect()
    torch: Any = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class Sequential:
    """One job after the other in this process: what is imported and cached serves them all."""

    slots = 1

    def __init__(self, context: HydraContext, task: TaskFunction) -> None:
        self._context, self._task = context, task
        self._ended: list[tuple[Job, Ended]] = []
        self._first = True

    def submit(self, job: Job) -> None:
        """Run the job to its end."""
        self._ended.append((job, execute(job, self._context, self._task)))
        if self._first:
            # What the first job leaves is what it imported, and to look through that after every job takes 0.1 s.
            gc.freeze()
            self._first = False

    def wait(self) -> list[tuple[Job, Ended]]:
        """Return the job that has ended."""
        ended, self._ended = self._ended, []
        return ended

    def stop(self) -> None:
        """Nothing is under way between two calls."""

    def close(self) -> None:
        """Let what was imported be collected again."""
        gc.unfreeze()
