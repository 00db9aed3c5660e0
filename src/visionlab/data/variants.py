"""Keeps the variants that enlarge a training split (`visionlab.data.expand`) beside the store.

Only the training split is enlarged, and after it was divided, so no variant can stand on another side than its image.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from visionlab.data.expand import Expansion
from visionlab.data.index import IntArray
from visionlab.data.store import Store, gather, open_derived

CHUNK = 64  # images in hand at once


@dataclass(frozen=True)
class Variants:
    """Images made from training images; their rows follow those of the store.

    Attributes:
        pixels: uint8 [C * T, 3, H, W], the first variant of all T images, then the second, ...
        origins: int64 [C * T], the row of the index that each was made from.
    """

    pixels: Tensor
    origins: IntArray

    def gather(self, store: Store, rows: Tensor) -> Tensor:
        """Copy rows int64 [B] out, of the store or of the variants: uint8 [B, 3, H, W]."""
        made = (rows >= len(store.pixels)).numpy()
        images = np.empty((len(rows), *self.pixels.shape[1:]), dtype=np.uint8)
        images[~made] = store.gather(rows[~made]).numpy()
        images[made] = gather(self.pixels, rows[made] - len(store.pixels)).numpy()
        return torch.from_numpy(images)


def open_variants(
    store: Store, train: IntArray, expansion: Expansion, *, seed: int, cache_dir: str | Path | None = None
) -> Variants:
    """Make the variants of a training split, or find them in the cache.

    Args:
        store: The images.
        train: int64 [T], rows of the training split.
        expansion: Makes the variants.
        seed: Of its random choices.
        cache_dir: As in `open_store`.

    Raises:
        DataError: The cache cannot be written or has too little room.
    """
    shape = (expansion.copies * len(train), *store.pixels.shape[1:])

    def fill(pixels: Tensor) -> None:
        variants = pixels.view(expansion.copies, len(train), *shape[1:])
        for first in range(0, len(train), CHUNK):
            part = torch.from_numpy(train[first : first + CHUNK])
            places = torch.arange(first, first + len(part))
            variants[:, first : first + len(part)] = expansion.expand(store.gather(part), places=places, seed=seed)

    if store.key is None:
        fill(pixels := torch.empty(shape, dtype=torch.uint8))
    else:
        content = f"{store.key} {expansion.key} {seed} ".encode() + np.ascontiguousarray(train).tobytes()
        pixels = open_derived(hashlib.sha256(content).hexdigest()[:32], shape, fill, cache_dir=cache_dir)
    return Variants(pixels, np.tile(train, expansion.copies))
