"""What TensorBoard shows beyond the curves: hyperparameters with what came of them, figures of the page, a graph."""

import warnings
from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.pytorch.loggers import Logger, TensorBoardLogger
from PIL import Image
from torch import nn
from torch.utils.tensorboard.summary import hparams


def finish(
    logger: TensorBoardLogger, settings: dict[str, Any], best: Mapping[str, float], pictures: Sequence[Path]
) -> None:
    """Fill the HParams tab and add the figures.

    Args:
        logger: Writes into the run's directory.
        settings: The hyperparameters, by their full names.
        best: The metrics that stand beside them.
        pictures: PNG files.
    """
    # The first of the three summaries would fix which hyperparameters the tab shows, by name; without it, it shows
    # those that differ between runs.
    for summary in hparams(settings, dict(best))[1:]:
        logger.experiment._get_file_writer().add_summary(summary)
    for name, value in best.items():
        logger.experiment.add_scalar(name, value, 0)
    for path in pictures:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("RGB"))
        logger.experiment.add_image(path.stem, pixels, 0, dataformats="HWC")
    logger.finalize("success")


def add_graph(loggers: Sequence[Logger], network: nn.Module, size: tuple[int, int]) -> None:
    """Add the network as a graph, for images of (height, width) px.

    TensorBoardLogger's own `log_graph` would send its example through our batches.
    """
    image = torch.zeros(1, 3, *size, device=next(network.parameters()).device)
    network = deepcopy(network)  # which is not compiled: what torch.compile made cannot be traced
    for logger in loggers:
        if isinstance(logger, TensorBoardLogger):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # the trace holds for this size alone, which is what is shown
                logger.experiment.add_graph(network.eval(), image)
            logger.finalize("success")
