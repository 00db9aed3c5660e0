"""Callbacks that a config can switch on: each function returns None while its main key is null."""

from lightning.pytorch.callbacks import EarlyStopping


def early_stopping(*, patience: int | None, min_delta: float, monitor: str, mode: str) -> EarlyStopping | None:
    """End training when the monitor has not improved for `patience` epochs; the best epoch is what is evaluated."""
    if patience is None:
        return None
    # A NaN monitor is no reason to stop quietly here: the guard says where it began.
    return EarlyStopping(monitor, patience=patience, min_delta=min_delta, mode=mode, check_finite=False)
