"""Adding an architecture takes one Python file and one YAML file, and neither need be in this package."""

import functools
import inspect
import re
import textwrap
from pathlib import Path

import hydra
import pytest
import test_contract
import torch
from hydra.core.global_hydra import GlobalHydra
from networks import CONF, NAMES

import visionlab.models
from visionlab.training.supply import supply

NETWORK = """
import torch
from torch import nn


class Tiny(nn.Module):
    head = "fc"
    min_size = 4

    def __init__(self, *, num_classes, filters=8):
        super().__init__()
        self.conv = nn.Conv2d(3, filters, 3, padding=1)
        self.fc = nn.Linear(filters, num_classes)

    def forward(self, images):
        return self.fc(torch.relu(self.conv(images)).mean((2, 3)))
"""
CONFIG = """
defaults: [_base, _self_]
name: tiny
network:
  _target_: tiny_of_mine.Tiny
  filters: 5  # output channels
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """Write the two files where a user would: a module on the path and a config in a folder of their own."""
    (tmp_path / "tiny_of_mine.py").write_text(NETWORK)
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "tiny.yaml").write_text(CONFIG)
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path / "conf"


def test_two_files_are_a_model(tiny):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        config = hydra.compose(
            overrides=[f"hydra.searchpath=[file://{tiny}]", "+model=tiny", "model.network.filters=6"]
        )
    network = supply(hydra.utils.instantiate(config.model.network), num_classes=3, image_size=32)
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 3)
    assert network.conv.out_channels == 6
    assert config.model.freeze == "none"  # from _base.yaml


def contract():
    """Yield what the contract tests of every config, once for each size: the test and the size."""
    for name, test in vars(test_contract).items():
        given = {m.args[0]: m.args[1] for m in getattr(test, "pytestmark", []) if m.name == "parametrize"}
        if len(given.get("name", ())) == len(NAMES):
            yield from (pytest.param(test, size, id=f"{name}-{size}") for size in given.get("size", [None]))


@pytest.fixture
def example(tmp_path, monkeypatch, build):
    """Write the two files of CONTRIBUTING.md where Python and Hydra find them; return `build` that knows them."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add an architecture")[2].partition("\n## ")[0]
    blocks = {kind: textwrap.dedent(body) for kind, body in re.findall(r" *```(\w+)\n(.*?) *```\n", section, re.S)}
    (tmp_path / "my_net.py").write_text(blocks["python"])
    (tmp_path / "conf" / "model").mkdir(parents=True)
    (tmp_path / "conf" / "model" / "my_net.yaml").write_text(blocks["yaml"])
    monkeypatch.setattr(visionlab.models, "__path__", [str(tmp_path), *visionlab.models.__path__])
    return lambda name, **sizes: build(name, f"hydra.searchpath=[file://{tmp_path / 'conf'}]", **sizes)


@pytest.mark.parametrize(("test", "size"), contract())
def test_example_of_the_guide_keeps_the_contract(example, test, size):
    sketch = functools.cache(lambda name, side: example(name, num_classes=7, image_size=side, device="meta"))
    known = {"build": example, "sketch": sketch, "name": "my_net", "size": size}
    test(**{key: known[key] for key in inspect.signature(test).parameters})
