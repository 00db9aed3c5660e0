"""Run directories for the reports, made up of seeded numbers."""

import pytest

from fabricate import make_run, make_sweep


@pytest.fixture
def no_png():
    """Here they are what is tested."""


@pytest.fixture
def run_dir(tmp_path):
    """A run with 3 classes, one of which has a dangerous name, and a reference figure."""
    reference = {"reference": {"test/acc": 0.71, "train/acc": 0.9, "source": "a <b>report</b>"}}
    return make_run(tmp_path / "made_up-tiny_cnn-abcdef0000", result=reference)


@pytest.fixture(scope="session")
def many_classes(tmp_path_factory):
    """A run with 101 classes and images of 224 px, as large as the reports' largest set."""
    names = [f"category_{i:03d}" for i in range(101)]
    directory = tmp_path_factory.mktemp("many") / "caltech101-alexnet-0123456789"
    return make_run(directory, classes=names, test=2893, val=2892, side=224, epochs=30)


@pytest.fixture(scope="session")
def large_sweep(tmp_path_factory):
    """60 trials of a random search, 3 of which failed."""
    return make_sweep(tmp_path_factory.mktemp("large"), trials=60, epochs=30, continuous=True, failed=3)
