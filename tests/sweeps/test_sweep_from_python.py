import logging

import pytest
from hydra.core.global_hydra import GlobalHydra

import visionlab
from visionlab.errors import ConfigError


def overrides(sweeping, *more):
    return [*sweeping.base, f"outputs={sweeping.outputs}", "optimizer.lr=1e-7,3e-2", *more]


def test_a_sweep_is_the_same_from_python_and_from_the_command_line(sweeping, capsys):
    found = visionlab.sweep(overrides(sweeping))
    (listed,) = sweeping.sweeps
    assert (found.dir, found.page.parent) == (sweeping.outputs / "sweeps" / listed["name"], found.dir)
    assert found.best is found.ranking[0] and len(found.ranking) == 2 and found.unfinished == 0
    assert found.best.values == {"optimizer.lr": 0.03} == listed["best"]["overrides"]
    assert found.best.means[0] == listed["best"]["value"] > found.ranking[1].means[0]
    assert list(found.best.tested) and not found.ranking[1].tested, "the winner alone was tested"
    assert {row["optimizer.lr"] for row in found.rows} == {1e-7, 3e-2}
    assert visionlab.load(found.best.dirs[0]).classes == [str(digit) for digit in range(10)]
    capsys.readouterr()
    assert sweeping.command("optimizer.lr=1e-7,3e-2") == 0
    assert "2 of 2 trials were remembered" in capsys.readouterr().out
    assert visionlab.sweep(overrides(sweeping)).best == found.best
    assert "2 of 2 trials were remembered" in capsys.readouterr().out


def test_a_failed_trial_is_counted_and_not_ranked(sweeping):
    sgd = overrides(sweeping, "trainer.max_epochs=1", "optimizer=sgd")
    found = visionlab.sweep([*sgd, "optimizer.lr=1e-2,1e31"])
    assert found.unfinished == 1
    assert [trial.values["optimizer.lr"] for trial in found.ranking] == [0.01]
    none = visionlab.sweep([*sgd, "optimizer.lr=1e30,1e31", "seed=1"])  # another sweep
    assert (none.best, none.unfinished) == (None, 2)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("optimizer.momentun=1", "optimizer.momentun"),
        ("model=nonsense", "nonsense"),
        ("optimizer.lr=-1,1", "optimizer.lr"),
        ("hydra/launcher=basic", "hydra/launcher"),
        ("hydra/sweeper=basic", "hydra/sweeper"),
        ("=", "="),
    ],
)
def test_a_mistake_is_a_config_error(sweeping, wrong, said):
    with pytest.raises(ConfigError, match=said):
        visionlab.sweep([*overrides(sweeping)[:-1], "seed=1,2", wrong])
    assert not GlobalHydra.instance().is_initialized()


def test_the_log_of_who_calls_stays_as_it_was(sweeping, tmp_path):
    root, mine = logging.getLogger(), logging.FileHandler(tmp_path / "mine.log")
    before, level = root.handlers[:], root.level
    root.addHandler(mine)
    root.setLevel(logging.DEBUG)
    try:
        visionlab.sweep(overrides(sweeping))
        assert root.handlers == [*before, mine] and root.level == logging.DEBUG
        logging.getLogger("me").error("still here")
    finally:
        root.removeHandler(mine)
        root.setLevel(level)
        mine.close()
    assert "still here" in (tmp_path / "mine.log").read_text()


def test_workers_serve_it_too(sweeping):
    found = visionlab.sweep(overrides(sweeping, "hydra/launcher=parallel", "hydra.launcher.jobs=2"))
    assert len(found.ranking) == 2 and found.unfinished == 0


def test_a_notebook_shows_the_lines_of_the_sweep_and_not_the_tables_of_its_runs(sweeping, capsys, monkeypatch):
    """In one rich shows what is printed itself, whatever standard output is at the moment."""
    monkeypatch.setattr("rich.console._is_jupyter", lambda: True)
    monkeypatch.setattr("rich.jupyter.display", lambda *shown: pytest.fail("shown beside what is printed"))
    found = visionlab.sweep(overrides(sweeping))
    assert "1/2  lr=1e-07" in capsys.readouterr().out
    assert "balanced accuracy" in (found.best.dirs[0] / "train.log").read_text()
