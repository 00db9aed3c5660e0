"""A sweep that is killed again and again, and continued with the same command, ends as one that never was."""

import json
import random

import pytest

GRID = ("optimizer.lr=1e-3,3e-3,1e-2,3e-2", "data.batch_size=128,256")
SEARCH = ("sweep=optuna", "optimizer.lr=tag(log,interval(1e-3,1e-1))", "sweep.startup_trials=3", "sweep.n_trials=12")
GREEDY = ("sweep=greedy", "optimizer.lr=1e-3,1e-2,1e-1", "model.network.dropout=0,0.3,0.6", "data.batch_size=128,256")
PARALLEL = ("hydra/launcher=parallel", "hydra.launcher.jobs=2")


def killed_and_continued(sweeping, arguments, moments):
    """Give the same command until it comes to its end, killing it after each of the given seconds."""
    killed = sum(sweeping.kill_after(seconds, *arguments) is None for seconds in moments)
    assert sweeping.command(*arguments) == 0
    return killed


def check_each_once(sweeping):
    """Every run that the sweep lists is completed, none is listed twice, and none lies beside the list."""
    (sweep,) = sweeping.sweeps
    dirs = [run["dir"] for run in sweep["runs"]]
    assert len(set(dirs)) == len(dirs)
    assert {path.rpartition("/")[2] for path in dirs} == set(sweeping.runs)
    assert {run["status"] for run in sweep["runs"]} == {"completed"}
    assert {result["status"] for result in sweeping.runs.values()} == {"completed"}
    assert all(result["epochs"] == 2 for result in sweeping.runs.values())
    return sweep


def check_same_best(sweeping, tmp_path, arguments):
    """The best is identical to that of an uninterrupted sweep, to the last digit."""
    undisturbed = type(sweeping)(tmp_path / "undisturbed")
    undisturbed.command(*arguments)
    (expected,), (found,) = undisturbed.sweeps, sweeping.sweeps
    for name, result in undisturbed.runs.items():
        assert sweeping.runs[name]["metrics"] == result["metrics"]
    assert json.dumps(found["best"]["overrides"]) == json.dumps(expected["best"]["overrides"])
    assert found["best"]["value"] == expected["best"]["value"]


def check_study(sweeping, count):
    """The study has exactly so many trials, all of them complete."""
    import optuna

    (file,) = sweeping.outputs.glob("sweeps/*/study.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.load_study(study_name=None, storage=storage)
    assert [trial.number for trial in study.trials] == list(range(count))
    assert {trial.state.name for trial in study.trials} == {"COMPLETE"}


@pytest.mark.process
def test_a_grid(sweeping, tmp_path):
    arguments = ("optimizer.lr=1e-3,1e-2", "data.batch_size=128,256")
    assert killed_and_continued(sweeping, arguments, (1.0, 2.0)) > 0
    assert len(check_each_once(sweeping)["runs"]) == 4
    check_same_best(sweeping, tmp_path, arguments)


@pytest.mark.process
def test_a_search(sweeping):
    assert killed_and_continued(sweeping, (*SEARCH, "sweep.n_trials=4"), (1.5, 2.0)) > 0
    assert len(check_each_once(sweeping)["runs"]) == 4
    check_study(sweeping, 4)


@pytest.mark.process
def test_a_greedy_chain(sweeping):
    arguments = ("sweep=greedy", "optimizer.lr=1e-3,1e-2", "model.network.dropout=0,0.5")
    assert killed_and_continued(sweeping, arguments, (1.0, 2.0)) > 0
    assert len(check_each_once(sweeping)["runs"]) == 3  # 2 + 2, of which the best of the first comes again


@pytest.mark.slow
@pytest.mark.parametrize("launcher", [(), PARALLEL], ids=["sequential", "parallel"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", ["grid", "search", "greedy"])
def test_at_five_random_moments(sweeping, tmp_path, kind, seed, launcher):
    arguments, count = {"grid": (GRID, 8), "search": (SEARCH, 12), "greedy": (GREEDY, 6)}[kind]
    arguments += launcher
    latest = 10 if launcher else 2.5  # workers import torch first
    moments = [random.Random(f"{kind}{seed}{n}").uniform(0.3, latest) for n in range(5)]
    assert killed_and_continued(sweeping, arguments, moments) > 1
    assert len(check_each_once(sweeping)["runs"]) == count
    if kind == "grid":
        check_same_best(sweeping, tmp_path, arguments)
    if kind == "search":
        check_study(sweeping, 12)
