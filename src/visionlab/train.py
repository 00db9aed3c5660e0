"""Train, test and report: `python -m visionlab.train`, or `visionlab.train(overrides=[...])`."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from visionlab import doors, runs
from visionlab.checks import check_composed
from visionlab.config import compose, resolved, words_to_hydra
from visionlab.errors import ConfigError, RunError
from visionlab.runs import Run

log = logging.getLogger(__name__)


def train(
    overrides: Sequence[str] = (), *, config: DictConfig | None = None, directory: str | Path | None = None
) -> Run:
    """Train the run that a config describes, or return it where it is remembered.

    Args:
        overrides: Hydra overrides, such as `["model=alexnet", "optimizer.lr=1e-3"]`.
        config: A composed config instead of overrides.
        directory: Where the run lies; `<outputs>/<data>-<model>-<hash>` unless given.

    Returns:
        The completed run.

    Raises:
        UserError: What the user can put right, before training starts wherever it can be known.
    """
    if config is None:
        _warn_of_one_run(overrides)
    asked = config if config is not None else compose(overrides)
    plain = resolved(asked)
    if plain["resume"]:
        _refuse_other_words(overrides, plain["resume"])
        return _resume(Path(plain["resume"]))
    check_composed(plain, asked, overrides)
    from visionlab.training import ranks

    run = Run(directory or Path(plain["outputs"]) / runs.name(plain))
    if ranks.rank():
        return ranks.follow(run, asked, list(overrides))
    with run.lock():
        try:
            _refuse_another(run, plain)
            return _train(run, asked, list(overrides))
        finally:
            run.discard_if_unused()


def _warn_of_one_run(overrides: Sequence[str]) -> None:
    """Say that a sweep that was chosen does not take place."""
    for text in overrides:
        if text.startswith(("sweep=", "sweep.", "hydra/launcher=", "hydra.launcher.")):
            also = "or from Python visionlab.sweep"
            log.warning("this is one run; a sweep is python -m visionlab.train -m %s, %s", text, also)


def _refuse_other_words(overrides: Sequence[str], directory: str) -> None:
    """Refuse settings of a run that is continued with its own.

    Raises:
        ConfigError: There is one.
    """
    for text in overrides:
        if text.lstrip("+~").partition("=")[0] not in ("resume", "outputs") and not text.startswith("hydra"):
            raise ConfigError(
                f"a run is continued with its own config, and {text} would not be heeded",
                where="resume",
                remedy=f"leave it out; to begin another run with these weights give model.weights={directory}",
            )


def _train(run: Run, asked: DictConfig, overrides: list[str]) -> Run:
    """Answer from memory, or begin or continue the run, whose lock is held."""
    from visionlab.reports import closing
    from visionlab.training import continuation, environment, ranks

    plain = resolved(asked)
    if plain["force"]:
        run.clear()
    complete = run.status == "completed"
    untested = plain["test"] and run.untested
    if complete and not untested:
        from visionlab.reports import run_page

        if not run.page.exists():
            run_page.write(run.dir)
        ranks.announce(run, None, answered=True)
        closing.remembered(run, environment.changes(run, plain["data"]["root"]))
        return run
    from visionlab.training.fit import fit, test

    if untested:
        ranks.announce(run, None, answered=True)
        test(asked, run)
        closing.finished(run)
        return run
    if run.status not in ("running", "interrupted", "pruned"):
        run.clear()  # a failed attempt leaves nothing that this one may build on
    adopted = continuation.adopt(run, plain) if _may_adopt(run, plain) else None
    resume_from = adopted or _checkpoint(run)
    if resume_from and not adopted:
        for change in environment.changes(run, plain["data"]["root"]):
            print(f"since then: {change}")
    _note_overrides(run, overrides)
    ranks.announce(run, resume_from, answered=False)
    if count := ranks.needed(plain["trainer"]):
        runs.write_atomically(run.dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plain), sort_keys=False))
        ranks.launch(run, count, overrides, resume_from)
    else:
        fit(asked, run, overrides, resume_from)
    closing.finished(run)
    return run


def _may_adopt(run: Run, plain: Mapping[str, Any]) -> bool:
    """Whether a run that begins may go on from a shorter one: not where a sweep watches its epochs, or all is asked."""
    watched = (plain.get("sweep") or {}).get("trial")
    return run.status is None and not plain["force"] and not watched


def _refuse_another(run: Run, asked: Mapping[str, Any]) -> None:
    """Answer only what was asked: a directory that was named by hand may hold the run of another config.

    Raises:
        RunError: It does, and that run did not fail.
    """
    if asked["force"] or run.status in (None, "failed"):
        return
    if run.result.get("config_hash") != runs.identity(asked):
        raise RunError(
            "this directory holds a run with other settings",
            where=str(run.dir),
            remedy="give another directory, none, or force=true to train anew in this one",
        )


def _checkpoint(run: Run) -> str | None:
    """Find the checkpoint to continue from, and say so."""
    from visionlab.training import checkpoint_io

    if run.status is None:
        return None
    found, damaged = checkpoint_io.newest_whole(run.checkpoint("last").parent)
    for path in damaged:
        print(f"{path.name} is damaged and is not used.")
    if found:
        print(f"Continuing the interrupted run from {found.name}.")
    return str(found) if found else None


def _note_overrides(run: Run, overrides: list[str]) -> None:
    """Leave, when called from Python, what the command line leaves."""
    file = run.dir / ".hydra" / "overrides.yaml"
    if not file.exists():
        runs.write_atomically(file, OmegaConf.to_yaml(OmegaConf.create(overrides)))


def _resume(directory: Path) -> Run:
    """Continue the run of a directory with the config that lies in it."""
    from visionlab.training import ranks

    run = Run.open(directory)
    config, overrides = OmegaConf.create(run.config), run.result.get("overrides", [])
    config.resume, config.force = None, False
    if ranks.rank():
        return ranks.follow(run, config, overrides)
    with run.lock():
        if run.status == "failed":
            run.update(status="interrupted")  # what it has is to be gone on with, not to be cleared away
        return _train(run, config, overrides)


@hydra.main(version_base="1.3", config_path="pkg://visionlab.conf", config_name="train")
def job(config: DictConfig) -> float | None:
    """Run one job of the command line and return its monitored value, which Hydra's sweepers ask for."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    hydra_config = HydraConfig.get()
    directory = Path(hydra_config.runtime.output_dir)
    if hydra_config.mode == RunMode.RUN:
        _warn_of_one_run([*hydra_config.overrides.task, *words_to_hydra(hydra_config)])
    try:
        run = train(list(hydra_config.overrides.task), config=config, directory=directory)
    finally:
        Run(directory).discard_if_unused()
    # A rank other than 0 may be here before rank 0 has written the result.
    value = run.result.get("metrics", {}).get(str(config.monitor))
    return None if value is None else float(value)


def main() -> None:
    """Enter from the command line."""
    doors.enter(job)


doors.callable_module(__name__)

if __name__ == "__main__":
    from visionlab.train import main as importable  # so that launchers pickle the job by its real name

    importable()
