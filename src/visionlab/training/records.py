"""metrics.csv: one row an epoch, kept in the checkpoint so that a resumed run neither loses nor repeats one."""

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from visionlab.runs import Run, write_csv

COLUMNS = ("epoch", "step", "lr", "train/loss", "train/acc", "val/loss", "val/acc", "val/top5", "val/f1",
           "val/balanced_acc", "val/auc", "seconds", "images_per_second")  # fmt: skip


class Records(Checkpoint):
    """Writes metrics.csv after each epoch.

    A Checkpoint in Lightning's eyes, because only those, and early stopping, are called once the metrics of the epoch
    are known.

    Args:
        run: The run directory that is written to.
    """

    def __init__(self, run: Run) -> None:
        self.run = run
        self.rows: list[dict[str, Any]] = []
        self._began = self._spent = self._trained = 0.0
        self._images = 0
        self._validated = False

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps: the rows so far, and the seconds and images of the epoch under way."""
        spent = self._spent + time.perf_counter() - self._began
        return {"rows": list(self.rows), "spent": spent, "images": self._images}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the rows of a checkpoint."""
        self.rows, self._spent, self._images = list(state["rows"]), state["spent"], state["images"]

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock, also in the middle of an epoch."""
        self._began = time.perf_counter()

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of an epoch."""
        self._began, self._spent, self._images = time.perf_counter(), 0.0, 0
        self._validated, self._trained = False, 0.0

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Count the images of a step, those of all devices."""
        self._images += len(batch.labels) * trainer.world_size

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training: images_per_second is about training alone."""
        self._validated = True
        self._trained = self._spent + time.perf_counter() - self._began

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Add the row of the epoch that has just ended."""
        seconds = self._spent + time.perf_counter() - self._began
        # Of an epoch without validation, Lightning still holds the figures of an earlier one.
        known = {
            name: value for name, value in trainer.callback_metrics.items() if self._validated or name[:4] != "val/"
        }
        figures = {name: float(value) for name, value in known.items()}
        row = {
            "epoch": trainer.current_epoch,
            "step": trainer.global_step,
            **{name: figures[name] for name in COLUMNS if name in figures},
            "seconds": round(seconds, 3),
            "images_per_second": round(self._images / max(self._trained or seconds, 1e-9), 1),
        }
        self.rows.append(row)
        if trainer.is_global_zero:
            columns = [name for name in COLUMNS if any(name in row for row in self.rows)]
            write_csv(self.run.dir / "metrics.csv", self.rows, columns)
