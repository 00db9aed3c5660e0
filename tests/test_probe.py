"""Features of a trained network classify; those of a fresh one classify worse."""

import json
import sys

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


def test_a_sweep_is_of_trainings_alone(tmp_path, monkeypatch, capsys):
    """It would compute each of them and call it interrupted, as none leaves a run."""
    from visionlab import probe

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["visionlab.probe", "-m", *QUICK, "model.network.dropout=0,0.5"])
    with pytest.raises(SystemExit, match="2"):
        probe.main()
    assert "not over visionlab.probe" in capsys.readouterr().err and not (tmp_path / "outputs").exists()


def test_a_wrong_number_of_neighbours_is_said():
    with pytest.raises(ConfigError, match="k=0"):
        visionlab.probe([*QUICK, "k=0"])


def test_as_many_neighbours_vote_as_are_asked_for(quick_run, monkeypatch):
    from visionlab.models import features

    asked, really = [], features.nearest_neighbours
    monkeypatch.setattr(features, "nearest_neighbours", lambda *given, k: asked.append(k) or really(*given, k=k))
    visionlab.probe([*QUICK, "k=7"])
    assert asked == [7, 7]
