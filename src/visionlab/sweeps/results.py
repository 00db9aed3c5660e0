"""What the result.json of a run means to its sweep."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from visionlab.runs import Run
from visionlab.sweeps.jobs import Ended
from visionlab.sweeps.trial import State


def state_of(run: Run, ended: Ended | None, recorded: Callable[[], Mapping[str, Any]]) -> tuple[State, str | None]:
    """Return how a run stands, from its result, from how its job ended, and from what was recorded of it before.

    What was recorded is asked for only where it decides: a file of thousands of runs is read for it.
    """
    result = run.result
    status = result.get("status")
    if status in ("completed", "pruned"):
        return status, None
    if ended is not None and ended.killed:
        return "interrupted", ended.error
    if ended is not None and ended.paused:
        return "paused", None
    if status == "failed":
        return "failed", result.get("error") or (ended.error if ended else None)
    if status == "interrupted" and ended is not None:
        return "interrupted", ended.error  # by a full disk, say: what it has is to be gone on with
    if ended is not None and ended.error is not None:
        return "failed", ended.error  # it failed before it began
    entry = recorded()
    return ("failed", entry.get("error")) if entry.get("status") == "failed" else ("interrupted", result.get("error"))


def at_epoch(run: Run, epochs: int, name: str, mode: str) -> float | None:
    """Return the best value of a column of metrics.csv in the first epochs.

    None where the run has not come that far; a completed one that early stopping ended has no further epochs.
    """
    rows = run.metrics[:epochs]
    values = [value for row in rows if (value := row.get(name)) is not None and not math.isnan(value)]
    if (len(rows) < epochs and run.status != "completed") or not values:
        return None
    return max(values) if mode == "max" else min(values)
