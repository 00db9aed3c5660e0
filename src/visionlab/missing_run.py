"""What to say where a run is asked for and none lies."""

from pathlib import Path

from visionlab.errors import RunError
from visionlab.runs import Run, best_of


def no_run(directory: Path) -> RunError:
    """Return the error of a directory that holds no run; it looks whether a sweep does, or runs one level down."""
    what, remedy = "no run lies here", "give the directory that `python -m visionlab.train` printed"
    if best := best_of(directory):
        together = f"; python -m visionlab.predict averages its {len(best)} best" if len(best) > 1 else ""
        what, remedy = "a sweep lies here, and one run is asked for", f"give its best, {best[0]}{together}"
    elif below := [file for file in directory.glob("*/result.json") if Run(file.parent).result]:
        latest = max(below, key=lambda file: file.stat().st_mtime_ns).parent
        what = f"no run lies here, but {len(below)} one level below" if len(below) > 1 else "no run lies here itself"
        remedy = f"give the latest, {latest}" if len(below) > 1 else f"give the one in it, {latest}"
    return RunError(what, where=str(directory), remedy=remedy)
