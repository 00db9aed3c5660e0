"""What a sweep.json and the results of its runs add up to: its trials, and which of them is the best.

For the sweep itself and for the pages about it, so that they name the same trial.
"""

import math
import statistics
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from visionlab.runs import Run

Entry = Mapping[str, Any]  # of a run in sweep.json
Result = Mapping[str, Any]  # result.json of a run


@dataclass(frozen=True)
class Ranked:
    """A completed trial with the figures of its runs.

    Attributes:
        trial: Its number.
        values: What it sets.
        means: One for each objective, over its runs.
        deviations: The standard deviation of each over its runs; None for a single run.
        tested: The mean of each test metric, of those runs that the sweep had tested.
        tested_deviations: The standard deviation of each over these runs; none of a single one.
        seconds: Of training, over its runs.
        dirs: The directories of its runs.
        setting: The identity of what they have in common; None where it was not recorded.
    """

    trial: int
    values: dict[str, Any]
    means: tuple[float, ...]
    deviations: tuple[float | None, ...]
    tested: dict[str, float]
    tested_deviations: dict[str, float]
    seconds: float
    dirs: tuple[Path, ...]
    setting: str | None


def front(ranked: Iterable[Ranked], objectives: Mapping[str, str]) -> list[Ranked]:
    """Return the Pareto front: those that no other equals or beats in every objective and beats in one."""
    signs = [1 if mode == "max" else -1 for mode in objectives.values()]
    signed = [(one, [sign * mean for sign, mean in zip(signs, one.means, strict=True)]) for one in ranked]

    def beaten(mine: list[float]) -> bool:
        return any(theirs != mine and all(t >= m for t, m in zip(theirs, mine, strict=True)) for _, theirs in signed)

    return [one for one, mine in signed if not beaten(mine)]


def figures(result: Result, names: Iterable[str]) -> tuple[float, ...] | None:
    """Return the figures of a completed run by their names; None where one is missing or no number.

    A name is a metric, as val/acc, or one of parameters, flops, seconds (of training) and images_per_second.
    """
    model, seconds = result.get("model") or {}, result.get("seconds") or {}
    known = {
        **{key: model.get(key) for key in ("parameters", "trainable_parameters", "flops")},
        "seconds": seconds.get("fit"),
        "images_per_second": result.get("images_per_second"),
        **(result.get("metrics") or {}),
    }
    found = [known.get(name) for name in names]
    numbers = tuple(float(value) for value in found if value is not None and math.isfinite(value))
    return numbers if len(numbers) == len(found) else None


def completed(entry: Entry, result: Result) -> bool:
    """Whether a run counts in a sweep: also one that another command has completed since, but none that it gave up."""
    return result.get("status") == "completed" and entry.get("status") != "pruned"


def trials(
    entries: Iterable[Entry], replicates: Mapping[str, Collection[Any]], result_of: Callable[[Entry], Result]
) -> list[list[Entry]]:
    """Return the runs of each trial.

    Runs of the same values that differ in more than the replicates, as an earlier command of the same sweep.name may
    have left them, are trials of their own. Left out are those that did not complete and that only an earlier command
    asked for, with other values of the replicates.
    """
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        overrides = entry.get("overrides") or {}
        asked = all(overrides[key] in values for key, values in replicates.items() if key in overrides)
        if asked or completed(entry, result_of(entry)):
            told = repr((entry.get("setting"), sorted(varied(entry, replicates).items(), key=lambda item: item[0])))
            found.setdefault(told, []).append(entry)
    return list(found.values())


def varied(entry: Entry, replicates: Collection[str]) -> dict[str, Any]:
    """Return what the trial of a run sets, which all of its repetitions share."""
    return {key: value for key, value in (entry.get("overrides") or {}).items() if key not in replicates}


def ranking(
    entries: Iterable[Entry],
    root: Path,
    objectives: Mapping[str, str],
    replicates: Mapping[str, Collection[Any]],
    tested: Collection[str],
) -> list[Ranked]:
    """Rank the completed trials, the best first; with several objectives by the first of them.

    Args:
        entries: The runs of a sweep.json.
        root: The directory of the sweep, which their paths are relative to.
        objectives: Name and direction, max or min, of each.
        replicates: The keys by which the runs of one trial differ, and the values that are asked for. A trial counts
            where all of these completed; more that earlier commands completed are averaged with them.
        tested: Names of the run directories whose test figures are meant to be seen.
    """

    @cache
    def read(place: str) -> Result:
        return Run(root / place).result

    def result_of(entry: Entry) -> Result:
        return read(entry["dir"])

    found = []
    for group in trials(entries, replicates, result_of):
        dirs = tuple((root / entry["dir"]).resolve() for entry in group)
        results = [result_of(entry) for entry in group if completed(entry, result_of(entry))]
        each = [row for result in results if (row := figures(result, objectives)) is not None]
        if len(each) < len(group):
            continue  # a directory was removed, or is trained anew
        columns = list(zip(*each, strict=True))
        metrics = [result.get("metrics", {}) for result, path in zip(results, dirs, strict=True) if path.name in tested]
        names = [name for name in (metrics[0] if metrics else {}) if name.startswith("test/")]
        tests = {name: [row[name] for row in metrics if name in row] for name in names}
        found.append(
            Ranked(
                trial=int(group[0].get("trial", 0)),
                values=varied(group[0], replicates),
                means=tuple(statistics.fmean(column) for column in columns),
                deviations=tuple(statistics.stdev(column) if len(column) > 1 else None for column in columns),
                tested={name: statistics.fmean(values) for name, values in tests.items()},
                tested_deviations={name: statistics.stdev(each) for name, each in tests.items() if len(each) > 1},
                seconds=sum(result.get("seconds", {}).get("fit", 0.0) for result in results),
                dirs=dirs,
                setting=group[0].get("setting"),
            )
        )
    sign = -1 if next(iter(objectives.values())) == "max" else 1
    return sorted(found, key=lambda ranked: (sign * ranked.means[0], ranked.trial))
