"""What all tests share: a small quick run, and a place of its own for everything that is written."""

import logging
from pathlib import Path

import pytest
import torch

from quick import QUICK


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Decoded images go to a folder of this session, and children find it too."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VISIONLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
    # Where the process's first backward pass is that of a training run, its forks can make none of their own.
    torch.ones(1, requires_grad=True).sum().backward()
    torch.set_num_threads(1)  # small tensors: threads cost more than they bring
    patch.setenv("OMP_NUM_THREADS", "1")
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def no_png(monkeypatch):
    """Runs of this process leave their PNG figures out, half the time of a quick one; `quick_run` has them."""
    monkeypatch.setattr("visionlab.reports.run_figures.draw", lambda run, folder: None)


@pytest.fixture(autouse=True)
def no_old_handlers():
    """A job of Hydra's in this process logs to the standard streams of its test, which are closed when that is over."""
    yield
    for handler in [one for one in logging.getLogger().handlers if type(one) is logging.StreamHandler]:
        logging.getLogger().removeHandler(handler)


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory):
    """A completed run on the digits; tests only read it."""
    from visionlab import train

    outputs: Path = tmp_path_factory.mktemp("outputs")
    return train([*QUICK, f"outputs={outputs}"])
