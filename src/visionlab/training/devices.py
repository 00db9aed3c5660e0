"""What this machine can compute on, asked before a run starts."""

import os
from collections.abc import Mapping
from typing import Any

from visionlab.errors import DeviceError


def available() -> dict[str, int]:
    """Return the accelerators of this machine with the number of their devices."""
    import torch

    found = {"cpu": os.cpu_count() or 1}
    if torch.cuda.is_available():
        found["gpu"] = torch.cuda.device_count()
    if torch.backends.mps.is_available():
        found["mps"] = 1
    return found


def chosen(accelerator: str) -> str:
    """Return the kind of device, as `available` names it, that a trainer's accelerator stands for on this machine."""
    if accelerator == "auto":
        return next(kind for kind in ("gpu", "mps", "cpu") if kind in available())
    return {"cuda": "gpu"}.get(accelerator, accelerator)


def check(trainer: Mapping[str, Any]) -> None:
    """Check that the accelerator, the number of devices and the precision of a trainer config are to be had here.

    Raises:
        DeviceError: They are not; it says what this machine has. Or SLURM's tasks cannot be assigned to devices.
    """
    # Lightning counts the ranks of a node by this variable alone, which srun sets only where it was told.
    if (
        "SLURM_PROCID" in os.environ
        and os.environ.get("SLURM_NTASKS", "1") != "1"
        and ("SLURM_NTASKS_PER_NODE" not in os.environ)
    ):
        raise DeviceError(
            "SLURM does not say how many tasks a node has",
            where="srun",
            remedy="give --ntasks-per-node, as many as trainer.devices, in place of --ntasks",
        )
    found, wanted = available(), chosen(trainer["accelerator"])
    here = ", ".join(f"{kind} ({count}{' cores' if kind == 'cpu' else ''})" for kind, count in found.items())
    if wanted not in found:
        raise DeviceError(
            f"this machine has no {wanted}", where="trainer.accelerator", remedy=f"it has: {here}; or use auto"
        )
    devices = trainer["devices"]
    if wanted != "cpu" and devices != "auto" and devices > found[wanted]:
        raise DeviceError(
            f"{devices} devices are asked for", where="trainer.devices", remedy=f"this machine has: {here}"
        )
    if wanted == "cpu" and str(trainer["precision"]).startswith("16"):
        raise DeviceError(
            f"the CPU has no precision {trainer['precision']}", where="trainer.precision", remedy="use bf16-mixed"
        )
