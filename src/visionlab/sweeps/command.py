"""The way of a sweep from the command line to its table: `python -m visionlab.train -m ...`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

from visionlab.compare import compare
from visionlab.config import own_files, resolved, words_to_hydra
from visionlab.errors import UserError
from visionlab.runs import Run
from visionlab.sweeps import space
from visionlab.sweeps.compose import Composer
from visionlab.sweeps.display import Display
from visionlab.sweeps.engine import Engine
from visionlab.sweeps.jobs import Ended, Executor, Job
from visionlab.sweeps.plan import Plan
from visionlab.sweeps.ranking import Ranked, front, ranking
from visionlab.sweeps.record import Record
from visionlab.sweeps.stopping import stopping
from visionlab.sweeps.trial import Strategy


@dataclass(frozen=True)
class Sweep:
    """What came of a sweep.

    Args:
        dir: Where its list, its table, its page and its figures lie.
        ranking: The completed trials, the best first; with several objectives by the first of them.
        rows: A row a run, with raw numbers; `pandas.DataFrame(sweep.rows)` works.
        unfinished: How many trials failed or were left unfinished, and how many tests of the best one failed.
    """

    dir: Path
    ranking: tuple[Ranked, ...]
    rows: list[dict[str, Any]] = field(repr=False)
    unfinished: int

    @property
    def best(self) -> Ranked | None:
        """The best trial: its values, means and deviations, and the directories of its runs; None if none completed."""
        return next(iter(self.ranking), None)

    @property
    def page(self) -> Path:
        """The page."""
        return self.dir / "report.html"


def sweep(config: DictConfig, context: HydraContext, task: TaskFunction, arguments: list[str], launcher: Any) -> Sweep:
    """Work through a sweep, then test, rank and report it.

    Args:
        config: The composed config without what is swept, Hydra's node included.
        context: Hydra's context.
        task: The function that a job calls.
        arguments: The overrides of the command line.
        launcher: Hydra's launcher; ours offer `executor(...)`.

    Raises:
        UserError: What the user can put right, before the first run trains.
        Stopped: A signal came; the same command continues.
    """
    loader = context.config_loader
    base: Any = OmegaConf.to_container(
        OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), resolve=True
    )
    choice = str(config.hydra.runtime.choices.get("sweep"))
    where = ("hydra/launcher", "hydra.launcher.", "hydra.sweep.")
    places = [text for text in words_to_hydra(config.hydra) if text.startswith(where)]
    plan = Plan(base, arguments, choice, space.Reader(loader), own_files(config.hydra), places)
    strategy: Strategy = get_object(plan.settings["strategy"])(plan)
    composer = Composer(loader, config, plan)
    _check(strategy, composer, launcher)
    record = Record(plan.dir)
    executor: Executor = launcher.executor(plan.dir)
    display = Display(plan, strategy.total, executor.slots)
    _begin(plan, strategy.total, record)
    engine = Engine(plan, strategy, composer, executor, record, display)
    try:
        with stopping(), display.live():
            engine.work()
            display.after = "the best trial is evaluated on the test split"
            best = _rank(plan, composer, record)
            untested = _test(plan, best, composer, executor, record)
            display.after = "the page is written"
            _rank(plan, composer, record)
            record.head(status="interrupted" if display.out_of_time else "completed")
            rows = compare(plan.dir).rows
    except BaseException:
        record.head(status="interrupted")
        raise
    finally:
        executor.close()
    best = _rank(plan, composer, record)
    display.close(best, _changes(record), untested)
    return Sweep(plan.dir, tuple(best), rows, display.unfinished + len(untested))


# Keys of the data that change neither which images there are nor whether they can be read.
SAME_IMAGES = {
    "batch_size", "sampler", "drop_last", "fold", "split_seed", "image_size", "mean", "std", "expand", "train_fraction"
}  # fmt: skip


def _check(strategy: Strategy, composer: Composer, launcher: Any) -> None:
    """Check all that can be known of the trials before the first one trains: keys, values, devices and data."""
    from visionlab.training import build, devices

    checked: set[str] = set()

    def first(*what: Any) -> bool:
        seen = repr(what) in checked
        checked.add(repr(what))
        return not seen

    for values in strategy.foreseen():
        for request in composer.requests(values, {}):
            if launcher.remote or Run(request.dir).status == "completed":
                continue
            plain = resolved(request.config)
            if first(plain["trainer"]):
                devices.check(plain["trainer"])
            if first({key: value for key, value in plain["data"].items() if key not in SAME_IMAGES}):
                build.data_module(request.config)


def _begin(plan: Plan, total: int | None, record: Record) -> None:
    """Write what is known before the first trial."""
    record.head(
        name=plan.name,
        kind=plan.choice,
        status="running",
        command=plan.command,
        total=total,
        swept=plan.keys,
        replicates=plan.replicates,
        monitor=plan.base["monitor"],
        mode=plan.base["mode"],
        objectives=plan.objectives,
        test=plan.settings["test"],
        refused=[],
    )


def _rank(plan: Plan, composer: Composer, record: Record) -> list[Ranked]:
    """Rank the trials that this command can ask for and record the best one."""
    entries = record.entries
    every = plan.settings["test"] == "all"
    tested = set(entries) if every else {Path(path).name for path in record.content.get("tested", [])}
    every_command = ranking(entries.values(), plan.dir, plan.objectives, plan.replicates, tested)
    found = [one for one in every_command if _asked_for(one, composer)]
    earlier = sorted({str(one.setting) for one in every_command} - {str(one.setting) for one in found})
    facts: dict[str, Any] = {"best": _facts(plan, found[0], entries) if found else None, "earlier": earlier}
    if len(plan.objectives) > 1:
        facts["front"] = [_facts(plan, one, entries) for one in front(found, plan.objectives)]
    record.head(**facts)  # also where no trial is complete any more
    return found


def _asked_for(ranked: Ranked, composer: Composer) -> bool:
    """Whether the values mean here what they meant to the command that tried them, which may have fixed others."""
    try:
        return ranked.setting in (None, composer.requests(ranked.values, {})[0].setting)
    except UserError:
        return False


def _facts(plan: Plan, ranked: Ranked, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what sweep.json says of a trial that stands out."""
    return {
        "trial": ranked.trial,
        "overrides": ranked.values,
        "value": ranked.means[0],
        "deviation": ranked.deviations[0],
        "values": dict(zip(plan.objectives, ranked.means, strict=True)),
        "command": plan.command_of(ranked.values, ranked.dirs[0]),
        "dirs": [entries[path.name]["dir"] for path in ranked.dirs],
    }


def _test(plan: Plan, best: list[Ranked], composer: Composer, executor: Executor, record: Record) -> list[str]:
    """Evaluate the test split of the best trial, whose choice has not seen it; return why that failed, if it did."""
    if plan.settings["test"] != "best" or not plan.base["test"] or not best or len(plan.objectives) > 1:
        return []
    failed: dict[str, str] = {}
    requests = composer.requests(best[0].values, {})
    for request in requests:
        if not Run(request.dir).untested:
            continue
        config = request.config
        config.test, config.force = True, False
        executor.submit(Job(request.dir, config))
        ended: list[tuple[Job, Ended]] = []
        while not ended:
            ended = executor.wait()
        failed |= {job.dir.name: end.error for job, end in ended if end.error}
    record.head(tested=[request.dir.name for request in requests if request.dir.name not in failed])
    return [f"{name}: {error}" for name, error in failed.items()]


def _changes(record: Record) -> list[str]:
    """Return what has changed since the remembered runs were trained, asking once for each state of then."""
    from visionlab.training import environment

    states: dict[str, Run] = {}
    for entry in record.entries.values():
        run = Run(record.dir / entry["dir"])
        if entry.get("remembered") and run.status == "completed":
            then = run.result.get("environment", {})
            states.setdefault(repr([then.get(key) for key in ("versions", "commit", "uncommitted")]), run)
    return sorted({change for run in states.values() for change in environment.changes(run)})
