"""Building the networks of conf/model/ as a run does, one config at a time."""

import functools

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from networks import CONF

from visionlab.training.supply import supply


@pytest.fixture(scope="session")
def factory():
    """Return `factory(name, *overrides)`, which composes a config and returns what makes its network."""
    known = {}

    def compose(name, *overrides):
        if (name, overrides) not in known:
            GlobalHydra.instance().clear()
            with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
                config = hydra.compose(overrides=[f"+model={name}", *overrides])
            known[name, overrides] = hydra.utils.instantiate(config.model.network, _convert_="all")
        return known[name, overrides]

    return compose


@pytest.fixture(scope="session")
def build(factory):
    """Return `build(name, *overrides, num_classes, image_size, device)`; on "meta" a network costs no memory."""

    def make(name, *overrides, num_classes=10, image_size=32, device="cpu"):
        with torch.device(device):
            return supply(factory(name, *overrides), num_classes=num_classes, image_size=image_size)

    return make


@pytest.fixture(scope="session")
def sketch(build):
    """Return `sketch(name, image_size)`: a network on "meta" that is built once and that no test may change."""
    return functools.cache(lambda name, image_size: build(name, num_classes=7, image_size=image_size, device="meta"))
