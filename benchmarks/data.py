"""Batches a second: ours beside torchvision's data sets with PIL transforms in a DataLoader with 2 workers.

    python benchmarks/data.py                            all parts, some minutes on 2 idle cores
    python benchmarks/data.py --only cifar10 --share 0.2 --repeats 3

Both sides end with normalised float32 batches on the CPU. They take turns, an epoch each, after an epoch that is not
counted; the figures are medians, and the ratio is the median of the ratios of turns. The peer's CIFAR-10 is
torchvision's own class with its pixels in memory (given to it, so that nothing is downloaded); at 224 px it is
ImageFolder, which decodes each file in each epoch, from files that lie in the page cache.
"""

import argparse
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from rich.console import Console
from rich.table import Table
from torch.utils.data import DataLoader, Dataset, Subset
from torchvision import transforms as T
from torchvision.datasets import CIFAR10, ImageFolder

from visionlab.config import compose
from visionlab.data.module import ImageDataModule
from visionlab.training.build import data_module

WORKERS = 2
Epoch = Callable[[int], int]


class InMemory(CIFAR10):
    """torchvision's CIFAR10 with pixels that are given to it instead of read from the publisher's files."""

    def __init__(self, data: np.ndarray, targets: list[int], transform: T.Compose) -> None:
        self.data, self.targets, self.transform, self.target_transform = data, targets, transform, None


def ours(data: ImageDataModule) -> Epoch:
    """One epoch of training batches as a training step gets them; returns the number of images."""
    loader = data.train_dataloader()

    def epoch(number: int) -> int:
        loader.set_epoch(number)
        count = 0
        for batch in loader:
            images, _ = batch.images, batch.labels
            if data.augment:
                images, _ = data.augment(images, batch.labels, seed=0, epoch=number, places=batch.places)
            count += len(data.preprocess(images))
        return count

    return epoch


def peer(dataset: Dataset, batch_size: int) -> Epoch:
    loader = DataLoader(dataset, batch_size, shuffle=True, num_workers=WORKERS, persistent_workers=True)

    def epoch(_: int) -> int:
        return sum(len(images) for images, _ in loader)

    return epoch


def speed(epoch: Epoch, number: int) -> float:
    start = time.perf_counter()
    return epoch(number) / (time.perf_counter() - start)


def compare(mine: Epoch, theirs: Epoch, repeats: int) -> tuple[list[float], list[float]]:
    """Images a second of both, taking turns."""
    mine(0), theirs(0)
    turns = [(speed(mine, turn), speed(theirs, turn)) for turn in range(1, repeats + 1)]
    return [a for a, _ in turns], [b for _, b in turns]


def cifar10(repeats: int, share: float) -> Iterator[tuple[str, list[float], list[float], float]]:
    kinds = {
        "flip_crop": (6.0, [T.RandomCrop(32, padding=4), T.RandomHorizontalFlip()]),
        "cifar_strong": (
            2.0,
            [
                T.RandomCrop(32, padding=4),
                T.RandomHorizontalFlip(),
                T.ColorJitter(0.2, 0.2, 0.2, 0.1),
                T.RandomRotation(15, T.InterpolationMode.BILINEAR),
            ],
        ),
    }
    for name, (goal, steps) in kinds.items():
        data = data_module(
            compose(["data=cifar10", "data.batch_size=512", f"augment={name}", f"data.train_fraction={share}"])
        )
        rows = data.splits.train
        pixels = data.pixels(rows).permute(0, 2, 3, 1).contiguous().numpy()
        transform = T.Compose([*steps, T.ToTensor(), T.Normalize(data.mean, data.std)])
        dataset = InMemory(pixels, data.index.labels[rows].tolist(), transform)
        yield f"CIFAR-10, {name}", *compare(ours(data), peer(dataset, 512), repeats), goal


def caltech101(repeats: int, share: float) -> Iterator[tuple[str, list[float], list[float], float]]:
    data = data_module(
        compose(["data=caltech101", "data.batch_size=64", "augment=flip", f"data.train_fraction={share}"])
    )
    transform = T.Compose(
        [
            T.Resize(256),
            T.CenterCrop(224),
            T.RandomHorizontalFlip(),
            T.ToTensor(),
            T.Normalize(data.mean, data.std),
        ]
    )
    folder = ImageFolder(str(data.root / "101_ObjectCategories"), transform)
    wanted = {str(data.root / data.index.names[row]) for row in data.splits.train}
    rows = [i for i, (path, _) in enumerate(folder.samples) if path in wanted]
    assert len(rows) == len(data.splits.train)
    yield "Caltech101 at 224 px, flip", *compare(ours(data), peer(Subset(folder, rows), 64), repeats), 4.0


def first_batch(overrides: list[str]) -> float:
    """Seconds from the config to the first batch, without the imports, which every start has alike."""
    start = time.perf_counter()
    data = data_module(compose(overrides))
    next(iter(data.train_dataloader()))
    return time.perf_counter() - start


def starts(name: str) -> tuple[float, float]:
    """Seconds to the first batch without and with a cache; the median of three where there is one."""
    with tempfile.TemporaryDirectory(prefix="visionlab-benchmark-") as cache:
        overrides = [f"data={name}", f"data.cache_dir={cache}"]
        first = first_batch(overrides)
        return first, statistics.median(first_batch(overrides) for _ in range(3))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5, help="turns of each side")
    parser.add_argument("--share", type=float, default=1.0, help="of the training images that make an epoch, to 1")
    parser.add_argument("--only", choices=["cifar10", "caltech101", "starts"], help="one part")
    asked = parser.parse_args()
    console = Console()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    console.print(
        f"{cores} cores, load {os.getloadavg()[0]:.1f}, Python {platform.python_version()}, torch {torch.__version__}, "
        f"torchvision {torchvision.__version__}, {torch.get_num_threads()} threads; peer with {WORKERS} workers; "
        f"{asked.repeats} turns of {asked.share:.0%} of the images"
    )
    table = Table(
        "training batches", "ours, images/s", "peer, images/s", "ratio", "lowest", "goal", title_justify="left"
    )
    for part in (cifar10, caltech101):
        if asked.only in (None, part.__name__):
            for name, mine, theirs, goal in part(asked.repeats, asked.share):
                ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
                medians = f"{statistics.median(mine):,.0f}", f"{statistics.median(theirs):,.0f}"
                table.add_row(name, *medians, f"{statistics.median(ratios):.1f}", f"{min(ratios):.1f}", f"{goal:g}")
    if table.row_count:
        console.print(table)
    if asked.only in (None, "starts"):
        table = Table("to the first batch", "first start, s", "second start, s", "share", "goal")
        for name in ("cifar10", "caltech101"):
            if Path("data", name).is_dir():
                first, second = starts(name)
                table.add_row(name, f"{first:.2f}", f"{second:.2f}", f"1/{first / second:.0f}", "1/10")
        console.print(table)


if __name__ == "__main__":
    main()
