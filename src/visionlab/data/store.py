"""Keeps every image decoded and resized once, as uint8."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from visionlab.data.index import ByteArray, Index, IntArray
from visionlab.data.transform import Transform, decode


@dataclass(frozen=True)
class Store:
    """The pixels of an index and what was learnt while reading them.

    Attributes:
        pixels: uint8 [N, 3, H, W].
        digests: uint8 [N, 16], of the bytes of each file.
        sizes: int64 [N, 2], height and width of the upright original in px.
    """

    pixels: Tensor
    digests: ByteArray
    sizes: IntArray


def open_store(index: Index, transform: Transform, cache_dir: str | Path | None, workers: int | None) -> Store:
    """Read all images of an index."""
    count = len(index)
    pixels = np.empty((count, 3, *transform.size), dtype=np.uint8)
    digests = np.empty((count, 16), dtype=np.uint8)
    sizes = np.empty((count, 2), dtype=np.int64)
    for row, name in enumerate(index.names):
        if index.frames is None:
            data = (index.root / name).read_bytes()
            image = decode(data)
        else:
            frame = index.frames(row)
            data, image = frame.tobytes(), Image.fromarray(frame)
        pixels[row] = transform(image)
        digests[row] = np.frombuffer(hashlib.sha256(data).digest()[:16], dtype=np.uint8)
        sizes[row] = image.height, image.width
    return Store(torch.from_numpy(pixels), digests, sizes)
