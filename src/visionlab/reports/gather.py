"""The runs that are to be compared: found below the given directories, named, grouped and coloured."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from visionlab.errors import RunError, nearest
from visionlab.reports import settings
from visionlab.reports.reading import Reading, number
from visionlab.reports.svg import colour
from visionlab.reports.trials import Sweep


@dataclass
class Entry:
    """One run among others.

    Args:
        run: Its files.
        key: What ties its row, lines and dots together on a page.
        overrides: What a sweep set for it; empty for a run of its own.
        status: Its status as the sweep has it, for a run that left no result.
        error: Why it failed, as the sweep has it.
    """

    run: Reading
    key: str
    overrides: dict[str, Any] = field(default_factory=dict)
    status: str = ""
    error: str = ""
    experiment: str = ""  # what it is called together with its repetitions
    label: str = ""  # what it alone is called
    group: int = 0
    hue: str = "var(--s1)"

    @cached_property
    def settings(self) -> settings.Flat:
        """The settings that can change its outcome."""
        return settings.flatten(self.run.config)

    @property
    def data(self) -> str:
        """The name of its data set."""
        return str((self.run.result.get("data") or {}).get("name") or self.settings.get("data.name") or "")

    @property
    def model(self) -> str:
        """The name of its model."""
        return str((self.run.result.get("model") or {}).get("name") or self.settings.get("model.name") or "")

    @property
    def seed(self) -> object:
        """The seed of its training."""
        return self.run.result.get("seed", self.settings.get("seed"))

    @property
    def repetition(self) -> tuple[str, ...]:
        """What its repetitions differ in: seeds and the fold."""
        return tuple(settings.written(value) for key, value in self.settings.items() if settings.repeats(key))

    def contents(self, split: str) -> str | None:
        """A digest of the images that it is evaluated on, None where the run does not say."""
        return ((self.run.result.get("data") or {}).get("contents") or {}).get(split)

    def metric(self, name: str) -> float:
        """A metric of its best checkpoint, NaN if there is none."""
        return number((self.run.result.get("metrics") or {}).get(name))


@dataclass
class Gathered:
    """All runs, each once, in the order in which they were named; and the sweeps among what was named."""

    entries: list[Entry]
    sweeps: list[Sweep]
    keys: list[str]  # the settings that differ
    columns: list[str]  # those of them that are worth a column


def gather(directories: Sequence[str | Path]) -> Gathered:
    """Find the runs of directories: a run's own, a sweep's, or a folder that holds runs or sweeps.

    Raises:
        RunError: A directory is missing or holds no run, or none was named.
    """
    if not directories:
        raise RunError("nothing to compare", remedy="name run directories, sweep directories or a folder of runs")
    entries: dict[Path, Entry] = {}
    sweeps: dict[Path, Sweep] = {}

    def add(path: Path, **known: Any) -> Entry:
        place = path.resolve()
        if place not in entries:
            entries[place] = Entry(Reading(path), f"r{len(entries)}")
        entry = entries[place]
        own, told = entry.run.result, {key: known.get(key) for key in ("status", "error")}
        # A killed process leaves `running` behind; its sweep saw it die.
        if own.get("status") == "running" and told["status"] not in (None, "running"):
            own = told
        if not own and told["status"] == "completed":  # its directory was removed since
            told = {"status": "missing", "error": "its directory is gone"}
        entry.status = str(own.get("status") or told["status"] or "not begun")
        entry.error = str(own.get("error") or told["error"] or "")
        entry.overrides = known.get("overrides") or entry.overrides
        return entry

    for directory in map(Path, directories):
        if (directory / "sweep.json").is_file():
            sweeps[directory.resolve()] = _sweep(directory, add)
        elif (directory / "result.json").is_file():
            add(directory)
        else:
            runs, nested = _below(directory)
            for path in runs:
                add(path)
            sweeps |= {path.resolve(): _sweep(path, add) for path in nested}
    found = list(entries.values())
    flats = [entry.settings for entry in found if entry.settings]  # a run that never began has no config
    keys = settings.differing(flats)
    columns = settings.telling(flats, keys)
    _name(found, columns)
    return Gathered(found, list(sweeps.values()), keys, columns)


def _below(directory: Path) -> tuple[list[Path], list[Path]]:
    """Return the runs and the sweeps that a folder holds."""
    if not directory.is_dir():
        siblings = [path.name for path in directory.parent.iterdir()] if directory.parent.is_dir() else []
        hint = nearest(directory.name, siblings)
        remedy = hint if hint.startswith("did you mean") else "runs lie in outputs/, unless outputs=<dir> moved them"
        raise RunError("no such directory", where=str(directory), remedy=remedy)
    runs, sweeps = (sorted(path.parent for path in directory.glob(f"*/{name}.json")) for name in ("result", "sweep"))
    if not runs and not sweeps:
        raise RunError(
            "no run lies here",
            where=str(directory),
            remedy="name a directory that `python -m visionlab.train` printed (it holds result.json), "
            "a sweep's (sweep.json), or a folder of such",
        )
    return runs, sweeps


def _sweep(directory: Path, add: Any) -> Sweep:
    try:
        content = json.loads((directory / "sweep.json").read_text(encoding="utf-8"))
        listed = [(Path(os.path.normpath(directory / row["dir"])), row) for row in content["runs"]]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise RunError(
            "this sweep's list of runs cannot be read",
            where=str(directory / "sweep.json"),
            remedy="give the same sweep command again; it writes the list anew",
        ) from error
    return Sweep(directory, content, [add(path, **row) for path, row in listed])


def _short(value: object, last: Mapping[str, str]) -> str:
    if isinstance(value, str):
        return last.get(value, str.__str__(value))  # of a class the whole path
    return f"{value:.3g}" if isinstance(value, float) else settings.written(value)


def _last_parts(values: Iterable[object]) -> dict[str, str]:
    """Return the last part of each path, where it tells them and the other words apart; of a class its name."""
    words = {value for value in values if isinstance(value, str)}
    parts = {word: str(word).rstrip("/").rpartition("/")[2] for word in words}
    return parts if len(set(parts.values())) == len(words) else {}


def _differ(entries: list[Entry], key: str) -> bool:
    return len({settings.written(entry.settings.get(key)) for entry in entries}) > 1


def _repetition(entry: Entry, members: list[Entry]) -> list[tuple[str, str]]:
    """What tells a run from the other repetitions of its experiment."""
    keys = [key for key in entry.settings if settings.repeats(key)]
    found = [key for key in keys if _differ(members, key)]
    if "seed" in found:  # init_seed follows it unless set
        found = [key for key in found if key != "init_seed"]
    return [(key.rpartition(".")[2], settings.written(entry.settings[key])) for key in found]


def _title(entry: Entry) -> str:
    """Return the name of the file of conf/experiment that a run was asked for with; empty without one."""
    asked = (str(text).partition("=") for text in entry.run.result.get("overrides") or [])
    return next((value for key, _, value in asked if key == "experiment"), "")


def _name(entries: list[Entry], columns: list[str]) -> None:
    """Give each run a name of its own, its group (repetitions of one experiment) and the group's colour."""
    short = settings.short_names(columns)
    begun = [entry for entry in entries if entry.settings]  # the others have neither data nor a model, but overrides
    several_data = len({entry.data for entry in begun}) > 1
    several_models = len({entry.model for entry in begun}) > 1
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        key = settings.experiment(entry.settings) if entry.settings else str(entry.run.dir)
        groups.setdefault(key, []).append(entry)
    last = _last_parts(
        value
        for entry in entries
        for value in (*(entry.settings.get(key) for key in columns), *entry.overrides.values())
    )
    titles = {key: _title(members[0]) for key, members in groups.items()}
    titled = all(titles.values()) and len(set(titles.values())) > 1  # runs of several files
    # whether the model's name says it all
    obvious = len({(entry.data, entry.model) for entry in begun}) == sum(bool(m[0].settings) for m in groups.values())
    for place, (group, members) in enumerate(groups.items()):
        for entry in members:
            # What is null is not there, and the others say what they have.
            said = [key for key in columns if entry.settings.get(key) is not None and not obvious]
            if titled:
                namesakes = [one for key, title in titles.items() if title == titles[group] for one in groups[key]]
                said = [key for key in said if _differ(namesakes, key)]
            told = [f"{short[key]}={_short(entry.settings[key], last)}" for key in said]
            if not titled and entry.overrides and (len(told) > 3 or not entry.settings):
                told = [f"{key.rpartition('.')[2]}={_short(value, last)}" for key, value in entry.overrides.items()]
            parts = [titles[group]] if titled else [entry.data] * (several_data and bool(entry.data))
            if not titled and ((several_models and entry.model) or not told):
                parts.append(entry.model or entry.run.dir.name)
            entry.experiment = " ".join([*parts, *told[:4]])
            entry.group, entry.hue = place, colour(place)
    called = Counter(name for members in groups.values() for name in {entry.experiment for entry in members})
    for members in groups.values():
        for entry in members:
            if called[entry.experiment] > 1:
                entry.experiment += f" {members[0].run.dir.name[-4:]}"
            repetition = _repetition(entry, members) if len(members) > 1 else []
            entry.label = " ".join([entry.experiment, *(f"{name} {value}" for name, value in repetition)])
    if len(groups) > 8:  # more than there are colours: one a model, where that is telling
        models = list(dict.fromkeys(entry.model for entry in entries))
        for entry in entries:
            entry.hue = colour(models.index(entry.model)) if len(models) <= 8 else colour(0)
    seen = Counter(entry.label for entry in entries)
    for entry in entries:
        if seen[entry.label] > 1:
            entry.label += f" {entry.run.dir.name[-4:]}"
    twice = [label for label, count in Counter(entry.label for entry in entries).items() if count > 1]
    for entry in entries:
        if entry.label in twice:  # one run in several folders, as of other machines or versions
            entry.label += f" of {entry.run.dir.parent}"
