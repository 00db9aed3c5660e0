"""From the values of a trial to the checked config and the directory of each of its runs."""

import copy
import pickle
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from visionlab import runs
from visionlab.checks import check_composed
from visionlab.config import explain, resolved
from visionlab.errors import ConfigError, UserError
from visionlab.runs import Run
from visionlab.sweeps import space
from visionlab.sweeps.plan import Plan


@dataclass(frozen=True)
class Request:
    """A run that a trial needs.

    Attributes:
        dir: Where it lies, by its identity.
        values: What it sets, replicates included.
        setting: The identity of what is tried, the same for all replicates of a trial.
        config: The composed config, Hydra's node included.
    """

    dir: Path
    values: dict[str, Any]
    setting: str
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
        self._fixed = [(one.input_line, one.key_or_group) for one in self._parser.parse_overrides(plan.fixed)]
        self._composed: dict[tuple[str | None, ...], DictConfig] = {}
        self._known: dict[tuple[str, ...], bytes] = {}
        self._holders: dict[Path, str] = {}  # identities by directory

    def requests(self, values: Mapping[str, Any], job: Mapping[str, Any]) -> list[Request]:
        """Compose and check the runs of a trial: one, or one for each replicate.

        Args:
            values: What the trial sets.
            job: What its runs are told under sweep.trial.

        Raises:
            ConfigError: What is wrong with the first run that is not possible, and which it is.
        """
        return [self._request({**values, **replicate}, job) for replicate in space.product(self._plan.replicates)]

    def _request(self, values: dict[str, Any], job: Mapping[str, Any]) -> Request:
        settings, base = self._plan.settings, self._plan.base
        shared = {"init_seed": base["init_seed"]} if settings["same_init"] and "init_seed" not in values else {}
        texts = tuple(space.overrides({**values, **shared}))
        if texts not in self._known:  # most are asked for twice: to be checked, and to be run
            self._known[texts] = pickle.dumps(self._checked(texts, values))
        directory, setting, config = pickle.loads(self._known[texts])
        # What every run is told stands not among the overrides that it records, and does not change its identity. The
        # live table takes the place of the bar and of the lines of the epochs.
        config.callbacks.progress.show = False
        config.test = bool(settings["test"] == "all" and base["test"])
        config.sweep.trial = dict(job) or None
        return Request(directory, values, setting, config)

    def _checked(self, texts: tuple[str, ...], values: Mapping[str, Any]) -> tuple[Path, str, DictConfig]:
        """Compose and check a run, and return its directory, its setting and its config."""
        try:
            config = self._compose(list(texts))
            plain = resolved(config)
            check_composed(plain, config, list(config.hydra.overrides.task))
            directory = self._place(config, runs.identity(plain), anew=plain["force"])
            return directory, _setting(config, self._plan.replicates) or directory.name, config
        except HydraException as error:
            raise _named(explain(error), values) from error
        except ConfigError as error:
            raise _named(error, values) from error

    def _place(self, config: DictConfig, who: str, *, anew: bool) -> Path:
        """Return the directory of the run of an identity, which a pattern of one's own may name.

        Args:
            config: The run's config, Hydra's node included.
            who: Its identity.
            anew: Whether what lies there is cleared first.

        Raises:
            ConfigError: It is that of another run too, by which this one would be answered.
        """
        where, remedy = "hydra.sweep.subdir", "leave it out: runs are called by all that determines their outcome"
        try:
            directory = Path(str(config.hydra.sweep.dir), str(config.hydra.sweep.subdir))
        except OmegaConfBaseException as error:
            raise ConfigError(f"it names no directory: {error}".splitlines()[0], where=where, remedy=remedy) from error
        if directory.name.endswith(who):
            return directory
        if self._holders.setdefault(directory, who) != who:
            raise ConfigError(f"runs of two configs would lie in {directory}", where=where, remedy=remedy)
        if not anew and Run(directory).result.get("config_hash", who) != who:
            what, remedy = f"{directory} holds a run with other settings", "give another, or force=true to train anew"
            raise ConfigError(what, where=where, remedy=remedy)
        return directory

    def _compose(self, texts: list[str]) -> DictConfig:
        parsed = self._parser.parse_overrides(texts)
        groups = [one.input_line for one in parsed if self._loader.get_group_options(one.key_or_group)]
        mine = {one.key_or_group for one in parsed}
        fixed = [text for text, key in self._fixed if key not in mine]  # a swept key replaces what was fixed
        files = (*fixed, *groups)
        if files not in self._composed:
            self._composed[files] = self._loader.load_sweep_config(self._master, list(files))
        config = copy.deepcopy(self._composed[files])
        others = [one for one in parsed if one.input_line not in groups]
        ConfigLoaderImpl._apply_overrides_to_config(others, config)
        with open_dict(config.hydra):
            config.hydra.overrides.task.extend([one.input_line for one in others])
        OmegaConf.copy_cache(from_config=self._master, to_config=config)
        return config


def _setting(config: DictConfig, replicates: Iterable[str]) -> str | None:
    """Return the identity of a config apart from the keys of the replicates and what follows from them.

    None without replicates: then it is the run's own.
    """
    keys = [key.lstrip("+").replace("/", ".") for key in replicates]
    if not keys:
        return None
    config = pickle.loads(pickle.dumps(config))  # five times as fast as a deep copy
    for key in keys:
        if not isinstance(OmegaConf.select(config, key), DictConfig):  # others may refer to what is in a group
            OmegaConf.update(config, key, None, force_add=True)  # init_seed=${seed} becomes null, init_seed=0 does not
    return runs.identity(resolved(config), without=keys)


def _named(error: UserError, values: Mapping[str, Any]) -> ConfigError:
    """Say which trial of a sweep an error is about."""
    trial = " ".join(space.overrides(values))
    where = f"{error.where} of the trial {trial}" if error.where else f"the trial {trial}"
    return ConfigError(error.what, where=where, remedy=error.remedy)
