"""Ctrl-C and SIGTERM end a run cleanly: at the next step, with a checkpoint to continue from."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from lightning import Callback, LightningModule, Trainer

from visionlab.training.checkpoints import Checkpoints, resumable


class Interrupted(BaseException):
    """The run was asked to stop. Not an Exception, so that no `except Exception` on the way takes it for a failure."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(f"interrupted by {signal.Signals(number).name}")


class Interruption(Callback):
    """Watches for signals and stops between two steps, where all states agree with each other.

    Args:
        checkpoints: What writes the checkpoint to continue from.
    """

    def __init__(self, checkpoints: Checkpoints) -> None:
        self.checkpoints = checkpoints
        self.received: int | None = None

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Take SIGINT and SIGTERM while the body runs; a second signal stops at once."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may set handlers; whoever started this thread watches
            return

        def receive(number: int, frame: FrameType | None) -> None:
            if self.received is not None:
                raise Interrupted(number)
            self.received = number

        before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
            self.stop_if_asked()
        except SystemExit:  # how Lightning answers a SIGTERM at the end of an epoch, with exit code 0
            self.stop_if_asked()
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def stop_if_asked(self) -> None:
        """Raise Interrupted where a signal came."""
        if self.received is not None:
            raise Interrupted(self.received)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Stop after a step, with a checkpoint of it."""
        if self.received is not None and resumable(trainer, batch_idx):
            if trainer.world_size == 1 and trainer.global_step != self.checkpoints.saved_step:
                self.checkpoints.save_last(trainer)  # a rank alone must not: saving is a joint act of all
            self.stop_if_asked()

    def on_validation_batch_end(self, *_: Any, **__: Any) -> None:
        """Stop within an evaluation; the run continues from the last checkpoint before it."""
        self.stop_if_asked()

    def on_test_batch_end(self, *_: Any, **__: Any) -> None:
        """Stop within the final evaluation."""
        self.stop_if_asked()
