"""What this machine can compute on is asked before a run starts."""

import pytest

from visionlab.errors import DeviceError
from visionlab.training import devices

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
