"""The words of a sweep: a trial is a setting that is tried, by one run or, over folds or seeds, by several."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

State = Literal["completed", "failed", "pruned", "paused", "interrupted"]


@dataclass
class Trial:
    """A setting that is tried.

    Attributes:
        number: Its place in the sweep, from 0.
        values: What it sets: an override key each.
        job: What its runs must know beyond their config, under the key sweep.trial; no part of their identity.
            `pause_after` is the number of epochs that they may train for now.
        takes_pruned: Whether a run that was pruned is an answer; else it is trained to its end.
    """

    number: int
    values: dict[str, Any]
    job: dict[str, Any] = field(default_factory=dict)
    takes_pruned: bool = False


@dataclass
class Outcome:
    """What came of a trial.

    Attributes:
        state: How it ended. Only a completed or paused one has values.
        values: One for each objective, the mean over its runs: of a paused one the best up to that epoch.
        error: Why it did not complete.
        dirs: The names of its run directories.
    """

    state: State
    values: tuple[float, ...] | None = None
    error: str | None = None
    dirs: tuple[str, ...] = ()


class Strategy(Protocol):
    """Decides what is tried next from what came of the trials so far.

    It keeps nothing of its own that a killed process could lose: begun anew, it asks for the same trials, and those
    that are remembered are answered at once.
    """

    # How many trials there will be, as far as that is known.
    total: int | None

    def foreseen(self) -> Iterable[Mapping[str, Any]]:
        """Return settings that stand for all that may be tried, to be checked before the first one trains."""

    def ask(self) -> Trial | None:
        """Return the next trial; None where the others must end first, or where there is none left."""

    def tell(self, trial: Trial, outcome: Outcome) -> Iterable[Trial]:
        """Take what came of a trial, and return those trials that are given up because of it."""
