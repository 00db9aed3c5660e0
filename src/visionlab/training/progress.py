"""What a person sees while a run trains: a bar on a terminal, and one line an epoch everywhere."""

import time
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

from visionlab.training.records import Records


class EpochProgress(Checkpoint):
    """A rich progress bar over the batches of an epoch, and a line for each epoch that has ended.

    A Checkpoint in Lightning's eyes for the same reason as Records, whose rows it shows. It updates by the clock and
    not by the step, because drawing costs more than a small network's step.

    Args:
        records: Where the figures of an epoch come from.
        monitor: The metric that is marked.
        console: Where to write; the terminal unless given.
    """

    def __init__(self, records: Records, *, monitor: str, console: Console | None = None) -> None:
        self.records, self.monitor = records, monitor
        self.console = console or Console(highlight=False)
        self.bar: Progress | None = None
        self._drawn = 0.0
        self._header = False

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar, on a terminal only: a log file wants lines.

        Not by rich's `is_terminal`: FORCE_COLOR, which notebooks set for what they start, makes that true of a pipe.
        """
        if not trainer.is_global_zero or not self.console.file.isatty():
            return
        self.bar = Progress(
            SpinnerColumn(), TextColumn("epoch {task.fields[epoch]}"), BarColumn(None), MofNCompleteColumn(),
            TimeRemainingColumn(), console=self.console, transient=True, auto_refresh=False,
        )  # fmt: skip
        epochs = trainer.max_epochs if trainer.max_epochs and trainer.max_epochs > 0 else "?"
        self.bar.start()
        self.bar.add_task("", total=trainer.num_training_batches, epoch=f"{trainer.current_epoch + 1}/{epochs}")

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Move the bar, ten times a second at most."""
        now = time.monotonic()
        if self.bar is not None and (now - self._drawn > 0.1 or trainer.is_last_batch):
            self._drawn = now
            self.bar.update(self.bar.task_ids[0], completed=batch_idx + 1, refresh=True)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Replace the bar by the line of the epoch."""
        self._stop()
        if not trainer.is_global_zero:
            return
        row = self.records.rows[-1]
        if not self._header:
            self._header = True
            self.console.print("epoch  train loss   acc    val loss   acc       lr   images/s  seconds", style="dim")
        cells = [f"{row['epoch'] + 1:>5}"]
        for name, width in (("train/loss", 11), ("train/acc", 7), ("val/loss", 10), ("val/acc", 7)):
            cells.append(f"{row[name]:{width}.4f}" if name in row else " " * width)
        cells += [f"{row['lr']:9.1e}", f"{row['images_per_second']:9,.0f}", f"{row['seconds']:8.1f}"]
        self.console.print(" ".join(cells))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self.bar is not None:
            self.bar.stop()
            self.bar = None
