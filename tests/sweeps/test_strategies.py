import json
import math
import shlex
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import optuna
import pytest
from filelock import FileLock
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

import visionlab
from visionlab import runs
from visionlab.config import compose, resolved
from visionlab.errors import ConfigError, RunError
from visionlab.reports import sweep_page
from visionlab.reports.gather import gather
from visionlab.runs import Run
from visionlab.sweeps import studies
from visionlab.sweeps.engine import Engine
from visionlab.sweeps.greedy import Greedy
from visionlab.sweeps.grid import Grid
from visionlab.sweeps.halving import Halving, rungs
from visionlab.sweeps.parameter import Parameter
from visionlab.sweeps.plan import Plan
from visionlab.sweeps.ranking import Ranked, front, ranking
from visionlab.sweeps.record import Record
from visionlab.sweeps.results import at_epoch
from visionlab.sweeps.space import Reader
from visionlab.sweeps.trial import Outcome, Trial
from visionlab.training import checkpoint_io


def by_values(sweep):
    return {tuple(run["overrides"].values()): run for run in sweep["runs"]}


def test_a_search_has_as_many_trials_as_asked_for_in_all(sweeping):
    command = ("sweep=optuna", "optimizer.lr=tag(log,interval(1e-3,1e-1))", "data.batch_size=128,256")
    assert sweeping.command(*command, "sweep.n_trials=2") == 0
    assert sweeping.command(*command, "sweep.n_trials=2") == 0
    assert len(sweeping.runs) == 2
    assert sweeping.command(*command, "sweep.n_trials=3") == 0

    (sweep,) = sweeping.sweeps
    assert [run["trial"] for run in sweep["runs"]] == [0, 1, 2]
    rates = [run["overrides"]["optimizer.lr"] for run in sweep["runs"]]
    assert len(set(rates)) == 3  # begun anew, the sampler must not propose the same again
    assert all(1e-3 <= rate <= 1e-1 for rate in rates)


def test_conditions_lists_and_failures_of_a_search(sweeping, tmp_path):
    parameters = (
        "sweep.parameters={optimizer:[sgd,adam],"
        "optimizer.momentum:{low:0.5,high:0.9,when:{optimizer:sgd}},"
        "optimizer.lr:{choices:[1e-2,1e30],when:{optimizer:sgd}},"
        "model.network.filters:[[2,4],[4,2]]}"
    )
    code = sweeping.command("sweep=optuna", "sweep.sampler=random", "sweep.n_trials=6", parameters)
    (sweep,) = sweeping.sweeps
    failed = [run for run in sweep["runs"] if run["status"] == "failed"]
    for run in sweep["runs"]:
        values = run["overrides"]
        assert ("optimizer.momentum" in values) == (values["optimizer"] == "sgd")
        assert values["model.network.filters"] in ([2, 4], [4, 2])
        assert (run["status"] == "failed") == (values.get("optimizer.lr") == 1e30)
    assert failed, "the seed must lead to a failure for this test to say something"
    assert code == 1
    # A failed trial stands in the way of nothing when the search goes on.
    assert sweeping.command("sweep=optuna", "sweep.sampler=random", "sweep.n_trials=7", parameters) == 1
    (file,) = sweeping.outputs.glob("sweeps/*/study.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    assert len(optuna.load_study(study_name=None, storage=storage).trials) == 7


def test_a_search_killed_before_it_retried_a_failed_trial_retries_it(sweeping):
    command = ("sweep=optuna", "sweep.sampler=grid", "sweep.n_trials=2", "optimizer=sgd", "optimizer.lr=1e30,1e-2")
    assert sweeping.command(*command) == 1
    (file,) = sweeping.outputs.glob("sweeps/*/study.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.load_study(study_name=None, storage=storage)
    (failed,) = (trial for trial in study.trials if trial.state is optuna.trial.TrialState.FAIL)
    # What the killed command had done so far.
    study.enqueue_trial(failed.params, user_attrs={"retry_of": failed.number})

    assert sweeping.command(*command, "sweep.retry_failed=true") == 1, "it fails again"
    assert [trial.state.name for trial in study.trials].count("FAIL") == 2
    assert len(study.trials) == 3


def test_a_trial_that_fails_for_good_is_tried_once_a_command(sweeping, monkeypatch):
    begun, start = [], Engine._start
    monkeypatch.setattr(Engine, "_start", lambda engine, wanted: begun.append(wanted.name) or start(engine, wanted))
    command = ("sweep=optuna", "sweep.n_trials=1", "optimizer=sgd", "optimizer.lr=1e30,1e31")
    assert sweeping.command(*command) == 1
    for _ in range(2):
        begun.clear()
        assert sweeping.command(*command, "sweep.retry_failed=true") == 1 and len(begun) == 1
    (file,) = sweeping.outputs.glob("sweeps/*/study.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    assert len(optuna.load_study(study_name=None, storage=storage).trials) == 3


def test_a_named_study_keeps_to_its_settings(sweeping, capsys):
    command = ("sweep=optuna", "sweep.name=mine", "optimizer.lr=interval(1e-3,1e-1)", "trainer.max_epochs=1")
    assert sweeping.command(*command, "sweep.n_trials=1") == 0
    assert sweeping.command(*command, "sweep.n_trials=2", "optimizer=sgd") == 2
    assert "the study was begun with other settings" in capsys.readouterr().err
    assert len(sweeping.runs) == 1
    assert sweeping.command(*command, "sweep.n_trials=2") == 0 and len(sweeping.runs) == 2


def test_a_search_keeps_to_its_ranges(sweeping, capsys):
    """Its trials are counted together: those of the old range would answer for the new one."""
    fixed = ("sweep=optuna", "trainer.max_epochs=1", "sweep.n_trials=1")
    assert sweeping.command(*fixed, "optimizer.lr=tag(log,interval(1e-3,1e-1))") == 0
    assert sweeping.command(*fixed, "optimizer.lr=tag(log,interval(0.001,0.1))") == 0, "the same numbers"
    capsys.readouterr()
    for other, words in (("interval(0.5,0.9)", "not 0.5 to 0.9"), ("0.7,0.8", "not one of 0.7, 0.8")):
        assert sweeping.command(*fixed, f"optimizer.lr={other}") == 2
        said = " ".join(capsys.readouterr().err.split())
        assert "begun with optimizer.lr 0.001 to 0.1, log" in said and words in said and "sweep.name=<new>" in said
    assert len(sweeping.runs) == 1
    assert sweeping.command(*fixed, "optimizer.lr=0.7,0.8", "sweep.name=anew") == 0 and len(sweeping.runs) == 2


def test_a_named_search_keeps_to_its_keys(sweeping, capsys):
    fixed = ("sweep=optuna", "sweep.name=mine", "trainer.max_epochs=1", "sweep.n_trials=1")
    both = ("optimizer.lr=tag(log,interval(1e-3,1e-1))", "data.batch_size=range(200,300)")
    assert sweeping.command(*fixed, *both) == 0
    capsys.readouterr()
    assert sweeping.command(*fixed, both[0]) == 2
    assert "begun with data.batch_size 200 to 299, not left alone" in " ".join(capsys.readouterr().err.split())
    assert sweeping.command(*fixed, *both) == 0, "what was refused has changed nothing"


def test_a_combination_that_nobody_foresaw_is_a_failed_trial_on_the_page_too(sweeping, capsys):
    averages = ("callbacks.ema.decay=null,0.9", "callbacks.swa.start=null,0.5")  # each alone is possible
    command = ("sweep=optuna", "sweep.sampler=grid", "trainer.max_epochs=1", *averages)
    for _ in range(2):  # anew, and remembered
        assert sweeping.command(*command) == 1
        assert "1 of 4 trials failed" in capsys.readouterr().out
        (sweep,) = sweeping.sweeps
        (refused,) = sweep["refused"]
        assert refused["overrides"] == {"callbacks.ema.decay": 0.9, "callbacks.swa.start": 0.5}
        (shown,) = gather(list((sweeping.outputs / "sweeps").iterdir())).sweeps
        assert sorted(shown.statuses) == ["completed"] * 3 + ["failed"]
        (table,) = sweep_page.failures(shown)
        assert "callbacks.ema.decay=0.9, callbacks.swa.start=0.5" in str(table)
        assert "would each put their own average" in str(table)


def test_a_key_that_the_default_of_a_swept_group_does_not_have_is_set_by_each_trial(sweeping, capsys):
    command = ("optimizer=sgd,rmsprop", "trainer.max_epochs=1")
    assert sweeping.command(*command, "optimizer.momentum=0.9") == 2
    advice = capsys.readouterr().err
    assert "as 'optimizer.momentum=choice(0.9)' each trial sets it" in advice
    assert sweeping.command(*command, "optimizer.momentum=choice(0.9)") == 0
    assert [run["overrides"]["optimizer.momentum"] for run in sweeping.sweeps[0]["runs"]] == [0.9, 0.9]
    assert sweeping.command("optimizer.momentun=0.9", "optimizer.lr=1e-3,1e-2") == 2
    assert "choice(" not in capsys.readouterr().err, "a mistake in writing stays one"


def test_numbers_of_folds_are_no_setting_of_one_cross_validation(sweeping, capsys):
    assert sweeping.command("sweep=cross_validation", "data.folds=2,3") == 2
    assert "data.folds" in capsys.readouterr().err and not sweeping.runs


def test_a_study_keeps_to_its_objectives(sweeping, capsys):
    command = ("sweep=optuna", "optimizer.lr=interval(1e-3,1e-1)", "trainer.max_epochs=1")
    assert sweeping.command(*command, "sweep.n_trials=1", "sweep.objectives={val/loss:min}") == 0
    assert sweeping.command(*command, "sweep.n_trials=2", "sweep.objectives={parameters:min}") == 2
    assert "the study has other objectives" in capsys.readouterr().err


def test_searches_that_begin_together_propose_other_trials(sweeping, monkeypatch):
    seeds, make = [], studies.sampler
    monkeypatch.setattr(
        studies, "sampler", lambda settings, seed, grid: seeds.append(seed) or make(settings, seed, grid)
    )
    command = ("sweep=optuna", "optimizer.lr=interval(1e-3,1e-1)", "sweep.n_trials=1", "trainer.max_epochs=1")
    owners = sweeping.outputs / "sweeps" / "together" / "owners"
    owners.mkdir(parents=True)
    (owners / "dead").touch()
    with FileLock(owners / "alive"):
        sweeping.command(*command, "sweep.name=together")
    sweeping.command(*command, "sweep.name=alone")
    assert seeds == [1, 0]


@pytest.mark.parametrize(("storage", "states"), [("journal", ["COMPLETE"] * 2), ("database", ["COMPLETE", "RUNNING"])])
def test_a_trial_whose_owner_has_no_file_here_is_of_another_machine_or_dead(sweeping, storage, states):
    """The journal lies in the folder of its owners' files; a database is reached from folders that see none of them."""
    command = ["sweep=optuna", "optimizer.lr=tag(log,interval(1e-3,1e-1))", "sweep.name=shared"]
    command += [f"sweep.storage=sqlite:///{sweeping.outputs.parent}/study.db"] if storage == "database" else []
    assert sweeping.command(*command, "sweep.n_trials=1") == 0
    if storage == "database":
        kept = optuna.storages.RDBStorage(f"sqlite:///{sweeping.outputs.parent}/study.db")
    else:
        (file,) = sweeping.outputs.glob("sweeps/*/study.log")
        kept = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.load_study(study_name=None, storage=kept)
    study.ask().set_user_attr("owner", "node7-4711-1")
    assert sweeping.command(*command, "sweep.n_trials=2") == 0
    assert [trial.state.name for trial in study.get_trials()] == states
    assert len(sweeping.runs) == states.count("COMPLETE")


def test_a_best_trial_that_cannot_be_tested_is_said(sweeping, capsys):
    command = ("optimizer.lr=1e-2", "trainer.max_epochs=1", "hydra/launcher=sequential")
    assert sweeping.command(*command, "sweep.test=none") == 0
    assert "hydra/launcher=sequential" in sweeping.sweeps[0]["command"], "it would continue elsewhere"
    (file,) = sweeping.outputs.glob("*/checkpoints/best.ckpt")
    file.unlink()
    assert sweeping.command(*command) == 1
    assert "the best trial could not be tested" in capsys.readouterr().out
    assert sweeping.sweeps[0]["tested"] == []


def test_a_pruned_trial_ends_in_its_epoch(sweeping):
    arguments = ("sweep=optuna", "sweep.pruner=median", "sweep.startup_trials=1", "trainer.max_epochs=4")
    # The first trial learns, the others cannot: they are pruned after the first epoch in which they fall behind.
    parameters = "sweep.parameters={optimizer.lr:[3e-2,1e-7]}"
    assert sweeping.command(*arguments, parameters, "sweep.n_trials=4", "sweep.seed=2") == 0

    pruned = [result for result in sweeping.runs.values() if result["status"] == "pruned"]
    assert pruned
    for name, result in sweeping.runs.items():
        rows = (sweeping.outputs / name / "metrics.csv").read_text().splitlines()[1:]
        assert len(rows) < 4 if result["status"] == "pruned" else len(rows) == 4
    assert "pruned" in sweeping.statuses()
    assert sweeping.command(*arguments, parameters, "sweep.n_trials=4", "sweep.seed=2") == 0, "all are remembered"
    assert sweeping.command(*arguments, parameters, "sweep.n_trials=4", "sweep.seed=2", "force=true") == 0
    for name, result in sweeping.runs.items():  # old figures end no new training
        rows = (sweeping.outputs / name / "metrics.csv").read_text().splitlines()[1:]
        assert (result["status"], len(rows)) == ("completed", 4)


def test_pruners_are_made_as_their_settings_say():
    settings = {"startup_trials": 3, "pruner_min_epochs": 5}
    median = studies.pruner({**settings, "pruner": "median"}, 30)
    assert (median._n_startup_trials, median._n_warmup_steps) == (3, 4)  # steps are counted from 0
    hyperband = studies.pruner({**settings, "pruner": "hyperband"}, 30)
    assert (hyperband._min_resource, hyperband._max_resource, hyperband._reduction_factor) == (5, 30, 3)
    assert isinstance(studies.pruner({**settings, "pruner": "none"}, 30), optuna.pruners.NopPruner)
    assert studies.sampler({"sampler": "tpe", "startup_trials": 2}, 0, {})._constant_liar


def test_the_time_of_a_sweep_is_that_of_all_its_commands(tmp_path, monkeypatch):
    clock = iter([0.0, 100.0, 1000.0, 1010.0])
    monkeypatch.setattr("visionlab.sweeps.record.time.monotonic", lambda: next(clock))
    Record(tmp_path).head()
    assert Record(tmp_path).seconds == 110.0


@pytest.mark.parametrize(
    ("subdir", "says"),
    [
        ("${hydra.job.override_dirname}", "runs of two configs would lie in"),
        ("one", "runs of two configs would lie in"),
        ("${hydra.job.num}", "it names no directory"),
    ],
)
def test_a_directory_is_of_one_run(sweeping, capsys, subdir, says):
    """The second trial would be answered by the first one's run."""
    assert sweeping.command("optimizer.lr=1e-2,1e-3", f"hydra.sweep.subdir={subdir}") == 2
    assert says in capsys.readouterr().err and not sweeping.runs


def test_a_directory_of_ones_own_is_not_answered_by_another_run(sweeping, capsys):
    subdir = "hydra.sweep.subdir='lr=${optimizer.lr}'"
    assert sweeping.command("optimizer.lr=1e-2,1e-3", subdir) == 0
    assert sorted(sweeping.runs) == ["lr=0.001", "lr=0.01"]
    ((_, _, _, *again),) = (shlex.split(sweep["command"]) for sweep in sweeping.sweeps)
    capsys.readouterr()
    assert sweeping.give(*again) == 0, "its own is"
    assert "2 of 2 trials were remembered" in capsys.readouterr().out and len(sweeping.runs) == 2
    assert sweeping.command("optimizer.lr=1e-2,1e-3", subdir, "trainer.max_epochs=1") == 2
    assert "lr=0.01 holds a run with other settings" in capsys.readouterr().err
    assert sweeping.command("optimizer.lr=1e-2,1e-3", subdir, "trainer.max_epochs=1", "force=true") == 0
    assert [result["epochs"] for result in sweeping.runs.values()] == [1, 1]


@pytest.mark.parametrize("arguments", [("optimizer.lr=1e-2,1e-3",), ("sweep=seeds", "seed=0,1", "optimizer.lr=1e-2")])
@pytest.mark.parametrize("subdir", [(), ("hydra.sweep.subdir='lr=${optimizer.lr}, ${seed}'",)])
def test_the_best_trials_command_finds_its_runs_in_a_folder_of_ones_own(sweeping, capsys, arguments, subdir):
    assert sweeping.command("hydra.sweep.dir=mine", *subdir, *arguments) == 0
    (sweep,) = sweeping.sweeps
    kept = sorted(Path("mine").iterdir())
    lines = {line[:5].strip(): line[7:] for line in capsys.readouterr().out.splitlines()}
    assert lines["best"] == sweep["best"]["command"]
    first = Path("mine", Path(sweep["best"]["dirs"][0]).name)
    with pytest.raises(RunError, match="a sweep lies here") as error:
        Run.open(next(sweeping.outputs.glob("sweeps/*")))
    assert f"give its best, {first}" in error.value.remedy
    several = len(sweep["best"]["dirs"]) > 1
    assert lines["runs" if several else "run"] == f"{first} and 1 more" if several else str(first)
    assert sweeping.give(*shlex.split(sweep["best"]["command"])[3:]) == 0
    said = capsys.readouterr().out
    assert "nothing was trained" in said and sorted(Path("mine").iterdir()) == kept and not sweeping.runs, said


@pytest.mark.parametrize(
    "arguments",
    [
        ("sweep=optuna", "sweep.pruner=median", "sweep.objectives={val/loss:min}"),
        ("sweep=optuna", "sweep.pruner=median", "sweep.objectives={val/acc:min}"),
        ("sweep=optuna", "sweep.pruner=median", "sweep.objectives={val/acc:max,parameters:min}"),
        ("sweep=architectures", "model=choice(simple_cnn)", "sweep.objectives={val/acc:min}"),
    ],
    ids=["another", "another-direction", "several", "halving"],
)
def test_trials_are_ended_early_by_the_objective_alone(sweeping, capsys, arguments):
    """What an epoch reports is the monitor: by another objective's direction the best would be ended."""
    assert sweeping.command(*arguments, "optimizer.lr=1e-3,1e-2") == 2
    assert not sweeping.runs
    assert "sweep.objectives" in capsys.readouterr().err


@pytest.mark.parametrize(("name", "says"), [("val/accuracy", "val/acc"), ("test/acc", "one of")])
def test_an_objective_that_no_trial_has_is_said_before_training(sweeping, capsys, name, says):
    assert sweeping.command("optimizer.lr=1e-3,1e-2", f"sweep.objectives={{{name}:max}}") == 2
    assert not sweeping.runs
    assert says in capsys.readouterr().err


def test_several_objectives_have_a_front(sweeping):
    arguments = (
        "sweep=optuna",
        "sweep.sampler=grid",
        "sweep.objectives={val/acc:max,parameters:min}",
        "sweep.n_trials=9",
    )
    assert sweeping.command(*arguments, "model.network.dense_units=2,4,8") == 0
    (sweep,) = sweeping.sweeps
    assert len(sweep["runs"]) == 3
    assert sweep["front"]
    assert all("parameters" in best["values"] for best in sweep["front"])
    figures = [(result["metrics"]["val/acc"], -result["model"]["parameters"]) for result in sweeping.runs.values()]
    shown = {(best["values"]["val/acc"], -best["values"]["parameters"]) for best in sweep["front"]}
    assert shown == {f for f in figures if not any(o != f and o[0] >= f[0] and o[1] >= f[1] for o in figures)}
    (file,) = sweeping.outputs.glob("sweeps/*/study.log")
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(file)))
    study = optuna.load_study(study_name=None, storage=storage)
    assert [direction.name for direction in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert {(acc, -parameters) for acc, parameters in (trial.values for trial in study.trials)} == set(figures)
    assert not any("test/acc" in result["metrics"] for result in sweeping.runs.values())


def test_greedy_keeps_the_best_and_searches_the_next(sweeping):
    arguments = ("optimizer.lr=1e-7,3e-2", "model.network.dropout=0.9,0")
    assert sweeping.command("sweep=greedy", *arguments) == 0
    (sweep,) = sweeping.sweeps
    tried = [run["overrides"] for run in sweep["runs"]]
    assert {"optimizer.lr": 1e-7} in tried
    assert {"optimizer.lr": 3e-2, "model.network.dropout": 0.9} in tried
    assert not any(
        values.get("model.network.dropout") is not None and values["optimizer.lr"] == 1e-7 for values in tried
    )
    assert "sweep=" not in sweep["best"]["command"], "a single run has no strategy"


def test_a_greedy_step_may_fix_its_start(sweeping):
    starts = "sweep.starts={model.network.dropout:{optimizer.lr:1e-7}}"
    assert sweeping.command("sweep=greedy", "optimizer.lr=1e-7,3e-2", "model.network.dropout=0.9,0", starts) == 0
    tried = [run["overrides"] for run in sweeping.sweeps[0]["runs"]]
    assert {"optimizer.lr": 1e-7, "model.network.dropout": 0.9} in tried


def test_halving_drops_the_worst_and_trains_no_epoch_twice(sweeping):
    arguments = (
        "sweep=architectures",
        "model=choice(simple_cnn)",
        "optimizer.lr=1e-7,1e-6,3e-2,3e-3",
        "trainer.max_epochs=4",
    )
    assert sweeping.command(*arguments, "sweep.reduction=2") == 0
    epochs = {}
    for name, result in sweeping.runs.items():
        rows = (sweeping.outputs / name / "metrics.csv").read_text().splitlines()[1:]
        epochs[result["status"]] = [*epochs.get(result["status"], []), len(rows)]
    assert epochs["completed"] == [4]
    assert sorted(epochs["pruned"]) == [1, 1, 2]
    (sweep,) = sweeping.sweeps
    assert sweep["best"]["overrides"]["optimizer.lr"] in (3e-2, 3e-3)

    undisturbed = type(sweeping)(sweeping.outputs.parent / "undisturbed")
    rate = sweep["best"]["overrides"]["optimizer.lr"]
    undisturbed.command("trainer.max_epochs=4", f"optimizer.lr={rate},1")
    (name,) = (name for name, result in sweeping.runs.items() if result["status"] == "completed")
    assert undisturbed.runs[name]["metrics"]["val/loss"] == sweeping.runs[name]["metrics"]["val/loss"]


def test_halving_keeps_the_largest_area_under_the_curve_of_two_classes(sweeping):
    two = ["data=synthetic", "data.kinds=2", "data.images=400", "monitor=val/auc", "trainer.max_epochs=2"]
    halving = ["sweep=architectures", "model=choice(simple_cnn)", "optimizer.lr=1e-9,1e-2", "sweep.reduction=2"]
    assert sweeping.command(*two, *halving) == 0
    (sweep,) = sweeping.sweeps
    (kept,) = (result for result in sweeping.runs.values() if result["status"] == "completed")
    assert sweep["best"]["values"] == {"val/auc": kept["metrics"]["val/auc"]} and kept["epochs"] == 2
    assert sweep["best"]["overrides"]["optimizer.lr"] == 1e-2


def test_halving_anew_trains_no_epoch_twice_either(sweeping, monkeypatch):
    continued, look = [], checkpoint_io.newest_whole
    monkeypatch.setattr(checkpoint_io, "newest_whole", lambda folder: continued.append(folder) or look(folder))
    arguments = ("sweep=architectures", "model=choice(simple_cnn)", "optimizer.lr=1e-7,3e-2", "sweep.reduction=2")
    for again in ((), ("force=true",)):
        assert sweeping.command(*arguments, *again) == 0
        assert len(continued) == 1, "the better one goes on from where it was paused, and nothing else"
        continued.clear()
        assert sorted(result["status"] for result in sweeping.runs.values()) == ["completed", "pruned"]
    began = {result["started"] for result in sweeping.runs.values()}
    assert sweeping.command(*arguments) == 0 and {result["started"] for result in sweeping.runs.values()} == began


def test_halving_says_that_a_trial_showed_nothing_to_compare(sweeping, capsys):
    arguments = ("sweep=architectures", "model=choice(simple_cnn)", "optimizer.lr=1e-3,3e-2", "sweep.reduction=2")
    assert sweeping.command(*arguments, "+trainer.check_val_every_n_epoch=2") == 1
    assert "there is no number for val/acc" in capsys.readouterr().out


@pytest.mark.parametrize(("loss", "status"), [(math.inf, "failed"), (math.nan, "failed"), (0.5, "completed")])
def test_a_run_whose_figure_is_beyond_all_numbers_is_a_failed_one(tmp_path, loss, status):
    Run(tmp_path / "run").update(status="completed", metrics={"val/loss": loss})
    noted = {}
    engine = Engine.__new__(Engine)
    engine._open, engine.plan = [], SimpleNamespace(objectives={"val/loss": "min"})
    engine.record = SimpleNamespace(entries={}, note=lambda _, **facts: noted.update(facts))
    engine._settle(SimpleNamespace(request=SimpleNamespace(dir=tmp_path / "run"), name="run", trial=Trial(0, {})))
    assert noted["status"] == status


def test_halving_leaves_a_run_alone_that_another_process_trains(tmp_path):
    run = Run(tmp_path / "run")
    request = SimpleNamespace(dir=run.dir)
    engine = Engine.__new__(Engine)
    engine.composer = SimpleNamespace(requests=lambda values, job: [request])
    engine.record = engine.display = SimpleNamespace(note=lambda *_, **__: None, told=lambda *_, **__: None)
    with run.lock():
        run.update(status="running")
        engine._drop(Trial(0, {}))  # would wait for the lock
        assert run.status == "running"
    engine._drop(Trial(0, {}))
    assert run.status == "pruned"
    run.update(status="completed")
    engine._drop(Trial(0, {}))
    assert run.status == "completed"


def test_halving_compares_a_run_that_early_stopping_ended(sweeping):
    arguments = (
        "sweep=architectures", "model=choice(simple_cnn)", "optimizer.lr=1e-30,3e-2", "trainer.max_epochs=4",
        "sweep.min_epochs=3", "sweep.reduction=2", "callbacks.early_stopping.patience=1",
    )  # fmt: skip
    assert sweeping.command(*arguments) == 0
    (sweep,) = sweeping.sweeps
    stopped = by_values(sweep)["simple_cnn", 1e-30]
    assert stopped["status"] == "pruned", stopped["error"]
    assert sweeping.runs[Path(stopped["dir"]).name]["epochs"] == 2
    assert sweep["best"]["overrides"]["optimizer.lr"] == 3e-2


def test_halving_with_more_budget_lets_those_go_on_that_were_dropped(sweeping, tmp_path):
    arguments = (
        "sweep=architectures", "model=choice(simple_cnn)", "optimizer.lr=1e-7,1e-6,3e-3,3e-2", "trainer.max_epochs=8",
        "sweep.reduction=2",
    )  # fmt: skip
    assert sweeping.command(*arguments, "sweep.budget=12") == 0
    assert sweeping.command(*arguments, "sweep.budget=16") == 0
    fresh = type(sweeping)(tmp_path / "fresh")
    assert fresh.command(*arguments, "sweep.budget=16") == 0

    def trained(at):
        epochs = {name: len(Run(at.outputs / name).metrics) for name in at.runs}
        return {key: (run["status"], epochs[Path(run["dir"]).name]) for key, run in by_values(at.sweeps[0]).items()}

    assert trained(sweeping) == trained(fresh)
    assert sweeping.sweeps[0]["best"]["value"] == fresh.sweeps[0]["best"]["value"]


def planned(choice, *arguments):
    single = [text for text in arguments if text.startswith(("monitor=", "mode="))]
    base = resolved(compose([f"sweep={choice}", *single]))
    return Plan(base, [f"sweep={choice}", *arguments], choice, Reader(None))


BOTH_WAYS = pytest.mark.parametrize(
    ("direction", "sign"), [(["monitor=val/acc", "mode=max"], 1), (["monitor=val/loss", "mode=min"], -1)]
)


@BOTH_WAYS
def test_halving_keeps_the_best_in_either_direction(direction, sign):
    plan = planned("architectures", "model=mlp,alexnet", "optimizer.lr=1e-3,1e-2,1e-1", *direction)
    halving = Halving(plan)
    first = list(iter(halving.ask, None))
    given_up = []
    for trial, value in zip(first, (0.3, 0.2, 0.2, 0.5, 0.1, 0.2), strict=True):
        given_up += halving.tell(trial, Outcome("paused", (sign * value,)))
    assert [trial.number for trial in iter(halving.ask, None)] == [0, 3]  # a third of six
    assert sorted(trial.number for trial in given_up) == [1, 2, 4, 5]


@pytest.mark.parametrize("strategy", [Halving, Grid])
def test_a_combination_that_two_grids_share_is_one_trial(strategy):
    """Two trials that are one run would hold two places, of which another trial deserves one."""
    plan = planned("architectures", "model=mlp,alexnet")
    plan.settings["parameters"] = [{"optimizer.lr": [0.1, 0.01]}, {"optimizer.lr": [0.01, 0.001]}]
    assert len(list(iter(strategy(plan).ask, None))) == 6
    plan.settings["parameters"] = [{"trainer.limit_train_batches": [1]}, {"trainer.limit_train_batches": [1.0, 0.5]}]
    assert len(list(iter(strategy(plan).ask, None))) == 6, "one batch and all of them"


@BOTH_WAYS
def test_greedy_keeps_the_best_and_of_equals_the_first_in_either_direction(direction, sign):
    greedy = Greedy(planned("greedy", "optimizer.lr=1,2,3", "data.batch_size=8,16", *direction))
    for trial, value in reversed(list(zip(iter(greedy.ask, None), (0.1, 0.2, 0.2), strict=True))):
        greedy.tell(trial, Outcome("completed", (sign * value,)))
    assert [trial.values for trial in iter(greedy.ask, None)] == [
        {"optimizer.lr": 2, "data.batch_size": 8}, {"optimizer.lr": 2, "data.batch_size": 16},
    ]  # fmt: skip


def test_a_paused_run_is_judged_by_the_best_of_its_epochs_so_far(tmp_path):
    run = Run(tmp_path)
    runs.write_csv(tmp_path / "metrics.csv", [{"val/x": value} for value in (0.4, 0.6, "nan", 0.5, 0.9, 0.1)])
    assert [at_epoch(run, 4, "val/x", mode) for mode in ("max", "min")] == [0.6, 0.4]
    assert at_epoch(run, 7, "val/x", "max") is None, "it has not come that far"
    run.update(status="completed")
    assert at_epoch(run, 7, "val/x", "max") == 0.9


def test_the_front_is_of_those_that_none_beats_and_equals_stand_together():
    def trial(number, *means):
        return Ranked(number, {}, means, (None, None), {}, {}, 0.0, (), None)

    tried = [trial(0, 0.9, 10), trial(1, 0.9, 5), trial(2, 0.8, 1), trial(3, 0.7, 3), trial(4, 0.9, 5)]
    assert [one.trial for one in front(tried, {"val/acc": "max", "parameters": "min"})] == [1, 2, 4]
    assert [one.trial for one in front(tried, {"val/acc": "min", "parameters": "max"})] == [0, 3]


@pytest.mark.parametrize(("mode", "order"), [("max", [0, 2, 1]), ("min", [1, 0, 2])])
def test_trials_are_ranked_by_their_means_and_equals_by_their_numbers(tmp_path, mode, order):
    entries = []
    for trial, values in enumerate(((0.5, 0.7, 0.3), (0.2, 0.3, 0.9), (0.9, 0.3, 0.3), (0.5, 0.1, 1.0))):
        for seed, value in enumerate(values):
            Run(tmp_path / f"{trial}-{seed}").update(status="completed", metrics={"val/x": value})
            overrides = {"optimizer.lr": trial, "seed": seed}
            entries.append({"dir": f"{trial}-{seed}", "trial": trial, "overrides": overrides, "status": "completed"})
    Run(tmp_path / "3-2").update(status="failed")  # so the last trial, the first or the second of all, does not count
    found = ranking(entries[::-1], tmp_path, {"val/x": mode}, {"seed": [0, 1, 2]}, set())
    assert [one.trial for one in found] == order


def test_a_range_reaches_the_study_as_it_was_given():
    asked, reader = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask(), Reader(None)
    for key, spec in {
        "optimizer.lr": reader.read("optimizer.lr", "tag(log,interval(1e-4,1e-1))"),
        "optimizer.momentum": reader.read("optimizer.momentum", "interval(0.5,0.9)"),
        "optimizer.weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        "data.batch_size": {"low": 16, "high": 256, "log": True},
        "model.network.dense_units": {"low": 8, "high": 32, "step": 8},
        "optimizer": ["sgd", "adam"],
    }.items():
        Parameter(key, spec).suggest(asked)
    assert asked.distributions == {
        "optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
        "optimizer.momentum": FloatDistribution(0.5, 0.9),
        "optimizer.weight_decay": FloatDistribution(1e-6, 1e-2, log=True),
        "data.batch_size": IntDistribution(16, 256, log=True),
        "model.network.dense_units": IntDistribution(8, 32, step=8),
        "optimizer": CategoricalDistribution(("sgd", "adam")),
    }


@pytest.mark.parametrize("name", ["tpe", "random"])
def test_what_a_sampler_proposes_follows_its_seed(name):
    def proposed(seed):
        study = optuna.create_study(sampler=studies.sampler({"sampler": name, "startup_trials": 2}, seed, {}))
        found = []
        for _ in range(4):
            trial = study.ask()
            found.append(trial.suggest_float("x", 0, 1))
            study.tell(trial, found[-1])
        return found

    assert proposed(1) == proposed(1) != proposed(2)


@pytest.mark.parametrize(
    ("budget", "expected"),
    [(None, [(9, 1), (3, 3), (1, 9)]), (21, [(9, 1), (3, 3), (1, 9)]), (45, [(9, 3), (3, 9)]), (81, [(9, 9)])],
)
def test_rungs(budget, expected):
    assert rungs(9, 9, 3, 1, budget) == expected


def test_a_budget_that_is_too_small_says_what_would_do():
    with pytest.raises(ConfigError, match="21"):
        rungs(9, 9, 3, 1, 20)


def test_networks_that_are_cross_validated_are_tested_on_all_images(sweeping):
    assert sweeping.command("sweep=cross_validation", "data.folds=2", "model.network.dense_units=4,8") == 0
    found = visionlab.compare(next(sweeping.outputs.glob("sweeps/*")))
    (test,) = found.tests
    rows = (row for run in sweeping.runs for row in Run(sweeping.outputs / run).predictions)
    images = {row["image"] for row in rows if row["split"] == "val"}
    assert (test.images, found.untested) == (len(images), 0) and len(images) > 1000
    assert test.a.endswith(" over 2 folds")


def test_folds_are_ranked_by_their_mean(sweeping, capsys):
    assert sweeping.command("sweep=cross_validation", "data.folds=2", "optimizer.lr=1e-7,3e-2") == 0
    (sweep,) = sweeping.sweeps
    values = [run["value"] for run in sweep["runs"] if run["overrides"]["optimizer.lr"] == 3e-2]
    assert len(values) == 2
    assert sweep["best"]["overrides"] == {"optimizer.lr": 3e-2}
    assert sweep["best"]["value"] == pytest.approx(sum(values) / 2)
    assert sweep["best"]["deviation"] == pytest.approx(abs(values[0] - values[1]) / 2**0.5)
    assert "±" in capsys.readouterr().out


@pytest.mark.parametrize(("given", "seeds"), [(["seed=7"], [7]), (["seed=7", "optimizer.lr=1e-2,3e-2"], [7, 7])])
def test_one_seed_on_the_command_line_replaces_those_of_the_file(sweeping, given, seeds):
    assert sweeping.command("sweep=seeds", *given) == 0
    assert [result["seed"] for result in sweeping.runs.values()] == seeds


def test_seeds_may_share_their_initial_weights(sweeping):
    import yaml

    assert sweeping.command("sweep=seeds", "seed=3,4", "sweep.same_init=true") == 0
    configs = [yaml.safe_load((sweeping.outputs / name / "config.yaml").read_text()) for name in sweeping.runs]
    assert [config["seed"] for config in configs] == [3, 4] or [config["seed"] for config in configs] == [4, 3]
    assert {config["init_seed"] for config in configs} == {0}


def test_runs_are_repetitions_only_of_what_they_share_but_for_the_seed(sweeping):
    arguments = ("sweep=seeds", "seed=0,1", "optimizer.lr=1e-2")
    assert sweeping.command(*arguments) == 0
    assert sweeping.command("sweep=seeds", "seed=2,1", "optimizer.lr=1e-2") == 0, "another seed joins"
    (sweep,) = sweeping.sweeps
    assert len(sweep["best"]["dirs"]) == 3

    assert sweeping.command(*arguments, "sweep.same_init=true") == 0
    assert sorted(len(sweep["best"]["dirs"]) for sweep in sweeping.sweeps) == [2, 3]


def test_runs_of_another_command_of_the_same_name_are_trials_of_their_own(sweeping, capsys):
    arguments = ("sweep.name=mine", "sweep.replicates={seed:[0,1]}", "optimizer.lr=1e-7,3e-2")
    assert sweeping.command(*arguments, "trainer.max_epochs=2") == 0
    capsys.readouterr()
    assert sweeping.command(*arguments, "trainer.max_epochs=1") == 0
    (sweep,) = sweeping.sweeps
    assert len(sweep["runs"]) == 8
    epochs = {Path(path).name: sweeping.runs[Path(path).name]["epochs"] for path in sweep["best"]["dirs"]}
    assert list(epochs.values()) == [1, 1], "the best of what was asked for now"
    assert all("test/acc" in sweeping.runs[name]["metrics"] for name in epochs)
    (file,) = sweeping.outputs.glob("sweeps/*/sweep.json")
    (shown,) = gather([file.parent]).sweeps
    assert [len(trial.entries) for trial in shown.trials] == [2, 2, 2, 2]
    assert {entry.run.dir.name for entry in shown.best.entries} == set(epochs) and len(shown.ranked) == 2
    tested = [trial for trial in shown.trials if sweep_page.command(shown, trial) == sweep["best"]["command"]]
    assert [{entry.run.dir.name for entry in trial.entries} for trial in tested] == [set(epochs)]


def test_a_strategy_is_told_the_mean_of_the_replicates(sweeping, monkeypatch):
    from visionlab.sweeps.grid import Grid

    told, tell = [], Grid.tell
    monkeypatch.setattr(Grid, "tell", lambda self, *given: (told.append(given[1]), tell(self, *given))[1])
    assert sweeping.command("sweep.replicates={seed:[0,1,2]}", "optimizer.lr=1e-2", "test=false") == 0
    (outcome,) = told
    figures = [sweeping.runs[name]["metrics"]["val/acc"] for name in outcome.dirs]
    assert len(set(figures)) > 1
    assert outcome.values == pytest.approx((sum(figures) / 3,))


def test_a_list_of_runs_without_their_settings_is_grouped_by_what_they_set(sweeping):
    assert sweeping.command("sweep=seeds", "seed=0,1", "optimizer.lr=1e-2,3e-2") == 0
    (file,) = sweeping.outputs.glob("sweeps/*/sweep.json")
    content = json.loads(file.read_text())
    for run in content["runs"]:
        del run["setting"]
    file.write_text(json.dumps(content))
    (shown,) = gather([file.parent]).sweeps
    assert [len(trial.entries) for trial in shown.trials] == [2, 2]
    found = ranking(content["runs"], file.parent, content["objectives"], content["replicates"], set())
    assert [len(one.dirs) for one in found] == [2, 2]


@pytest.mark.parametrize(
    "arguments",
    [
        # a file of a report, which chooses augmentation and optimizer, too
        ("sweep=report_001", "sweep.n_trials=1", "data.batch_size=256", "model.network.dense_units=4"),
        ("seed=3,4", "sweep.same_init=true"),
        ("sweep=optuna", "optimizer.lr=tag(log,interval(1e-3,1e-1))", "sweep.n_trials=1", "sweep.test=none"),
    ],
    ids=["report", "same-init", "search"],
)
def test_the_best_trials_command_asks_for_its_very_run(sweeping, arguments):
    assert sweeping.command(*arguments) == 0
    (sweep,) = sweeping.sweeps
    python, m, module, *overrides = shlex.split(sweep["best"]["command"])
    assert (python, m, module) == ("python", "-m", "visionlab.train") and "-m" not in overrides
    assert runs.name(resolved(compose(overrides))) == Path(sweep["best"]["dirs"][0]).name


@pytest.mark.parametrize(
    "arguments",
    [
        ("sweep=seeds", "seed=0,1", "optimizer.lr=3e-2"),
        ("sweep=seeds", "seed=7", "sweep.same_init=true"),
        ("sweep=optuna", "sweep.n_trials=2", "sweep.sampler=grid", "optimizer.lr=1e-7,3e-2",
         "sweep.replicates={seed:[0,1]}"),
        ("sweep=greedy", "optimizer.lr=1e-7,3e-2", "sweep.replicates={seed:[0,1]}", "sweep.same_init=true"),
        ("sweep=cross_validation", "data.folds=2", "optimizer.lr=1e-7,3e-2"),
        ("sweep=report_001", "sweep.n_trials=1", "data.batch_size=256", "sweep.replicates={seed:[3,4]}"),
    ],
    ids=["seeds", "one-seed", "search", "greedy", "folds", "report"],
)  # fmt: skip
def test_the_best_trials_command_asks_for_its_very_runs(sweeping, arguments):
    assert sweeping.command(*arguments) == 0
    best, count = sweeping.sweeps[0]["best"], len(sweeping.runs)
    python, m, module, *overrides = shlex.split(best["command"])
    assert (python, m, module, overrides[0]) == ("python", "-m", "visionlab.train", "-m")
    shutil.rmtree(sweeping.outputs / "sweeps")

    assert sweeping.give(*overrides) == 0
    (again,) = sweeping.sweeps
    assert len(again["runs"]) == len(best["dirs"])
    assert set(again["best"]["dirs"]) == set(best["dirs"])
    assert again["best"]["value"] == best["value"]
    assert len(sweeping.runs) == count, "all are remembered"


def test_commands_name_the_folder_of_ones_own_files(sweeping, tmp_path):
    (tmp_path / "my conf" / "optimizer").mkdir(parents=True)
    mine = "_target_: torch.optim.SGD\n_partial_: true\nlr: 0.03\nmomentum: 0.9\nweight_decay: 0.0\n"
    (tmp_path / "my conf" / "optimizer" / "mine.yaml").write_text(mine)
    name = "data.name='it, too'"
    given = [*sweeping.base, f"outputs={sweeping.outputs}", "optimizer=mine", "optimizer.momentum=0,0.9", name]
    assert sweeping.give("-m", "--config-dir", "my conf", *given) == 0
    (sweep,), results = sweeping.sweeps, sweeping.runs
    best = Path(sweep["best"]["dirs"][0]).name
    for command in (sweep["command"], sweep["best"]["command"], results[best]["command"]):
        python, m, module, *arguments = shlex.split(command)
        assert (python, m, module) == ("python", "-m", "visionlab.train")
        assert sweeping.give(*arguments) == 0
    assert set(sweeping.runs) == set(results), "each asks for a run that is remembered"


def test_terminal_and_page_rank_earlier_runs_by_what_is_sought_now(sweeping):
    command = ("sweep.name=mine", "trainer.max_epochs=1")
    assert sweeping.command(*command, "optimizer.lr=1e-7,3e-2") == 0
    assert sweeping.command(*command, "optimizer.lr=1e-6", "sweep.objectives={val/loss:min}") == 0
    (file,) = sweeping.outputs.glob("sweeps/*/sweep.json")
    (shown,) = gather([file.parent]).sweeps
    losses = sorted(result["metrics"]["val/loss"] for result in sweeping.runs.values())
    assert [trial.value for trial in shown.ranked] == losses
    assert sweeping.sweeps[0]["best"]["value"] == losses[0]


def test_a_repetition_that_is_not_asked_for_any_more_keeps_no_trial_out_of_the_ranking(sweeping):
    assert sweeping.command("sweep=seeds", "optimizer.lr=3e-2", "seed=0,1,2") == 0
    ((third, result),) = [(name, result) for name, result in sweeping.runs.items() if result["seed"] == 2]
    Run(sweeping.outputs / third).update(status="interrupted")
    (file,) = sweeping.outputs.glob("sweeps/*/sweep.json")
    content = json.loads(file.read_text())
    next(run for run in content["runs"] if run["overrides"]["seed"] == 2)["status"] = "interrupted"
    file.write_text(json.dumps(content))
    assert sweeping.command("sweep=seeds", "optimizer.lr=3e-2", "seed=0,1") == 0
    (sweep,) = sweeping.sweeps
    others = [run["metrics"]["val/acc"] for name, run in sweeping.runs.items() if name != third]
    assert sweep["best"]["value"] == pytest.approx(sum(others) / 2)
    (shown,) = gather([file.parent]).sweeps
    assert shown.best is not None
    assert (len(shown.best.entries), shown.best.value) == (2, sweep["best"]["value"])
    assert sweeping.command("sweep=seeds", "optimizer.lr=3e-2", "seed=1,2") == 0
    (sweep,) = sweeping.sweeps
    assert sweep["best"]["value"] == pytest.approx((sum(others) + result["metrics"]["val/acc"]) / 3)


def test_a_trial_of_which_a_run_is_gone_does_not_count(tmp_path):
    entries = [{"dir": str(n), "trial": 0, "overrides": {"seed": n}, "status": "completed"} for n in range(2)]
    for entry in entries:
        Run(tmp_path / entry["dir"]).update(status="completed", metrics={"val/acc": 0.5, "test/acc": 0.5})
    assert len(ranking(entries, tmp_path, {"val/acc": "max"}, {"seed": [0, 1]}, {"0", "1"})) == 1
    shutil.rmtree(tmp_path / "1")
    assert ranking(entries, tmp_path, {"val/acc": "max"}, {"seed": [0, 1]}, {"0", "1"}) == []


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["sweep.parameters={optimizer.momentum:{low:0.5,high:0.9,when:{optimizer:sgd}},optimizer:[sgd,adam]}"],
         "optimizer.momentum depends on optimizer"),
        (["sweep.parameters={optimizer.lr:{low:1e-3,high:1e-1,when:sgd}}"], "cannot depend on sgd"),
        (["sweep.parameters={optimizer.lr:{low:1e-3,high:1e-1,step:-1e-2}}"], "steps of -0.01"),
        (["sweep.parameters={optimizer.lr:{low:1e-3,high:1e-1,step:small}}"], "steps of small"),
        (["optimizer.lr=interval(1e-3,1e-1)", "sweep.sampler=cmaes", "sweep.objectives={val/acc:max,val/loss:min}"],
         "cmaes"),
    ],
    ids=["order", "condition", "negative", "word", "sampler"],
)  # fmt: skip
def test_a_search_that_is_not_possible_is_said_before_it_begins(sweeping, capsys, arguments, says):
    assert sweeping.command("sweep=optuna", *arguments) == 2
    assert says in capsys.readouterr().err
    assert not sweeping.sweeps


def test_whole_ends_with_a_fractional_step_are_a_range_of_fractions():
    asked = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    parameter = Parameter("model.network.dropout", {"low": 0, "high": 1, "step": 0.25})
    assert {parameter.suggest(asked.ask()) for _ in range(50)} == {0, 0.25, 0.5, 0.75, 1}


def test_a_sampler_goes_on_from_the_largest_seed(sweeping):
    command = ("sweep=optuna", "optimizer.lr=interval(1e-3,1e-1)", "trainer.max_epochs=1", f"sweep.seed={2**32 - 1}")
    assert sweeping.command(*command, "sweep.n_trials=1") == 0
    assert sweeping.command(*command, "sweep.n_trials=2") == 0
    assert len(sweeping.runs) == 2


def test_a_grid_that_is_searched_in_two_commands_leaves_no_combination_out(sweeping):
    command = ("sweep=optuna", "sweep.sampler=grid", "optimizer.lr=1e-3,1e-2,3e-2", "trainer.max_epochs=1")
    assert sweeping.command(*command, "sweep.n_trials=1") == 0
    assert sweeping.command(*command, "sweep.n_trials=3") == 0
    assert len(sweeping.runs) == 3


def test_a_search_without_optuna_names_the_extra_and_leaves_nothing(sweeping, capsys, monkeypatch):
    for module in [name for name in sys.modules if name.partition(".")[0] == "optuna"]:
        monkeypatch.setitem(sys.modules, module, None)
    assert sweeping.command("sweep=optuna", "optimizer.lr=interval(0.001,0.1)") == 2
    assert "pip install 'visionlab[sweep]'" in capsys.readouterr().err
    assert not list(sweeping.outputs.glob("sweeps/*/sweep.json"))


def test_a_grid_that_is_exhausted_ends(sweeping, capsys):
    command = ("sweep=optuna", "sweep.sampler=grid", "trainer.max_epochs=1", "optimizer.lr=1e-2,2e-2")
    assert sweeping.command(*command, "data.batch_size=128,256", "sweep.n_trials=9") == 0
    assert len(sweeping.runs) == 4 and "4/4" in capsys.readouterr().out


def test_bases_are_no_choices_of_a_glob_and_other_values_may_begin_like_them(sweeping):
    assert sweeping.command("sweep=optuna", "sweep.n_trials=2", "trainer.max_epochs=1", "augment=glob([_*,none])") == 0
    assert sweeping.command("data.name=_raw,clean", "trainer.max_epochs=1") == 0
    tried = [run["overrides"] for sweep in sweeping.sweeps for run in sweep["runs"]]
    assert {"augment": "none"} in tried and {"data.name": "_raw"} in tried and {"data.name": "clean"} in tried
    assert len(sweeping.runs) == 3


def test_a_range_may_be_logarithmic_in_steps_of_one():
    spec = OverridesParser.create().parse_override("a=tag(log,range(1,1000))")
    parameter = Parameter("a", spec)
    assert (parameter.low, parameter.high, parameter.step, parameter.log) == (1, 999, None, True)
    with pytest.raises(ConfigError, match="cannot range"):
        Parameter("a", OverridesParser.create().parse_override("a=tag(log,range(1,1000,10))"))


def test_no_command_of_a_sweep_begins_it_anew(sweeping):
    assert sweeping.command("optimizer.lr=1e-3,1e-2", "trainer.max_epochs=1", "force=true") == 0
    (sweep,) = sweeping.sweeps
    assert "force" not in sweep["command"] and "force" not in sweep["best"]["command"]


def test_a_best_trial_that_is_gone_is_the_best_no_more(sweeping, monkeypatch):
    command = ("optimizer.lr=1e-2", "sweep.name=one", "trainer.max_epochs=1")
    assert sweeping.command(*command) == 0
    (sweep,) = sweeping.sweeps
    assert sweep["best"]["trial"] == 0
    (run,) = sweeping.runs
    shutil.rmtree(sweeping.outputs / run)
    monkeypatch.setattr("visionlab.training.fit.fit", None)  # so that it fails
    assert sweeping.command(*command) == 1
    assert sweeping.sweeps[0]["best"] is None
