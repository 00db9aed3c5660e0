"""Works through a sweep: asks its strategy for trials, answers the remembered ones, executes the others, records all.

What a killed sweep leaves is in its run directories. So the same command asks for the same trials again, finds most
of them answered, continues those that were interrupted and goes on.
"""

import math
import time
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path

from visionlab.runs import Run
from visionlab.sweeps.compose import Composer, Request
from visionlab.sweeps.display import Display
from visionlab.sweeps.jobs import Ended, Executor, Job
from visionlab.sweeps.plan import Plan
from visionlab.sweeps.record import Record
from visionlab.sweeps.results import figures, state_of
from visionlab.sweeps.trial import Outcome, State, Strategy, Trial

RETRIES = 1  # how often a job is begun again by itself whose process vanished


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
        self._queue: deque[Request] = deque()
        self._running: dict[str, Request] = {}
        self._vanished: dict[str, int] = {}
        self._exhausted = False

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
            for name, request in self._running.items():
                self.record.note(request.dir, status=Run(request.dir).status or "interrupted")
                self.display.ended(name)
            raise

    # What is begun -------------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        """Begin jobs until all slots are taken."""
        while len(self._running) < self.executor.slots:
            request = self._startable()
            if request is not None:
                self._start(request)
            elif not self._ask():
                return

    def _startable(self) -> Request | None:
        """Take the next run from the queue that no other process is training."""
        for request in list(self._queue):
            if not Run(request.dir).busy:
                self._queue.remove(request)
                if self._answered(request):  # meanwhile, by the other process
                    self._settle(request)
                    continue
                return request
        return None

    def _start(self, request: Request) -> None:
        name = request.dir.name
        self._running[name] = request
        self.record.run(request.dir, status="running", error=None, overrides=request.values)
        self.display.began(request)
        self.executor.submit(Job(request.dir, request.config))

    def _ask(self) -> bool:
        """Ask for a trial, answer what is remembered of it and queue the rest; False where there is none now."""
        limit = self.plan.settings["max_hours"]
        if limit is not None and self.record.seconds > 3600 * limit:
            self.display.out_of_time = True
            return False
        trial = self.strategy.ask()
        if trial is None:
            return False
        opened = _Open(trial, self.composer.requests(trial.values, trial.job))
        self._open.append(opened)
        opened.missing = {request.dir.name for request in opened.requests}
        for request in opened.requests:
            self.record.note(request.dir, trial=trial.number, overrides=request.values)
            name = request.dir.name
            if name in self._running or any(queued.dir.name == name for queued in self._queue):
                continue  # another trial asked for the same run; its end serves both
            if self._answered(request):
                self.record.note(request.dir, remembered=True)
                self._settle(request)
            else:
                self._queue.append(request)
        return True

    def _answer_queued(self) -> None:
        """Settle what another process has brought to an end."""
        for request in list(self._queue):
            if not Run(request.dir).busy and self._answered(request):
                self._queue.remove(request)
                self._settle(request)

    def _answered(self, request: Request) -> bool:
        """Whether nothing needs to be trained: the run is completed, or failed before and is not to be tried again."""
        if request.config.force:
            return False
        status = Run(request.dir).status
        if status == "completed":
            return True
        failed = status == "failed" or (
            status is None and self.record.entries.get(request.dir.name, {}).get("status") == "failed"
        )
        return failed and not self.plan.settings["retry_failed"]

    # What has ended ------------------------------------------------------------------------------------------------

    def _end(self, job: Job, ended: Ended) -> None:
        """Take the end of a job."""
        name = job.dir.name
        request = self._running.pop(name)
        self.display.ended(name)
        if ended.traceback:
            self._log(job, ended.traceback)
        run = Run(job.dir)
        if ended.killed and run.status != "completed":
            self._vanished[name] = self._vanished.get(name, 0) + 1
            if self._vanished[name] <= RETRIES:
                self._queue.appendleft(request)
                return
        self._settle(request, ended)

    def _settle(self, request: Request, ended: Ended | None = None) -> None:
        """Record how a run ended and tell the trials that waited for it."""
        state, error = state_of(Run(request.dir), ended, self.record.entries.get(request.dir.name, {}))
        figures = self._figures(request.dir) if state == "completed" else None
        if state == "completed" and (figures is None or any(math.isnan(value) for value in figures)):
            state, error = "failed", f"there is no number for {' and '.join(self.plan.objectives)}"
        value = figures[0] if figures else None
        facts = {"status": state, "error": error, "value": value}
        self.record.run(request.dir, **facts) if ended else self.record.note(request.dir, **facts)
        for opened in list(self._open):
            if request.dir.name in opened.missing:
                opened.missing.discard(request.dir.name)
                opened.states[request.dir.name] = (state, error)
                if not opened.missing:
                    self._open.remove(opened)
                    self._close(opened, remembered=ended is None)

    def _close(self, opened: _Open, *, remembered: bool) -> None:
        """Tell the strategy, and whoever watches, what came of a trial."""
        dirs = tuple(request.dir.name for request in opened.requests)
        bad = next(((state, error) for state, error in opened.states.values() if state != "completed"), None)
        if bad is not None:
            outcome = Outcome(*bad[:1], error=bad[1], dirs=dirs)
        else:
            each = [figures for request in opened.requests if (figures := self._figures(request.dir)) is not None]
            outcome = Outcome(
                "completed", tuple(sum(column) / len(column) for column in zip(*each, strict=True)), dirs=dirs
            )
        self.strategy.tell(opened.trial, outcome)
        self.display.told(opened.trial, outcome, remembered=remembered)

    def _figures(self, directory: Path) -> tuple[float, ...] | None:
        return figures(Run(directory).result, self.plan.objectives)

    def _log(self, job: Job, text: str) -> None:
        """Keep the traceback of a job, whose directory may have come to nothing."""
        with (self.record.dir / "sweep.log").open("a", encoding="utf-8") as file:
            file.write(f"{time.strftime('%Y-%m-%d %H:%M:%S')} {job.dir.name}\n{text}\n")
