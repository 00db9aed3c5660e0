"""Every run a job of a SLURM cluster, by way of submitit; state is shared through the run directories."""

import json
import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.types import TaskFunction

from visionlab import runs
from visionlab.errors import ConfigError, UserError
from visionlab.sweeps.jobs import Ended, Job, ended_with, execute
from visionlab.sweeps.stopping import Stopped


class Slurm:
    """Submits jobs and waits for them.

    A job outlives the sweep that submitted it. Given again, the command finds it in the queue and waits for it instead
    of submitting it twice.

    Args:
        task: The function that a job calls; it must be importable by its name.
        folder: Where submitit keeps its files; on a file system that the nodes share.
        slots: How many jobs are in the queue at most.
        parameters: What submitit asks SLURM for, as time, cpus_per_task, mem, partition.
        poll_seconds: Seconds between two looks at the queue.

    Raises:
        UserError: submitit or SLURM is not here.
    """

    def __init__(
        self, task: TaskFunction, folder: Path, slots: int, parameters: Mapping[str, Any], poll_seconds: float
    ) -> None:
        try:
            import submitit

            self._executor: Any = submitit.SlurmExecutor(folder=folder.resolve(), python=sys.executable)
        except (ImportError, RuntimeError) as error:
            remedy = "give the command where sbatch is; pip install 'visionlab[sweep]'"
            raise UserError(f"SLURM cannot be used: {error}", where="hydra/launcher=slurm", remedy=remedy) from error
        try:
            self._executor.update_parameters(**parameters)
        except (ValueError, TypeError) as error:  # submitit makes a script with them at once
            what = f"SLURM cannot be asked for this: {str(error).splitlines()[0]}"
            raise ConfigError(what, where="hydra.launcher", remedy="see conf/hydra/launcher/slurm.yaml") from error
        self.slots, self._poll_seconds = slots, poll_seconds
        self._task = (task.__module__, task.__qualname__)
        self._jobs: dict[str, tuple[Job, Any]] = {}
        self._file = folder / "jobs.json"

    def submit(self, job: Job) -> None:
        """Submit a job, or take up the one that an earlier command submitted for the same run."""
        name = job.dir.name
        known = self._known()
        if known.get(name) in _queued(list(known.values())):
            import submitit

            submitted: Any = submitit.SlurmJob(folder=self._executor.folder, job_id=known[name], tasks=[0])
        else:
            submitted = self._sbatch(job)
            runs.write_atomically(self._file, json.dumps(known | {name: submitted.job_id}, indent=1))
        self._jobs[name] = (job, submitted)

    def _sbatch(self, job: Job) -> Any:
        from submitit.core.utils import FailedJobError

        try:
            return self._executor.submit(Remote(), pickle.dumps(job), self._task)
        except FailedJobError as error:
            raise UserError(
                f"SLURM refuses the job: {str(error).strip()}",
                where="hydra.launcher",
                remedy="give what the cluster has and allows; the same sweep then goes on",
            ) from error

    def wait(self) -> list[tuple[Job, Ended]]:
        """Return the jobs that have left the queue at the next look."""
        time.sleep(self._poll_seconds)
        queued = _queued([submitted.job_id for _, submitted in self._jobs.values()])
        ended = []
        for name, (job, submitted) in list(self._jobs.items()):
            if submitted.job_id not in queued:
                del self._jobs[name]
                ended.append((job, _result(submitted)))
        return ended

    def stop(self) -> None:
        """Leave the jobs to the cluster; the same command takes up what they bring."""
        if self._jobs:
            ids = " ".join(submitted.job_id for _, submitted in self._jobs.values())
            print(f"The jobs go on in the cluster. To end them as well: scancel {ids}")
            self._jobs.clear()

    def close(self) -> None:
        """Nothing is held."""

    def _known(self) -> dict[str, str]:
        """Return the jobs that were submitted for runs, by the names of their directories."""
        try:
            known: dict[str, str] = json.loads(self._file.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return known


class Remote:
    """What runs on a node: one run, stopped with a checkpoint and put into the queue again when its time is over."""

    def __call__(self, pickled: bytes, named: tuple[str, str]) -> Ended:
        """Execute a job."""
        import importlib
        import inspect

        from visionlab.sweeps.parallel import hydra_state

        asked_to_leave = []

        def leave(number: int, frame: Any) -> None:
            asked_to_leave.append(number)
            os.kill(os.getpid(), signal.SIGTERM)  # which a run answers with a checkpoint

        def stop(number: int, frame: Any) -> None:
            raise Stopped(number)

        signal.signal(signal.SIGUSR2, leave)  # SLURM's notice, ahead of the time limit or of preemption
        signal.signal(signal.SIGTERM, stop)  # while no run has its own answer; submitit would have us ignore it
        os.environ["OMP_NUM_THREADS"] = os.environ.get("SLURM_CPUS_PER_TASK", "1")  # before torch is imported
        job: Job = pickle.loads(pickled)
        module, name = named
        task = inspect.unwrap(getattr(importlib.import_module(module), name))
        try:
            return execute(job, hydra_state(job.config), task)
        except BaseException as error:
            if asked_to_leave:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                subprocess.run(["scontrol", "requeue", os.environ["SLURM_JOB_ID"]], check=False)
                time.sleep(60)  # until SLURM ends us: with an exit of our own the job would be over
            return Ended(str(ended_with(error).error), killed=True)


def _queued(ids: list[str]) -> set[str]:
    """Return those of the jobs that wait or run. Asks squeue, which, unlike sacct, needs no accounting."""
    if not ids:
        return set()
    # Of itself squeue lists what waits and what runs, whatever the state is called.
    command = ["squeue", "--noheader", "--format=%i", "--jobs", ",".join(ids)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode and "Invalid job id" not in found.stderr:
        return set(ids)  # the controller does not answer; nobody knows, so they are waited for
    return set(found.stdout.split())


def _result(submitted: Any) -> Ended:
    """Return what a job that left the queue brought."""
    for _ in range(10):
        if submitted.paths.result_pickle.exists():
            break
        time.sleep(0.5)  # a shared file system may show it a moment later
    else:
        return Ended("its job left the cluster's queue without a result; was it cancelled?", killed=True)
    outcome, value = pickle.loads(submitted.paths.result_pickle.read_bytes())
    return value if outcome == "success" else Ended(str(value).strip().splitlines()[-1], traceback=str(value))
