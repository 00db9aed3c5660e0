"""Which GPU a worker gets; what trains in workers is tested where sweeps are killed."""

import os
from multiprocessing.connection import Connection

import pytest
from omegaconf import OmegaConf

from visionlab.sweeps.jobs import Job
from visionlab.sweeps.parallel import Parallel
from visionlab.train import job


class Idle:
    """A process that holds its end of the pipe until it dies."""

    exitcode = -9

    def __init__(self, target, args, name):
        self.pipe, _, self.environment = args

    def start(self):
        self.pipe = Connection(os.dup(self.pipe.fileno()))

    def is_alive(self):
        return not self.pipe.closed

    def join(self, timeout=None):
        self.pipe.close()


@pytest.mark.parametrize("dying", [0, 1, 2])
def test_the_successor_of_a_worker_that_died_gets_its_gpu(tmp_path, monkeypatch, dying):
    executor = Parallel(job, slots=3, threads=1, gpus=["4", "5", "6"])
    monkeypatch.setattr(executor._context, "Process", Idle, raising=False)
    jobs = [Job(tmp_path / str(number), OmegaConf.create()) for number in range(3)]
    for one in jobs:
        executor.submit(one)

    def used():
        return sorted(worker.process.environment["CUDA_VISIBLE_DEVICES"] for worker in executor._workers)

    assert used() == ["4", "5", "6"]
    executor._workers[dying].process.pipe.close()
    ((lost, ended),) = executor.wait()
    assert lost is jobs[dying] and ended.killed
    executor.submit(lost)
    assert used() == ["4", "5", "6"]
    executor.close()


@pytest.mark.parametrize(("devices", "gpus", "slots"), [(1, ["0", "1", "2", "3", "5"], 5), (2, ["0,1", "2,3"], 2)])
def test_a_worker_gets_as_many_gpus_as_its_runs_have_devices(tmp_path, monkeypatch, devices, gpus, slots):
    from hydra_plugins.visionlab_sweepers.launchers import ParallelLauncher

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3,5")
    launcher = ParallelLauncher(jobs="auto", threads="auto", jobs_per_gpu=1)
    trainer = {"accelerator": "gpu", "devices": devices}
    launcher.setup(hydra_context=None, task_function=job, config=OmegaConf.create({"trainer": trainer}))
    executor = launcher.executor(tmp_path)
    assert (executor._gpus, executor.slots) == (gpus, slots)
    launcher.jobs_per_gpu = 3
    assert launcher.executor(tmp_path).slots == (3 * slots if gpus else slots)


def test_a_worker_that_died_without_a_job_is_replaced(tmp_path, monkeypatch):
    executor = Parallel(job, slots=1, threads=1, gpus=["4", "5"])
    monkeypatch.setattr(executor._context, "Process", Idle, raising=False)
    executor.submit(Job(tmp_path / "first", OmegaConf.create()))
    (dead,) = executor._workers
    dead.job = None  # it has ended
    dead.process.join()
    executor.submit(Job(tmp_path / "second", OmegaConf.create()))
    (worker,) = executor._workers
    assert worker.process.environment["CUDA_VISIBLE_DEVICES"] == "4"
    executor.close()
