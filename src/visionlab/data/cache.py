"""Folders that are computed once and trusted whenever they exist.

A folder is filled under another name and renamed when it is whole and on the disk, so whatever has the name is whole.
A lock keeps two builders apart; it is the system's, so it ends with its holder, however that ends.
"""

import errno
import logging
import os
import secrets
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TypeVar

from filelock import FileLock, Timeout

from visionlab.errors import DataError

log = logging.getLogger(__name__)
PARTIAL = ".partial-"
T = TypeVar("T")
REMEDY = "name a folder with room on a disk that can be written to with data.cache_dir=... or $VISIONLAB_CACHE"


def default_cache() -> Path:
    """Return $VISIONLAB_CACHE, else the folder visionlab in the user's cache folder."""
    if chosen := os.environ.get("VISIONLAB_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "visionlab"


def build_once(
    folder: Path,
    size: int,
    *,
    opened: Callable[[Path], T | None],
    fill: Callable[[Path], None],
    lasting: Callable[[T], bool] = lambda _: True,
) -> T:
    """Return what is in a folder; where it is missing, build it, or wait for the process that does.

    Args:
        folder: Its final name.
        size: Bytes that it will take.
        opened: Opens a finished folder, or returns None where it is missing or not all there.
        fill: Writes into the folder that it is given.
        lasting: Says whether what an earlier process left is still right. Of what was just built it is not asked.

    Raises:
        DataError: The cache cannot be written or has too little room.
    """
    if (found := opened(folder)) is not None and lasting(found):
        return found
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _locked(folder):
            if (found := opened(folder)) is not None and lasting(found):
                return found
            _sweep(folder)
            shutil.rmtree(folder, ignore_errors=True)
            if folder.exists():  # another user's, who keeps it to himself: before all images are decoded for nothing
                raise PermissionError(errno.EACCES, "what another user left cannot be read or replaced")
            require_room(folder.parent, size)
            log.info("preparing %s (%s MiB)", folder, f"{size / 2**20:,.0f}")
            partial = folder.with_name(f"{folder.name}{PARTIAL}{secrets.token_hex(4)}")
            partial.mkdir()  # not tempfile's, which nobody else could read: a cache may be of several users
            try:
                fill(partial)
                for path in (*partial.iterdir(), partial):
                    _sync(path)
                partial.rename(folder)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
            _sync(folder.parent)
    except OSError as error:
        raise unwritable(folder, error) from error
    found = opened(folder)
    if found is None:
        raise DataError(f"what was just written is gone: {folder}", where="data.cache_dir", remedy=REMEDY)
    return found


def require_room(folder: Path, needed: int) -> None:
    """Raise a DataError unless the disk of `folder` has room for `needed` bytes and a little more."""
    free = shutil.disk_usage(folder).free
    if free < needed * 1.01 + 2**20:
        raise DataError(
            f"the decoded images need {needed / 2**20:,.0f} MiB, the cache's disk has {free / 2**20:,.0f} MiB free",
            where=str(folder),
            remedy=f"free some space, or {REMEDY}",
        )


def reserve(path: Path, size: int) -> None:
    """Create a file of a size with its space on the disk, so that a disk that fills up later can do no harm."""
    with path.open("wb") as file:
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, size)
            return
        block = bytes(2**20)
        for start in range(0, size, len(block)):
            file.write(block[: size - start])


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    lock = FileLock(_lock_path(folder))
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        log.info("another process is preparing the same images; waiting for it")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _sweep(held: Path) -> None:
    """Remove what killed builders left beside `held`, whose lock this process has; others at work have theirs."""
    for partial in held.parent.glob(f"*{PARTIAL}*"):
        owner = held.parent / partial.name.split(PARTIAL)[0]
        try:
            with nullcontext() if owner == held else FileLock(_lock_path(owner), timeout=0):
                shutil.rmtree(partial, ignore_errors=True)
        except (Timeout, OSError):  # OSError: another user's
            continue


def _lock_path(folder: Path) -> str:
    return f"{folder}.lock"


def _sync(path: Path) -> None:
    """Wait until a file, or a folder's list of entries, is on the disk."""
    if path.is_dir() and not hasattr(os, "O_DIRECTORY"):
        return  # this system cannot open folders
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def unwritable(folder: Path, error: OSError, remedy: str = REMEDY) -> DataError:
    """Return the error for a folder that cannot be written to."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    what = "the disk of the cache is full" if full else "cannot write decoded images into the cache"
    return DataError(f"{what}: {error.strerror or error}", where=str(folder), remedy=remedy)
