"""A sweep from Python: `visionlab.sweep([...])`, the same as `python -m visionlab.train -m ...`."""

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from hydra.core.plugins import Plugins
from hydra.types import HydraContext, RunMode

from hydra_plugins import visionlab_sweepers
from visionlab.config import own_hydra
from visionlab.errors import ConfigError

if TYPE_CHECKING:
    from visionlab.sweeps.command import Sweep


def sweep(overrides: Sequence[str] = ()) -> "Sweep":
    """Train, rank, test and report what a sweep asks for; what is remembered of it is not trained again.

    A trial that fails does not end it. An interrupted sweep continues when it is asked for again. In a script,
    `hydra/launcher=parallel` needs the call under `if __name__ == "__main__":`, as its workers import the script.

    Args:
        overrides: Hydra overrides, as on the command line: `["model=alexnet,vgg16", "optimizer.lr=1e-3,1e-2"]`.

    Returns:
        The sweep with its trials, the best first.

    Raises:
        UserError: What the user can put right, before the first trial trains wherever it can be known.
    """
    from hydra._internal.callbacks import Callbacks

    from visionlab.train import job

    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level  # each job sets up its own
    visionlab_sweepers.register()
    try:
        with own_hydra("train") as hydra:
            config = hydra.compose_config("train", list(overrides), RunMode.MULTIRUN, with_log_configuration=False)
            callbacks = Callbacks(config)
            callbacks.on_multirun_start(config=config, config_name="train")
            context = HydraContext(config_loader=hydra.config_loader, callbacks=callbacks)
            sweeper = Plugins.instance().instantiate_sweeper(config=config, hydra_context=context, task_function=job)
            work = getattr(sweeper, "work", None)  # Hydra may have loaded the class a second time
            if work is None:
                what = f"Hydra's {type(sweeper).__name__} does not return what came of a sweep"
                raise ConfigError(what, where="hydra/sweeper", remedy="leave it as it is")
            found: Sweep = work(list(config.hydra.overrides.task))
            callbacks.on_multirun_end(config=config, config_name="train")
            return found
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
