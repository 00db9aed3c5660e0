"""Reads runs of images into a file: the work of one of the processes that fill the store.

A process of this module is a program of its own (`python -m visionlab.data.reader`) rather than one of multiprocessing:
it needs no guarded `__main__`, works below joblib's daemons and beside CUDA, starts in a fraction of a second because
it imports no torch, and ends when its parent does, since its input then does.
"""

import hashlib
import json
import os
import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from visionlab.data.transform import Transform

# Gives the bytes of the image at a place, which identify it, and the image where they are not a file's.
Fetch = Callable[[int], tuple[bytes, Image.Image | None]]
# For these the content is not to blame, or perhaps not, so they may pass without a change of the file.
UNOPENED = "cannot be opened: "
SHORT = "not enough memory to decode it"
CRASHED = "the decoder crashes on it"  # unless something else ended the process, as a system short of memory does


@dataclass
class Read:
    """What was learnt about n images.

    Attributes:
        digests: n hexadecimal digests of 16 bytes, of the contents of the files.
        sizes: n times (height, width) of the upright original, px; (0, 0) for a bad file.
        errors: What is wrong, by place in 0 to n - 1.
    """

    digests: list[str] = field(default_factory=list)
    sizes: list[tuple[int, int]] = field(default_factory=list)
    errors: dict[int, str] = field(default_factory=dict)


def fill(output: int, first: int, count: int, fetch: Fetch, to: Transform) -> Read:
    """Write `count` images from row `first` on into the file descriptor `output`; a bad one becomes black.

    Args:
        output: Holds uint8 [N, 3, H, W].
        first: Row of the first image.
        count: Number of images.
        fetch: Says where the image of a place in 0 to count - 1 comes from.
        to: Brings it to the size.

    Raises:
        OSError: The file cannot be written.
    """
    learnt = Read()
    pixels = np.zeros((count, *to.size, 3), dtype=np.uint8)
    for place in range(count):
        data: bytes | None = None
        size = (0, 0)
        try:
            data, frame = fetch(place)
            pixels[place], size = to.load(data) if frame is None else (to(frame), (frame.height, frame.width))
        except Exception as error:  # Pillow's decoders raise a dozen kinds on what they did not expect
            learnt.errors[place] = reason(error, data)
        learnt.digests.append(hashlib.sha256(data or b"").hexdigest()[:32])
        learnt.sizes.append(size)
    planes = np.ascontiguousarray(pixels.transpose(0, 3, 1, 2))
    write(output, planes, first * planes[0].nbytes)
    return learnt


def from_files(root: str, names: list[str]) -> Fetch:
    """Return a `fetch` that reads files."""

    def fetch(place: int) -> tuple[bytes, Image.Image | None]:
        return Path(root, names[place]).read_bytes(), None

    return fetch


def from_frames(frames: Callable[[int], NDArray[np.uint8]], first: int) -> Fetch:
    """Return a `fetch` of computed pixels, uint8 [h, w, 3] of a row, of the rows from `first` on."""

    def fetch(place: int) -> tuple[bytes, Image.Image | None]:
        frame = frames(first + place)
        return frame.tobytes(), Image.fromarray(frame)

    return fetch


def write(output: int, array: NDArray[np.uint8], offset: int) -> None:
    """Write all of an array; a map of the file would turn a full disk into a crash instead of an error."""
    os.lseek(output, offset, os.SEEK_SET)
    view = array.reshape(-1).data
    while view:
        view = view[os.write(output, view) :]


def reason(error: Exception, data: bytes | None) -> str:
    """Say in a few words why an image cannot be read; `data` is None where it is not known what its file holds."""
    if isinstance(error, FileNotFoundError):
        return UNOPENED + "broken link, or it vanished"
    if isinstance(error, OSError) and error.errno:
        return UNOPENED + (error.strerror or str(error)).lower()
    if isinstance(error, MemoryError):
        return SHORT
    if data == b"":
        return "empty file"
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    if isinstance(error, Image.DecompressionBombError):
        found = [f"{int(number):,}" for number in re.findall(r"(\d+) pixels", str(error))]
        return f"too large: {found[0]} pixels, and {found[-1]} are the most that are read; scale it down"
    return str(error).split("\n")[0].lower() or type(error).__name__


def serve() -> None:
    """Answer requests, one line of JSON each, until the input ends.

    The first line gives the output file, the root and the transform; each later one [first row, names].
    """
    # What anything else prints from here on is no answer. The empty line ends what was printed before.
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)
    setup: dict[str, Any] = json.loads(sys.stdin.readline())
    to = Transform(tuple(setup["to"].pop("size")), **setup["to"])
    output = os.open(setup["output"], os.O_WRONLY)
    print("\nready", file=answers, flush=True)
    for line in sys.stdin:
        first, names = json.loads(line)
        try:
            answer: dict[str, Any] = asdict(fill(output, first, len(names), from_files(setup["root"], names), to))
        except OSError as error:
            answer = {"failed": error.strerror or str(error), "errno": error.errno}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # Pillow's, about odd metadata in images that it reads all the same
    serve()
