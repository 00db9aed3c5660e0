"""Where the runs of a sweep are executed: `hydra/launcher=sequential`, parallel or slurm.

Hydra imports every plugin at each start-up, `--help` included, so nothing heavy may be imported here.
"""

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from visionlab.sweeps.jobs import Executor


class VisionlabLauncher(Launcher):
    """A launcher whose jobs end one by one, where Hydra's own interface waits for all of a batch."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra has composed."""
        self.context, self.task, self.config = hydra_context, task_function, config

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
