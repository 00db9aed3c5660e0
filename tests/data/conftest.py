"""Seeded miniature image folders."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visionlab.data.folder import Folder
from visionlab.data.module import ImageDataModule

MakeFolder = Callable[..., Path]


def _noise(seed: int, height: int = 12, width: int = 16, channels: int = 3) -> np.ndarray:
    """Smooth random pixels, uint8 [height, width, channels]: like a photograph, no two seeds alike."""
    coarse = np.random.default_rng(seed).integers(0, 256, (3, 4, channels), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse.squeeze()).resize((width, height), Image.Resampling.BICUBIC))


@pytest.fixture
def noise() -> Callable[..., np.ndarray]:
    """Return the function that makes pixels."""
    return _noise


@pytest.fixture
def make_folder(tmp_path: Path) -> MakeFolder:
    """Return a function that writes <class>/<number>.png below a folder and returns the folder."""

    def make(
        counts: Sequence[int] = (6, 6, 6), *, below: str = "images", seed: int = 0, size: tuple[int, int] = (12, 16)
    ) -> Path:
        root = tmp_path / below
        for label, count in enumerate(counts):
            folder = root / f"class{label}"
            folder.mkdir(parents=True)
            for number in range(count):
                image = _noise(
                    hash((seed, label, number)) % 2**32, *size
                )  # hashes of ints are the same in each process
                Image.fromarray(image).save(folder / f"{number:03d}.png")
        return root

    return make


@pytest.fixture
def folder(tmp_path: Path) -> Callable[..., ImageDataModule]:
    """Return a function that makes a data module of a folder, set up, with a cache of the test's own."""

    def make(root: Path, **config) -> ImageDataModule:
        config = {"name": "mini", "image_size": 8, "cache_dir": tmp_path / "cache", "batch_size": 4, **config}
        data = Folder(root=root, **config)
        data.setup()
        return data

    return make
