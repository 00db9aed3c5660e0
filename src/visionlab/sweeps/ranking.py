"""Which trial is the best: by the mean over its runs, from their directories alone."""

import statistics
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from visionlab.runs import Run
from visionlab.sweeps.results import figures


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


def asked_for(entry: Mapping[str, Any], replicates: Mapping[str, Collection[Any]]) -> bool:
    """Whether a run of a sweep.json is one of the repetitions that are asked for now, not by an earlier command."""
    overrides = entry.get("overrides", {})
    return all(overrides[key] in values for key, values in replicates.items() if key in overrides)


def ranking(
    entries: Iterable[Mapping[str, Any]],
    root: Path,
    objectives: Mapping[str, str],
    replicates: Mapping[str, Collection[Any]],
    tested: set[str],
) -> list[Ranked]:
    """Rank the completed trials, the best first; with several objectives by the first of them.

    Runs of the same values that differ in more than the replicates, as an earlier command of the same sweep.name may
    have left them, are trials of their own.

    Args:
        entries: The runs of a sweep.json.
        root: The directory of the sweep, which their paths are relative to.
        objectives: Name and direction, max or min, of each.
        replicates: The keys by which the runs of one trial differ, and the values that are asked for. A trial counts
            where all of these completed; more that earlier commands completed are averaged with them.
        tested: Names of the run directories whose test figures are meant to be seen.
    """
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for entry in entries:
        if entry.get("status") != "completed" and not asked_for(entry, replicates):
            continue
        values = {key: value for key, value in entry.get("overrides", {}).items() if key not in replicates}
        told = repr((entry.get("setting"), sorted(values.items(), key=lambda item: item[0])))
        groups.setdefault(told, []).append(entry)
    found = []
    for group in groups.values():
        if any(entry.get("status") != "completed" for entry in group):
            continue
        dirs = tuple((root / entry["dir"]).resolve() for entry in group)
        results = [Run(directory).result for directory in dirs]
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
                values={key: value for key, value in group[0]["overrides"].items() if key not in replicates},
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
