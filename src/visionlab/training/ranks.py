"""More than one device: every process of a run trains the same config, into one run directory.

Under Hydra's multirun Lightning's own launcher starts the whole sweep anew in each further process, and the ranks of
one process group may then train different hyperparameters without a word. So the door starts the ranks itself, with
torchrun, on a config that lies in a file; what has been decided (from which checkpoint to go on) lies beside it.

A rank that somebody else started (torchrun, srun) is welcome too: rank 0 decides, and the others wait for its word.
"""

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from visionlab.errors import RunError
from visionlab.machine import cores
from visionlab.runs import Run, write_atomically

STARTED_BY_US = "VISIONLAB_RANK"
PATIENCE = 600  # seconds that a rank waits for rank 0 to have begun the run, whose lock another process may hold


def rank() -> int | None:
    """Return the global rank of this process, or None where it belongs to no group."""
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and "RANK" in os.environ:
        return int(os.environ["RANK"])
    if int(os.environ.get("SLURM_NTASKS", 1)) > 1 and "SLURM_PROCID" in os.environ:
        return int(os.environ["SLURM_PROCID"])
    return None


def needed(trainer: Mapping[str, Any]) -> int:
    """Return how many ranks this process must start for a trainer config; 0 where it computes itself."""
    if rank() is not None:
        return 0
    count = trainer["devices"]
    if count == "auto":
        import torch

        count = torch.cuda.device_count() if trainer["accelerator"] in ("auto", "gpu", "cuda") else 1
    return int(count) if int(count) > 1 else 0


def launch(run: Run, count: int, overrides: list[str], resume_from: str | None) -> None:
    """Train a run on several devices of this machine and wait for its end. The caller holds the lock.

    Raises:
        RunError: A rank failed; the run's result and the terminal say how.
        Interrupted: A signal came.
    """
    from visionlab.training.interruption import Interrupted

    plan = {"overrides": overrides, "resume_from": resume_from}
    write_atomically(run.dir / ".ranks.json", json.dumps(plan))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}",
               "-m", "visionlab.training.ranks", str(run.dir.resolve())]  # fmt: skip
    threads = str(max(1, cores() // count))
    environment = {"OMP_NUM_THREADS": threads} | os.environ | {STARTED_BY_US: "1"}
    # In a group of its own, so that a Ctrl-C reaches torchrun once, through us, and it waits for its ranks.
    process = subprocess.Popen(command, env=environment, process_group=0)
    asked: list[int] = []

    def forward(number: int, frame: object) -> None:
        asked.append(number)
        process.send_signal(signal.SIGTERM)

    heard = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as it is under nohup
        heard.append(signal.SIGHUP)
    before = {number: signal.signal(number, forward) for number in heard}
    try:
        code = process.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        (run.dir / ".ranks.json").unlink(missing_ok=True)
    if asked:
        if run.status != "completed":  # which stands, whatever became of its page
            run.update(status="interrupted")
        raise Interrupted(asked[0])
    if run.status != "completed":
        if run.status == "running":  # rank 0 was killed, with no time for a word
            run.update(status="interrupted", error=f"a rank ended with exit code {code}")
        raise RunError(
            f"a rank failed: {run.result.get('error')}", where=str(run.dir), remedy="its message stands above"
        )


def lost(error: BaseException) -> bool:
    """Whether an error only says that another rank is gone, for a reason of its own: killed for its memory, say."""
    import torch

    of_nccl = getattr(torch.distributed, "DistError", ())  # not in a torch without torch.distributed
    return isinstance(error, of_nccl) or (isinstance(error, RuntimeError) and "gloo" in str(error))


def announce(run: Run, resume_from: str | None, *, answered: bool) -> None:
    """Tell the ranks that somebody else started what rank 0 has decided."""
    if rank() == 0 and STARTED_BY_US not in os.environ:
        write_atomically(_word(run), json.dumps({"resume_from": resume_from, "answered": answered}))


def follow(run: Run, config: DictConfig, overrides: list[str]) -> Run:
    """Do as rank 0 decided: train along, or return where the run was remembered.

    Raises:
        RunError: Rank 0 said nothing.
    """
    deadline = time.monotonic() + PATIENCE
    while not _word(run).exists():
        if time.monotonic() > deadline:
            raise RunError("rank 0 has not begun the run", where=str(run.dir), remedy="see the output of rank 0")
        time.sleep(0.1)
    word = json.loads(_word(run).read_text())
    if not word["answered"]:
        from visionlab.training.fit import fit

        fit(config, run, overrides, word["resume_from"])
    return run


def leave_at_exit() -> None:
    """Leave the process group when this process ends well; Lightning does so for NCCL only.

    Gloo's threads, where they outlive the interpreter, abort the process now and then (pytorch/pytorch#179291), and the
    other ranks wait for it. Not at once: the process may train again in the same group. Not after an error: the thread
    of a collective that waits for a dead rank never ends.
    """
    atexit.unregister(_leave)
    atexit.register(_leave)


def _leave() -> None:
    import torch

    if torch.distributed.is_available() and torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def _word(run: Run) -> Path:
    """Name the file of rank 0's word after the process group, so that no old one is taken for it."""
    group = os.environ.get("TORCHELASTIC_RUN_ID") or os.environ.get("SLURM_JOB_ID", "")
    part = os.environ.get("SLURM_STEP_ID", "") + os.environ.get("MASTER_PORT", "")
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT") or os.environ.get("SLURM_RESTART_COUNT", "0")
    return run.dir / f".ranks-{group}-{part}-{attempt}"


def main() -> None:
    """Be one rank of the run whose directory is given."""
    from visionlab.training.fit import fit

    run = Run(sys.argv[1])
    plan = json.loads((run.dir / ".ranks.json").read_text())
    config = OmegaConf.load(run.dir / "config.yaml")
    assert isinstance(config, DictConfig)
    fit(config, run, plan["overrides"], plan["resume_from"])


if __name__ == "__main__":
    from visionlab import doors

    doors.enter(main)
