"""What a person types that is no override, or one of no key, through the doors: the answer can be used as it stands."""

import sys

import pytest

import visionlab
from quick import QUICK


@pytest.fixture
def door(tmp_path, monkeypatch, capfd):
    """A door in this process, by its name: the lines that a mistake leaves."""
    monkeypatch.chdir(tmp_path)

    def call(name, *words):
        monkeypatch.setattr(sys, "argv", [f"visionlab.{name}", *words])
        capfd.readouterr()
        with pytest.raises(SystemExit) as left:
            getattr(visionlab, name).main()
        assert left.value.code == 2
        told = capfd.readouterr().err
        assert "Traceback" not in told and len(told.strip().splitlines()) <= 8
        return told

    return call


@pytest.mark.parametrize("name", ["predict", "evaluate", "export"])
def test_a_key_that_is_added_to_a_door_is_no_argument_of_its_function(door, quick_run, name):
    given = ["source=x.png"] if name == "predict" else []
    told = door(name, f"run={quick_run.dir}", *given, "+batch_sice=1" if name != "export" else "+sourc=1")
    assert "there is no key" in told
    assert ("did you mean 'source'?" if name == "export" else "did you mean 'batch_size'?") in told
    assert "hydra" not in door(name, f"run={quick_run.dir}", *given, "+zzz=1")


@pytest.mark.parametrize(("name", "key"), [("tune", "min_lr"), ("explore", "out")])
def test_the_keys_of_a_door_of_training_are_among_the_near_ones(door, name, key):
    assert f"did you mean '{key}'?" in door(name, *QUICK, f"+{key}t=3")
