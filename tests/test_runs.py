"""Identity and memory: the same question has one answer, another question has another."""

import copy
import json
import logging
import multiprocessing
import os
import shutil
import time

import pytest
from PIL import Image

import visionlab
from quick import QUICK
from visionlab import runs
from visionlab.config import compose, resolved
from visionlab.errors import RunError
from visionlab.runs import Run


def identity(*overrides):
    return runs.identity(resolved(compose([*QUICK, *overrides])))


def test_what_cannot_change_the_outcome_does_not_change_the_identity():
    base = identity()
    for same in (
        ["outputs=elsewhere"],
        ["logger=tensorboard"],
        ["callbacks.progress.show=true"],
        ["callbacks.checkpoint.every_n_steps=7"],
        ["data.cache_dir=/somewhere"],
        ["data.root=/elsewhere"],  # the digits are the same wherever they lie
        ["optimizer.lr=1e-2"],
        ["optimizer.lr=0.010"],
        ["test=false"],
    ):
        assert identity(*same) == base, same
    assert runs.identity(resolved(compose(list(reversed(QUICK))))) == base


def test_what_changes_the_outcome_changes_the_identity():
    different = [
        [], ["optimizer.lr=0.02"], ["seed=1"], ["init_seed=1"], ["data.batch_size=64"], ["trainer.max_epochs=3"],
        ["scheduler=step"], ["augment=flip"], ["model.network.dropout=0.1"], ["trainer.accelerator=auto"],
        ["monitor=val/loss"], ["trainer.limit_train_batches=1"], ["+trainer.overfit_batches=1"],
        ["+trainer.overfit_batches=1.0"],
    ]  # fmt: skip
    assert len({identity(*overrides) for overrides in different}) == len(different)


# What conf/ marks as a matter of place; all else must tell runs apart, or one answers for another.
PLACES = (
    "outputs", "force", "resume", "test", "logger", "sweep", "reference", "callbacks.progress", "callbacks.checkpoint",
    "callbacks.sweep", "data.root", "data.published", "data.cache_dir", "data.download", "data.workers",
)  # fmt: skip


def test_every_setting_tells_runs_apart_but_for_those_of_place():
    def leaves(node, prefix=""):
        for key, value in node.items():
            yield from leaves(value, f"{prefix}{key}.") if isinstance(value, dict) else [f"{prefix}{key}"]

    plain = resolved(compose([*QUICK, "augment=flip", "scheduler=step"]))
    keys, base = list(leaves(plain)), runs.identity(plain)
    assert len(keys) > 100
    for key in keys:
        other = copy.deepcopy(plain)
        *parents, last = key.split(".")
        node = other
        for parent in parents:
            node = node[parent]
        node[last] = "another"
        of_place = any(key == place or key.startswith(f"{place}.") for place in PLACES)
        assert (runs.identity(other) == base) == of_place, key


def test_one_batch_is_not_all_batches():
    plain = resolved(compose(QUICK))
    limits = [f"{kind}_batches" for kind in ("limit_train", "limit_val", "limit_test", "overfit")]
    for key in limits:
        one, whole = ({**plain, "trainer": plain["trainer"] | {key: value}} for value in (1, 1.0))
        assert runs.identity(one) != runs.identity(whole), key


def test_a_folder_of_ones_own_is_known_by_its_path(tmp_path, monkeypatch):
    def of(root):
        return runs.identity(resolved(compose(["data=folder", f"data.root={root}"])))

    assert of(tmp_path / "a") != of(tmp_path / "b")
    monkeypatch.chdir(tmp_path)
    assert of(tmp_path / "a") == of("a")


def test_the_directory_is_what_the_design_says(quick_run):
    assert quick_run.dir.name == f"digits-simple_cnn-{identity()}"
    for file in (
        ".hydra/overrides.yaml", "config.yaml", "checkpoints/best.ckpt", "checkpoints/last.ckpt", "metrics.csv",
        "predictions.csv", "confusion.csv", "result.json", "report.html", "layers.csv", "model.txt", "samples.npz",
    ):  # fmt: skip
        assert (quick_run.dir / file).is_file(), file
    assert sorted(path.name for path in (quick_run.dir / "checkpoints").iterdir()) == [
        "best.ckpt",
        "digests.json",
        "last.ckpt",
    ]
    assert list((quick_run.dir / "figures").glob("*.png"))
    result = quick_run.result
    assert result["status"] == "completed"
    for key in (
        "error", "command", "overrides", "seed", "started", "seconds", "config_hash", "data", "model", "best_epoch",
        "epochs", "metrics", "images_per_second", "reference", "environment",
    ):  # fmt: skip
        assert key in result, key
    assert {"fit", "total"} <= set(result["seconds"])
    assert result["data"]["train"] + result["data"]["val"] + result["data"]["test"] == 1797
    assert len(quick_run.predictions) == result["data"]["val"] + result["data"]["test"]
    right = [int(row["correct"]) for row in quick_run.predictions if row["split"] == "test"]
    assert sum(right) / len(right) == pytest.approx(result["metrics"]["test/acc"], abs=1e-7)


def test_asked_again_it_answers_from_memory_and_says_how_to_train_again(quick_run, capsys):
    before = (quick_run.dir / "checkpoints/best.ckpt").stat().st_mtime_ns
    again = visionlab.train([*QUICK, f"outputs={quick_run.dir.parent}"])
    assert again.dir == quick_run.dir
    assert (quick_run.dir / "checkpoints/best.ckpt").stat().st_mtime_ns == before
    said = capsys.readouterr().out
    assert "Remembered from" in said and "force=true" in said


def test_a_set_without_a_test_split_is_remembered_and_its_new_photographs_are_told(tmp_path, capsys):
    def photograph(kind, number):
        path = tmp_path / "photos" / kind / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (40 * (kind == "cat"), 9 * number, 100)).save(path)

    for number in range(8):
        photograph("cat", number)
        photograph("dog", number)
    asked = [
        *QUICK, "data=folder", f"data.root={tmp_path / 'photos'}", "data.image_size=8", f"outputs={tmp_path}",
        "data.batch_size=4",
    ]  # fmt: skip
    visionlab.train(asked)
    capsys.readouterr()
    visionlab.train(asked)
    said = capsys.readouterr().out
    assert "Remembered from" in said and "since then" not in said
    photograph("dog", 8)
    visionlab.train(asked)
    said = " ".join(capsys.readouterr().out.split())
    assert "Remembered from" in said and "since then: the images have changed: 17 files, were 16" in said
    (tmp_path / "photos").rename(tmp_path / "moved")
    visionlab.train(asked)
    assert "since then" not in capsys.readouterr().out


def test_force_trains_again_and_gives_the_same(quick_run, tmp_path):
    overrides = [*QUICK, f"outputs={tmp_path}"]
    first = visionlab.train(overrides)
    started, metrics = first.result["started"], first.result["metrics"]
    (first.dir / "leftover.csv").write_text("from an earlier attempt")
    time.sleep(1)
    again = visionlab.train([*overrides, "force=true"])
    assert again.dir == first.dir and again.result["started"] != started
    assert not (first.dir / "leftover.csv").exists()
    assert again.result["metrics"] == metrics == quick_run.result["metrics"]


def test_a_run_trained_without_its_test_gets_it_when_asked(quick_run, tmp_path):
    overrides = [*QUICK, f"outputs={tmp_path}"]
    run = visionlab.train([*overrides, "test=false"])
    assert "test/acc" not in run.result["metrics"]
    weights = (run.dir / "checkpoints/best.ckpt").stat().st_mtime_ns
    same = visionlab.train(overrides)
    assert same.dir == run.dir
    assert same.result["metrics"] == quick_run.result["metrics"]
    assert (run.dir / "checkpoints/best.ckpt").stat().st_mtime_ns == weights


@pytest.mark.parametrize("status", ["failed", "pruned"])
def test_only_a_completed_run_is_an_answer(quick_run, tmp_path, status):
    directory = tmp_path / "run"
    known = quick_run.result["config_hash"]
    Run(directory).update(status=status, config_hash=known, metrics={"test/acc": 1.0}, evaluated=["val", "test"])
    run = visionlab.train(QUICK, directory=directory)
    assert run.result["metrics"] == quick_run.result["metrics"]


@pytest.mark.parametrize("status", ["completed", "interrupted", "running"])
def test_a_directory_named_by_hand_does_not_answer_for_other_settings(tmp_path, status):
    run = visionlab.train([*QUICK, "trainer.max_epochs=1"], directory=tmp_path / "run")
    run.update(status=status)
    with pytest.raises(RunError, match="other settings"):
        visionlab.train([*QUICK, "trainer.max_epochs=1", "seed=5"], directory=run.dir)
    assert visionlab.train([*QUICK, "trainer.max_epochs=1", "test=false"], directory=run.dir).status == "completed"
    other = visionlab.train([*QUICK, "trainer.max_epochs=1", "seed=5", "force=true"], directory=run.dir)
    assert other.result["seed"] == 5


def test_a_result_that_was_half_written_is_no_answer(tmp_path):
    (tmp_path / "result.json").write_text('{"status": "comp')
    assert Run(tmp_path).status is None
    with pytest.raises(RunError, match="no run lies here"):
        Run.open(tmp_path)


def test_a_folder_that_holds_runs_names_the_latest(tmp_path):
    outputs = tmp_path / "outputs"
    for age, name in enumerate(("b", "c", "a")):
        Run(outputs / name).update(status="completed")
        os.utime(outputs / name / "result.json", (10**9 + age % 2, 10**9 + age % 2))
    (outputs / "no run").mkdir()
    (outputs / "no run/result.json").write_text("{")
    with pytest.raises(RunError, match=f"3 one level below(.|\n)*give the latest, {outputs / 'c'}$"):
        Run.open(outputs)
    for name in ("a", "c"):
        shutil.rmtree(outputs / name)
    with pytest.raises(RunError, match=f"give the one in it, {outputs / 'b'}$"):
        Run.open(outputs)


@pytest.mark.parametrize("content", [None, "", "model: [", "[1]"])
def test_a_run_without_its_config_says_so(quick_run, tmp_path, content):
    """As a copy of some of its files."""
    (tmp_path / "result.json").write_text(json.dumps(quick_run.result))
    if content is not None:
        (tmp_path / "config.yaml").write_text(content)
    for use in (visionlab.load, visionlab.evaluate, lambda run: visionlab.train([f"resume={run}"])):
        with pytest.raises(RunError, match=r"config cannot be read(.|\n)*config\.yaml(.|\n)*whole directory"):
            use(tmp_path)


def _hold(directory, seconds, acquired):
    with Run(directory).lock():
        acquired.set()
        time.sleep(seconds)
        runs.write_atomically(directory / "done", "yes")


def test_a_second_process_waits_for_the_first_and_says_so(tmp_path, capfd):
    context = multiprocessing.get_context("fork")
    acquired = context.Event()
    first = context.Process(target=_hold, args=(tmp_path, 0.5, acquired))
    first.start()
    acquired.wait(10)
    with Run(tmp_path).lock():
        assert (tmp_path / "done").exists(), "the lock was had while the first process held it"
    first.join()
    assert f"process {first.pid}" in capfd.readouterr().out


def test_nobody_removes_the_directory_of_a_run_that_is_being_prepared(tmp_path):
    """One that decodes its images has written nothing yet, and whoever waits for it may leave."""
    (tmp_path / "run" / ".hydra").mkdir(parents=True)
    mine = Run(tmp_path / "run")
    with mine.lock():
        mine.clear()
        assert "process" in mine._holder()
        Run(tmp_path / "run").discard_if_unused()
        assert mine.dir.exists() and Run(mine.dir).busy
        mine.discard_if_unused()
        assert not mine.dir.exists(), "its own process may"
    mine.dir.mkdir()
    Run(mine.dir).discard_if_unused()
    assert not mine.dir.exists()


def test_a_result_is_replaced_in_one_step(tmp_path, monkeypatch):
    run = Run(tmp_path)
    run.update(status="running")
    monkeypatch.setattr(runs.os, "fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(OSError, match="No space"):
        run.update(status="completed")
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "running"
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_a_directory_that_is_discarded_lets_go_of_its_log(tmp_path):
    handler = logging.FileHandler(tmp_path / "run" / "train.log", delay=True)
    (tmp_path / "run").mkdir()
    logging.getLogger().addHandler(handler)
    Run(tmp_path / "run").discard_if_unused()
    logging.getLogger("anyone").error("this would raise, for the file has no folder any more")
    assert not (tmp_path / "run").exists() and handler not in logging.getLogger().handlers
