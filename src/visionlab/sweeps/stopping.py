"""Ctrl-C and SIGTERM end a sweep so that the same command continues it."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stopped(BaseException):
    """The sweep was asked to stop. Not an Exception, so that nobody on the way takes it for a failed trial."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number
        super().__init__(f"stopped by {signal.Signals(number).name}")


@contextmanager
def stopping() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise Stopped while the body runs; while a run trains in this process, it takes them."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread may set handlers
        return

    def receive(number: int, frame: FrameType | None) -> None:
        raise Stopped(number)

    before = {number: signal.signal(number, receive) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
