"""Callbacks that a config can switch on: each function returns None while its main key is null."""

from lightning import Callback
from lightning.pytorch.callbacks import EarlyStopping

from visionlab.training.averaging import ExponentialMovingAverage, StochasticWeightAveraging
from visionlab.training.rollback import Rollback
from visionlab.training.unfreezing import GradualUnfreezing


def early_stopping(*, patience: int | None, min_delta: float, monitor: str, mode: str) -> Callback | None:
    """End training when the monitor has not improved for `patience` epochs; the best epoch is what is evaluated."""
    if patience is None:
        return None
    # A NaN monitor is no reason to stop quietly here: the guard says where it began. Not strict: an epoch need not be
    # validated (trainer.check_val_every_n_epoch).
    return EarlyStopping(monitor, patience=patience, min_delta=min_delta, mode=mode, check_finite=False, strict=False)


def rollback(*, patience: int | None, lr_factor: float, monitor: str, mode: str) -> Callback | None:
    """Go back to the best weights when the monitor has not improved for `patience` epochs, and train on."""
    return None if patience is None else Rollback(patience=patience, lr_factor=lr_factor, monitor=monitor, mode=mode)


def ema(*, decay: float | None) -> Callback | None:
    """Validate and keep an exponential moving average of the weights, updated after each step."""
    return None if decay is None else ExponentialMovingAverage(decay=decay)


def swa(*, start: float | None) -> Callback | None:
    """Validate and keep the mean of the weights at the ends of the epochs after a share `start` of them."""
    return None if start is None else StochasticWeightAveraging(start)


def unfreezing(*, epochs_per_layer: int | None, first: int) -> Callback | None:
    """Train the last `first` layers, and one more every `epochs_per_layer` epochs."""
    return None if epochs_per_layer is None else GradualUnfreezing(first=first, epochs_per_layer=epochs_per_layer)
