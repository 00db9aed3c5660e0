"""tune measures, advises, and its advice is a config that train takes."""

import csv
import math
from pathlib import Path

import pytest
import torch

import visionlab
from quick import QUICK
from visionlab.config import compose
from visionlab.errors import ConfigError, DeviceError
from visionlab.models.simple_cnn import SimpleCNN
from visionlab.training import build, tuning
from visionlab.training.timing import Variant, step_of


def test_speed_times_every_setting_against_the_default(tmp_path, capsys):
    rows = visionlab.tune([*QUICK, "steps=2", "compile=false"], directory=tmp_path)
    settings = [(row["precision"], row["channels_last"]) for row in rows]
    assert sorted(settings) == [(p, c) for p in ("32-true", "bf16-mixed") for c in (False, True)]
    assert rows[settings.index(("32-true", True))]["times_the_default"] == 1
    assert rows == sorted(rows, key=lambda row: -row["images_per_second"])
    assert len(list(csv.DictReader((tmp_path / "speed.csv").open()))) == len(rows)
    assert "to paste:" in capsys.readouterr().out


def test_a_network_that_the_config_compiles_is_not_compiled_in_the_variants_that_are_not(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(SimpleCNN, "compile", lambda network: seen.append("compiled"))
    visionlab.tune([*QUICK, "steps=1", "compile=false", "model.compile=true"], directory=tmp_path)
    assert not seen


@pytest.mark.parametrize(("precision", "dtype"), [("16-mixed", torch.float16), ("bf16-mixed", torch.bfloat16)])
def test_the_precision_that_is_timed_is_the_one_of_the_training(precision, dtype):
    config, seen = compose(QUICK), []
    data = build.data_module(config)
    classifier = build.classifier(config, data)
    classifier.network.register_forward_hook(lambda network, images, logits: seen.append(logits.dtype))
    optimizer = torch.optim.SGD(classifier.parameters(), lr=0.1)
    step_of(classifier, optimizer, iter(data.train_dataloader()), Variant(precision), data.preprocess)()
    assert seen == [dtype]


def test_a_test_of_the_learning_rate_says_what_it_leaves_out(tmp_path, caplog):
    visionlab.tune([*QUICK, "what=lr", "optimizer.layer_decay=0.7"], directory=tmp_path)
    assert "optimizer.layer_decay" in caplog.text


def test_the_advice_is_a_config_to_train_with(tmp_path):
    visionlab.tune([*QUICK, "what=batch_size", "steps=1"], directory=tmp_path)
    silent = [
        each for each in QUICK if not each.startswith("data.batch_size")
    ]  # a command line counts more than advice
    advised = compose([*silent, f"hydra.searchpath=[file://{tmp_path}]", "+advice=batch_size"])
    rows = list(csv.DictReader((tmp_path / "batch_size.csv").open()))
    assert str(advised.data.batch_size) in {row["batch_size"] for row in rows}
    assert (tmp_path / "advice" / "batch_size.yaml").read_text().startswith("# @package _global_")


def test_a_speed_is_of_the_images_that_there_are(tmp_path, monkeypatch):
    """The last batch of an epoch is smaller, and a set may have fewer images than a batch."""
    monkeypatch.setattr(tuning, "in_turns", lambda steps, rounds, device: dict.fromkeys(steps, 1.0))
    given, really = [], tuning.endless
    monkeypatch.setattr(tuning, "endless", lambda loader: given.append(really(loader)) or given[-1])
    rows = visionlab.tune([*QUICK, "what=batch_size", "steps=1"], directory=tmp_path)
    assert [row["images_per_second"] for row in rows] == [row["batch_size"] for row in rows]
    for batches, row in zip(given, rows, strict=True):
        assert {len(next(batches).labels) for _ in range(8)} == {row["batch_size"]}
    train = visionlab.train([*QUICK, "trainer.max_epochs=1"], directory=tmp_path / "run").result["data"]["train"]
    rows = visionlab.tune([*QUICK, "data.batch_size=100000", "compile=false", "steps=1"], directory=tmp_path)
    assert {row["images_per_second"] for row in rows} == {train}


@pytest.mark.parametrize(("seconds", "advised"), [(0.98, False), (0.5, True)])
def test_a_gain_that_may_be_noise_is_not_advised(tmp_path, monkeypatch, seconds, advised):
    def timed(config, data, device, variants):
        return {variant: seconds if variant == Variant("bf16-mixed", True) else 1.0 for variant in variants}

    monkeypatch.setattr(tuning, "_time", timed)
    visionlab.tune([*QUICK, "compile=false"], directory=tmp_path)
    assert ("precision: bf16-mixed" in (tmp_path / "advice" / "speed.yaml").read_text()) == advised


def test_the_smallest_batch_that_is_nearly_the_fastest_is_advised(tmp_path, monkeypatch):
    speeds = {16: 100.0, 32: 180.0, 64: 220.0, 128: 228.0, 256: 230.0, 512: 200.0}  # images a second

    def timed(config, data, device, variants):
        return {variants[0]: data.batch_size / speeds[data.batch_size]}

    monkeypatch.setattr(tuning, "_time", timed)
    rows = visionlab.tune([*QUICK, "what=batch_size"], directory=tmp_path)
    assert [row["images_per_second"] for row in rows] == list(speeds.values())
    assert "batch_size: 64\n" in (tmp_path / "advice" / "batch_size.yaml").read_text()


@pytest.mark.parametrize("fits", [0, 32])
def test_batch_sizes_end_where_memory_does(tmp_path, monkeypatch, fits):
    really = SimpleCNN.forward

    def forward(network, images):
        if len(images) > fits:
            raise RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GiB). Tried to allocate 1.00 GiB")
        return really(network, images)

    monkeypatch.setattr(SimpleCNN, "forward", forward)
    asked = [*QUICK, "what=batch_size", "steps=1"]
    if fits:
        assert [row["batch_size"] for row in visionlab.tune(asked, directory=tmp_path)] == [16, 32]
    else:
        with pytest.raises(DeviceError, match="out of memory with 16 images"):
            visionlab.tune(asked, directory=tmp_path)


@pytest.mark.parametrize("door", [lambda asked: visionlab.tune([*asked, "steps=1"]), visionlab.probe])
def test_a_lack_of_memory_is_said(tmp_path, monkeypatch, door):
    def forward(network, images):
        raise RuntimeError("MPS backend out of memory (MPS allocated: 8.00 GiB). Tried to allocate 1.00 GiB")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(SimpleCNN, "forward", forward)
    with pytest.raises(DeviceError, match="no room for 1") as raised:
        door([*QUICK, "data.batch_size=64"])
    assert raised.value.where == "data.batch_size=64"


def test_the_range_test_suggests_a_rate_between_its_ends(tmp_path):
    rows = visionlab.tune([*QUICK, "what=lr", "min_lr=1e-5", "max_lr=1"], directory=tmp_path)
    assert rows[0]["lr"] == pytest.approx(1e-5) and rows[0]["lr"] < rows[-1]["lr"] <= 1
    assert (tmp_path / "lr.png").stat().st_size > 1000
    assert not list(tmp_path.rglob("*.ckpt")) and not Path("digests.json").exists(), "the test leaves its checkpoint"
    advice = (tmp_path / "advice" / "lr.yaml").read_text()
    assert (
        "optimizer" in advice
        and 1e-5 < compose([f"hydra.searchpath=[file://{tmp_path}]", "+advice=lr"]).optimizer.lr < 1
    )
    assert rows[0]["loss"] == pytest.approx(math.log(10), rel=0.1), "a fresh network guesses among ten classes"


def test_a_range_in_which_all_diverges_gives_no_rate(tmp_path, capsys):
    visionlab.tune([*QUICK, "what=lr", "min_lr=100", "max_lr=1e6"], directory=tmp_path)
    assert "the loss diverged at once" in capsys.readouterr().out
    assert (tmp_path / "advice" / "lr.yaml").read_text().endswith("{}\n") and (tmp_path / "lr.png").is_file()


def test_what_cannot_be_tuned_is_said(tmp_path):
    with pytest.raises(ConfigError, match="did you mean 'speed'"):
        visionlab.tune(["what=spead"], directory=tmp_path)


@pytest.mark.parametrize(
    ("given", "says"), [("min_lr=0", "above 0"), ("min_lr=1", "not below"), ("compile=maybe", "true, false")]
)
def test_what_cannot_be_measured_is_said(tmp_path, given, says):
    with pytest.raises(ConfigError, match=says):
        visionlab.tune([*QUICK, "what=lr", "max_lr=0.1", given], directory=tmp_path)
