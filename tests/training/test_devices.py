"""What this machine can compute on is asked before a run starts."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from PIL import Image

import visionlab
from quick import QUICK
from visionlab import runs
from visionlab.errors import DeviceError
from visionlab.models.simple_cnn import SimpleCNN
from visionlab.training import devices
from visionlab.training.ranks import needed

TRAINER = {"accelerator": "cpu", "devices": 1, "precision": "32-true"}


def test_tasks_of_slurm_need_a_number_for_each_node(monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "2")
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(DeviceError, match="--ntasks-per-node"):
        devices.check(TRAINER)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    devices.check(TRAINER)


def test_half_precision_on_the_cpu_is_refused():
    with pytest.raises(DeviceError, match="bf16-mixed"):
        devices.check(TRAINER | {"precision": "16-mixed"})


def test_a_run_of_half_precision_is_evaluated_on_a_cpu_all_the_same(quick_run, tmp_path):
    shutil.copytree(quick_run.dir, tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    config.write_text(config.read_text().replace("precision: 32-true", "precision: 16-mixed"))
    found = visionlab.evaluate(tmp_path / "run", "val", accelerator="cpu")
    assert found.metrics["acc"] == pytest.approx(quick_run.result["metrics"]["val/acc"])


@pytest.mark.process
def test_a_cpu_without_bfloat16_is_warned_of(tmp_path):
    """Here oneDNN is told to do without."""
    command = [
        sys.executable, "-m", "visionlab.train", *QUICK, "trainer.precision=bf16-mixed", f"outputs={tmp_path}",
    ]  # fmt: skip
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert "no bfloat16 arithmetic: trainer.precision=bf16-mixed is many times slower" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("accelerator", "precision", "optimizer", "native", "named"),
    [
        ("cpu", "32-true", "torch.optim.Adam", False, []),
        ("cpu", "bf16-mixed", "torch.optim.Adam", False, ["trainer.precision=bf16-mixed"]),
        ("cpu", "32-true", "timm.optim.Muon", False, ["optimizer=muon"]),
        ("cpu", "bf16-mixed", "timm.optim.Muon", True, []),
        ("gpu", "bf16-mixed", "timm.optim.Muon", False, []),
    ],
)
def test_only_what_a_cpu_without_bfloat16_computes_in_it_is_named(
    monkeypatch, accelerator, precision, optimizer, native, named
):
    monkeypatch.setattr(devices, "cpu_has_bfloat16", lambda: native)
    config = {"trainer": TRAINER | {"accelerator": accelerator, "precision": precision}}
    found = devices.slowly_computed(config | {"optimizer": {"_target_": optimizer}})
    assert [setting for setting, _ in found] == named


@pytest.mark.parametrize(
    ("accelerator", "strategy", "ranks"), [("auto", "auto", 2), ("gpu", "ddp", 2), ("cpu", "auto", 0)]
)
def test_auto_devices_are_all_gpus_whatever_the_strategy(monkeypatch, accelerator, strategy, ranks):
    """Or Lightning would start further processes itself, which wait for the lock of the first."""
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert needed({"accelerator": accelerator, "devices": "auto", "strategy": strategy}) == ranks


def refuse(words):
    """Raise, in training alone, what torch raises where memory ends: on a CPU by really asking for too much."""

    def forward(network, images):
        if network.training and words:
            raise torch.OutOfMemoryError(words)
        return torch.empty(2**52) if network.training else images.new_zeros(len(images), 10)

    return forward


@pytest.mark.parametrize(
    ("words", "amount"), [("CUDA out of memory. Tried to allocate 20.00 GiB. GPU 0 has", "20.00 GiB"), ("", "bytes")]
)
def test_a_training_that_does_not_fit_into_memory_says_what_to_do(tmp_path, monkeypatch, words, amount):
    monkeypatch.setattr(SimpleCNN, "forward", refuse(words))
    with pytest.raises(DeviceError, match=rf"no room for .*{amount} more\n  in: data.batch_size=64\n.*accumulate"):
        visionlab.train([*QUICK, "data.batch_size=64"], directory=tmp_path / "run")
    result = runs.Run(tmp_path / "run").result
    assert result["status"] == "failed" and "accumulate" in result["error"] and "traceback" not in result


@pytest.mark.parametrize(
    "words",
    [
        "CUDA error: out of memory",
        "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
        "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
    ],
)
def test_memory_is_refused_in_other_words_too(words):
    with pytest.raises(DeviceError, match="out of memory"), devices.enough_memory(64):
        raise RuntimeError(words)
    with pytest.raises(RuntimeError, match="illegal"), devices.enough_memory(64):
        raise RuntimeError("CUDA error: an illegal memory access was encountered")


def test_evaluation_and_prediction_that_do_not_fit_name_their_batch_size(quick_run, tmp_path, monkeypatch):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    monkeypatch.setattr(SimpleCNN, "forward", lambda *_: torch.empty(2**52))
    with pytest.raises(DeviceError, match=r"no room for .*\n  in: batch_size=16"):
        visionlab.evaluate(quick_run.dir, batch_size=16)
    with pytest.raises(DeviceError, match=r"no room for .*\n  in: batch_size=128"):
        visionlab.predict(quick_run.dir, tmp_path / "a.png")


def test_other_errors_of_a_training_are_left_as_they_are(tmp_path, monkeypatch):
    def broken(network, images):
        raise RuntimeError("shapes cannot be multiplied")

    monkeypatch.setattr(SimpleCNN, "forward", broken)
    with pytest.raises(RuntimeError, match="shapes"), devices.enough_memory(1):
        SimpleCNN(num_classes=2, image_size=32)(torch.zeros(1))
