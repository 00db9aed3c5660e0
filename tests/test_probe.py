"""Features of a trained network classify; those of a fresh one classify worse."""

import json

import pytest

import visionlab
from quick import QUICK
from visionlab.errors import ConfigError


def test_trained_features_are_worth_more_than_fresh_ones(quick_run, tmp_path):
    trained = visionlab.probe([*QUICK, f"model.weights={quick_run.dir}"], directory=tmp_path)
    fresh = visionlab.probe(QUICK)
    assert set(trained) == {"val/linear", "val/knn", "test/linear", "test/knn"}
    assert trained["test/linear"] > 0.8 and trained["test/knn"] > fresh["test/knn"]
    assert json.loads((tmp_path / "probe.json").read_text())["accuracy"] == trained


def test_a_wrong_number_of_neighbours_is_said():
    with pytest.raises(ConfigError, match="k=0"):
        visionlab.probe([*QUICK, "k=0"])
