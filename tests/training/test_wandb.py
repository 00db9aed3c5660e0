"""What Weights & Biases is told, read from the file that it would upload."""

import json
import signal
import struct
import time
from pathlib import Path

import pytest
import wandb
from wandb.proto import wandb_internal_pb2

import visionlab
from quick import QUICK
from visionlab.errors import ConfigError, UserError
from visionlab.sweeps.pruning import Pruned
from visionlab.training.interruption import Interrupted
from visionlab.training.records import Records

RUN = [*QUICK, "logger=wandb"]


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    for name, value in {"MODE": "offline", "SILENT": "true", "ERROR_REPORTING": "false"}.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    yield
    assert wandb.run is None, "the next run of this process would write into it"
    wandb.teardown()


@pytest.fixture
def no_png():
    """W&B shows the figures of the run."""


def told(directory: Path):
    """Return of each of its files, the oldest first, the run's name there, settings, rows and summary."""
    files = sorted(directory.glob("wandb/offline-run-*/*.wandb"), key=lambda file: file.stat().st_mtime)
    for _ in range(100):  # its own process writes them
        read = [_read(file.read_bytes()) for file in files]
        if all("exit" in summary for *_, summary in read):
            break
        time.sleep(0.1)
    return read


def _read(data: bytes):
    """Read records in the log format of LevelDB: blocks of 32 KiB, of fragments with a head of 7 bytes."""
    name, settings, rows, summary = "", {}, [], {}  # the summary with the exit code, by which W&B tells how it ended
    place, whole = 7, b""
    while place + 7 <= len(data):
        if 32768 - place % 32768 < 7:
            place += 32768 - place % 32768
            continue
        length, kind = struct.unpack("<4xHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + length]
        place += 7 + length
        if kind not in (1, 4):  # neither a whole record nor its last part
            continue
        record, whole = wandb_internal_pb2.Record.FromString(whole), b""
        if record.HasField("run"):
            name = record.run.run_id, record.run.display_name, record.run.project
        for update in record.config.update:
            settings[update.key] = json.loads(update.value_json)
        if record.HasField("history"):
            rows.append({"/".join(each.nested_key): json.loads(each.value_json) for each in record.history.item})
        for update in record.summary.update:
            summary[update.key or "/".join(update.nested_key)] = json.loads(update.value_json)
        if record.HasField("exit"):
            summary["exit"] = record.exit.exit_code
    return name, settings, rows, summary


def test_settings_curves_results_and_pictures(tmp_path):
    run = visionlab.train([*RUN, "logger.project=shapes"], directory=tmp_path / "digits-cnn")
    (((_, name, project), settings, rows, summary),) = told(run.dir)
    assert (name, project) == ("digits-cnn", "shapes")
    assert settings["optimizer.lr"] == 0.01 and settings["model.network.dense_units"] == 32
    assert not any("_target_" in key or "root" in key for key in settings)
    assert settings["optimizer"] == "Adam" and settings["callbacks.nan_guard.every_n_steps"] == 50
    for metric in ("train/loss", "train/acc", "val/acc", "val/f1", "lr"):
        sent = [row[metric] for row in rows if metric in row]
        assert sent == pytest.approx([row[metric] for row in run.metrics], abs=1e-6), metric
    assert summary["best/val/acc"] == pytest.approx(run.result["metrics"]["val/acc"])
    assert summary["best/test/acc"] == pytest.approx(run.result["metrics"]["test/acc"])
    pictures = {file.name.split("_")[0] for file in run.dir.glob("wandb/offline-run-*/files/media/images/*.png")}
    assert {"confusion", "samples"} <= pictures
    assert summary["exit"] == 0


@pytest.mark.parametrize(
    ("error", "code"), [(Pruned("hopeless"), 0), (Interrupted(signal.SIGTERM), 255), (ValueError("broken"), 1)]
)
def test_how_a_run_ended(tmp_path, monkeypatch, error, code):
    """A trial that a sweep pruned is no failure."""

    def end(*_):
        raise error

    monkeypatch.setattr(Records, "on_validation_end", end, raising=False)
    with pytest.raises(type(error)):
        visionlab.train(RUN, directory=tmp_path / "run")
    ((*_, summary),) = told(tmp_path / "run")
    assert summary["exit"] == code


def test_a_run_that_continues_is_the_same_and_one_that_begins_is_another(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("the disk is gone")

    with monkeypatch.context() as patch:
        patch.setattr(Records, "on_validation_end", fail, raising=False)
        with pytest.raises((OSError, UserError)):
            visionlab.train(RUN, directory=tmp_path / "run")

    def names(directory: Path) -> list[str]:
        return [name for (name, *_), *_ in told(directory)]

    visionlab.train(RUN, directory=tmp_path / "run")
    continued = names(tmp_path / "run")
    assert len(continued) == 2 and continued[0] == continued[1]
    visionlab.train(RUN, directory=tmp_path / "other")
    visionlab.train([*RUN, "force=true"], directory=tmp_path / "run")
    anew = names(tmp_path / "run") + names(tmp_path / "other")
    assert len({continued[0], *anew}) == 3


def test_without_an_account_it_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    wandb.teardown()  # a process reads its settings once
    with pytest.raises(ConfigError, match=r"cannot be reached(.|\n)*WANDB_MODE=offline"):
        visionlab.train(RUN, directory=tmp_path / "run")


def test_without_the_library_it_names_it(tmp_path, monkeypatch):
    monkeypatch.setattr("lightning.pytorch.loggers.wandb._WANDB_AVAILABLE", False)
    with pytest.raises(ConfigError, match="wandb is not installed") as caught:
        visionlab.train(RUN, directory=tmp_path / "run")
    assert "pip install wandb" in caught.value.remedy


def test_a_logger_of_another_library_gets_the_settings(tmp_path):
    other = ["logger=none", "logger._target_=lightning.pytorch.loggers.CSVLogger"]
    run = visionlab.train([*QUICK, *other], directory=tmp_path / "run")
    (settings,) = run.dir.glob("lightning_logs/*/hparams.yaml")  # its metrics.csv is not in the way of ours
    assert "optimizer.lr: 0.01" in settings.read_text() and len(run.metrics) == 2


def test_what_wandb_does_not_know_is_said(tmp_path):
    with pytest.raises(ConfigError, match="tagz"):
        visionlab.train([*RUN, "+logger.tagz=[a]"], directory=tmp_path / "run")


def test_a_test_that_comes_later_is_told_too(tmp_path):
    """As of the winner of a sweep."""
    visionlab.train([*RUN, "test=false"], directory=tmp_path / "run")
    run = visionlab.train(RUN, directory=tmp_path / "run")
    first, second = told(tmp_path / "run")
    assert first[0] == second[0] and "best/test/acc" not in first[3]
    assert second[3]["best/test/acc"] == pytest.approx(run.result["metrics"]["test/acc"])
