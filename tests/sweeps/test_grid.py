import json
import weakref
from types import SimpleNamespace

import pytest
import torch
from hydra.core.utils import JobStatus

from visionlab.runs import Run
from visionlab.sweeps import jobs
from visionlab.sweeps.display import Display
from visionlab.sweeps.ranking import Ranked
from visionlab.sweeps.trial import Outcome, Trial


def test_every_combination_is_trained_once_and_the_winner_alone_is_tested(sweeping, capsys):
    assert sweeping.command("optimizer.lr=1e-3,1e-2", "data.batch_size=128,256") == 0

    assert len(sweeping.runs) == 4
    assert sweeping.statuses() == ["completed"] * 4
    (sweep,) = sweeping.sweeps
    tested = [name for name, result in sweeping.runs.items() if "test/acc" in result["metrics"]]
    assert [f"../../{name}" for name in tested] == sweep["best"]["dirs"]
    best = max(run["value"] for run in sweep["runs"])
    assert sweep["best"]["value"] == best
    assert not list(sweeping.outputs.glob("multirun.yaml"))
    printed = capsys.readouterr().out
    assert sweep["best"]["command"] in printed.replace("\n", "")


def test_the_same_command_with_more_values_trains_only_those(sweeping, capsys):
    sweeping.command("optimizer.lr=1e-3,1e-2")
    before = {name: result["started"] for name, result in sweeping.runs.items()}
    capsys.readouterr()

    # Added behind the flag, as one adds to a command of the history.
    assert sweeping.give(*sweeping.base, f"outputs={sweeping.outputs}", "-m", "optimizer.lr=0.01,0.001,0.1") == 0

    assert "2 of 3 trials were remembered" in capsys.readouterr().out
    assert {name: result["started"] for name, result in sweeping.runs.items() if name in before} == before
    assert len(sweeping.runs) == 3
    assert len(sweeping.sweeps) == 1


@pytest.mark.parametrize(("times", "status"), [(1, "completed"), (2, "interrupted")])
def test_a_run_whose_process_vanishes_is_begun_once_more_by_itself(sweeping, monkeypatch, times, status):
    """As of the kernel when memory is short: it may pass; what comes again at once is left to the next command."""
    begun, submit = [], jobs.Sequential.submit

    def die_at_first(executor, job):
        begun.append(job.dir.name)
        if job.config.seed == 0 and begun.count(job.dir.name) <= times:
            executor._ended.append((job, jobs.Ended("killed by SIGKILL", killed=True)))
        else:
            submit(executor, job)

    monkeypatch.setattr(jobs.Sequential, "submit", die_at_first)
    command = ("optimizer.lr=1e-2", "sweep.replicates={seed:[0,1]}", "sweep.test=none")
    assert sweeping.command(*command) == (status != "completed")
    assert [begun.count(name) for name in dict.fromkeys(begun)] == [2, 1]
    assert begun[0] == begun[1], "another run came between"
    assert sweeping.statuses() == [status, "completed"]
    (sweep,) = sweeping.sweeps
    assert sweep["runs"][0]["error"] == ("killed by SIGKILL" if status == "interrupted" else None)
    assert sweeping.command(*command) == 0 and sweeping.statuses() == ["completed"] * 2


def test_a_failing_trial_ends_neither_the_others_nor_silently(sweeping, capsys):
    # A learning rate of 1e30 makes the loss NaN in the first epoch.
    assert sweeping.command("optimizer=sgd", "optimizer.lr=1e30,1e-2") == 1

    assert sweeping.statuses() == ["failed", "completed"]
    (sweep,) = sweeping.sweeps
    assert "NaN" in sweep["runs"][0]["error"]
    assert "1 of 2 trials failed" in capsys.readouterr().out


def test_a_failed_trial_is_tried_again_only_when_asked(sweeping):
    sweeping.command("optimizer=sgd", "optimizer.lr=1e30,1e-2")
    (failed,) = (name for name, result in sweeping.runs.items() if result["status"] == "failed")
    stamp = (sweeping.outputs / failed / "result.json").stat().st_mtime_ns

    assert sweeping.command("optimizer=sgd", "optimizer.lr=1e30,1e-2") == 1
    assert (sweeping.outputs / failed / "result.json").stat().st_mtime_ns == stamp
    assert sweeping.command("optimizer=sgd", "optimizer.lr=1e30,1e-2", "sweep.retry_failed=true") == 1
    assert (sweeping.outputs / failed / "result.json").stat().st_mtime_ns > stamp


@pytest.mark.parametrize(
    "wrong", ["data.batch_size=16,0", "model=simple_cnn,simple_cmm", "optimizer.lrr=1,2", "data.min_side=1,9"]
)
def test_every_combination_is_checked_before_the_first_trains(sweeping, capsys, wrong):
    assert sweeping.command(wrong, "seed=1,2") == 2

    assert not sweeping.runs
    assert "do:" in capsys.readouterr().err


def test_duplicates_by_identity_are_trained_once(sweeping):
    assert sweeping.command("optimizer.lr=1e-3,0.001,1e-2") == 0
    assert len(sweeping.runs) == 2


def test_killed_and_continued_it_ends_as_if_it_had_not_been(sweeping, tmp_path):
    arguments = ("optimizer.lr=1e-3,3e-3,1e-2", "data.batch_size=128")
    for seconds in (0.4, 0.9):
        sweeping.kill_after(seconds, *arguments)
    assert sweeping.command(*arguments) == 0
    assert sweeping.statuses() == ["completed"] * 3
    assert len(sweeping.runs) == 3

    undisturbed = type(sweeping)(tmp_path / "undisturbed")
    undisturbed.command(*arguments)
    for name, result in undisturbed.runs.items():
        assert sweeping.runs[name]["metrics"] == result["metrics"]
    assert json.dumps(undisturbed.sweeps[0]["best"]["value"]) == json.dumps(sweeping.sweeps[0]["best"]["value"])


def test_a_list_of_grids_trains_once_what_they_have_in_common(sweeping, tmp_path):
    sweeps = tmp_path / "conf" / "sweep"
    sweeps.mkdir(parents=True)
    grids = "parameters:\n  - seed: [0, 1]\n  - optimizer.lr: [1e-3, 1e-2]\n"
    (sweeps / "mine.yaml").write_text(f"defaults: [grid]\n{grids}")
    assert sweeping.command("sweep=mine", f"hydra.searchpath=[file://{tmp_path / 'conf'}]") == 0
    (sweep,) = sweeping.sweeps
    tried = [run["overrides"] for run in sweep["runs"]]
    assert tried == [{"seed": 1}, {"optimizer.lr": 1e-3}, {"optimizer.lr": 1e-2}]  # the first is the second
    assert all("test=" not in result["command"] for result in sweeping.runs.values())


def test_a_value_on_the_command_line_replaces_those_of_the_file(sweeping, tmp_path):
    from visionlab.config import compose, resolved
    from visionlab.sweeps.plan import Plan
    from visionlab.sweeps.space import Reader

    base = resolved(compose(["sweep=report_002"]))
    plan = Plan(base, ["sweep=report_002", "optimizer.lr=0.01", "seed=1,2"], "report_002", Reader(None))
    (grid,) = plan.grids()
    assert grid == {
        "optimizer.lr": [0.01], "optimizer.momentum": [0.9, 0.5], "scheduler.gamma": [0.1, 0.01], "seed": [1, 2]
    }  # fmt: skip


def test_a_run_that_is_not_completed_is_continued_whatever_metrics_it_has(sweeping):
    arguments = ("optimizer.lr=1e-3,1e-2",)
    assert sweeping.command(*arguments) == 0
    directory = sweeping.outputs / sorted(sweeping.runs)[0]
    Run(directory).update(status="interrupted")
    assert sweeping.command(*arguments) == 0
    assert set(sweeping.statuses()) == {"completed"}


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["optimizer.lr=1e-3,1e-2"], ["optimizer.lr=1e-3,1e-2,1e-1"]),
        (["sweep=greedy", "optimizer.lr=1e-3,1e-2"], ["sweep=greedy", "optimizer.lr=1e-3,1e-2,1e-1"]),
        (
            ["sweep=optuna", "optimizer.lr=interval(1e-3,1e-1)", "sweep.n_trials=2"],
            ["sweep=optuna", "optimizer.lr=interval(1e-3,1e-1)", "sweep.n_trials=3"],
        ),
    ],
    ids=["grid", "greedy", "search"],
)
def test_a_sweep_whose_time_is_over_answers_what_it_has_and_begins_nothing(sweeping, capsys, arguments, more):
    assert sweeping.command(*arguments) == 0
    capsys.readouterr()

    assert sweeping.command(*arguments, "sweep.max_hours=1e-9") == 0
    printed = capsys.readouterr().out
    assert "2 of 2 trials were remembered" in printed
    assert "are over" not in printed, "nothing is left to continue"

    assert sweeping.command(*more, "sweep.max_hours=1e-9") == 0
    assert "are over" in capsys.readouterr().out
    assert len(sweeping.runs) == 2
    assert sweeping.command(*more) == 0
    assert len(sweeping.runs) == 3


def test_remembered_trials_are_tested_when_all_are_to_be(sweeping):
    assert sweeping.command("optimizer.lr=1e-3,1e-2") == 0
    began = {name: result["started"] for name, result in sweeping.runs.items()}
    assert sweeping.command("optimizer.lr=1e-3,1e-2", "sweep.test=all") == 0
    assert all("test/acc" in result["metrics"] for result in sweeping.runs.values())
    assert {name: result["started"] for name, result in sweeping.runs.items()} == began, "none is trained again"


def test_no_figure_of_the_last_table_is_cut_at_80_columns(capsys, tmp_path):
    values = {
        "optimizer.lr": 0.001, "optimizer.weight_decay": 1.234e-5, "data.batch_size": 128, "augment": "cifar_strong",
        "model": "efficientnet_cifar", "scheduler": "onecycle", "scheduler.warmup_epochs": 2, "trainer.devices": 1,
    }  # fmt: skip
    plan = SimpleNamespace(
        keys=list(values), replicates={}, objectives={"val/acc": "max"}, name="wide", dir=tmp_path, settings={},
        command_of=lambda values, directory: "",
    )  # fmt: skip
    tested, deviations = {"test/acc": 0.9078}, {"test/acc": 0.0321}
    best = Ranked(0, values, (0.9123,), (0.0456,), tested, deviations, 1234.5, (tmp_path / "run",), None)
    Display(plan, total=1, slots=1).close([best], [], [])
    table = capsys.readouterr().out.partition("\nrun ")[0]
    assert all(figure in table for figure in ("0.9123", "0.0456", "0.9078", "0.0321", "1234.5"))
    assert "…" not in table
    assert max(map(len, table.splitlines())) <= 80


@pytest.mark.parametrize(("mode", "best"), [("max", "lr=2"), ("min", "lr=1")])
def test_the_first_of_equal_trials_is_the_best_so_far(capsys, mode, best):
    plan = SimpleNamespace(keys=["optimizer.lr"], replicates={}, objectives={"val/x": mode}, name="equals")
    display = Display(plan, total=4, slots=1)
    for number, (lr, value) in enumerate(((1, 0.1), (2, 0.9), (3, 0.1), (4, 0.9))):
        display.told(Trial(number, {"optimizer.lr": lr}), Outcome("completed", (value,)), remembered=False)
    display.console.print(display._table())
    assert f"with {best}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (["hydra/launcher=parallel", "hydra.launcher.jobs=0"], "hydra.launcher.jobs=0 is not possible"),
        (["hydra/launcher=parallel", "hydra.launcher.jobs=-1"], "hydra.launcher.jobs=-1 is not possible"),
        (["hydra/launcher=parallel", "hydra.launcher.threads=all"], "hydra.launcher.threads=all is not possible"),
        (["hydra/launcher=slurm", "hydra.launcher.jobs=0"], "hydra.launcher.jobs=0 is not possible"),
        (["hydra/launcher=basic"], "hydra/launcher=sequential"),
    ],
)
def test_a_launcher_that_could_execute_nothing_is_refused(sweeping, capsys, wrong, says):
    assert sweeping.command("optimizer.lr=1e-3,1e-2", *wrong) == 2
    assert says in capsys.readouterr().err
    assert not sweeping.sweeps


@pytest.mark.parametrize(
    "wrong",
    ["sweep.objectives=val/loss", "sweep.objectives=[val/loss]", "sweep.replicates=[seed]", "sweep.parameters=seed"],
)
def test_what_belongs_to_keys_must_name_them(sweeping, capsys, wrong):
    assert sweeping.command("optimizer.lr=1e-3,1e-2", wrong) == 2
    assert "do: give {<key>: <value>, ...}" in capsys.readouterr().err


def test_a_trial_that_a_full_disk_interrupted_is_no_failure_and_goes_on(sweeping, capsys, monkeypatch):
    from visionlab.training.checkpoints import Checkpoints

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "on_train_epoch_end", full)
        assert sweeping.command("optimizer.lr=1e-2") == 1
    printed = capsys.readouterr().out
    assert "No space left" in printed and "failed" not in printed
    assert sweeping.statuses() == ["interrupted"]
    assert sweeping.command("optimizer.lr=1e-2") == 0
    assert sweeping.statuses() == ["completed"]


def test_a_failed_job_keeps_no_memory(tmp_path, monkeypatch):
    """Its traceback holds the frames in which its tensors lie, and those of Hydra a way back to it."""
    held = []

    def run_job(**_):
        ret, activations = SimpleNamespace(status=JobStatus.FAILED, _return_value=None), torch.ones(1)
        held.append(weakref.ref(activations))
        try:
            raise RuntimeError("out of memory")
        except RuntimeError as error:
            ret._return_value = error
        return ret

    monkeypatch.setattr(jobs, "run_job", run_job)
    executor = jobs.Sequential(None, None)
    executor.submit(jobs.Job(tmp_path, None))
    try:
        assert held[0]() is None
        ((_, ended),) = executor.wait()
        assert "out of memory" in ended.error
    finally:
        executor.close()
