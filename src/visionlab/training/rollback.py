"""Rollback: when some epochs bring nothing, go back to the best weights and search on from there."""

import math
from copy import deepcopy
from typing import Any, cast

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from torch import Tensor, nn


class Rollback(Checkpoint):
    """Goes back to the best weights after `patience` epochs without an improvement.

    The optimizer's memory (momentum, squared gradients) belongs to the path that is left, and is forgotten. A
    Checkpoint in Lightning's eyes because only those see the metrics of the epoch that has just ended.

    Args:
        patience: Epochs without improvement before going back.
        lr_factor: What the learning rate is multiplied by each time; 1 keeps it.
        monitor: The metric that says what is best.
        mode: Whether larger (max) or smaller (min) is better.
    """

    def __init__(self, *, patience: int, lr_factor: float, monitor: str, mode: str) -> None:
        self.patience, self.lr_factor, self.monitor, self.mode = patience, lr_factor, monitor, mode
        self.best: float | None = None
        self.weights: dict[str, Tensor] = {}
        self.waited = self.times = 0
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        """Return the best weights so far and how long there was no better."""
        return {"best": self.best, "weights": self.weights, "waited": self.waited, "times": self.times}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        self.best, self.weights = state["best"], state["weights"]
        self.waited, self.times = state["waited"], state["times"]

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget the validation of the epoch before."""
        self._validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Know that the monitor's figure is of this epoch."""
        self._validated = True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Keep the weights of a better epoch, or go back when patience is at its end."""
        # Of an epoch without validation, Lightning still holds the figures of an earlier one.
        if self.monitor not in trainer.callback_metrics or (self.monitor.startswith("val/") and not self._validated):
            return
        value, network = float(trainer.callback_metrics[self.monitor]), cast(nn.Module, pl_module.network)
        if (
            self.best is None
            or math.isnan(self.best)
            or (value > self.best if self.mode == "max" else value < self.best)
        ):
            self.best, self.waited = value, 0
            self.weights = deepcopy(network.state_dict())
            return
        self.waited += 1
        if self.waited < self.patience:
            return
        self.waited, self.times = 0, self.times + 1
        network.load_state_dict(self.weights)
        for optimizer in trainer.optimizers:
            optimizer.state.clear()
            for group in optimizer.param_groups:
                group["lr"] *= self.lr_factor
        if trainer.is_global_zero:
            print(
                f"Rolled back to the best weights ({self.monitor} {self.best:.4f}) "
                f"after epoch {trainer.current_epoch + 1}."
            )
