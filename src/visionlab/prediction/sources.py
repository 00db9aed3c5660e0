"""Finds the images of a source and reads them, batch by batch."""

import glob
import logging
import os
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from visionlab.data import files
from visionlab.data.endings import left_out
from visionlab.data.index import canonical, printable
from visionlab.data.reader import reason
from visionlab.data.transform import Transform
from visionlab.errors import DataError

log = logging.getLogger(__name__)
AHEAD = 2  # batches that are being read while the network computes; they bound the memory


@dataclass(frozen=True)
class Source:
    """The images that a source names.

    Attributes:
        images: Their paths, in order.
        base: The folder that all of them lie in.
    """

    images: list[Path]
    base: Path


@dataclass(frozen=True)
class Images:
    """Some images, as far as they could be read.

    Attributes:
        paths: B paths.
        pixels: uint8 [B, 3, H, W].
        bad: What is wrong with the others, by path.
    """

    paths: list[Path]
    pixels: Tensor
    bad: dict[Path, str]


def find(source: str | Path, *, without: Path | None = None) -> Source:
    """Return the images of a source.

    Args:
        source: An image file, whatever its ending; a folder, of which all files below it with the ending of an image
            are taken, and the log says what else may be one; or a pattern with `*`, `?`, `[...]` and `**` (any number
            of folders) of such files and folders, where what exists under the pattern's own name is taken by it. An
            image that a pattern reaches by several ways, as links open them, is taken once.
        without: A folder whose images are not taken: what an earlier call wrote.

    Raises:
        DataError: There are none.
    """
    path, others = Path(source).expanduser(), Counter[str]()
    if files.sure(path.is_file):
        return Source([path], path.parent)
    if files.sure(path.is_dir):
        found, base = _below(path, others), path
    elif glob.has_magic(str(path)):
        found, base = _matching(path, others)
    else:
        raise _none(f"there is no such file or folder: {printable(str(path))}")
    if others:
        log.warning("%s", left_out(others))
    if without is not None and without.is_dir():
        own = without.resolve()
        found = [image for image in found if own not in image.resolve().parents]
    if not found:
        raise _none(f"there are no images {'in' if path.is_dir() else 'that match'} {printable(str(path))}")
    return Source(sorted(set(found), key=lambda image: canonical(image.as_posix())), base)


def _below(folder: Path, others: Counter[str]) -> list[Path]:
    try:
        return [folder / name for name, _, _ in files.images(folder, ".", others)]
    except DataError as error:
        raise DataError(error.what, where="source", remedy=error.remedy) from error


def _matching(pattern: Path, others: Counter[str]) -> tuple[list[Path], Path]:
    """Return the images that match, and the folder of them all: as much of the pattern as is no pattern."""
    base = next((above for above in pattern.parents if files.sure(above.exists)), Path())
    further = pattern.relative_to(base).parts
    base = base.joinpath(*takewhile(lambda part: not glob.has_magic(part), further))
    rest = Path(glob.escape(str(base))).joinpath(*pattern.relative_to(base).parts)
    found: list[Path] = []
    seen: set[str] = set()  # folders that were gone through, with all below them
    for path in map(Path, glob.iglob(str(rest), recursive=True)):  # noqa: PTH207 (Path.glob takes no absolute pattern)
        if files.sure(path.is_dir):
            real = Path(os.path.realpath(path))
            if seen.isdisjoint(map(str, (real, *real.parents))):
                found += _below(path, others)
                seen.add(str(real))
        elif path.name.lower().endswith(files.EXTENSIONS):
            found.append(path)
    shortest = sorted(found, key=lambda image: (len(image.parts), canonical(image.as_posix())), reverse=True)
    return list({(os.path.realpath(image.parent), image.name): image for image in shortest}.values()), base


def _none(what: str) -> DataError:
    remedy = f"give an image, a folder with images ({', '.join(files.EXTENSIONS)}) or a pattern like 'photos/*.jpg'"
    return DataError(what, where="source", remedy=remedy)


def read(images: Sequence[Path], transform: Transform, batch_size: int) -> Iterator[Images]:
    """Read images in threads, a few batches ahead of the one that is used; their order is kept.

    Args:
        images: Their paths.
        transform: Brings them to the size of the network.
        batch_size: Images a batch, from 1.
    """
    with ThreadPoolExecutor() as pool:  # decoders release the interpreter's lock
        waiting: deque[list[Future[NDArray[np.uint8] | str]]] = deque()
        ends: deque[Sequence[Path]] = deque()
        for first in range(0, len(images), batch_size):
            paths = images[first : first + batch_size]
            ends.append(paths)
            waiting.append([pool.submit(_read, path, transform) for path in paths])
            if len(waiting) > AHEAD:
                yield _together(ends.popleft(), waiting.popleft(), transform.size)
        while waiting:
            yield _together(ends.popleft(), waiting.popleft(), transform.size)


def _read(path: Path, transform: Transform) -> NDArray[np.uint8] | str:
    """Return the pixels of an image, uint8 [H, W, 3], or what is wrong with it."""
    data = b""
    try:
        data = path.read_bytes()
        return transform.load(data)[0]  # as the store does
    except Exception as error:  # Pillow's decoders raise a dozen kinds on what they did not expect
        return reason(error, data)


def _together(
    paths: Iterable[Path], results: Iterable["Future[NDArray[np.uint8] | str]"], size: tuple[int, int]
) -> Images:
    good: list[Path] = []
    arrays: list[NDArray[np.uint8]] = []
    bad: dict[Path, str] = {}
    for path, future in zip(paths, results, strict=True):
        result = future.result()
        if isinstance(result, str):
            bad[path] = result
        else:
            good.append(path)
            arrays.append(result)
    pixels = np.stack(arrays) if arrays else np.empty((0, *size, 3), np.uint8)
    return Images(good, torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), bad)
