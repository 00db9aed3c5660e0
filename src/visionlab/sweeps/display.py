"""What a person sees of a sweep: a live table on a terminal, a line a trial elsewhere, and a table at the end."""

import csv
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from visionlab.out_folder import from_here
from visionlab.reports.settings import short_names
from visionlab.sweeps import space
from visionlab.sweeps.compose import Request
from visionlab.sweeps.plan import Plan
from visionlab.sweeps.ranking import Ranked
from visionlab.sweeps.trial import Outcome, Trial

WIDTH = 80  # of the last table, wherever it is printed
SHOWN = 20  # trials in it


class Display:
    """Shows how far a sweep is.

    Args:
        plan: What was asked.
        total: How many trials there will be; None where nobody knows.
        slots: How many run at a time.
        console: Where to write; standard output unless given.
    """

    def __init__(self, plan: Plan, total: int | None, slots: int, console: Console | None = None) -> None:
        self.plan, self.total, self.slots = plan, total, slots
        # The stream is named, because jobs in this process print elsewhere meanwhile.
        # Not as a notebook's: it would show each line as an output of its own. Names may hold brackets.
        self.console = console or Console(file=sys.stdout, highlight=False, markup=False, force_jupyter=False)
        self.out_of_time = False
        self.after: str | None = None  # what is done once the trials are
        self._short = short_names([*plan.keys, *plan.replicates])
        self._name, self._mode = next(iter(plan.objectives.items()))
        self._state: dict[int, str] = {}
        self._remembered: set[int] = set()
        self._best: tuple[float, Trial] | None = None
        self._running: dict[str, tuple[Request, float]] = {}
        self._spent: list[float] = []
        self._began = time.monotonic()

    @contextmanager
    def live(self) -> Iterator[None]:
        """Show the live table while the body runs, on a terminal only: a log file wants lines."""
        if not self.console.file.isatty():
            yield
            return
        with Live(
            get_renderable=self._table, console=self.console, refresh_per_second=1, transient=True,
            redirect_stdout=False, redirect_stderr=False,
        ):  # fmt: skip
            yield

    # What happens ------------------------------------------------------------------------------------------------

    def began(self, request: Request) -> None:
        """A run has begun."""
        self._running[request.dir.name] = (request, time.monotonic())

    def ended(self, name: str) -> None:
        """A run has ended."""
        _, began = self._running.pop(name, (None, time.monotonic()))
        self._spent.append(time.monotonic() - began)

    def told(self, trial: Trial, outcome: Outcome, *, remembered: bool) -> None:
        """A trial has come to its end."""
        before = self._state.get(trial.number)
        self._state[trial.number] = outcome.state
        if remembered and before is None:
            self._remembered.add(trial.number)
        elif not remembered:
            self._remembered.discard(trial.number)
        value = outcome.values[0] if outcome.values else None
        if outcome.state == "completed" and value is not None and (self._best is None or self._beats(value)):
            self._best = (value, trial)
        if remembered and outcome.state == "completed":
            return  # one line for all of them is enough
        result = f"{self._name} {value:.4f}" if value is not None else outcome.state
        result += f" after {trial.job['pause_after']} epochs" if outcome.state == "paused" else ""
        best = f"  best {self._best[0]:.4f}" if self._best else ""
        line = f"{self._done:>4}/{self.total or '?'}  {self.say(trial.values)}  {result}{best}"
        self.console.print(line, soft_wrap=True)
        if outcome.error and outcome.state in ("failed", "interrupted"):
            self.console.print(Text(f"          {outcome.error.splitlines()[0]}", style="red"), soft_wrap=True)

    def say(self, values: Mapping[str, Any]) -> str:
        """Return values with the short names of their keys."""
        return " ".join(f"{self._short.get(key, key)}={_text(value)}" for key, value in values.items()) or "-"

    def _beats(self, value: float) -> bool:
        """Whether a value is better than the best, not as good."""
        assert self._best is not None
        return value > self._best[0] if self._mode == "max" else value < self._best[0]

    @property
    def unfinished(self) -> int:
        """How many trials failed or were left unfinished."""
        return self._states["failed"] + self._states["interrupted"]

    @property
    def _done(self) -> int:
        return sum(count for state, count in self._states.items() if state != "paused")

    @property
    def _states(self) -> Counter[str]:
        return Counter(self._state.values())

    # What is shown meanwhile ---------------------------------------------------------------------------------------

    def _table(self) -> RenderableType:
        counts = [f"{self._states['completed']} completed"]
        counts += [
            f"{self._states[state]} {state}"
            for state in ("pruned", "paused", "failed", "interrupted")
            if self._states[state]
        ]
        counts.append(f"{len(self._running)} running")
        if self.total:
            counts.append(f"{max(0, self.total - self._done - len(self._running))} to go")
        head = Text(f"{self.plan.name}: {', '.join(counts)}", style="bold")
        lines: list[RenderableType] = [head]
        if self._best:
            lines.append(f"best {self._name} {self._best[0]:.4f} with {self.say(self._best[1].values)}")
        table = Table(box=None, pad_edge=False)
        for column in ("running", "epoch", self._name, "seconds"):
            table.add_column(column, justify="left" if column == "running" else "right")
        for request, began in list(self._running.values()):
            epoch, value = self._progress(request)
            table.add_row(self.say(request.values), epoch, value, f"{time.monotonic() - began:.0f}")
        lines.append(table)
        if self.after:
            return Group(*lines[:-1], self.after)
        if (left := self._left()) is not None:
            lines.append(f"about {_duration(left)} left, {_duration(time.monotonic() - self._began)} so far")
        return Group(*lines)

    def _progress(self, request: Request) -> tuple[str, str]:
        """Return how far a run is, from its metrics.csv."""
        epochs = request.config.trainer.max_epochs
        try:
            with (request.dir / "metrics.csv").open(newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        except OSError:
            rows = []
        value = rows[-1].get(self._name, "") if rows else ""
        return f"{len(rows)}/{epochs}", f"{float(value):.4f}" if value else ""

    def _left(self) -> float | None:
        if not self.total or not self._spent:
            return None
        runs_left = (self.total - self._done) * max(1, len(list(space.product(self.plan.replicates))))
        under_way = sum(time.monotonic() - began for _, began in list(self._running.values()))
        return max(0.0, (runs_left * sum(self._spent) / len(self._spent) - under_way) / self.slots)

    # What stays ----------------------------------------------------------------------------------------------------

    def close(self, ranking: list[Ranked], changes: list[str], untested: list[str]) -> None:
        """Print the last table: the best trials, what failed, and the command of the best."""
        for why in untested:
            self.console.print(Text(f"the best trial could not be tested, {why}", "red"), soft_wrap=True)
        if self._remembered:
            self.console.print(
                f"{len(self._remembered)} of {self._done} trials were remembered; nothing was trained for them."
            )
        for change in changes:
            self.console.print(f"since some of them were trained: {change}", style="yellow")
        if ranking:
            self.console.print()
            self.console.print(self.plan.name, style="bold", soft_wrap=True)
            self.console.print(self._ranking(ranking), width=WIDTH)
            if len(ranking) > SHOWN:
                self.console.print(f"and {len(ranking) - SHOWN} more, in the table of the sweep's page")
        if self.out_of_time:
            hours = self.plan.settings["max_hours"]
            self.console.print(
                f"sweep.max_hours={hours} are over; the same command with more continues.", style="yellow"
            )
        if self._states["failed"]:
            failed = Text(f"{self._states['failed']} of {self._done} trials failed;", "red")
            self.console.print(failed, "the lines above say why. To try them again: sweep.retry_failed=true")
        if ranking:
            first, *others = ranking[0].dirs
            more = f" and {len(others)} more" if others else ""
            self.console.print(f"run{'s' if others else ' '}   {from_here(first)}{more}", soft_wrap=True)
        self.console.print(f"sweep  {self.plan.dir}", soft_wrap=True)
        self.console.print(f"page   {self.plan.dir / 'report.html'}", soft_wrap=True)
        if ranking:
            self.console.print(f"best   {self.plan.command_of(ranking[0].values, ranking[0].dirs[0])}", soft_wrap=True)

    def _ranking(self, ranking: list[Ranked]) -> Table:
        shown = ranking[:SHOWN]
        table = Table(box=None, pad_edge=False)
        table.add_column("", justify="right")
        keys = list(dict.fromkeys(key for ranked in shown for key in ranked.values))
        for key in keys:
            table.add_column(self._short.get(key, key), justify="right", overflow="fold")
        alone = len(self.plan.objectives) == 1  # several would leave the settings no room
        for name in self.plan.objectives:
            table.add_column(name, justify="right", overflow="fold", no_wrap=alone)
        wanted = "test/auc" if next(iter(self.plan.objectives)).endswith("/auc") else "test/acc"
        tested = [wanted] if any(wanted in ranked.tested for ranked in shown) else []
        for name in [*tested, "s"]:
            table.add_column(name, justify="right", no_wrap=True)
        for place, ranked in enumerate(shown, 1):
            row = [str(place), *(_text(ranked.values[key]) if key in ranked.values else "" for key in keys)]
            for value, deviation in zip(ranked.means, ranked.deviations, strict=True):
                row.append(_spread(value, deviation))
            row += [_spread(ranked.tested.get(name), ranked.tested_deviations.get(name)) for name in tested]
            table.add_row(*row, f"{ranked.seconds:.1f}")
        return table


def _text(value: Any) -> str:
    """Return a setting as a person writes it; the commands have all of its digits."""
    return f"{value:.4g}" if isinstance(value, float) else space.written(value)


def _figure(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4f}"


def _spread(mean: float | None, deviation: float | None) -> str:
    around = "" if deviation is None else f" ± {_figure(deviation)}"
    return "" if mean is None else f"{_figure(mean)}{around}"


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {rest:02} s" if minutes else f"{rest} s"
