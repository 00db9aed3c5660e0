"""What this machine can compute on, asked before a run starts."""

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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


def cpu_has_bfloat16() -> bool:
    """Whether oneDNN, which computes torch's networks on a CPU, can do so in bfloat16 there."""
    import torch

    return torch.backends.mkldnn.is_available() and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def slowly_computed(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what of a run's config is computed in bfloat16 on a CPU that has none, each with what is far faster there.

    Measured on one core where oneDNN was told to use AVX2 alone: training in bf16-mixed took 5 times (EfficientNet-B0)
    to 14 times (a simple CNN) as long as in 32-true, and Muon's step 36 times as long as with AVX-512 BF16.
    """
    if chosen(config["trainer"]["accelerator"]) != "cpu" or cpu_has_bfloat16():
        return []
    slow = []
    if str(config["trainer"]["precision"]).startswith("bf16"):
        slow.append(("trainer.precision=bf16-mixed", "32-true"))
    if str(config["optimizer"].get("_target_", "")).endswith(".Muon"):
        slow.append(("optimizer=muon", "adamw"))
    return slow


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an error is an accelerator's or the CPU's refusal of memory; most have no type of their own."""
    import torch

    texts = ("MPS backend out of memory", "DefaultCPUAllocator", "CUDA error: out of memory", "STATUS_ALLOC_FAILED")
    return isinstance(error, torch.OutOfMemoryError) or any(text in str(error) for text in texts)


@contextmanager
def enough_memory(batch_size: int, *, key: str = "batch_size", remedy: str = "give a smaller one") -> Iterator[None]:
    """Say what to do where a batch does not fit into memory.

    Args:
        batch_size: Its images, of all devices together.
        key: What sets them.
        remedy: What to do.

    Raises:
        DeviceError: Memory was refused inside.
    """
    try:
        yield
    except RuntimeError as error:
        if not out_of_memory(error):
            raise
        more = re.search(r"ried to allocate ([\d.]+ \w+)", str(error))
        raise DeviceError(
            f"out of memory: there is no room for {more[1]} more" if more else "out of memory",
            where=f"{key}={batch_size}",
            remedy=remedy,
        ) from error
