"""Optuna searches: the study proposes, visionlab trains, remembers and reports back."""

import math
import os
import socket
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from filelock import FileLock, Timeout

from visionlab import runs, schema
from visionlab.errors import ConfigError, nearest
from visionlab.sweeps import studies
from visionlab.sweeps.parameter import Parameter
from visionlab.sweeps.plan import Plan
from visionlab.sweeps.trial import Outcome, Trial

RULES: dict[str, schema.Number | schema.Choice | schema.Text] = {
    "sweep.n_trials": schema.COUNT,
    "sweep.sampler": schema.Choice(("tpe", "gp", "cmaes", "random", "grid")),
    "sweep.pruner": schema.Choice(("none", "median", "hyperband")),
    "sweep.pruner_min_epochs": schema.COUNT,
    "sweep.startup_trials": schema.Number(0, whole=True),
    "sweep.seed": schema.SEED,
    "sweep.storage": schema.Text(or_null=True),
}


class Search:
    """Asks an Optuna study for trials, `sweep.n_trials` in all, however often the command is given.

    A trial that a killed process left unfinished is finished under its own number: its parameters stand in the study,
    its checkpoint in its run directory. Whether that process still lives is told by a lock that ends with it, so that
    several machines can share a study.

    Args:
        plan: What was asked.

    Raises:
        ConfigError: A setting or a range is not possible.
    """

    def __init__(self, plan: Plan) -> None:
        for error in schema.violations(plan.base, RULES):
            raise error
        self._settings = plan.settings
        grids = plan.grids(keep_ranges=True)
        if len(grids) != 1 or not grids[0]:
            remedy = "give each with its values or range, as 'optimizer.lr=tag(log,interval(1e-4,1e-1))'"
            raise ConfigError("a search needs one set of parameters", where="sweep.parameters", remedy=remedy)
        self._space = {key: Parameter(key, spec) for key, spec in grids[0].items()}
        before: set[str] = set()
        for parameter in self._space.values():
            for key in parameter.when:
                if key not in before:
                    what = f"{parameter.key} depends on {key}, which does not stand before it"
                    remedy = "let it stand before" if key in self._space else nearest(key, self._space)
                    raise ConfigError(what, where="sweep.parameters", remedy=remedy)
            before.add(parameter.key)
            if self._settings["sampler"] == "grid" and not parameter.values:
                remedy = "list its values, or use another sweep.sampler"
                raise ConfigError(f"{parameter.key} is a range, which has no grid", where=parameter.key, remedy=remedy)
        if self._settings["sampler"] == "cmaes" and len(plan.objectives) > 1:
            what = "the sampler cmaes seeks one objective alone"
            raise ConfigError(what, where="sweep.sampler", remedy="give sweep.sampler=tpe, gp or random")
        if self._settings["pruner"] != "none" and plan.objectives != plan.monitored:
            raise ConfigError(
                "a pruner compares trials by the monitor, which is not what is sought",
                where="sweep.objectives",
                remedy="leave sweep.objectives alone and give monitor and mode, or sweep.pruner=none",
            )
        if plan.replicates and self._settings["pruner"] != "none":
            raise ConfigError(
                "trials of several runs cannot be pruned", where="sweep.pruner", remedy="sweep.pruner=none"
            )
        self._optuna = studies.library()
        self._most = int(self._settings["n_trials"])
        if self._settings["sampler"] == "grid":  # an exhausted one would draw its combinations again
            self._most = min(self._most, math.prod(len(parameter.values) for parameter in self._space.values()))
        self.total: int | None = self._most
        self._plan = plan
        self._pending: deque[Any] | None = None  # opened late, so that a sweep that is not possible leaves nothing

    def foreseen(self) -> Iterable[Mapping[str, Any]]:
        """Return the first choice of everything, then each other choice and both ends of each range."""
        first = {key: parameter.extremes[0] for key, parameter in self._space.items()}
        for key, parameter in self._space.items():
            for value in parameter.extremes:
                wanted = {other: allowed[0] for other, allowed in parameter.when.items()}
                yield self._active({**first, **wanted, key: value})

    def ask(self) -> Trial | None:
        """Return the next trial: those that the study has, then new ones."""
        if self._pending is None:
            self._open()
        if self._pending:
            return self._begin(self._pending.popleft())
        with FileLock(self._plan.dir / ".study.lock"):  # between counting and asking nobody else may ask
            if self._count() >= self._most:
                return None
            asked = self._study.ask()
            asked.set_user_attr("owner", self._owner)
        return self._begin(asked)

    def tell(self, trial: Trial, outcome: Outcome) -> Iterable[Trial]:
        """Report to the study; what was interrupted stays open in it, to be finished by the same command."""
        states = self._optuna.trial.TrialState
        number = trial.job["id"]
        asked = self._optuna.trial.Trial(self._study, number)
        if asked.storage.get_trial(number).state.is_finished():  # remembered from an earlier command
            return ()
        if outcome.state == "completed":
            self._study.tell(asked, outcome.values, skip_if_finished=True)
        elif outcome.state in ("failed", "pruned"):
            asked.set_user_attr("error", outcome.error)
            state = states.FAIL if outcome.state == "failed" else states.PRUNED
            self._study.tell(asked, state=state, skip_if_finished=True)
        return ()

    def _keep_to_its_space(self) -> None:
        """Refuse another range: its trials would be answered by those of the old one, as they are counted together."""
        asked = {key: str(parameter) for key, parameter in self._space.items()}
        begun: dict[str, str] = self._study.user_attrs.get("space", asked)
        for key in begun | asked:
            if begun.get(key) != asked.get(key):
                then, now = (of.get(key, "left alone") for of in (begun, asked))
                raise ConfigError(
                    f"this search was begun with {key} {then}, not {now}",
                    where=key,
                    remedy="give sweep.name=<new> for a search of its own",
                )
        self._study.set_user_attr("space", begun)

    # The study -----------------------------------------------------------------------------------------------------

    def _open(self) -> None:
        """Open the study, or begin it, and find what is to be finished."""
        settings, folder = self._settings, self._plan.dir
        self._address = settings["storage"] or f"{studies.JOURNAL}{(folder / 'study.log').resolve()}"
        opened = studies.storage(self._address)
        directions = ["maximize" if mode == "max" else "minimize" for mode in self._plan.objectives.values()]
        self._study = self._optuna.create_study(
            study_name=self._plan.name, storage=opened, directions=directions, load_if_exists=True
        )
        before = self._study.user_attrs.get("objectives", list(self._plan.objectives))
        agree = [direction.name.lower() for direction in self._study.directions] == directions
        if before != list(self._plan.objectives) or not agree:
            raise ConfigError(
                "the study has other objectives", where="sweep.objectives", remedy="give sweep.name=<new>"
            )
        setting = runs.identity(self._plan.base)  # a given sweep.name does not tell what its trials have in common
        if self._study.user_attrs.get("setting", setting) != setting:
            remedy = "give sweep.name=<new>, or the settings of the command in its sweep.json"
            raise ConfigError("the study was begun with other settings", where="sweep.name", remedy=remedy)
        self._study.set_user_attr("objectives", list(self._plan.objectives))
        self._study.set_user_attr("setting", setting)
        self._keep_to_its_space()
        with FileLock(folder / ".study.lock"):  # of two that begin together, the second sees the first
            known = self._study.get_trials(deepcopy=False)
            begun_before = len(known) + self._others()
            self._own()
        # A sampler begun anew with the same seed would propose the same again.
        grid = {key: parameter.choices for key, parameter in self._space.items()}
        self._study.sampler = studies.sampler(settings, (settings["seed"] + begun_before) % 2**32, grid)
        alive = self._alive()
        # One that waits was never begun, and begins by being asked for.
        begun = [trial for trial in known if trial.state is not self._optuna.trial.TrialState.WAITING]
        mine = [trial for trial in begun if trial.state.is_finished() or trial.user_attrs.get("owner") not in alive]
        if settings["retry_failed"]:  # each that failed is asked for again, in a trial of its own
            mine = [trial for trial in mine if trial.state is not self._optuna.trial.TrialState.FAIL]
        self._pending = deque(self._optuna.trial.Trial(self._study, trial._trial_id) for trial in mine)
        if settings["retry_failed"]:
            self._enqueue_failed(known)

    def _enqueue_failed(self, known: Sequence[Any]) -> None:
        """Ask again for the trials that failed: a state, once told, stays, so each gets a second trial."""
        states = self._optuna.trial.TrialState
        last = {trial.user_attrs.get("retry_of", trial.number): trial for trial in known}
        for first, trial in last.items():
            if trial.state is states.FAIL:
                self._study.enqueue_trial(trial.params, user_attrs={"retry_of": first})

    def _count(self) -> int:
        """Count the trials; a second try of a failed one is no further trial, and one that waits is none yet."""
        states = self._optuna.trial.TrialState
        known = self._study.get_trials(deepcopy=False)
        waiting = any(trial.state is states.WAITING for trial in known)
        return 0 if waiting else sum("retry_of" not in trial.user_attrs for trial in known)

    def _own(self) -> None:
        """Hold a lock that says, while this process lives, that its trials are under way."""
        self._owner = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
        folder = self._plan.dir / "owners"
        folder.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(folder / self._owner)
        self._lock.acquire()

    def _others(self) -> int:
        """Count the processes that work on the study now."""
        folder, count = self._plan.dir / "owners", 0
        for file in folder.iterdir() if folder.is_dir() else ():
            try:
                with FileLock(file, timeout=0):
                    pass
            except Timeout:
                count += 1
        return count

    def _alive(self) -> set[str]:
        """Return the owners that live.

        An owner without a file here works in another file system; its trials are left to it.
        """
        owners = {str(trial.user_attrs.get("owner")) for trial in self._study.get_trials(deepcopy=False)}
        alive = set()
        for owner in owners:
            file = self._plan.dir / "owners" / owner
            try:
                if not file.exists():
                    alive |= {owner} if not self._address.startswith(studies.JOURNAL) else set()
                    continue
                with FileLock(file, timeout=0):
                    pass
            except Timeout:
                alive.add(owner)
        return alive

    # Its parameters ------------------------------------------------------------------------------------------------

    def _begin(self, asked: Any) -> Trial:
        """Turn a trial of the study into one of ours."""
        state = asked.storage.get_trial(asked._trial_id).state
        if state.is_finished():
            stored = {key: self._space[key] for key in asked.params if key in self._space}
            values = {key: parameter.meant(asked.params[key]) for key, parameter in stored.items()}
        else:
            asked.set_user_attr("owner", self._owner)
            values = self._suggest(asked)
        job: dict[str, Any] = {"id": asked._trial_id}
        if self._settings["pruner"] != "none" and not state.is_finished():  # old figures would end what is forced anew
            job |= {"study": self._plan.name, "storage": self._address}
        pruned = self._settings["pruner"] != "none" or state is self._optuna.trial.TrialState.PRUNED
        return Trial(asked.number, values, job, takes_pruned=pruned)

    def _suggest(self, asked: Any) -> dict[str, Any]:
        try:
            values: dict[str, Any] = {}
            for key, parameter in self._space.items():
                if parameter.applies(values):
                    values[key] = parameter.suggest(asked)
        except ValueError as error:
            raise ConfigError(
                f"the study was begun with other choices: {error}",
                where="sweep.parameters",
                remedy="choices of a running study cannot be changed; give sweep.name=<new>",
            ) from error
        return values

    def _active(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Leave out the parameters whose conditions the others do not meet."""
        active: dict[str, Any] = {}
        for key, parameter in self._space.items():
            if key in values and parameter.applies(active):
                active[key] = values[key]
        return active
