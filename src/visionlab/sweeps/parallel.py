"""Several runs at once on one machine, each in a process of its own that keeps its imports from run to run."""

import importlib
import inspect
import itertools
import multiprocessing
import os
import pickle
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any

from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from visionlab.sweeps.jobs import Ended, Job, execute

PATIENCE = 120.0  # seconds that a run gets to write its checkpoint when it is asked to stop


@dataclass
class _Worker:
    """A process, the way to it, its number, which decides on its GPU, and the job that it works on."""

    process: Any
    pipe: Connection
    number: int
    job: Job | None = None


class Parallel:
    """Executes jobs in worker processes.

    Args:
        task: The function that a job calls; it must be importable by its name.
        slots: How many run at once.
        threads: CPU threads of each.
        gpus: The GPUs that they share, as CUDA_VISIBLE_DEVICES names them: one entry each, in turn, of as many as a run
            has devices (`0,1`). Empty: none is assigned.
    """

    def __init__(self, task: TaskFunction, slots: int, threads: int, gpus: list[str]) -> None:
        self.slots, self._threads, self._gpus = slots, threads, gpus
        self._task = (task.__module__, task.__qualname__)
        self._workers: list[_Worker] = []
        self._context = multiprocessing.get_context("spawn")

    def submit(self, job: Job) -> None:
        """Hand a job to an idle worker, or to a new one."""
        # What died without a job, for want of memory say, has left nothing but its place.
        self._workers = [one for one in self._workers if one.job is not None or one.process.is_alive()]
        worker = next((one for one in self._workers if one.job is None), None) or self._hire()
        worker.job = job
        worker.pipe.send_bytes(pickle.dumps(job))

    def wait(self) -> list[tuple[Job, Ended]]:
        """Return the jobs that ended within the next half second; a worker that died has killed its job."""
        busy = [worker for worker in self._workers if worker.job is not None]
        ready = wait([worker.pipe for worker in busy], timeout=0.5)
        ended = []
        for worker in busy:
            if worker.pipe not in ready or worker.job is None:
                continue
            job, worker.job = worker.job, None
            try:
                ended.append((job, worker.pipe.recv()))
            except (EOFError, ConnectionResetError):
                worker.process.join(PATIENCE)
                self._workers.remove(worker)
                ended.append((job, Ended(_obituary(worker.process.exitcode), killed=True)))
        return ended

    def stop(self) -> None:
        """Ask all runs to write their checkpoints and end."""
        for worker in self._workers:
            if worker.process.is_alive():
                worker.process.terminate()
        for worker in self._workers:
            worker.process.join(PATIENCE)
            worker.process.kill()
        self._workers.clear()

    def close(self) -> None:
        """Let the workers go."""
        for worker in self._workers:
            worker.pipe.close()  # which is what an idle worker waits for
        for worker in self._workers:
            worker.process.join(PATIENCE)
        self._workers.clear()

    def _hire(self) -> _Worker:
        taken = {worker.number for worker in self._workers}
        number = next(free for free in itertools.count() if free not in taken)  # one that died left its own
        mine, its = self._context.Pipe()
        environment = {"OMP_NUM_THREADS": str(self._threads)}
        if self._gpus:
            environment["CUDA_VISIBLE_DEVICES"] = self._gpus[number % len(self._gpus)]
        process = self._context.Process(target=_work, args=(its, self._task, environment), name=f"worker {number}")
        process.start()
        its.close()
        worker = _Worker(process, mine, number)
        self._workers.append(worker)
        return worker


def _work(pipe: Connection, named: tuple[str, str], environment: Mapping[str, str]) -> None:
    """Execute jobs until the pipe is closed."""
    os.environ.update(environment)  # before torch is imported, which reads it then
    os.setsid()  # Ctrl-C in the terminal reaches the sweep alone, which asks us to stop
    threading.Thread(target=_end_with_parent, daemon=True).start()
    module, name = named
    task = inspect.unwrap(getattr(importlib.import_module(module), name))
    while True:
        try:
            job: Job = pickle.loads(pipe.recv_bytes())
        except EOFError:
            return
        pipe.send(execute(job, hydra_state(job.config), task))


def hydra_state(config: DictConfig) -> HydraContext:
    """Set up in a new process what Hydra's run_job expects to find, and return its context."""
    from hydra._internal.callbacks import Callbacks
    from hydra.core.singleton import Singleton
    from hydra.core.utils import JobRuntime, setup_globals

    setup_globals()
    Singleton.instance(JobRuntime).set("name", config.hydra.job.name)
    return HydraContext(config_loader=None, callbacks=Callbacks(config))  # type: ignore[arg-type]


def _end_with_parent() -> None:
    """Stop as if asked to when the sweep's process is gone, so that no orphan trains on."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)


def _obituary(code: int | None) -> str:
    if code is None or code >= 0:
        return f"its process ended by itself with code {code}"
    name = signal.Signals(-code).name
    hint = ", often by the system for want of memory" if -code == signal.SIGKILL else ""
    return f"its process was killed ({name}{hint})"
