"""Where the runs of a sweep are executed: `hydra/launcher=sequential`, parallel or slurm.

Hydra imports every plugin at each start-up, `--help` included, so nothing heavy may be imported here.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

from visionlab import schema

if TYPE_CHECKING:
    from visionlab.sweeps.jobs import Executor


class VisionlabLauncher(Launcher):
    """A launcher whose jobs end one by one, where Hydra's own interface waits for all of a batch."""

    remote = False  # whether they run on other machines, whose devices and data cannot be looked at from here
    rules: ClassVar[Mapping[str, schema.Rule]] = {}

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra has composed."""
        self.context, self.task, self.config = hydra_context, task_function, config

    def check(self) -> None:
        """Check its settings.

        Raises:
            ConfigError: One is not possible.
        """
        for error in schema.violations({"hydra": {"launcher": vars(self)}}, self.rules):
            raise error

    @abstractmethod
    def executor(self, directory: Path) -> "Executor":
        """Make what executes jobs; it may keep its own files in the sweep's directory."""

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Refuse what another sweeper asks for."""
        raise NotImplementedError("this launcher serves visionlab's own sweeper; leave hydra/sweeper as it is")


class SequentialLauncher(VisionlabLauncher):
    """One run after the other in this process."""

    def executor(self, directory: Path) -> "Executor":
        """Make what executes jobs."""
        from visionlab.sweeps.jobs import Sequential

        return Sequential(self.context, self.task)


class ParallelLauncher(VisionlabLauncher):
    """Several runs at once on this machine.

    Args:
        jobs: How many; auto: one for each trainer.devices GPUs (times jobs_per_gpu), or without a GPU one a core.
        threads: CPU threads of each; auto: the cores divided by the jobs.
        jobs_per_gpu: How many share one GPU.
    """

    rules: ClassVar[Mapping[str, schema.Rule]] = {
        "hydra.launcher.jobs": schema.Number(1, whole=True, words=("auto",)),
        "hydra.launcher.threads": schema.Number(1, whole=True, words=("auto",)),
        "hydra.launcher.jobs_per_gpu": schema.COUNT,
    }

    def __init__(self, jobs: int | str, threads: int | str, jobs_per_gpu: int) -> None:
        self.jobs, self.threads, self.jobs_per_gpu = jobs, threads, jobs_per_gpu

    def executor(self, directory: Path) -> "Executor":
        """Make what executes jobs."""
        from visionlab.machine import cores, visible_gpus
        from visionlab.sweeps.parallel import Parallel

        each = self.config.trainer.devices if isinstance(self.config.trainer.devices, int) else 1
        free = [] if self.config.trainer.accelerator in ("cpu", "mps") else visible_gpus()
        gpus = [",".join(free[i : i + each]) for i in range(0, len(free) - each + 1, each)]
        slots = int(self.jobs) if self.jobs != "auto" else len(gpus) * self.jobs_per_gpu or cores()
        threads = int(self.threads) if self.threads != "auto" else max(1, cores() // slots)
        return Parallel(self.task, slots, threads, gpus)


class SlurmLauncher(VisionlabLauncher):
    """Every run a job of a SLURM cluster.

    Args:
        jobs: How many are in the queue at most.
        poll_seconds: Seconds between two looks at the queue.
        parameters: What SLURM is asked for, in submitit's words.
    """

    remote = True
    rules: ClassVar[Mapping[str, schema.Rule]] = {
        "hydra.launcher.jobs": schema.COUNT,
        "hydra.launcher.poll_seconds": schema.Number(0, open_low=True),
    }

    def __init__(self, jobs: int, poll_seconds: float, **parameters: Any) -> None:
        self.jobs, self.poll_seconds, self.parameters = jobs, poll_seconds, parameters

    def executor(self, directory: Path) -> "Executor":
        """Make what executes jobs."""
        from visionlab.sweeps.slurm import Slurm

        return Slurm(self.task, directory / "slurm", self.jobs, self.parameters, self.poll_seconds)
