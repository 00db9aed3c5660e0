"""A signal ends a run as an interruption, wherever Lightning notices it first."""

import os
import signal

import pytest

from visionlab.training.checkpoints import Checkpoints
from visionlab.training.interruption import Interrupted, Interruption


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_lightnings_own_exit_at_a_signal_is_an_interruption(number, code, tmp_path):
    interruption = Interruption(Checkpoints(tmp_path, monitor="val/acc", mode="max"))
    before = signal.getsignal(number)
    with pytest.raises(Interrupted) as stopped, interruption.watching():
        os.kill(os.getpid(), number)
        raise SystemExit(0)
    assert stopped.value.exit_code == code
    assert signal.getsignal(number) is before


def test_an_exit_without_a_signal_stays_one(tmp_path):
    interruption = Interruption(Checkpoints(tmp_path, monitor="val/acc", mode="max"))
    with pytest.raises(SystemExit), interruption.watching():
        raise SystemExit(3)
