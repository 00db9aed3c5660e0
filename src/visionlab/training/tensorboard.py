"""What TensorBoard shows beyond the curves: hyperparameters with what came of them, and the figures of the page."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image
from torch import nn
from torch.utils.tensorboard.summary import hparams

from visionlab.runs import Run

GROUPS = ("data", "augment", "model", "loss", "optimizer", "scheduler", "trainer")
PLACES = {"root", "cache_dir", "download", "workers"}
FIGURES = ("confusion", "samples", "mistakes")


def finish(loggers: Sequence[Logger], run: Run, config: Mapping[str, Any], monitor: str) -> None:
    """Fill the HParams tab and add the figures, after the run's page has been written.

    Args:
        loggers: Those of the run; others than TensorBoard's get the hyperparameters alone.
        run: The completed run.
        config: Its resolved config.
        monitor: The metric that stands beside the hyperparameters, of the best epoch.
    """
    flat: dict[str, Any] = {"seed": config["seed"]}
    for group in GROUPS:
        flat |= _flat(config[group] or {}, group)
    metrics = run.result["metrics"]
    # Under names of their own: under val/acc itself they would add a point to the curve.
    figures = {f"best/{name}": metrics[name] for name in (monitor, "val/loss", "test/acc") if name in metrics}
    for logger in loggers:
        if not isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(flat)
            continue
        # The first of the three summaries would fix which hyperparameters the tab shows, by name; without it, it shows
        # those that differ between runs.
        for summary in hparams(flat, figures)[1:]:
            logger.experiment._get_file_writer().add_summary(summary)
        for name, value in figures.items():
            logger.experiment.add_scalar(name, value, 0)
        for path in sorted(run.figures.glob("*.png")):
            if path.stem.startswith(FIGURES):
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert("RGB"))
                logger.experiment.add_image(path.stem, pixels, 0, dataformats="HWC")
        logger.finalize("success")


def add_graph(loggers: Sequence[Logger], network: nn.Module, size: tuple[int, int]) -> None:
    """Add the network as a graph, for images of (height, width) px.

    TensorBoardLogger's own `log_graph` would send its example through our batches.
    """
    image = torch.zeros(1, 3, *size, device=next(network.parameters()).device)
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the trace holds for this size alone, which is what is shown
                logger.experiment.add_graph(network.eval(), image)
            logger.finalize("success")


def _flat(node: Mapping[str, Any], path: str) -> dict[str, Any]:
    """Return the settings below a key by their full names, without what says where things lie."""
    found: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{path}.{key}")
        elif not key.startswith("_") and key not in PLACES and value is not None:
            found[f"{path}.{key}"] = value if isinstance(value, int | float | str | bool) else str(value)
    return found
