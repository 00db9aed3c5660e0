"""What a sweep costs beyond training, beside as many separate starts, and what several runs at once gain.

    python benchmarks/sweeps.py data=tiny_imagenet10 model=simple_cnn trainer.max_epochs=5

Every way trains the same trials from nothing, in a folder of its own, one after the other on one machine. `wall` is
what a clock shows from the command to its end, start-up and pages included; `fit` is the sum of `seconds.fit` over the
runs. Cached images are made beforehand.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

RATES = [f"{rate:g}" for rate in (1e-4, 2e-4, 3e-4, 5e-4, 7e-4, 1e-3, 1.5e-3, 2e-3, 3e-3, 4e-3, 5e-3, 7e-3)]


def train(outputs: Path, *arguments: str) -> float:
    """Give one command and return the seconds that it takes."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "visionlab.train", *arguments, f"outputs={outputs}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - began


def fit_seconds(outputs: Path) -> float:
    results = [json.loads(path.read_text()) for path in outputs.glob("*/result.json")]
    assert len(results) == len(RATES), f"{len(results)} runs instead of {len(RATES)}"
    return sum(result["seconds"]["fit"] for result in results)


def main() -> None:
    shared = [*sys.argv[1:], "logger=none", "test=false"]
    jobs = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    swept = f"optimizer.lr={','.join(RATES)}"
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        train(root / "warm", *shared, "trainer.max_epochs=1", "trainer.limit_train_batches=1")
        rows = []
        wall = train(root / "sweep", "-m", *shared, swept)
        rows.append(("one sweep, sequential", wall, fit_seconds(root / "sweep")))
        wall = train(root / "parallel", "-m", *shared, swept, "hydra/launcher=parallel", f"hydra.launcher.jobs={jobs}")
        rows.append((f"one sweep, parallel, {jobs} jobs", wall, fit_seconds(root / "parallel")))
        wall = sum(train(root / "starts", *shared, f"optimizer.lr={rate}") for rate in RATES)
        rows.append((f"{len(RATES)} separate starts", wall, fit_seconds(root / "starts")))
    print(f"{len(RATES)} trials, {jobs} cores: {' '.join(sys.argv[1:])}")
    print(f"{'':<32}{'wall s':>9}{'fit s':>9}{'wall/fit':>10}{'against sequential':>20}")
    for name, wall, fit in rows:
        print(f"{name:<32}{wall:>9.1f}{fit:>9.1f}{wall / fit:>10.2f}{rows[0][1] / wall:>19.2f}x")


if __name__ == "__main__":
    main()
