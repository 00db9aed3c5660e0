"""Ctrl-C and SIGTERM end a run cleanly: at the next step, with a checkpoint to continue from."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from visionlab.training import ranks
from visionlab.training.checkpoints import Checkpoints, resumable


class Interrupted(BaseException):
    """The run was asked to stop. Not an Exception, so that no `except Exception` on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(f"interrupted by {signal.Signals(number).name}")


class Interruption(Checkpoint):
    """Watches for signals and stops between two steps, where all states agree with each other.

    A Checkpoint in Lightning's eyes, and the last of them, because what it saves must hold what all others make of the
    step: an average of the weights, say.

    Args:
        checkpoints: What writes the checkpoint to continue from.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.received: int | None = None
        self._watches = False

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while the body runs; a second signal stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers; whoever started this thread watches
            return

        before = {number: signal.signal(number, self._receive) for number in (signal.SIGINT, signal.SIGTERM)}
        self._watches = True
        try:
            yield
            self.stop_if_asked()
        except SystemExit:  # how Lightning answers a SIGTERM at the end of an epoch, with exit code 0
            self.stop_if_asked()
            raise
        finally:
            self._watches = False
            for number, handler in before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        if self.received is not None and ranks.rank() is None:  # those who start ranks tell them several times
            raise Interrupted(number)
        self.received = number

    def _keep_watching(self) -> None:
        """Take SIGTERM back from Lightning.

        Its handler broadcasts, which waits for ever where the ranks are at different steps, and it ends the training
        after any batch, also between two whose gradients make one step.
        """
        if self._watches:
            signal.signal(signal.SIGTERM, self._receive)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch the training."""
        self._keep_watching()

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Watch the final evaluation."""
        self._keep_watching()

    def stop_if_asked(self) -> None:
        """Raise Interrupted where a signal came."""
        if self.received is not None:
            raise Interrupted(self.received)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a step, with a checkpoint of it; several ranks after the same step, as saving is a joint act."""
        if not resumable(trainer, batch_idx):
            return
        if trainer.world_size > 1:
            asked = trainer.strategy.reduce_boolean_decision(self.received is not None, all=False)
            if asked and self.received is None:
                self.received = signal.SIGTERM  # another rank's
        if self.received is not None:
            if trainer.global_step != self.checkpoints.saved_step:
                self.checkpoints.save_last(trainer)
            self.stop_if_asked()

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Stop within an evaluation; the run continues from the last checkpoint before it."""
        self.stop_if_asked()

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        """Stop within the final evaluation."""
        self.stop_if_asked()
