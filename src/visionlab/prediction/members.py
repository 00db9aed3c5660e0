"""The runs that name classes together: from what a person gives to runs of the same classes."""

import logging
from collections.abc import Sequence
from pathlib import Path

from visionlab.data.index import canonical
from visionlab.errors import ConfigError, RunError
from visionlab.runs import Run, best_of

log = logging.getLogger(__name__)
Given = str | Path | Run
FEW = 3  # classes that a message names


def members(given: Given | Sequence[Given]) -> list[Run]:
    """Return the runs that are given, each of them once.

    Args:
        given: A run, its directory, the directory of a sweep, which stands for all runs of its best trial, or several.

    Raises:
        RunError: No run lies there, it ended before its data were read, or no trial of the sweep is complete.
        ConfigError: None is given, or the classes of one are not those of another.
    """
    several = given if isinstance(given, Sequence) and not isinstance(given, str) else [given]
    if not several:
        remedy = "give the directory of a run or of a sweep, or a list: 'run=[outputs/a,outputs/b]'"
        raise ConfigError("run=[] names no run", where="run", remedy=remedy)
    found: dict[Path, Run] = {}
    for run in (run for one in several for run in _opened(one)):
        if found.setdefault(run.dir.resolve(), run) is not run:
            log.warning("%s is given twice and counts once", run.dir)
    runs = list(found.values())
    for run in runs:
        _same_classes(runs[0], run)
    return runs


def classes(run: Run) -> list[str]:
    """Return the class names of a run.

    Raises:
        RunError: It ended before its data were read.
    """
    try:
        names: list[str] = run.result["data"]["classes"]
    except KeyError as error:
        what = f"the run has no network yet ({run.status or 'not begun'})"
        raise RunError(what, where=str(run.dir), remedy="train it with the command that began it") from error
    return names


def _opened(one: Given) -> list[Run]:
    if isinstance(one, Run):
        return [one]
    run = Run(str(one))
    best = None if run.result else best_of(run.dir)
    if best is None:
        return [Run.open(run.dir)]
    if not best:
        remedy = "give the sweep's command again, which continues it"
        raise RunError("a sweep lies here of which no trial is complete", where=str(run.dir), remedy=remedy)
    return [Run.open(directory) for directory in best]


def _same_classes(one: Run, other: Run) -> None:
    ours, theirs = ({canonical(name): name for name in classes(run)} for run in (one, other))
    if ours.keys() == theirs.keys():
        return
    differ = [
        f"only the {which} has {_few([name for key, name in known.items() if key not in others])}"
        for which, known, others in (("first", ours, theirs), ("second", theirs, ours))
        if known.keys() - others.keys()
    ]
    raise ConfigError(
        f"two runs have different classes: {', '.join(differ)}",
        where=f"run=[{one.dir},{other.dir}]",
        remedy="give runs of the same classes",
    )


def _few(names: Sequence[str]) -> str:
    more = f" and {len(names) - FEW} more" if len(names) > FEW else ""
    return f"{', '.join(names[:FEW])}{more}"
