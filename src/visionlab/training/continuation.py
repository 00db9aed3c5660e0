"""A longer run goes on from a shorter one: where nothing follows the length of a run, its first epochs are the same."""

import inspect
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from hydra.utils import get_object
from omegaconf import OmegaConf

from visionlab import runs
from visionlab.errors import RunError
from visionlab.runs import Run
from visionlab.training import checkpoint_io, environment

LENGTH = "trainer.max_epochs"
# What visionlab.training.schedulers tells a scheduler of the length of the training.
OFFERS = {"total_steps", "max_epochs", "T_max"}


def shared(config: Mapping[str, Any]) -> str | None:
    """Return the identity of a run apart from its length; None where each epoch depends on how many there will be.

    Args:
        config: The run's, resolved.
    """
    trainer = config["trainer"]
    parts = [config["model"], *(node for node in config["callbacks"].values() if isinstance(node, Mapping))]
    follows = (
        trainer.get("max_steps", -1) != -1 or trainer.get("max_time") is not None,
        any(planned(config).values()),
        not all(str(node.get("_target_", "visionlab.")).startswith("visionlab.") for node in parts),  # who knows
    )
    return None if any(follows) else runs.identity(config, without=[LENGTH])


def planned(config: Mapping[str, Any]) -> dict[str, bool]:
    """Return of the parts of a run that may be planned from its length whether they are.

    Args:
        config: The run's, resolved.
    """
    scheduler = inspect.signature(get_object(config["scheduler"]["_target_"])).parameters
    return {
        "the scheduler": bool(OFFERS & set(scheduler)),
        "callbacks.swa": (config["callbacks"].get("swa") or {}).get("start") is not None,
    }


def adopt(run: Run, config: Mapping[str, Any]) -> str | None:
    """Give a run that has not begun the epochs of the longest finished run that differs from it in being shorter.

    Args:
        run: The run directory, whose lock is held.
        config: Its config, resolved.

    Returns:
        The checkpoint to go on from; None where there is no such run, or not with the same software and images.
    """
    same = shared(config)
    found = sorted(_shorter(run, config, same), key=lambda other: -len(other.metrics)) if same else []
    for other in found:
        with suppress(OSError, Timeout), FileLock(other.dir / ".lock", timeout=0):
            checkpoint, _ = checkpoint_io.newest_whole(other.checkpoint("last").parent)
            if checkpoint is None or environment.changes(other, config["data"]["root"]):
                continue
            shutil.copytree(checkpoint.parent, run.checkpoint("last").parent, dirs_exist_ok=True)
            shutil.copy(other.dir / "metrics.csv", run.dir)
            result = other.result
            runs.write_atomically(run.dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(dict(config))))
            run.update(
                status="interrupted",
                begun_by=str(other.dir),
                seconds={"so_far": result["seconds"]["total"]},
                **{key: result[key] for key in ("data", "environment")},
            )
            print(f"It goes on from the last of the {result['epochs']} epochs of {other.dir}.")
            return str(run.checkpoint("last").with_name(checkpoint.name))
    return None


def _shorter(run: Run, config: Mapping[str, Any], same: str) -> Iterator[Run]:
    """Find the completed runs beside a run that differ from it in being shorter."""
    kind = runs.name(config).rpartition("-")[0]
    for directory in sorted(run.dir.parent.glob(f"{Path(kind).name}-*")):
        other = Run(directory)
        result = other.result
        if result.get("status") == "completed" and result.get("apart_from_length") == same:
            with suppress(RunError):
                if other.config["trainer"]["max_epochs"] < config["trainer"]["max_epochs"]:
                    yield other
