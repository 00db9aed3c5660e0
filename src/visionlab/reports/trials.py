"""A sweep as its page sees it: what was searched, and trials of one run each or of several repetitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from statistics import fmean, stdev
from typing import TYPE_CHECKING, Any

from visionlab.reports.reading import number
from visionlab.sweeps.ranking import asked_for

if TYPE_CHECKING:
    from visionlab.reports.gather import Entry


@dataclass
class Trial:
    """A setting that was tried, by one run or by several repetitions.

    Args:
        place: Its number, from 0.
        overrides: What it sets, the repetitions' keys aside.
        setting: The identity of what its runs have in common, where the sweep recorded it.
        entries: Its runs.
        values: The objective of each run, NaN where there is none.
        outcomes: Of each run, its status in the sweep and why it failed.
    """

    place: int
    overrides: dict[str, Any]
    setting: str | None = None
    entries: list["Entry"] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    outcomes: list[tuple[str, str]] = field(default_factory=list)

    @property
    def key(self) -> str:
        """What ties it to its lines and dots."""
        return self.entries[0].key

    @property
    def status(self) -> str:
        """Completed if all of its runs are, else the first other status."""
        return next((status for status, _ in self.outcomes if status != "completed"), "completed")

    @property
    def value(self) -> float:
        """The mean of the objective over its runs, NaN until all are completed."""
        return fmean(self.values) if self.status == "completed" else math.nan

    def mean(self, name: str) -> float:
        """The mean of a figure over its runs, NaN while one of them has none."""
        return fmean(figure(entry, name) for entry in self.entries)

    @property
    def deviation(self) -> float:
        """The standard deviation of the objective over its runs, NaN for a single run."""
        return stdev(self.values) if math.isfinite(self.value) and len(self.values) > 1 else math.nan

    @property
    def seconds(self) -> float | None:
        """The training time of its runs together, None while there is none."""
        spent = [(e.run.result.get("seconds") or {}).get("fit") for e in self.entries]
        known = [float(s) for s in spent if s is not None]
        return sum(known) if known else None


@dataclass
class Sweep:
    """A sweep directory.

    Args:
        directory: Where its sweep.json lies.
        content: What that file holds.
        entries: Its runs, in the order of the file.
    """

    directory: Path
    content: dict[str, Any]
    entries: list["Entry"]

    @property
    def name(self) -> str:
        """What it is called."""
        return str(self.content.get("name") or self.directory.name)

    @property
    def kind(self) -> str:
        """How it searched: grid, optuna, greedy and so on."""
        return str(self.content.get("kind") or "")

    @cached_property
    def objectives(self) -> dict[str, str]:
        """What was sought, each with its direction (max or min); trials are ranked by the first."""
        single = {str(self.content.get("monitor") or "val/acc"): str(self.content.get("mode") or "max")}
        return dict(self.content.get("objectives") or single)

    @property
    def objective(self) -> str:
        """The first objective."""
        return next(iter(self.objectives))

    @property
    def mode(self) -> str:
        """Whether the first objective is to be large (max) or small (min)."""
        return self.objectives[self.objective]

    @cached_property
    def replicates(self) -> dict[str, list[Any]]:
        """The keys by which the runs of one trial differ, and the values that were asked for last."""
        return dict(self.content.get("replicates") or {})

    @cached_property
    def swept(self) -> list[str]:
        """The keys by which trials differ."""
        named = [str(key) for key in self.content.get("swept") or []]
        return named or list(dict.fromkeys(key for trial in self.trials for key in trial.overrides))

    @cached_property
    def trials(self) -> list[Trial]:
        """Its trials, in the order of their numbers."""
        found: dict[str, Trial] = {}
        for row, entry in zip(self.content["runs"], self.entries, strict=True):
            overrides = {k: v for k, v in (row.get("overrides") or {}).items() if k not in self.replicates}
            outcome = self._outcome(row, entry)
            if outcome[0] != "completed" and not asked_for(row, self.replicates):
                continue
            # Runs of the same values may differ in what earlier commands of this sweep had fixed.
            name = repr((row.get("setting"), sorted(overrides.items())))
            trial = found.setdefault(name, Trial(int(row.get("trial", len(found))), overrides, row.get("setting")))
            trial.entries.append(entry)
            trial.outcomes.append(outcome)
            trial.values.append(figure(entry, self.objective))
        return sorted(found.values(), key=lambda trial: trial.place)

    def _outcome(self, row: dict[str, Any], entry: "Entry") -> tuple[str, str]:
        """Return how a run stands in this sweep, and why it failed: without the figures that are sought, it did."""
        if row.get("status") == "pruned":  # here; it may have been trained to its end elsewhere since
            return "pruned", ""
        lacking = not all(math.isfinite(figure(entry, name)) for name in self.objectives)
        if row.get("status") == "failed" and entry.status == "completed" and lacking:
            return "failed", str(row.get("error") or "")
        return entry.status, entry.error

    @property
    def refused(self) -> list[dict[str, Any]]:
        """What sweep.json says of the trials whose config was not possible, so that they have no run."""
        return list(self.content.get("refused") or [])

    @property
    def statuses(self) -> list[str]:
        """How each trial stands, those without a run last."""
        return [trial.status for trial in self.trials] + ["failed"] * len(self.refused)

    @property
    def ranked(self) -> list[Trial]:
        """The completed trials with a value, the best first; not those of what an earlier command had fixed."""
        sign = -1 if self.mode == "max" else 1
        earlier = set(self.content.get("earlier") or [])
        known = (trial for trial in self.trials if math.isfinite(trial.value) and trial.setting not in earlier)
        return sorted(known, key=lambda trial: sign * trial.value)

    @property
    def best(self) -> Trial | None:
        """The best trial so far, None while none is completed."""
        return next(iter(self.ranked), None)

    def tested(self, trial: Trial) -> float:
        """The mean test accuracy of a trial that is meant to be seen on the test split, NaN for the others."""
        values = self.test_accuracies(trial)
        return fmean(values) if values else math.nan

    def test_accuracies(self, trial: Trial) -> list[float]:
        """The test accuracies of the runs of a trial that are meant to be seen.

        A run may have been tested on its own earlier; its figure must not take part in the choice.
        """
        seen = self.content.get("tested") or []
        return [
            e.metric("test/acc")
            for e in trial.entries
            if self.content.get("test") == "all" or e.run.dir.resolve().name in seen
        ]

    @property
    def front(self) -> Sequence[Trial]:
        """With several objectives, the trials that no other beats in all of them; else none."""
        if len(self.objectives) < 2:
            return []

        def figures(trial: Trial) -> list[float]:
            found = [trial.mean(name) for name in self.objectives]
            return [v if mode == "max" else -v for v, mode in zip(found, self.objectives.values(), strict=True)]

        known = [(trial, figures(trial)) for trial in self.ranked]
        known = [(trial, values) for trial, values in known if all(map(math.isfinite, values))]
        return [
            trial
            for trial, mine in known
            if not any(all(a >= b for a, b in zip(theirs, mine, strict=True)) and theirs != mine for _, theirs in known)
        ]


def figure(entry: "Entry", name: str) -> float:
    """A figure of a run by its name: a metric, or one of parameters, flops, seconds and images_per_second."""
    result = entry.run.result
    if name in {"parameters", "trainable_parameters", "flops"}:
        return number((result.get("model") or {}).get(name))
    if name == "seconds":
        return number((result.get("seconds") or {}).get("fit"))
    return number(result.get(name)) if name == "images_per_second" else entry.metric(name)
