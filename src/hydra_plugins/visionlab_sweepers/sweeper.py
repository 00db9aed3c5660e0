"""Hydra's way to a sweep: `-m` composes the config, makes this sweeper and hands it the command line.

Hydra imports every plugin at each start-up, `--help` included, so nothing heavy may be imported here.
"""

import sys
from typing import TYPE_CHECKING, Any

from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig

if TYPE_CHECKING:
    from visionlab.sweeps.command import Sweep


class VisionlabSweeper(Sweeper):
    """Works through the sweep that the config's `sweep` describes (visionlab.sweeps)."""

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take what Hydra has composed."""
        self.context, self.task, self.composed = hydra_context, task_function, config

    def sweep(self, arguments: list[str]) -> Any:
        """Work through the sweep; exit with code 1 where a trial failed."""
        if self.work(arguments).unfinished:
            sys.exit(1)

    def work(self, arguments: list[str]) -> "Sweep":
        """Work through the sweep and return what came of it."""
        from hydra_plugins.visionlab_sweepers.launchers import VisionlabLauncher
        from visionlab.errors import ConfigError
        from visionlab.sweeps.command import sweep

        door = self.composed.hydra.job.config_name
        if door != "train":
            raise ConfigError(
                f"-m sweeps over trainings, not over visionlab.{door}",
                where="-m",
                remedy=f"give a command for each: python -m visionlab.{door} ...",
            )
        launcher = Plugins.instance().instantiate_launcher(
            hydra_context=self.context, task_function=self.task, config=self.composed
        )
        if not isinstance(launcher, VisionlabLauncher):
            raise ConfigError(
                f"Hydra's {type(launcher).__name__} cannot execute the runs of a sweep",
                where="hydra/launcher",
                remedy="give hydra/launcher=sequential, parallel or slurm",
            )
        launcher.check()
        return sweep(self.composed, self.context, self.task, arguments, launcher)
