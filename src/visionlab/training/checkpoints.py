"""When checkpoints are written: `last` to continue from, `best` to evaluate.

An exact resume forbids some moments. A checkpoint of the last batch of an epoch would lose the validation and the
early-stopping update that follow it, so `last` is written after the first step of an epoch (with all that the epoch
before brought) and then every n steps or minutes, but never on the last batch, nor while gradients accumulate: those so
far are in no checkpoint. An epoch of one step has no other than the last, so there `last` is written before it.
"""

import math
import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, WeightAveraging

from visionlab.runs import Run

AGREE = 20  # steps after which ranks look at each other's clocks, which makes them wait for each other


def resumable(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a run that continues from a checkpoint after this batch does what it would have done without it."""
    stops = trainer.should_stop and trainer.fit_loop._can_stop_early  # not before trainer.min_epochs
    ends = trainer.is_last_batch or stops or trainer.global_step == trainer.max_steps
    return not ends and (batch_idx + 1) % trainer.accumulate_grad_batches == 0


class Checkpoints(Checkpoint):
    """Writes `checkpoints/last.ckpt` and `checkpoints/best.ckpt`.

    Args:
        run: The run directory.
        monitor: The metric by which an epoch is the best.
        mode: Whether larger (max) or smaller (min) is better. The earliest of equal epochs is kept.
        every_n_steps: Optimizer steps between two `last` checkpoints; None for one an epoch.
        every_minutes: Minutes between two `last` checkpoints within an epoch; None for one an epoch.
    """

    def __init__(
        self, run: Run, *, monitor: str, mode: str, every_n_steps: int | None = None, every_minutes: float | None = None
    ) -> None:
        self.run, self.monitor, self.mode = run, monitor, mode
        self.every_n_steps, self.every_minutes = every_n_steps, every_minutes
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.saved_step, self._saved_at = -1, time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """Return the best value so far and its epoch."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the best value of a checkpoint."""
        self.best, self.best_epoch = state["best"], state["best_epoch"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the step that was resumed from as saved."""
        self.saved_step, self._saved_at = trainer.global_step, time.monotonic()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `last` before an epoch of one step, and begin that epoch where it was resumed from.

        Lightning would take the counters of its steps, which are those of the epoch before, for its own.
        """
        if trainer.fit_loop.restarted_on_epoch_start:
            trainer.fit_loop.epoch_loop.restarting = False
        if trainer.num_training_batches <= trainer.accumulate_grad_batches and trainer.global_step > self.saved_step:
            self.save_last(trainer)

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Let the plateau scheduler be updated at the end of an epoch that was resumed in its middle.

        Lightning leaves that out while it takes itself to be restarting, which it does until the epoch's end.
        """
        trainer.fit_loop._restarting = False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Write `last` where it is due."""
        if trainer.global_step == self.saved_step or not resumable(trainer, batch_idx):
            return
        first = batch_idx < trainer.accumulate_grad_batches
        steps = self.every_n_steps and trainer.global_step - self.saved_step >= self.every_n_steps
        if first or steps or self._time_is_up(trainer):
            self.save_last(trainer)

    def _time_is_up(self, trainer: Trainer) -> bool:
        """Whether minutes have passed, in which all ranks agree: saving is a joint act, and each has its own clock."""
        if not self.every_minutes:
            return False
        up = time.monotonic() - self._saved_at >= 60 * self.every_minutes
        if trainer.world_size == 1:
            return up
        return trainer.global_step % AGREE == 0 and trainer.strategy.reduce_boolean_decision(up, all=False)

    def save_last(self, trainer: Trainer) -> None:
        """Write `last` now."""
        self.saved_step, self._saved_at = trainer.global_step, time.monotonic()
        trainer.save_checkpoint(self.run.checkpoint("last"))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write the last weights, which are then evaluated, as `best` where no epoch had a number to be that by."""
        if self.best is None:
            self._save_best(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Write `best` where the epoch is the best so far."""
        if self.monitor not in trainer.callback_metrics:
            return
        value = float(trainer.callback_metrics[self.monitor])
        better = self.best is None or (value > self.best if self.mode == "max" else value < self.best)
        if better and not math.isnan(value):
            self.best, self.best_epoch = value, trainer.current_epoch
            self._save_best(trainer)

    def _save_best(self, trainer: Trainer) -> None:
        # Lightning asks callbacks for the averaged weights only where it saves everything.
        averaged = any(isinstance(callback, WeightAveraging) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        trainer.save_checkpoint(self.run.checkpoint("best"), weights_only=not averaged)
