"""sweep.json: the list of a sweep's runs, and how far each got.

    {"name", "kind", "status": running | completed | interrupted, "command", "swept": [keys],
     "replicates": {key: [values]} that were asked for last, "monitor", "mode", "objectives": {name: max | min},
     "test": best | all | none, "seconds", "total": trials foreseen, null where that is not known,
     "earlier": [settings of trials that only earlier commands of this sweep's name could have asked for],
     "best": {"trial", "value", "deviation", "values": {objective: mean}, "overrides", "command", "dirs"} or null,
     "front": [as best], the trials that no other beats in all of several objectives,
     "tested": [names of the run directories whose test figures may be seen],
     "refused": [{"trial", "overrides", "error"}], trials without a run, as their config is not possible,
     "runs": [{"dir": relative to the sweep's directory, "trial": number, "overrides": {key: value},
               "setting": identity of the trial, the same for all of its runs and for no others, "status", "error",
               "value" of the first objective, "remembered": answered without training}]}

The runs are the truth, and this list is made from them: a sweep that was killed reads their result.json again.
"""

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock

from visionlab import runs


class Record:
    """The sweep.json of a directory. Several processes may share it: each writes its own entries over the others'.

    Args:
        directory: The sweep's directory.
    """

    def __init__(self, directory: Path) -> None:
        self.dir = directory
        self.path = directory / "sweep.json"
        self._mine: dict[str, dict[str, Any]] = {}
        self._head: dict[str, Any] = {}
        self._spent_before = float(self.content.get("seconds", 0.0))
        self._began = time.monotonic()

    @property
    def content(self) -> dict[str, Any]:
        """What the file holds; empty where there is none."""
        try:
            content: dict[str, Any] = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, json.JSONDecodeError):
            return {}
        return content

    @property
    def entries(self) -> dict[str, dict[str, Any]]:
        """The runs by the names of their directories, those of earlier commands included."""
        return {Path(entry["dir"]).name: entry for entry in self.content.get("runs", [])} | self._mine

    @property
    def seconds(self) -> float:
        """How long this sweep has been worked on, by all commands together."""
        return self._spent_before + time.monotonic() - self._began

    def head(self, **facts: Any) -> None:
        """Set what stands above the list of runs."""
        self._head |= facts
        self.write()

    def run(self, directory: Path, **facts: Any) -> None:
        """Add or change the entry of a run and write the file."""
        self.note(directory, **facts)
        self.write()

    def note(self, directory: Path, **facts: Any) -> None:
        """Add or change the entry of a run, to be written later: a thousand remembered runs need one file."""
        entry = self._mine.setdefault(directory.name, {"dir": os.path.relpath(directory, self.dir)})
        entry |= facts

    def write(self) -> None:
        """Replace the file in one step, keeping what other processes and earlier commands wrote."""
        self.dir.mkdir(parents=True, exist_ok=True)
        with FileLock(self.dir / ".lock"):
            content: Mapping[str, Any] = self.content
            entries = {Path(entry["dir"]).name: entry for entry in content.get("runs", [])} | self._mine
            listed = sorted(entries.values(), key=lambda entry: (entry.get("trial", 0), entry["dir"]))
            new = {**content, **self._head, "seconds": round(self.seconds, 1), "runs": listed}
            runs.write_atomically(self.path, json.dumps(new, indent=1, default=str) + "\n")
