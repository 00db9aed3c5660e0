"""Adding an architecture takes one Python file and one YAML file, and neither need be in this package."""

import hydra
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from networks import CONF

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
