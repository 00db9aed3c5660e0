"""The way of a sweep from the command line to its table: `python -m visionlab.train -m ...`."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.types import HydraContext, TaskFunction
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf

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


def sweep(config: DictConfig, context: HydraContext, task: TaskFunction, arguments: list[str], launcher: Any) -> int:
    """Work through a sweep, then test, rank and report it.

    Args:
        config: The composed config without what is swept, Hydra's node included.
        context: Hydra's context.
        task: The function that a job calls.
        arguments: The overrides of the command line.
        launcher: Hydra's launcher; ours offer `executor(...)`.

    Returns:
        How many trials failed or were left unfinished.

    Raises:
        UserError: What the user can put right, before the first run trains.
        Stopped: A signal came; the same command continues.
    """
    loader = context.config_loader
    base: Any = OmegaConf.to_container(
        OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"]), resolve=True
    )
    plan = Plan(base, arguments, str(config.hydra.runtime.choices.get("sweep")), space.Reader(loader))
    strategy: Strategy = get_object(plan.settings["strategy"])(plan)
    composer = Composer(loader, config, plan)
    _check(strategy, composer)
    record = Record(plan.dir)
    executor: Executor = launcher.executor(plan.dir)
    display = Display(plan, strategy.total, executor.slots)
    _begin(plan, record)
    engine = Engine(plan, strategy, composer, executor, record, display)
    try:
        with stopping(), display.live():
            engine.work()
            best = _rank(plan, record)
            _test(plan, best, composer, executor, record)
    except BaseException:
        record.head(status="interrupted")
        raise
    finally:
        executor.close()
    best = _rank(plan, record)
    record.head(status="completed")
    _report(plan)
    display.close(best, [])
    return display.unfinished


def _check(strategy: Strategy, composer: Composer) -> None:
    """Check all that can be known of the trials before the first one trains."""
    devices_checked: set[str] = set()
    from visionlab.training import devices

    for values in strategy.foreseen():
        for request in composer.requests(values, {}):
            trainer = OmegaConf.to_container(request.config.trainer, resolve=True)
            if (key := repr(trainer)) not in devices_checked:
                assert isinstance(trainer, dict)
                devices.check({str(name): value for name, value in trainer.items()})
                devices_checked.add(key)


def _begin(plan: Plan, record: Record) -> None:
    """Write what is known before the first trial."""
    record.head(
        name=plan.name,
        kind=plan.choice,
        status="running",
        command=plan.command,
        swept=plan.keys,
        replicates=list(plan.replicates),
        monitor=plan.base["monitor"],
        mode=plan.base["mode"],
        objectives=plan.objectives,
        test=plan.settings["test"],
    )


def _rank(plan: Plan, record: Record) -> list[Ranked]:
    """Rank the trials and record the best one."""
    entries = record.entries
    every = plan.settings["test"] == "all"
    tested = set(entries) if every else {Path(path).name for path in record.content.get("tested", [])}
    found = ranking(entries.values(), plan.dir, plan.objectives, plan.replicates, tested)
    if found:
        facts: dict[str, Any] = {"best": _facts(plan, found[0], entries)}
        if len(plan.objectives) > 1:
            facts["front"] = [_facts(plan, one, entries) for one in front(found, plan.objectives)]
        record.head(**facts)
    return found


def _facts(plan: Plan, ranked: Ranked, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return what sweep.json says of a trial that stands out."""
    return {
        "trial": ranked.trial,
        "overrides": ranked.values,
        "value": ranked.means[0],
        "deviation": ranked.deviations[0],
        "values": dict(zip(plan.objectives, ranked.means, strict=True)),
        "command": plan.command_of(ranked.values),
        "dirs": [entries[path.name]["dir"] for path in ranked.dirs],
    }


def _test(plan: Plan, best: list[Ranked], composer: Composer, executor: Executor, record: Record) -> None:
    """Evaluate the test split of the best trial, whose choice has not seen it."""
    if plan.settings["test"] != "best" or not plan.base["test"] or not best or len(plan.objectives) > 1:
        return
    requests = composer.requests(best[0].values, {})
    for request in requests:
        if "test" in Run(request.dir).result.get("evaluated", ()):
            continue
        config = request.config
        config.test, config.force = True, False
        executor.submit(Job(request.dir, config))
        ended: list[tuple[Job, Ended]] = []
        while not ended:
            ended = executor.wait()
    record.head(tested=[str(request.dir.name) for request in requests])


def _report(plan: Plan) -> None:
    """Write the sweep's page and table."""
    from importlib.util import find_spec

    if find_spec("visionlab.compare"):
        from visionlab.compare import compare

        compare(plan.dir)
