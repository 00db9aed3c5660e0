"""The allocator keeps large freed blocks, so that using them again makes no page faults."""

import platform
import resource
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys, torch
from visionlab.training.allocator import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
for turn in range(12):
    start = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.zeros(16 << 20)  # 64 MiB
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - start)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_freed_blocks_are_used_again():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", FAULTS, how], capture_output=True, text=True, check=True).stdout)
        for how in ("keep", "leave")
    }
    pages = (64 << 20) // resource.getpagesize()
    assert faults["keep"] < pages / 20 < faults["leave"]
