"""What was asked of a sweep: its settings, what all of its runs share and what it varies."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from visionlab import runs, schema
from visionlab.errors import ConfigError, nearest
from visionlab.out_folder import from_here
from visionlab.reports.settings import short_names
from visionlab.sweeps import space

RULES: dict[str, schema.Rule] = {
    "sweep.name": schema.Text(or_null=True),
    "sweep.parameters": schema.Keys(or_several=True),
    "sweep.replicates": schema.Keys(),
    "sweep.objectives": schema.Keys(),
    "sweep.starts": schema.Keys(),
    "sweep.test": schema.Choice(("best", "all", "none")),
    "sweep.retry_failed": schema.YES_NO,
    "sweep.same_init": schema.YES_NO,
    "sweep.max_hours": schema.Number(0, open_low=True, or_null=True),
}

# Figures of a trial that a sweep may seek; not those of the test split, which must not choose.
OBJECTIVES = (*schema.MONITOR.values, "parameters", "trainable_parameters", "flops", "seconds", "images_per_second")
DOOR = ("python", "-m", "visionlab.train")
GRID = "visionlab.sweeps.grid.Grid"


class Plan:
    """What was asked of a sweep.

    Args:
        base: The resolved config without what is swept.
        arguments: The overrides of the command line.
        choice: The chosen file of conf/sweep.
        reader: Reads overrides.
        own_files: What a command needs to find YAML files that are not ours.
        places: Overrides that say where the trials are trained, and where they lie.

    Raises:
        ConfigError: A setting is not possible.
    """

    def __init__(
        self,
        base: Mapping[str, Any],
        arguments: list[str],
        choice: str,
        reader: space.Reader,
        own_files: Sequence[str] = (),
        places: Sequence[str] = (),
    ) -> None:
        self._own_files, self._places = own_files, places
        self.base, self.arguments, self.choice, self.reader = base, arguments, choice, reader
        self.settings: dict[str, Any] = base["sweep"]
        for error in schema.violations(base, RULES):
            raise error
        self.fixed, self._swept = reader.split(arguments)
        self.monitored: dict[str, str] = {base["monitor"]: base["mode"]}  # what a run shows after each epoch
        objectives = self.settings["objectives"] or self.monitored
        for name, mode in objectives.items():
            if name not in OBJECTIVES:
                what = f"trials cannot be compared by {name}"
                raise ConfigError(what, where="sweep.objectives", remedy=nearest(name, OBJECTIVES))
            if mode not in ("max", "min"):
                raise ConfigError(f"{name}: {mode} is no direction", where="sweep.objectives", remedy="give max or min")
        self.objectives: dict[str, str] = objectives
        self._given = {key: [value] for key, value in reader.values_of(self.fixed).items()}
        # Replicates are no axis of the search, wherever their values were given.
        written: dict[str, Any] = self.settings["replicates"] or {}
        self.replicates = {
            key: space.values(key, self._swept.pop(key, None) or self._given.get(key) or reader.read(key, values))
            for key, values in written.items()
        }
        if "data.fold" in self.replicates and "data.folds" in self.keys:
            what = "folds of different numbers cannot be repetitions of each other"
            raise ConfigError(what, where="data.folds", remedy="give a sweep for each number of folds")

    def grids(self, *, keep_ranges: bool = False) -> list[dict[str, Any]]:
        """Return what is varied, often as one grid: for each key its values.

        What the command line sweeps joins every grid of the YAML file. Of a key that stands in both, the values of the
        command line count, be they several or one.

        Args:
            keep_ranges: Whether ranges and intervals stay what they are, for a search that need not try every value.
        """
        given = self._given | self._swept
        parameters = self.settings["parameters"] or {}
        grids = parameters if isinstance(parameters, list) else [parameters]
        expanded = []
        for grid in grids:
            swept = {key: given.get(key) or self.reader.read(key, values) for key, values in grid.items()} | self._swept
            expanded.append(swept if keep_ranges else {key: space.values(key, spec) for key, spec in swept.items()})
        return expanded

    def combinations(self) -> list[dict[str, Any]]:
        """Return every combination of each grid, once: grids may overlap."""
        found, told = list[dict[str, Any]](), list[dict[str, Any]]()
        for values in (each for grid in self.grids() for each in space.product(grid)):
            # 1 and 1.0 are equal, but a batch and all batches are not.
            meant = {key: runs.with_unit(key, value) for key, value in values.items()}
            if meant not in told:
                told.append(meant)
                found.append(values)
        return found

    @cached_property
    def keys(self) -> list[str]:
        """The keys that trials differ in, the replicates' aside."""
        keys = [key for grid in self.grids(keep_ranges=True) for key in grid]
        keys += [key for start in (self.settings.get("starts") or {}).values() for key in start]
        return list(dict.fromkeys(keys))

    @cached_property
    def name(self) -> str:
        """The sweep's name: the given one, else made of what is swept and a hash of all that is not.

        It depends on the swept keys and not on their values, so that more values continue the same sweep.
        """
        if self.settings["name"]:
            return str(self.settings["name"])
        short = short_names([*self.keys, *self.replicates])
        parts = [] if self.choice == "grid" else [self.choice]
        parts += [str(self.base[group].get("name") or group) for group in ("data", "model") if group not in self.keys]
        parts += [short[key] for key in self.keys[:4]]
        others: list[Any] = [self.choice, sorted(short), runs.identity(self.base)]
        if self.settings["same_init"] and "seed" in short and "init_seed" not in short:
            others.append("same_init")
        return "-".join([*parts, hashlib.sha256(json.dumps(others).encode()).hexdigest()[:4]]).replace("/", "_")

    @property
    def dir(self) -> Path:
        """Where the sweep lies."""
        return Path(self.base["outputs"]) / "sweeps" / self.name

    @property
    def command(self) -> str:
        """The command that continues the sweep."""
        import shlex

        again = [text for text in self.arguments if text.partition("=")[0] != "force"]  # which would begin anew
        return shlex.join([*DOOR, "-m", *self._own_files, *self._places, *again])

    def command_of(self, values: Mapping[str, Any], directory: Path) -> str:
        """Return the command of a trial alone: a single run, or a sweep over its replicates.

        Args:
            values: What the trial sets.
            directory: Where its run lies, or the first of them.
        """
        import shlex

        beyond = self.reader.reaches_beyond("sweep", self.choice)  # it may choose data and model, too
        keys = {*values, *self.replicates, "test", "force"}
        fixed = [text for text in self.fixed if text.partition("=")[0] not in keys and not text.startswith("sweep.")]
        fixed = [text for text in fixed if beyond or not text.startswith("sweep=")]
        if self.settings["same_init"] and "seed" in keys and "init_seed" not in keys:
            fixed.append(f"init_seed={self.base['init_seed']}")
        fixed += space.overrides(values)
        elsewhere = [text for text in self._places if text.startswith("hydra.sweep.")]
        if not self.replicates:
            there = space.overrides({"hydra.run.dir": from_here(directory)}) if elsewhere else []
            return shlex.join([*DOOR, *self._own_files, *there, *fixed])
        # A grid of nothing but the replicates, whatever found the values.
        grid: dict[str, Any] = {"sweep.strategy": GRID} if beyond else {"sweep": "grid"}
        grid |= {"sweep.parameters": None} if self.settings["parameters"] else {}
        grid |= {"sweep.same_init": True} if self.settings["same_init"] else {}
        grid["sweep.replicates"] = self.replicates
        return shlex.join([*DOOR, "-m", *self._own_files, *elsewhere, *fixed, *space.overrides(grid)])
