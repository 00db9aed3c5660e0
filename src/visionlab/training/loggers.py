"""Where a run's figures go besides its own files: TensorBoard, Weights & Biases, or another logger of Lightning."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from hydra.utils import instantiate
from lightning.pytorch.loggers import Logger, TensorBoardLogger, WandbLogger
from omegaconf import DictConfig

from visionlab.config import resolved
from visionlab.errors import ConfigError
from visionlab.runs import Run
from visionlab.training import tensorboard
from visionlab.training.interruption import Interrupted
from visionlab.training.supply import supply, take

GROUPS = ("data", "augment", "model", "loss", "optimizer", "scheduler", "trainer")
CLASSES = ("loss", "optimizer", "scheduler")  # of whose choices a class is all that tells them apart
CALLBACKS = {"checkpoint", "progress", "sweep"}  # which change nothing
PLACES = {"root", "cache_dir", "download", "workers", "published"}
FIGURES = ("confusion", "samples", "mistakes")


def make(config: DictConfig, run: Run) -> list[Logger]:
    """Build the loggers of a run; they write into its directory.

    Raises:
        ConfigError: The library of a logger is not installed.
    """
    if not config.logger or not config.logger.get("_target_"):
        return []
    factory, _ = take(instantiate(config.logger, _partial_=True, _convert_="all"), graph=False)
    kind = str(config.logger["_target_"]).rpartition(".")[-1]
    names: dict[str, str | None] = {}
    if kind == TensorBoardLogger.__name__:
        names = {"name": "", "version": ""}  # no folders of its own
    elif kind == WandbLogger.__name__:
        names = {"name": run.dir.name, "version": _wandb_id(run)}
    try:
        return [supply(factory, save_dir=str(run.dir), **names)]
    except ModuleNotFoundError as error:
        library = kind.removesuffix("Logger").lower()
        raise ConfigError(
            f"{library} is not installed", where="logger", remedy=f"pip install {library}, or choose another logger"
        ) from error


def _wandb_id(run: Run) -> str | None:
    """Return by what W&B knows a run that continues; None for one that begins. Its folder in the run's tells."""
    folders = sorted((run.dir / "wandb").glob("*run-*"), key=lambda folder: folder.stat().st_mtime)
    return re.sub(r"^(offline-)?run-\d+_\d+-", "", folders[-1].name) if folders else None


def repeat(loggers: Sequence[Logger], rows: Sequence[Mapping[str, float | None]]) -> None:
    """Log epochs that another run has trained, as they stand in its metrics.csv."""
    for row in rows:
        figures = {name: value for name, value in row.items() if value is not None and ("/" in name or name == "lr")}
        for logger in loggers:
            logger.log_metrics(figures | {"epoch": int(row["epoch"] or 0)}, step=int(row["step"] or 0) - 1)


@contextmanager
def open_for(loggers: Sequence[Logger], config: Mapping[str, Any]) -> Iterator[None]:
    """Begin with the hyperparameters, and end W&B's run however the training ends.

    Otherwise the next run of a sweep would write into it.

    Raises:
        ConfigError: W&B has no account to write to.
    """
    wandb_too = any(isinstance(logger, WandbLogger) for logger in loggers)
    code = 0
    try:
        for logger in loggers:
            if not isinstance(logger, TensorBoardLogger):  # which shows them with what came of them, at the end
                _begin(logger, hyperparameters(config))
        yield
    except (Interrupted, KeyboardInterrupt):
        code = 255  # which W&B calls killed
        raise
    except Exception as error:
        code = int(not hasattr(error, "run_status"))  # a sweep that prunes or pauses a trial is no failure
        raise
    finally:
        if wandb_too:
            import wandb

            if wandb.run is not None:
                wandb.finish(exit_code=code)


def _begin(logger: Logger, flat: dict[str, Any]) -> None:
    try:
        logger.log_hyperparams(flat)
    except Exception as error:
        if isinstance(logger, WandbLogger) and isinstance(error, TypeError):
            raise ConfigError(f"wandb.init: {error}", where="logger", remedy="leave it out") from error
        if not type(error).__module__.startswith("wandb"):
            raise
        raise ConfigError(
            f"Weights & Biases cannot be reached: {error}",
            where="logger",
            remedy="wandb login; or set WANDB_MODE=offline, and upload later with wandb sync",
        ) from error


def finish(loggers: Sequence[Logger], run: Run, config: Mapping[str, Any]) -> None:
    """Add what came out, and the figures, after the run's page has been written.

    Args:
        loggers: Those of the run.
        run: The completed run.
        config: Its resolved config.
    """
    metrics = run.result["metrics"]
    # Under names of their own: under val/acc itself they would add a point to the curve.
    best = {f"best/{name}": metrics[name] for name in (config["monitor"], "val/loss", "test/acc") if name in metrics}
    pictures = [path for path in sorted(run.figures.glob("*.png")) if path.stem.startswith(FIGURES)]
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            tensorboard.finish(logger, hyperparameters(config), best, pictures)
        elif isinstance(logger, WandbLogger):
            logger.experiment.summary.update(best)
            for path in pictures:
                logger.log_image(path.stem, [str(path)])


def add_test(config: DictConfig, run: Run) -> None:
    """Tell W&B, where it knows the run, what a test has shown that came later, as of a sweep's winner."""
    if _wandb_id(run) is None:
        return
    plain = resolved(config)
    loggers = [logger for logger in make(config, run) if isinstance(logger, WandbLogger)]
    with open_for(loggers, plain):
        finish(loggers, run, plain)


def hyperparameters(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run by their full names."""
    flat: dict[str, Any] = {"seed": config["seed"], "init_seed": config["init_seed"]}
    for group in GROUPS:
        flat |= _flat(config[group] or {}, group)
    for group in CLASSES:
        flat[group] = str((config[group] or {}).get("_target_")).rpartition(".")[-1]
    return flat | _flat({key: node for key, node in config["callbacks"].items() if key not in CALLBACKS}, "callbacks")


def _flat(node: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the settings below a key by their full names, without what says where things lie."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}.{key}")
        elif not key.startswith("_") and key not in PLACES and value is not None:
            found[f"{path}.{key}"] = value if isinstance(value, int | float | str | bool) else str(value)
    return found
