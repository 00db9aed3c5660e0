"""What all tests share: a small quick run, and a place of its own for everything that is written."""

from pathlib import Path

import pytest
import torch

# A network and a set small enough that a run costs less than its imports.
QUICK = [
    "data=digits", "data.image_size=8", "data.batch_size=128", "model=simple_cnn", "model.network.filters=[8,16]",
    "model.network.dense_units=32", "optimizer.lr=0.01", "trainer.max_epochs=2", "trainer.accelerator=cpu",
    "callbacks.progress.show=false", "logger=none",
]  # fmt: skip


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory):
    """Decoded images go to a folder of this session, and children find it too."""
    patch = pytest.MonkeyPatch()
    patch.setenv("VISIONLAB_CACHE", str(tmp_path_factory.mktemp("cache")))
    torch.set_num_threads(1)  # small tensors: threads cost more than they bring
    patch.setenv("OMP_NUM_THREADS", "1")
    yield
    patch.undo()


@pytest.fixture(scope="session")
def quick_run(tmp_path_factory):
    """A completed run on the digits; tests only read it."""
    from visionlab import train

    outputs: Path = tmp_path_factory.mktemp("outputs")
    return train([*QUICK, f"outputs={outputs}"])
