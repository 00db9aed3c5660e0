"""visionlab: image-classification experiments that are a config, and runs that are remembered.

The doors are verbs; each is a command (`python -m visionlab.train`) and a function of the same name:

    run = visionlab.train(["model=alexnet", "data=tiny_imagenet10"])
    run.result["metrics"]["test/acc"]
    visionlab.load(run)(images)

A sweep is `python -m visionlab.train -m` as a command, `visionlab.sweep` as a function.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from visionlab.compare import compare as compare
    from visionlab.evaluate import evaluate as evaluate
    from visionlab.explore import explore as explore
    from visionlab.export import export as export
    from visionlab.loading import Loaded as Loaded
    from visionlab.loading import load as load
    from visionlab.predict import predict as predict
    from visionlab.probe import probe as probe
    from visionlab.reproduce import reproduce as reproduce
    from visionlab.runs import Run as Run
    from visionlab.sweeping import sweep as sweep
    from visionlab.sweeps.command import Sweep as Sweep
    from visionlab.train import train as train
    from visionlab.tune import tune as tune

# Importing visionlab must stay as quick as `--help`, so what it offers is imported when it is first asked for.
_HOME = {"load": "loading", "Loaded": "loading", "Run": "runs", "sweep": "sweeping", "Sweep": "sweeps.command"}
_DOORS = ("train", "evaluate", "predict", "explore", "compare", "tune", "probe", "export", "reproduce")

__all__ = [
    "Loaded", "Run", "Sweep", "compare", "evaluate", "explore", "export", "load", "predict", "probe", "reproduce",
    "sweep", "train", "tune",
]  # fmt: skip


def __dir__() -> list[str]:
    return [*__all__, "__version__"]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("visionlab")
    if name in _DOORS:
        return import_module(f"visionlab.{name}")
    if name in _HOME:
        return getattr(import_module(f"visionlab.{_HOME[name]}"), name)
    raise AttributeError(f"module 'visionlab' has no attribute '{name}'")
