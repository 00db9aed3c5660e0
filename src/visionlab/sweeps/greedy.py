"""One hyperparameter after another: keep the best value, search the next."""

from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any

from visionlab.errors import ConfigError
from visionlab.sweeps.plan import Plan
from visionlab.sweeps.trial import Outcome, Trial


class Greedy:
    """Tries the values of the first key of `sweep.parameters`, keeps the best, goes on to the next key.

    What `sweep.starts` sets for a key replaces, before its values are tried, what was kept so far.

    Args:
        plan: What was asked.

    Raises:
        ConfigError: There is nothing to try, or a start belongs to no key.
    """

    def __init__(self, plan: Plan) -> None:
        grids = plan.grids()
        if len(grids) != 1 or not grids[0]:
            raise ConfigError(
                "a greedy search needs one set of parameters", where="sweep.parameters", remedy="give key: [values]"
            )
        self._axes: list[tuple[str, list[Any]]] = list(grids[0].items())
        self._starts: dict[str, dict[str, Any]] = plan.settings["starts"] or {}
        for key in self._starts:
            if key not in grids[0]:
                raise ConfigError(
                    f"there is no step {key}", where="sweep.starts", remedy=f"one of: {', '.join(grids[0])}"
                )
        self._better = max if next(iter(plan.objectives.values())) == "max" else min
        self.total: int | None = sum(len(values) for _, values in self._axes)
        self._kept: dict[str, Any] = {}
        self._step = -1
        self._number = 0
        self._waiting: deque[Trial] = deque()
        self._untold: set[int] = set()
        self._found: list[tuple[float, Trial]] = []

    def foreseen(self) -> Iterable[Mapping[str, Any]]:
        """Return each value beside the starts so far; which values will be kept, nobody knows yet."""
        fixed: dict[str, Any] = {}
        for key, values in self._axes:
            fixed |= self._starts.get(key, {})
            for value in values:
                yield {**fixed, key: value}

    def ask(self) -> Trial | None:
        """Return the next value of the key that is searched now; the next key waits for all of them."""
        if not self._waiting and not self._untold:
            self._next_step()
        return self._waiting.popleft() if self._waiting else None

    def tell(self, trial: Trial, outcome: Outcome) -> Iterable[Trial]:
        """Take what came of a value."""
        self._untold.discard(trial.number)
        if outcome.values is not None:
            self._found.append((outcome.values[0], trial))
        return ()

    def _next_step(self) -> None:
        """Keep the best value of the last key, the first among equals, and line up those of the next."""
        if self._found:
            best = self._better(value for value, _ in self._found)
            first = min((trial for value, trial in self._found if value == best), key=lambda trial: trial.number)
            self._kept = dict(first.values)
        self._step += 1
        if self._step == len(self._axes):
            self._found, self._step = [], self._step - 1
            return
        key, values = self._axes[self._step]
        self._kept |= self._starts.get(key, {})
        self._found = []
        for value in values:
            self._waiting.append(Trial(self._number, {**self._kept, key: value}))
            self._untold.add(self._number)
            self._number += 1
