"""Successive halving: all trials get a few epochs, the best of them more, the best of those the rest."""

from collections.abc import Iterable, Mapping
from typing import Any

from visionlab import schema
from visionlab.errors import ConfigError
from visionlab.sweeps.plan import Plan
from visionlab.sweeps.trial import Outcome, Trial

RULES: dict[str, schema.Number | schema.Choice | schema.Text] = {
    "sweep.reduction": schema.Number(2, whole=True),
    "sweep.min_epochs": schema.COUNT,
    "sweep.budget": schema.Number(1, whole=True, or_null=True),
}


class Halving:
    """Drops the hopeless early (Jamieson and Talwalkar, "Non-stochastic best arm identification", 2016).

    A trial is paused when its epochs are used up, and goes on from its checkpoint if it stays. So no epoch is trained
    twice, and those that reach the end are runs like any other.

    Args:
        plan: What was asked.

    Raises:
        ConfigError: The budget is too small, or something is sought that an epoch does not show.
    """

    def __init__(self, plan: Plan) -> None:
        for error in schema.violations(plan.base, RULES):
            raise error
        settings, self._max_epochs = plan.settings, int(plan.base["trainer"]["max_epochs"])
        if plan.objectives != plan.monitored or "trainer.max_epochs" in plan.keys:
            raise ConfigError(
                "successive halving compares trials by the monitor after the same number of epochs",
                where="sweep.objectives",
                remedy="leave sweep.objectives and trainer.max_epochs alone; sweep=grid or sweep=optuna can have them",
            )
        self._sign = -1 if plan.base["mode"] == "max" else 1
        self._trials = [Trial(number, values) for number, values in enumerate(plan.combinations())]
        self.total: int | None = len(self._trials)
        self.rungs = rungs(
            len(self._trials), self._max_epochs, settings["reduction"], settings["min_epochs"], settings["budget"]
        )
        self._rung = 0
        self._left = list(self._trials)
        self._unasked = list(self._left)
        self._told: dict[int, float] = {}
        self._untold = {trial.number for trial in self._left}

    def foreseen(self) -> Iterable[Mapping[str, Any]]:
        """Return all trials."""
        return [trial.values for trial in self._trials]

    def ask(self) -> Trial | None:
        """Return the next trial of this rung; the next rung waits for all of them."""
        if not self._unasked:
            return None
        trial = self._unasked.pop(0)
        _, epochs = self.rungs[self._rung]
        job = {"pause_after": epochs} if epochs < self._max_epochs else {}
        return Trial(trial.number, trial.values, job)

    def tell(self, trial: Trial, outcome: Outcome) -> Iterable[Trial]:
        """Take what came of a trial; when it was the last of its rung, drop the worst."""
        self._untold.discard(trial.number)
        if outcome.values is not None:
            self._told[trial.number] = outcome.values[0]
        if self._untold or self._rung + 1 == len(self.rungs):
            return ()
        self._rung += 1
        alive = [one for one in self._left if one.number in self._told]
        alive.sort(key=lambda one: (self._sign * self._told[one.number], one.number))
        count, _ = self.rungs[self._rung]
        self._left = sorted(alive[:count], key=lambda one: one.number)
        self._unasked, self._told = list(self._left), {}
        self._untold = {one.number for one in self._left}
        return alive[count:]


def rungs(trials: int, max_epochs: int, reduction: int, min_epochs: int, budget: int | None) -> list[tuple[int, int]]:
    """Return, for each rung, how many trials there are on it and how many epochs each has trained for at its end.

    Args:
        trials: How many begin.
        max_epochs: What those that stay train for.
        reduction: A rung keeps one of so many.
        min_epochs: Epochs of the first rung, if there is no budget.
        budget: Epochs of all trials together; the first rung gets as many as it allows.

    Raises:
        ConfigError: The budget does not even allow one epoch each.
    """

    def ladder(first: int) -> list[tuple[int, int]]:
        steps, epochs, count = [], first, trials
        while epochs < max_epochs and count > 1:
            steps.append((count, epochs))
            epochs, count = epochs * reduction, max(1, count // reduction)
        return [*steps, (count, max_epochs)]

    def cost(steps: list[tuple[int, int]]) -> int:
        before = [0, *(epochs for _, epochs in steps)]
        return sum(count * (epochs - earlier) for (count, epochs), earlier in zip(steps, before, strict=False))

    if budget is None:
        return ladder(min_epochs)
    affordable = [first for first in range(1, max_epochs + 1) if cost(ladder(first)) <= budget]
    if not affordable:
        least = cost(ladder(1))
        raise ConfigError(
            f"{trials} trials of up to {max_epochs} epochs need {least} epochs at least, the budget is {budget}",
            where="sweep.budget",
            remedy=f"give sweep.budget={least} or more, fewer trials, or a smaller trainer.max_epochs",
        )
    return ladder(max(affordable))
