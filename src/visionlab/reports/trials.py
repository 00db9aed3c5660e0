"""A sweep as its page sees it: what was searched, and trials of one run each or of several repetitions."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

from visionlab.sweeps import ranking
from visionlab.sweeps.ranking import Ranked

if TYPE_CHECKING:
    from visionlab.reports.gather import Entry


@dataclass
class Trial:
    """A setting that was tried, by one run or by several repetitions.

    Args:
        place: Its number, from 0.
        overrides: What it sets, the repetitions' keys aside.
        entries: Its runs.
        outcomes: Of each run, its status in the sweep and why it failed.
        ranked: Its figures; None until all of its runs have theirs.
    """

    place: int
    overrides: dict[str, Any]
    entries: list["Entry"]
    outcomes: list[tuple[str, str]]
    ranked: Ranked | None

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
        return self.ranked.means[0] if self.ranked else math.nan

    @property
    def deviation(self) -> float:
        """The standard deviation of the objective over its runs, NaN for a single run."""
        return math.nan if self.ranked is None or self.ranked.deviations[0] is None else self.ranked.deviations[0]

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
        rows = self.content["runs"]
        entry_of = {row["dir"]: entry for row, entry in zip(rows, self.entries, strict=True)}
        found: list[Trial] = []
        for group in ranking.trials(rows, self.replicates, lambda row: entry_of[row["dir"]].run.result):
            entries = [entry_of[row["dir"]] for row in group]
            outcomes = [self._outcome(row, entry) for row, entry in zip(group, entries, strict=True)]
            ranked = self._ranking.get(entries[0].run.dir.resolve())
            place = int(group[0].get("trial", len(found)))
            found.append(Trial(place, ranking.varied(group[0], self.replicates), entries, outcomes, ranked))
        return sorted(found, key=lambda trial: trial.place)

    @cached_property
    def _ranking(self) -> dict[Path, Ranked]:
        """The completed trials by the directories of their first runs, the best first."""
        tested = self.content.get("tested") or []
        found = ranking.ranking(self.content["runs"], self.directory, self.objectives, self.replicates, tested)
        return {one.dirs[0]: one for one in found}

    def figure(self, entry: "Entry") -> float:
        """The first objective of a run, NaN where it has none."""
        return (ranking.figures(entry.run.result, [self.objective]) or (math.nan,))[0]

    def _outcome(self, row: ranking.Entry, entry: "Entry") -> tuple[str, str]:
        """Return how a run stands in this sweep, and why it failed: without the figures that are sought, it did."""
        if row.get("status") == "pruned":  # here; it may have been trained to its end elsewhere since
            return "pruned", ""
        lacking = ranking.figures(entry.run.result, self.objectives) is None
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
        earlier = set(self.content.get("earlier") or [])
        trial_of = {trial.ranked.dirs[0]: trial for trial in self.trials if trial.ranked}
        return [trial_of[place] for place, one in self._ranking.items() if one.setting not in earlier]

    @property
    def best(self) -> Trial | None:
        """The best trial so far, None while none is completed."""
        return next(iter(self.ranked), None)

    @property
    def test_metric(self) -> str:
        """What is told of the trials on the test split: the area where a sweep seeks it, else the accuracy."""
        return "test/auc" if self.objective.endswith("/auc") else "test/acc"

    def tested(self, trial: Trial) -> float:
        """The mean on test of a trial that is meant to be seen there, NaN for the others."""
        values = self.test_figures(trial)
        return fmean(values) if values else math.nan

    def test_figures(self, trial: Trial) -> list[float]:
        """The test figures of the runs of a trial that are meant to be seen.

        A run may have been tested on its own earlier; its figure must not take part in the choice.
        """
        seen = self.content.get("tested") or []
        return [
            e.metric(self.test_metric)
            for e in trial.entries
            if self.content.get("test") == "all" or e.run.dir.resolve().name in seen
        ]

    @property
    def front(self) -> Sequence[Trial]:
        """With several objectives, the trials that no other beats in all of them; else none."""
        if len(self.objectives) < 2:
            return []

        unbeaten = ranking.front((trial.ranked for trial in self.ranked if trial.ranked), self.objectives)
        return [trial for trial in self.ranked if trial.ranked in unbeaten]
