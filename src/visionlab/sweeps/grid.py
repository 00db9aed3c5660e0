"""Every combination of the given values."""

from collections.abc import Iterable, Mapping
from typing import Any

from visionlab.sweeps.plan import Plan
from visionlab.sweeps.trial import Outcome, Trial


class Grid:
    """Tries all combinations of `sweep.parameters`, or of each entry of it where it is a list of such grids.

    Args:
        plan: What is varied.
    """

    def __init__(self, plan: Plan) -> None:
        self._trials = [Trial(number, values) for number, values in enumerate(plan.combinations())]
        self._next = 0
        self.total: int | None = len(self._trials)

    def foreseen(self) -> Iterable[Mapping[str, Any]]:
        """Return all combinations."""
        return [trial.values for trial in self._trials]

    def ask(self) -> Trial | None:
        """Return the next combination."""
        if self._next == len(self._trials):
            return None
        self._next += 1
        return self._trials[self._next - 1]

    def tell(self, trial: Trial, outcome: Outcome) -> Iterable[Trial]:
        """Learn nothing: a grid does not depend on what came of it."""
        return ()
