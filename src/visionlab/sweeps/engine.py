"""Works through a sweep: asks its strategy for trials, answers the remembered ones, executes the others, records all.

What a killed sweep leaves is in its run directories. So the same command asks for the same trials again, finds most
of them answered, continues those that were interrupted and goes on.
"""

import math
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from visionlab.errors import UserError
from visionlab.runs import Run
from visionlab.sweeps.compose import Composer, Request
from visionlab.sweeps.display import Display
from visionlab.sweeps.jobs import Ended, Executor, Job
from visionlab.sweeps.plan import Plan
from visionlab.sweeps.ranking import figures
from visionlab.sweeps.record import Record
from visionlab.sweeps.results import at_epoch, state_of
from visionlab.sweeps.trial import Outcome, State, Strategy, Trial

RETRIES = 1  # how often a job is begun again by itself whose process vanished


@dataclass(frozen=True)
class _Wanted:
    """A run that a trial waits for."""

    trial: Trial
    request: Request

    @property
    def name(self) -> str:
        """The name of its directory."""
        return self.request.dir.name


@dataclass
class _Open:
    """A trial that is under way, with the runs that it still waits for."""

    trial: Trial
    requests: list[Request]
    missing: set[str] = field(default_factory=set)
    states: dict[str, tuple[State, str | None]] = field(default_factory=dict)


class Engine:
    """Works through one sweep.

    Args:
        plan: What was asked.
        strategy: What decides on the trials.
        composer: Makes their configs.
        executor: Executes their runs.
        record: Where they are listed.
        display: What a person sees.
    """

    def __init__(
        self, plan: Plan, strategy: Strategy, composer: Composer, executor: Executor, record: Record, display: Display
    ) -> None:
        self.plan, self.strategy, self.composer, self.executor = plan, strategy, composer, executor
        self.record, self.display = record, display
        self._open: list[_Open] = []
        self._queue: deque[_Wanted] = deque()
        self._running: dict[str, _Wanted] = {}
        self._vanished: dict[str, int] = {}
        self._exhausted = False
        self._cleared: set[str] = set()
        self._refused: list[dict[str, Any]] = []

    def work(self) -> None:
        """Work until nothing is left to try, the time is over, or a signal comes."""
        try:
            while True:
                self._fill()
                if self._running:
                    for job, ended in self.executor.wait():
                        self._end(job, ended)
                elif self._queue:
                    time.sleep(0.5)  # another process trains what is left; its result will be ours
                    self._answer_queued()
                else:
                    return
        except BaseException:
            self.executor.stop()
            for name, wanted in self._running.items():
                self.record.note(wanted.request.dir, status="interrupted")
                self.display.ended(name)
            raise

    # What is begun -------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Begin jobs until all slots are taken."""
        while len(self._running) < self.executor.slots:
            wanted = self._startable()
            if wanted is not None:
                self._start(wanted)
            elif not self._ask():
                return

    def _startable(self) -> _Wanted | None:
        """Take the next run from the queue that no other process is training."""
        for wanted in list(self._queue):
            if not Run(wanted.request.dir).busy:
                self._queue.remove(wanted)
                if not self._answered(wanted):
                    return wanted
                self._settle(wanted)  # meanwhile, by the other process
        return None

    def _start(self, wanted: _Wanted) -> None:
        request = wanted.request
        self._running[wanted.name] = wanted
        if request.config.force and wanted.name not in self._cleared:
            self._cleared.add(wanted.name)
            with Run(request.dir).lock():
                Run(request.dir).clear()
        request.config.force = False  # once in a sweep: a run that it paused, or that is queued again, goes on
        self.record.run(request.dir, status="running", error=None, remembered=False)
        self.display.began(request)
        self.executor.submit(Job(request.dir, request.config))

    def _ask(self) -> bool:
        """Ask for a trial, answer what is remembered of it and queue the rest; False where there is none now."""
        if self.display.out_of_time:
            return False
        trial = self.strategy.ask()
        if trial is None:
            return False
        try:
            opened = _Open(trial, self.composer.requests(trial.values, trial.job))
        except UserError as error:  # a combination that nobody foresaw
            outcome = Outcome("failed", error=str(error))
            self._refused.append({"trial": trial.number, "overrides": trial.values, "error": str(error)})
            self.record.head(refused=self._refused)
            self.strategy.tell(trial, outcome)
            self.display.told(trial, outcome, remembered=False)
            return True
        limit = self.plan.settings["max_hours"]
        over = limit is not None and self.record.seconds > 3600 * limit
        if over and not all(self._answered(_Wanted(trial, request)) for request in opened.requests):
            self.display.out_of_time = True  # what is remembered is answered all the same
            return False
        self._open.append(opened)
        opened.missing = {request.dir.name for request in opened.requests}
        for request in opened.requests:
            wanted = _Wanted(trial, request)
            self.record.note(request.dir, trial=trial.number, overrides=request.values, setting=request.setting)
            if wanted.name in self._running or any(queued.name == wanted.name for queued in self._queue):
                continue  # another trial asked for the same run; its end serves both
            if self._answered(wanted):
                self.record.note(request.dir, remembered=True)
                self._settle(wanted)
            else:
                self._queue.append(wanted)
        return True

    def _answer_queued(self) -> None:
        """Settle what another process has brought to an end."""
        for wanted in list(self._queue):
            if not Run(wanted.request.dir).busy and self._answered(wanted):
                self._queue.remove(wanted)
                self._settle(wanted)

    def _answered(self, wanted: _Wanted) -> bool:
        """Whether nothing needs to be trained: the run is completed, or failed before and is not to be tried again."""
        run = Run(wanted.request.dir)
        if wanted.request.config.force and wanted.name not in self._cleared:
            return False
        status = run.status
        untested = wanted.request.config.test and run.untested
        if (status == "completed" and not untested) or (status == "pruned" and wanted.trial.takes_pruned):
            return True
        paused = "pause_after" in wanted.trial.job  # not metrics alone: a run that is not completed may have some
        if paused and status != "failed" and self._values(wanted.trial, run) is not None:
            return True  # paused before, after as many epochs or more
        failed = status == "failed" or (
            status is None and self.record.entries.get(wanted.name, {}).get("status") == "failed"
        )
        return failed and not self.plan.settings["retry_failed"]

    # What has ended ------------------------------------------------------------------------------------------------

    def _end(self, job: Job, ended: Ended) -> None:
        """Take the end of a job."""
        name = job.dir.name
        wanted = self._running.pop(name)
        self.display.ended(name)
        if ended.traceback:
            self._log(job, ended.traceback)
        if ended.killed and Run(job.dir).status != "completed":
            self._vanished[name] = self._vanished.get(name, 0) + 1
            if self._vanished[name] <= RETRIES:
                self._queue.appendleft(wanted)
                return
        self._settle(wanted, ended)

    def _settle(self, wanted: _Wanted, ended: Ended | None = None) -> None:
        """Record how a run ended and tell the trials that waited for it."""
        directory, name = wanted.request.dir, wanted.name
        state, error = state_of(Run(directory), ended, lambda: self.record.entries.get(name, {}))
        values = self._values(wanted.trial, Run(directory))
        if state != "failed" and "pause_after" in wanted.trial.job and values is not None:
            state = "paused"  # an earlier command may have dropped it, which had less to spend
        if state in ("completed", "paused") and (values is None or not all(map(math.isfinite, values))):
            state, error = "failed", f"there is no number for {' and '.join(self.plan.objectives)}"
        facts = {"status": state, "error": error, "value": values[0] if values else None}
        self.record.run(directory, **facts) if ended else self.record.note(directory, **facts)
        for opened in list(self._open):
            if name in opened.missing:
                opened.missing.discard(name)
                opened.states[name] = (state, error)
                if not opened.missing:
                    self._open.remove(opened)
                    self._close(opened, remembered=ended is None)

    def _close(self, opened: _Open, *, remembered: bool) -> None:
        """Tell the strategy, and whoever watches, what came of a trial."""
        dirs = tuple(request.dir.name for request in opened.requests)
        good = ("completed", "paused")
        state, error = next((one for one in opened.states.values() if one[0] not in good), opened.states[dirs[0]])
        values = None
        if state in good:
            each = [self._values(opened.trial, Run(request.dir)) for request in opened.requests]
            columns = zip(*(one for one in each if one is not None), strict=True)
            values = tuple(sum(column) / len(column) for column in columns)
        outcome = Outcome(state, values, error, dirs)
        dropped = self.strategy.tell(opened.trial, outcome)
        self.display.told(opened.trial, outcome, remembered=remembered)
        for trial in dropped:
            self._drop(trial)

    def _drop(self, trial: Trial) -> None:
        """Mark the runs of a trial that is given up; with more epochs to spend they can go on."""
        for request in self.composer.requests(trial.values, {}):
            run = Run(request.dir)
            if not run.busy:  # what another process trains goes on
                with run.lock():
                    if run.status != "completed":
                        run.update(status="pruned", error="others were better after as many epochs")
            self.record.note(request.dir, status="pruned")
        self.display.told(trial, Outcome("pruned"), remembered=False)

    def _values(self, trial: Trial, run: Run) -> tuple[float, ...] | None:
        """Return the figures of a run: of a paused one the best so far, the same however far others took it."""
        if (epochs := trial.job.get("pause_after")) is None:
            return figures(run.result, self.plan.objectives)
        value = at_epoch(run, epochs, *next(iter(self.plan.objectives.items())))
        return None if value is None else (value,)

    def _log(self, job: Job, text: str) -> None:
        """Keep the traceback of a job, whose directory may have come to nothing."""
        with (self.record.dir / "sweep.log").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {job.dir.name}\n{text}\n")
