"""From the values of a trial to the checked config and the directory of each of its runs."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict

from visionlab.config import check, explain, resolved
from visionlab.errors import ConfigError, UserError
from visionlab.sweeps import space
from visionlab.sweeps.plan import Plan

# What every run of a sweep is told, beyond what it is asked; none of it changes a run's identity. The live table
# takes the place of the bar and of the lines of the epochs.
QUIET = ["callbacks.progress.show=false"]


@dataclass(frozen=True)
class Request:
    """A run that a trial needs.

    Attributes:
        dir: Where it lies, by its identity.
        values: What it sets, replicates included.
        config: The composed config, Hydra's node included.
    """

    dir: Path
    values: dict[str, Any]
    config: DictConfig


class Composer:
    """Composes the configs of runs as Hydra does.

    Composing reads some thirty files; what differs between trials is mostly a few numbers. So each choice of files is
    composed once, and the other overrides are applied to a copy, by the function that Hydra itself applies them with.

    Args:
        loader: Hydra's config loader.
        master: The config of the sweep.
        plan: What was asked.
    """

    def __init__(self, loader: Any, master: DictConfig, plan: Plan) -> None:
        self._loader, self._master, self._plan = loader, master, plan
        self._parser = OverridesParser.create(config_loader=loader)
        self._composed: dict[tuple[str, ...], DictConfig] = {}
        self._checked: set[Path] = set()

    def requests(self, values: Mapping[str, Any], job: Mapping[str, Any]) -> list[Request]:
        """Compose and check the runs of a trial: one, or one for each replicate.

        Args:
            values: What the trial sets.
            job: What its runs are told under sweep.trial.

        Raises:
            ConfigError: What is wrong with the first run that is not possible, and which it is.
        """
        told = list(QUIET)
        told.append("test=" + ("true" if self._plan.settings["test"] == "all" and self._plan.base["test"] else "false"))
        if self._plan.settings["same_init"] and "init_seed" not in values:
            told.append(f"init_seed={self._plan.base['init_seed']}")
        if job:
            told.append(f"sweep.trial={space.written(dict(job))}")
        return [self.request({**values, **replicate}, told) for replicate in space.product(self._plan.replicates)]

    def request(self, values: dict[str, Any], told: list[str]) -> Request:
        """Compose and check one run."""
        try:
            config = self._compose([*space.overrides(values), *told])
            directory = Path(config.hydra.sweep.dir) / config.hydra.sweep.subdir
            if directory not in self._checked:
                check(resolved(config))
                self._checked.add(directory)
        except HydraException as error:
            raise _named(explain(error), values) from error
        except ConfigError as error:
            raise _named(error, values) from error
        return Request(directory, values, config)

    def _compose(self, texts: list[str]) -> DictConfig:
        parsed = self._parser.parse_overrides(texts)
        groups = tuple(text for text, one in zip(texts, parsed, strict=True) if self._names_a_group(one.key_or_group))
        if groups not in self._composed:
            mine = {one.key_or_group for one in parsed}
            fixed = [
                one.input_line
                for one in self._parser.parse_overrides(self._plan.fixed)
                if one.key_or_group not in mine  # a swept key replaces what was fixed
            ]
            self._composed[groups] = self._loader.load_sweep_config(self._master, [*fixed, *groups])
        config = copy.deepcopy(self._composed[groups])
        others = [one for text, one in zip(texts, parsed, strict=True) if text not in groups]
        ConfigLoaderImpl._apply_overrides_to_config(others, config)
        with open_dict(config.hydra):
            config.hydra.overrides.task.extend([one.input_line for one in others])
        OmegaConf.copy_cache(from_config=self._master, to_config=config)
        return config

    def _names_a_group(self, key: str) -> bool:
        return bool(self._loader.get_group_options(key))


def _named(error: UserError, values: Mapping[str, Any]) -> ConfigError:
    """Say which trial of a sweep an error is about."""
    trial = " ".join(space.overrides(values))
    where = f"{error.where} of the trial {trial}" if error.where else f"the trial {trial}"
    return ConfigError(error.what, where=where, remedy=error.remedy)
