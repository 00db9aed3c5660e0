"""Optuna studies: where they are stored, and the samplers and pruners that a config can name."""

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visionlab.errors import ConfigError, UserError

JOURNAL = "journal:"  # begins the address of a journal file, where the other storages have URLs


def storage(address: str) -> Any:
    """Open a storage: `journal:<file>`, or a URL of SQLAlchemy such as sqlite:///study.db.

    Raises:
        ConfigError: The URL cannot be read, or nobody answers there.
    """
    optuna = library()
    if address.startswith(JOURNAL):
        file = Path(address.removeprefix(JOURNAL))
        file.parent.mkdir(parents=True, exist_ok=True)
        return optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    from sqlalchemy.exc import IntegrityError, ProgrammingError

    for attempt in range(5):
        try:
            return optuna.storages.RDBStorage(address, engine_kwargs={"pool_pre_ping": True})
        except (IntegrityError, ProgrammingError) as error:
            refused: Exception = error
            time.sleep(1 + attempt)  # another process may be making the same tables at this very moment
        except Exception as error:  # SQLAlchemy's, the driver's or an import's
            refused = error
            break
    raise ConfigError(
        f"the study's storage cannot be opened: {str(refused).splitlines()[0]}",
        where="sweep.storage",
        remedy="give sqlite:///<file>, postgresql+psycopg://<user>@<host>/<database> (`pip install psycopg[binary]`), "
        "or null for a file in the sweep's folder",
    ) from refused


def sampler(settings: Mapping[str, Any], seed: int, grid: Mapping[str, Any]) -> Any:
    """Make the sampler that `sweep.sampler` names.

    Args:
        settings: The config's sweep.
        seed: Of its random numbers.
        grid: The choices of each parameter, which the grid sampler needs.
    """
    samplers = library().samplers
    first = settings["startup_trials"]
    match settings["sampler"]:
        case "tpe":
            # The liar: what others are trying now counts as bad, so that they are not tried twice at once.
            return samplers.TPESampler(seed=seed, n_startup_trials=first, constant_liar=True)
        case "gp":
            return samplers.GPSampler(seed=seed, n_startup_trials=first)
        case "cmaes":
            return samplers.CmaEsSampler(seed=seed, n_startup_trials=first, warn_independent_sampling=False)
        case "grid":

            class Grid(samplers.GridSampler):  # type: ignore[misc, name-defined]
                """Without its end of the study, which only Optuna's own loop allows; `total` is ours."""

                def after_trial(self, *_: Any) -> None:
                    pass

            # A trial of the study is a number in an order that the seed makes, for each command the same.
            return Grid(grid, seed=settings["seed"])
    return samplers.RandomSampler(seed=seed)


def pruner(settings: Mapping[str, Any], max_epochs: int) -> Any:
    """Make the pruner that `sweep.pruner` names."""
    pruners = library().pruners
    first, epochs = settings["startup_trials"], settings["pruner_min_epochs"]
    match settings["pruner"]:
        case "median":
            return pruners.MedianPruner(n_startup_trials=min(5, first), n_warmup_steps=epochs - 1)
        case "hyperband":
            return pruners.HyperbandPruner(min_resource=epochs, max_resource=max_epochs, reduction_factor=3)
    return pruners.NopPruner()


def library() -> Any:
    """Import Optuna, without the warnings that are for its developers.

    Raises:
        UserError: It is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise UserError("a search needs Optuna", remedy="pip install 'visionlab[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    return optuna
