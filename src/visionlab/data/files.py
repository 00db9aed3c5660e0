"""Finds the images below a folder and the classes that the folder names give them."""

import gc
import logging
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from visionlab.data.endings import COMPANIONS, by_ending, ending
from visionlab.data.index import Index, Split, canonical, printable
from visionlab.errors import DataError

log = logging.getLogger(__name__)
EXTENSIONS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff")
SPLIT_FOLDERS = {
    **dict.fromkeys(("train", "training"), Split.TRAIN),
    **dict.fromkeys(("val", "valid", "validation"), Split.VAL),
    **dict.fromkeys(("test", "testing"), Split.TEST),
}
Found = tuple[str, int, int]  # path relative to the root, size in bytes, modification time in ns
Placed = tuple[str, int, int, str, Split]  # the same with the name of its class and its split
MISSING = (-1, -1)  # the stamp of a broken link or of a file that vanished; reading it names the reason


def folders(root: Path) -> list[str]:
    """Return the names of the folders directly in `root`, hidden ones left out, in canonical order.

    Raises:
        DataError: `root` does not exist, is no folder or cannot be listed.
    """
    require_folder(root)
    return sorted((e.name for e in _entries(root) if sure(e.is_dir) and not e.name.startswith(".")), key=canonical)


def require_folder(root: Path) -> None:
    """Raise a DataError unless `root` is a folder."""
    try:
        if root.is_dir():
            return
        what = "is not a folder" if root.exists() else "does not exist"
    except OSError as error:
        what = f"cannot be reached ({error.strerror})"
    raise DataError(
        f"the data folder {what}: {root}",
        where="data.root",
        remedy="name the folder with the images, for example data.root=/path/to/images",
    )


def _entries(folder: Path) -> list["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as listing:
            return list(listing)
    except OSError as error:
        raise DataError(
            f"cannot list the folder {printable(str(folder))}: {error.strerror}",
            where="data.root",
            remedy="give yourself permission to read it, or move it away",
        ) from error


def sure(asked: Callable[[], bool]) -> bool:
    """Return what an entry says of itself; False of a link that leads in a circle or through a forbidden folder."""
    try:
        return asked()
    except OSError:
        return False


def images(root: Path, below: str, others: Counter[str] | None = None) -> list[Found]:
    """Return the image files anywhere below `root/below`, links followed and circles of links left out.

    Args:
        root: What the names are relative to.
        below: Path from there.
        others: The endings of further files that may be images are counted here.

    Raises:
        DataError: The folder does not exist or cannot be listed.
    """
    require_folder(root / below)
    found: list[Found] = []
    _walk(root, below, (os.path.realpath(root / below),), found, Counter() if others is None else others)
    return found


def _walk(root: Path, below: str, ancestors: tuple[str, ...], found: list[Found], others: Counter[str]) -> None:
    for entry in _entries(root / below):
        name = entry.name
        if name.startswith("."):  # .DS_Store and the ._ copies that macOS leaves beside every image
            continue
        if sure(entry.is_dir):
            real = os.path.realpath(entry.path) if entry.is_symlink() else f"{ancestors[-1]}{os.sep}{name}"
            circular = any(above == real or above.startswith(real + os.sep) for above in ancestors)
            if not circular:
                _walk(root, f"{below}/{name}", (*ancestors, real), found, others)
        elif name.lower().endswith(EXTENSIONS) and (entry.is_symlink() or entry.is_file()):  # no pipe or device
            try:
                status = entry.stat()
            except OSError:
                found.append((f"{below}/{name}", *MISSING))
            else:
                found.append((f"{below}/{name}", status.st_size, status.st_mtime_ns))
        elif (kind := ending(name)) not in COMPANIONS and sure(entry.is_file):
            others[kind] += 1


def stamped(root: Path, name: str) -> Found:
    """Return a file that a list names; one that is missing is found to be bad with all others."""
    try:
        status = (root / name).stat()
    except OSError:
        return (name, *MISSING)
    return (name, status.st_size, status.st_mtime_ns)


@contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Spare Python the search for cycles among the names of all images: it took half of the time of a second start."""
    on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if on:
            gc.enable()


@_no_garbage_collection()
def class_folders(root: Path, below: str = "", *, drop: frozenset[str] = frozenset()) -> Index:
    """Index `<class>/**/*` or `{train,val,test}/<class>/**/*`.

    Args:
        root: The data set's folder, which names are relative to.
        below: Path from there to the class folders, empty or with a slash at its end.
        drop: Class folders that are left out.

    Raises:
        DataError: The folder is missing, has no class folders or no images, or a split has a class that train lacks.
    """
    found: list[Placed] = []
    named: dict[str, None] = {}
    others: Counter[str] = Counter()
    parts = _parts(root, below)
    for prefix, split in parts:
        for folder in folders(root / prefix):
            if folder not in drop:
                named[folder] = None  # a dict, because it keeps the order
                found += [(*file, folder, split) for file in images(root, prefix + folder, others)]
    beside = {root / below, *(root / prefix for prefix, _ in parts)}
    if found and (strays := sum(map(_images_directly_in, beside))):
        log.warning("%d images lie beside the class folders in %s; they have no class and are left out", strays, root)
    index = build(root, found, candidates=list(named))
    index.others = dict(others)
    return index


def _parts(root: Path, below: str) -> list[tuple[str, Split]]:
    """Return where class folders are to be looked for, and the split that each such place means."""
    tops = folders(root / below)
    splits = {top: SPLIT_FOLDERS[top.lower()] for top in tops if top.lower() in SPLIT_FOLDERS}
    train = [top for top, split in splits.items() if split == Split.TRAIN]
    # A folder that is called train may be a class, of vehicles say; then it lies among others and has no folders in it.
    if train and folders(root / below / train[0]) and (len(splits) > 1 or len(splits) == len(tops)):
        for top in tops:
            if top not in splits and _has_images(root / below / top):
                told = printable(top), ", ".join(splits)
                log.warning("%s beside %s has no split's name (train, val, test); its images are left out", *told)
        return [(f"{below}{top}/", split) for top, split in splits.items()]
    if len(set(splits.values())) > 1 and len(splits) == len(tops):
        raise DataError(
            f"{' and '.join(sorted(splits))} are names of splits, but "
            + (f"{train[0]} has no class folders" if train else "there is none to train on"),
            where=str(root / below),
            remedy="sort the images into train/<class>/*, or name their classes and splits in a table: data.csv=<file>",
        )
    if train and folders(place := root / below / train[0]) and not _images_directly_in(place):
        others = [printable(top) for top in tops if top not in splits]
        beside = ", ".join(others[:5] + ["..."] * (len(others) > 5))
        raise DataError(
            f"{train[0]} may be the split to train on, as it holds folders alone, or a class, beside {beside}",
            where=str(root / below),
            remedy=f"move {beside} away, if {train[0]} is the split; put the images of {train[0]} directly into it, "
            "if it is a class",
        )
    return [(below, Split.FREE)]


def _has_images(folder: Path) -> bool:
    """Whether an image lies anywhere below a folder, as far as it can be listed."""
    return any(name.lower().endswith(EXTENSIONS) for _, _, names in os.walk(folder) for name in names if name[0] != ".")


def _images_directly_in(folder: Path) -> int:
    """Return the number of images that lie in a folder itself, hidden ones too."""
    return sum(path.name.lower().endswith(EXTENSIONS) for path in folder.iterdir())


def build(root: Path, found: list[Placed], *, candidates: list[str] | None = None) -> Index:
    """Make an index of files, in canonical order.

    Args:
        root: What the files' names are relative to.
        found: The files.
        candidates: The names that classes could have; those without a file are recorded as empty.

    Raises:
        DataError: There are no images, or a class of validation or test that train does not have.
    """
    if not found:
        raise no_images(root)
    keys = [canonical(file[0]) for file in found]
    order = sorted(range(len(found)), key=keys.__getitem__)
    names, sizes, times, kinds, splits = zip(*map(found.__getitem__, order), strict=True)
    # A class is known by its canonical name: macOS and Linux spell an accent in two ways, in one set perhaps.
    known = {kind: canonical(kind) for kind in sorted(set(kinds))}
    spelled = {name: kind for kind, name in known.items()}
    learnt = {known[kind] for kind, split in set(zip(kinds, splits, strict=True)) if split in (Split.TRAIN, Split.FREE)}
    if strange := sorted(set(spelled) - learnt):
        raise DataError(
            f"{len(strange)} classes have images for validation or test but none to train on: "
            + ", ".join(printable(spelled[name]) for name in strange[:5]),
            where=str(root),
            remedy="add training images of them or move their folders away",
        )
    classes = sorted(learnt)
    place = {name: label for label, name in enumerate(classes)}
    number = {kind: place[name] for kind, name in known.items()}
    return Index(
        root=root,
        names=list(names),
        labels=np.fromiter(map(number.__getitem__, kinds), dtype=np.int64, count=len(found)),
        classes=[printable(spelled[name]) for name in classes],
        splits=np.fromiter(splits, dtype=np.int64, count=len(found)),
        stamps=np.column_stack([np.array(sizes, dtype=np.int64), np.array(times, dtype=np.int64)]),
        empty=tuple(printable(name) for name in candidates or () if canonical(name) not in place),
    )


def no_images(root: Path) -> DataError:
    """Return the error for a folder without class folders that hold images; it says what is there instead."""
    direct = [path for path in root.iterdir() if sure(path.is_file)]
    if any(path.name.lower().endswith(EXTENSIONS) for path in direct):
        what = "has images but no class folders"
        remedy = "put the images of each class into a folder of its own, or name them in a table: data.csv=<file>"
    else:
        kinds = Counter(ending(path.name) for path in root.rglob("*") if sure(path.is_file))
        what = f"has no images in class folders ({by_ending(kinds, 3) or 'no files at all'})"
        remedy = f"point data.root at a folder of class folders with images ({', '.join(EXTENSIONS)})"
    return DataError(f"the data folder {what}: {root}", where="data.root", remedy=remedy)


def one_class(root: Path, name: str, empty: tuple[str, ...] = ()) -> DataError:
    """Return the error for images that are all of one class; it looks whether the class folders lie one deeper.

    Args:
        root: The folder of the data.
        name: The class.
        empty: The class folders without images.
    """
    inner = root / name
    below = folders(inner) if inner.is_dir() else []
    shown = ", ".join(empty[:5]) + "..." * (len(empty) > 5)
    bare = f"; {shown} {'holds' if len(empty) == 1 else 'hold'} no images" if empty else ""
    return DataError(
        f"the data set has one class only: {name}{bare}",
        where=str(root),
        remedy=f"give data.root={inner}, if {', '.join(map(printable, below[:3]))} are the classes"
        if len(below) > 1
        else "classification needs at least two class folders with images",
    )
