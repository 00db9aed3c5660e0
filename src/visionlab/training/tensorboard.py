"""What TensorBoard shows beyond the curves: hyperparameters with what came of them, and the figures of the page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image

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
        for key, value in (config[group] or {}).items():
            if isinstance(value, int | float | str | bool) and key not in PLACES:
                flat[f"{group}.{key}"] = value
    metrics = run.result["metrics"]
    # Under names of their own: under val/acc itself they would add a point to the curve.
    figures = {f"best/{name}": metrics[name] for name in (monitor, "val/loss", "test/acc") if name in metrics}
    for logger in loggers:
        if not isinstance(logger, TensorBoardLogger):
            logger.log_hyperparams(flat)
            continue
        logger.log_hyperparams(flat, figures)
        for path in sorted(run.figures.glob("*.png")):
            if path.stem.startswith(FIGURES):
                with Image.open(path) as image:
                    pixels = np.asarray(image.convert("RGB"))
                logger.experiment.add_image(path.stem, pixels, 0, dataformats="HWC")
        logger.finalize("success")
