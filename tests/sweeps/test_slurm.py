"""What SLURM, or submitit, refuses; commands of SLURM's names stand in for a cluster."""

import os

import pytest


@pytest.fixture
def refusing(tmp_path, monkeypatch):
    """A cluster that takes no job."""
    (tmp_path / "bin").mkdir()
    for name, script in {"srun": "", "squeue": "", "sbatch": "echo 'invalid partition: gpuu' >&2; exit 1"}.items():
        (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / "bin" / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("hydra.launcher.partition=gpuu", "SLURM refuses the job: invalid partition: gpuu"),
        ("+hydra.launcher.walltime=1", "walltime"),
        ("hydra.launcher.setup=module", "SLURM cannot be asked for this"),
    ],
    ids=["cluster", "unknown", "type"],
)
def test_what_a_cluster_refuses_is_said_in_a_few_lines(refusing, sweeping, capsys, given, says):
    assert sweeping.command("optimizer.lr=1e-3,1e-2", "hydra/launcher=slurm", given) == 2
    assert says in capsys.readouterr().err
    assert not sweeping.runs
