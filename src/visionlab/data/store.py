"""Keeps every image decoded and resized once, as uint8, in a file that all processes share.

Maps of the file share one copy in the system's page cache, whatever the number of processes, and page by themselves
where the images exceed the memory.
"""

import hashlib
import json
import os
import secrets
import tempfile
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import PIL
import torch
from torch import Tensor

from visionlab.data.building import read_all, read_alone, undecoded
from visionlab.data.cache import build_once, default_cache, reserve, unwritable
from visionlab.data.index import ByteArray, Index, IntArray
from visionlab.data.reader import UNOPENED
from visionlab.data.transform import Transform

VERSION = 1  # raise it when the same files would give other pixels
PIXELS, FACTS = "pixels.bin", "images.npz"


@dataclass(frozen=True)
class Store:
    """The pixels of an index and what was learnt while reading them.

    Attributes:
        pixels: uint8 [N, 3, H, W]; black where a file is bad.
        digests: uint8 [N, 16], of the bytes of each file.
        sizes: int64 [N, 2], height and width of the upright original in px; 0 where a file is bad.
        errors: What is wrong with the bad files, by row.
        key: Names the content: equal for equal files, transform and code; None for pixels that are computed.
        by: The version of Pillow that read them.
    """

    pixels: Tensor
    digests: ByteArray
    sizes: IntArray
    errors: dict[int, str]
    key: str | None
    by: str

    def gather(self, rows: Tensor, *, pinned: bool = False) -> Tensor:
        """Copy rows int64 [B] out, into page-locked memory if `pinned`: uint8 [B, 3, H, W]."""
        return gather(self.pixels, rows, pinned=pinned)


def open_store(
    index: Index, to: Transform, *, cache_dir: str | Path | None = None, workers: int | None = None
) -> Store:
    """Return the images of an index, from the cache where they are in it.

    Args:
        index: The images.
        to: What is done to each.
        cache_dir: The cache; None for `default_cache`.
        workers: Processes that decode; None for one a core.

    Raises:
        DataError: The cache cannot be written or has too little room.
    """
    shape = (len(index), 3, *to.size)

    def fill(folder: Path) -> None:
        reserve(folder / PIXELS, int(np.prod(shape)))
        learnt = read_all(index, to, folder / PIXELS, workers)
        rows = sorted(learnt.errors)
        reasons = np.array([learnt.errors[row] for row in rows], dtype=np.str_)
        bad = np.array(rows, dtype=np.int64)
        np.savez(
            folder / FACTS, digests=learnt.digests, sizes=learnt.sizes, bad=bad, reasons=reasons, by=PIL.__version__
        )

    def opened(folder: Path, name: str | None) -> Store | None:
        try:
            with (folder / FACTS).open("rb") as file, np.load(file) as facts:
                digests, sizes, bad, reasons = (facts[part] for part in ("digests", "sizes", "bad", "reasons"))
                by = str(facts["by"]) if "by" in facts else ""  # not in those of earlier versions
            pixels = map_pixels(folder / PIXELS, shape)
        except (OSError, EOFError, ValueError, KeyError, BadZipFile):
            return None
        errors: dict[int, str] = dict(zip(bad.tolist(), reasons.tolist(), strict=True))
        if not len(digests) == len(sizes) == len(index):
            return None
        return Store(pixels, digests, sizes, errors, name, by)

    def lasting(store: Store) -> bool:
        if not store.errors:
            return True
        anew = store.by != PIL.__version__
        if cured(index, to, store.errors, anew=anew):
            return False
        if anew:
            _tried(place / FACTS)
        return True

    if index.stamps is None:  # computed pixels: nothing on a disk would tell that they changed
        try:
            with tempfile.TemporaryDirectory(prefix="visionlab-") as folder:
                fill(Path(folder))
                store = opened(Path(folder), None)  # the map outlives the file's name
        except OSError as error:
            raise unwritable(Path(tempfile.gettempdir()), error, "name a folder with room with $TMPDIR") from error
        assert store is not None
        return store
    name = key(index, to)
    place = images_folder(cache_dir) / name
    return build_once(
        place,
        int(np.prod(shape)),
        opened=lambda folder: opened(folder, name),
        fill=fill,
        lasting=lasting,
    )


def open_derived(
    name: str,
    shape: tuple[int, ...],
    fill: Callable[[Tensor], None],
    *,
    cache_dir: str | Path | None = None,
) -> Tensor:
    """Return pixels that are made from a store's, from the cache where they are in it.

    Args:
        name: Names the content, as a store's key does.
        shape: (N, 3, H, W).
        fill: Writes into uint8 [N, 3, H, W].
        cache_dir: As in `open_store`.

    Raises:
        DataError: The cache cannot be written or has too little room.
    """

    def write(folder: Path) -> None:
        reserve(folder / PIXELS, int(np.prod(shape)))
        writable = np.memmap(folder / PIXELS, dtype=np.uint8, mode="r+", shape=shape)
        fill(torch.from_numpy(writable))
        writable.flush()

    def opened(folder: Path) -> Tensor | None:
        try:
            return map_pixels(folder / PIXELS, shape)
        except (OSError, ValueError):
            return None

    return build_once(images_folder(cache_dir) / name, int(np.prod(shape)), opened=opened, fill=write)


def gather(pixels: Tensor, rows: Tensor, *, pinned: bool = False) -> Tensor:
    """Copy rows int64 [B] out of uint8 [N, 3, H, W]."""
    out = torch.empty((len(rows), *pixels.shape[1:]), dtype=torch.uint8, pin_memory=pinned)
    # By numpy, on one core: as fast as torch's index_select on all, whose threads wait for each other where it is busy.
    # mode="clip" because the default copies `out` first; rows are never out of range.
    flat = pixels.numpy().reshape(len(pixels), -1)
    np.take(flat, rows.numpy(), axis=0, out=out.numpy().reshape(-1, flat.shape[1]), mode="clip")
    return out


def cured(index: Index, to: Transform, errors: dict[int, str], *, anew: bool) -> bool:
    """Return whether an image can be read now that could not be read for a reason that may pass.

    Args:
        index: The images.
        to: What is done to each.
        errors: Why some could not be read, by their rows.
        anew: Whether another version of Pillow said so, which may not have known their format.
    """
    unopened = (row for row, why in errors.items() if why.startswith(UNOPENED))
    if any(readable(index.root / index.names[row]) for row in unopened):
        return True
    tried = read_alone(index, to, Path(os.devnull), sorted(errors) if anew else undecoded(errors))
    return any(not read.errors for _, read in tried)


def _tried(file: Path) -> None:
    """Note that this version of Pillow cannot read the bad files either, so that it tries them once."""
    part = file.with_name(f".{secrets.token_hex(4)}.npz")
    try:
        with file.open("rb") as old, np.load(old) as facts:
            content = {name: facts[name] for name in facts.files if name != "by"}
        np.savez(part, **content, by=PIL.__version__)
        part.replace(file)
    except OSError:  # another user's cache, or a read-only one: it is tried again
        with suppress(OSError):
            part.unlink(missing_ok=True)


def readable(path: Path) -> bool:
    """Return whether a file can be opened and read to its end; a bad sector may lie behind its first byte."""
    try:
        path.read_bytes()
    except OSError:
        return False
    return True


def images_folder(cache_dir: str | Path | None) -> Path:
    """Return the folder of the stores."""
    return (default_cache() if cache_dir is None else Path(cache_dir).expanduser()) / "images"


def key(index: Index, to: Transform) -> str:
    """Return the name of the store: a digest of the files' identity, the transform and this code's version."""
    assert index.stamps is not None
    how = {key: value for key, value in asdict(to).items() if value is not None}  # stores from before `white` stay
    digest = hashlib.sha256(json.dumps([VERSION, how, os.path.realpath(index.root)]).encode())
    digest.update(b"\0".join(map(os.fsencode, index.names)))
    digest.update(index.stamps.tobytes())
    return digest.hexdigest()[:32]


def map_pixels(path: Path, shape: tuple[int, ...]) -> Tensor:
    """Map a file as uint8, to be read only; the pages are shared with all readers.

    Raises:
        OSError, ValueError: The file is missing or has another size.
    """
    if path.stat().st_size != np.prod(shape):
        raise ValueError(f"{path} has not the size of {shape}")
    # Read-only: Linux refuses a copy-on-write map that exceeds the memory, even if nobody writes to it.
    mapped = np.memmap(path, dtype=np.uint8, mode="r", shape=shape)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable.*")  # torch has no tensors that are read-only
        return torch.from_numpy(mapped)
