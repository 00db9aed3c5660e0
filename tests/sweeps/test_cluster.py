"""Sweeps on a real SLURM and a real PostgreSQL; skipped where there is none."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.cluster

LAUNCHER = [
    "hydra/launcher=slurm",
    "hydra.launcher.cpus_per_task=1",
    "hydra.launcher.mem=2GB",
    "hydra.launcher.time=10",
    "hydra.launcher.poll_seconds=1",
]
LONG = [
    "trainer.max_epochs=60",
    "data.train_fraction=1.0",
    "data.batch_size=16",
    "callbacks.checkpoint.every_n_steps=20",
]


def needs_slurm():
    if not shutil.which("sinfo") or subprocess.run(["sinfo", "-h"], capture_output=True, check=False).returncode:
        pytest.skip("no SLURM answers here")


@pytest.fixture
def slurm(sweeping):
    """Starts sweep commands as processes of their own, and asks the cluster about their jobs."""
    needs_slurm()
    started = []

    class Cluster:
        outputs = sweeping.outputs

        def start(self, *arguments):
            command = [sys.executable, "-m", "visionlab.train", "-m", *sweeping.base, *LAUNCHER, *arguments]
            log = (sweeping.outputs.parent / "sweep.log").open("a")
            process = subprocess.Popen([*command, f"outputs={sweeping.outputs}"], stdout=log, stderr=log)
            started.append(process)
            return process

        def jobs(self):
            """The ids of the jobs that were ever submitted, by the files that submitit left."""
            return {path.name.partition("_")[0] for path in sweeping.outputs.glob("sweeps/*/slurm/*_submitted.pkl")}

        def training(self):
            """The runs that have a checkpoint and are not at their end, with their jobs."""
            known = json.loads(next(iter(sweeping.outputs.glob("sweeps/*/slurm/jobs.json"))).read_text())
            running = {name for name, result in sweeping.runs.items() if result["status"] == "running"}
            with_checkpoint = {path.parents[1].name for path in sweeping.outputs.glob("*/checkpoints/last.ckpt")}
            return {name: known[name] for name in running & with_checkpoint}

        def until(self, condition, seconds=180):
            end = time.monotonic() + seconds
            while not (found := self.attempt(condition)):
                assert time.monotonic() < end, "it did not come to that in time"
                time.sleep(0.3)
            return found

        @staticmethod
        def attempt(condition):
            try:
                return condition()
            except (StopIteration, OSError, ValueError, KeyError):
                return None  # files that are being written

    cluster = Cluster()
    yield cluster
    for process in started:
        process.kill()
        process.wait()
    if jobs := cluster.jobs():
        subprocess.run(["scancel", *jobs], check=False)


def test_a_cancelled_job_does_not_stop_the_sweep(slurm, sweeping):
    process = slurm.start(*LONG, "optimizer.lr=1e-3,1e-2")
    name, job = next(iter(slurm.until(slurm.training).items()))
    subprocess.run(["scancel", job], check=True)
    assert process.wait(600) == 0
    assert sweeping.statuses() == ["completed"] * 2
    assert len(slurm.jobs()) == 4  # two, one of them again, and the test of the winner
    assert "Continuing the interrupted run" in (sweeping.outputs / name / "train.log").read_text()


def test_jobs_outlive_the_sweep_and_are_not_submitted_twice(slurm, sweeping):
    arguments = (*LONG, "optimizer.lr=1e-3,1e-2", "sweep.test=none")
    process = slurm.start(*arguments)
    slurm.until(slurm.training)
    process.kill()
    process.wait()
    assert slurm.start(*arguments).wait(600) == 0
    assert sweeping.statuses() == ["completed"] * 2
    assert len(slurm.jobs()) == 2


def test_a_job_that_is_preempted_goes_on_from_its_checkpoint(slurm, sweeping):
    process = slurm.start(*LONG, "optimizer.lr=1e-2,2e-2", "sweep.test=none")
    name, job = next(iter(slurm.until(slurm.training).items()))
    subprocess.run(["scontrol", "requeue", job], check=True)
    assert process.wait(900) == 0
    assert sweeping.statuses() == ["completed"] * 2
    assert len(slurm.jobs()) == 2
    assert "Continuing the interrupted run" in (sweeping.outputs / name / "train.log").read_text()
    assert sweeping.runs[name]["epochs"] == 60


def test_a_job_whose_time_is_over_queues_itself_again(slurm, sweeping):
    limits = ["hydra.launcher.time=3", "hydra.launcher.signal_delay_s=60", "trainer.max_epochs=3000"]
    process = slurm.start(*LONG, "optimizer.lr=1e-2,2e-2", "sweep.test=none", *limits)
    logs = sweeping.outputs.glob
    slurm.until(lambda: [log for log in logs("*/train.log") if "Continuing" in log.read_text()], 900)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 143
    assert len(slurm.jobs()) == 2


@pytest.fixture
def postgres(tmp_path):
    """A PostgreSQL server of its own, on a socket in a temporary folder; gives the URL of a database."""
    binaries = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not binaries:
        pytest.skip("no PostgreSQL is installed here")
    pytest.importorskip("psycopg")
    folder, tools = tmp_path / "postgres", binaries[-1]
    folder.mkdir()
    as_owner = []
    if os.getuid() == 0:  # it refuses to be run by root
        shutil.chown(folder, "postgres", "postgres")
        for parent in folder.parents:
            if parent != parent.parent and parent.owner() == "root":
                parent.chmod(parent.stat().st_mode | 0o011)
        as_owner = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]

    def run(*command):
        subprocess.run([*as_owner, *command], check=True, capture_output=True, cwd=folder)

    run(f"{tools}/initdb", "-D", f"{folder}/db", "-A", "trust", "-U", "visionlab")
    options = f"-k {folder} -c listen_addresses="
    run(f"{tools}/pg_ctl", "-D", f"{folder}/db", "-w", "-l", f"{folder}/log", "-o", options, "start")
    try:
        run(f"{tools}/createdb", "-h", str(folder), "-U", "visionlab", "study")
        yield f"postgresql+psycopg://visionlab@/study?host={folder}"
    finally:
        run(f"{tools}/pg_ctl", "-D", f"{folder}/db", "-w", "stop", "-m", "immediate")


def test_two_processes_work_on_one_study(sweeping, postgres):
    import optuna

    arguments = [
        *sweeping.base,
        "sweep=optuna",
        "optimizer.lr=tag(log,interval(1e-3,1e-1))",
        "sweep.n_trials=10",
        "sweep.name=shared",
        f"sweep.storage='{postgres}'",
        "trainer.max_epochs=8",
        "data.batch_size=16",
    ]
    command = [sys.executable, "-m", "visionlab.train", "-m", *arguments, f"outputs={sweeping.outputs}"]
    workers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    printed = [worker.communicate(timeout=600)[0] for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0]

    study = optuna.load_study(study_name="shared", storage=postgres)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 10
    assert len(sweeping.runs) == 10
    assert len(sweeping.sweeps[0]["runs"]) == 10
    owners = {trial.user_attrs["owner"] for trial in study.trials}
    assert len(owners) == 2, printed
