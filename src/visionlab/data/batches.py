"""Reads the pickled batches that CIFAR-10 is published as."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np

from visionlab.data.index import ByteArray, Index, Split
from visionlab.errors import DataError

NAMES = {**{f"data_batch_{i}": Split.TRAIN for i in range(1, 6)}, "test_batch": Split.TEST}


class _Plain(pickle.Unpickler):
    """Reads arrays and plain values, and refuses whatever else a pickle could run."""

    allowed = frozenset({("numpy", "_reconstruct"), ("numpy", "ndarray"), ("numpy", "dtype"), ("_codecs", "encode")})

    def find_class(self, module: str, name: str) -> Any:
        if (module.split(".")[0], name) in self.allowed:
            return super().find_class(module.replace("numpy.core", "numpy._core"), name)
        raise pickle.UnpicklingError(f"{module}.{name} has no place in a file of images")


def batches(root: Path, folder: str) -> Index:
    """Index the images of `root/folder`; they are named `<batch>/<number>`.

    Raises:
        DataError: A batch is missing or damaged.
    """
    pixels: list[ByteArray] = []
    labels: list[int] = []
    stamps: list[list[tuple[int, int]]] = []
    for name in NAMES:
        content = _load(root / folder / name)
        pixels.append(np.asarray(content[b"data"], dtype=np.uint8).reshape(-1, 3, 32, 32))
        labels += content[b"labels"]
        status = (root / folder / name).stat()
        stamps.append([(status.st_size, status.st_mtime_ns)] * len(pixels[-1]))
    classes = _load(root / folder / "batches.meta")[b"label_names"]
    planes = np.concatenate(pixels)
    return Index(
        root=root,
        names=[f"{name}/{i:04d}" for name, part in zip(NAMES, pixels, strict=True) for i in range(len(part))],
        labels=np.array(labels, dtype=np.int64),
        classes=[name.decode() for name in classes],
        splits=np.repeat(list(NAMES.values()), [len(part) for part in pixels]).astype(np.int64),
        stamps=np.concatenate([np.array(part, dtype=np.int64) for part in stamps]),
        frames=lambda row: np.ascontiguousarray(planes[row].transpose(1, 2, 0)),
    )


def _load(path: Path) -> dict[bytes, Any]:
    try:
        with path.open("rb") as file:
            content: dict[bytes, Any] = _Plain(file, encoding="bytes").load()
    except (OSError, pickle.UnpicklingError, EOFError, ValueError) as error:
        remedy = f"remove {path.parent} and fetch it anew with data.download=true"
        raise DataError(f"cannot read a batch of CIFAR-10: {error}", where=str(path), remedy=remedy) from error
    return content
