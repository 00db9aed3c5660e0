"""Lists the images of a person: in class folders, or in a table of image paths and labels."""

import csv
import io
import posixpath
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from visionlab.data.files import EXTENSIONS, MISSING, SPLIT_FOLDERS, build, class_folders, require_folder, stamped
from visionlab.data.index import Index, Split, canonical, printable
from visionlab.errors import DataError

SPLITS = {"": Split.FREE, **SPLIT_FOLDERS}
BEYOND = "beyond the header"  # fields of a row for which there is no column
HOLDS = {"path": "the images' paths", "label": "the classes"}
COLUMNS = (*HOLDS, "split", "group")


def find(root: Path, table: str | Path | None) -> Index:
    """Index the images of the class folders of `root`, or of a CSV file relative to it.

    Raises:
        DataError: As `class_folders` and `listed` say.
    """
    return class_folders(root) if table is None else listed(root, root / Path(table).expanduser())


def listed(root: Path, table: Path) -> Index:
    """Index the images that a CSV file lists.

    Args:
        root: Folder that the paths are relative to.
        table: UTF-8, with a header that names the columns `path` and `label` and perhaps `split` (train, val, test, or
            empty: to train on, and where no row says val, or data.test_fraction is given, to draw these from; written
            as the folders of splits are) and `group` (the patient, say: images of one stay together, so that an empty
            split is that of the others of its group; empty: a group of its own). Comma, semicolon or tab divide the
            columns.

    Raises:
        DataError: The file is missing, is no CSV, lacks a column or has one twice, or has a row without a path or a
            label, with more fields than columns, with an unknown split, with a path that came before under another
            label, split or group, or with a group that came before in another split; or none of its images is there.
    """
    require_folder(root)
    try:
        text = table.read_text(encoding="utf-8-sig")
    except OSError as error:
        remedy = "name a CSV file with the columns path and label"
        raise DataError(f"cannot read the list of images: {error.strerror}", where=str(table), remedy=remedy) from error
    except UnicodeDecodeError as error:
        raise DataError("the list of images is not UTF-8", where=str(table), remedy="save it as UTF-8") from error
    header = text.split("\n", 1)[0]
    delimiter = max(",;\t", key=header.count)
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, restkey=BEYOND, strict=True)
    with _legible(rows, table):
        columns = [name.strip().lower() for name in rows.fieldnames or []]
    rows.fieldnames = columns
    if missing := [column for column in HOLDS if column not in columns]:
        given = ", ".join(name for name in columns if name and name not in COLUMNS)
        wanted = " and ".join(f"the one with {HOLDS[column]} '{column}'" for column in missing)
        what = f"the list of images has no column {' and no column '.join(map(repr, missing))}"
        remedy = f"of its columns {given}, name {wanted}" if given else "write path,label"
        raise DataError(what, where=f"{table}, line 1", remedy=remedy)
    if twice := [name for name in COLUMNS if columns.count(name) > 1]:
        remedy = "leave one of them"
        raise DataError(f"the list of images has two columns {twice[0]!r}", where=f"{table}, line 1", remedy=remedy)
    seen: dict[str, tuple[str, str, Split, bytes]] = {}
    placed: dict[bytes, Split] = {}
    for row in _each(rows, table):
        where = f"{table}, line {rows.line_num}"
        beyond = any(row.get(BEYOND, ()))  # a comma at the end is none
        if beyond or "\n" in f"{row.get('path')}{row.get('label')}{row.get('group')}":
            what = "a row has more fields than the header" if beyond else "a path, a label or a group has two lines"
            raise DataError(what, where=where, remedy="put what holds a comma between quotes, and close all quotes")
        path, label, split, group = ((row.get(column) or "").strip() for column in COLUMNS)
        split = split.lower()
        if not path or not label or split not in SPLITS:
            what = f"the split {split!r} is unknown" if path and label else "a path or a label is missing"
            raise DataError(what, where=where, remedy="write path,label or path,label,split with train, val or test")
        path = path.replace("\\", "/")
        told, one = SPLITS[split], canonical(group)
        known = seen.setdefault(posixpath.normpath(path), (path, label, told, one))  # ./a.png is a.png
        if known[1:] != (label, told, one):
            what = f"{printable(path)} is listed twice, as {known[1]!r} and as {label!r}, or in two splits or groups"
            raise DataError(what, where=where, remedy="list each image once")
        if one and told != Split.FREE and (other := placed.setdefault(one, told)) != told:
            what = f"the group {printable(group)!r} has images in {other.name.lower()} and in {told.name.lower()}"
            remedy = "put its images into one split, or leave their splits empty"
            raise DataError(what, where=where, remedy=remedy)
    found = [
        (*stamped(root, path), label, placed.get(one, told) if told == Split.FREE else told)
        for path, label, told, one in seen.values()
    ]
    if found and all(file[1:3] == MISSING for file in found):
        first, *_ = (path for path, *_ in seen.values())
        with_ending = [first + ending for ending in EXTENSIONS if (root / (first + ending)).exists()]
        raise DataError(
            f"none of the {len(found)} images of the list is there; the first would be {printable(str(root / first))}",
            where=str(table),
            remedy=f"write the endings of the files: {printable(with_ending[0])}"
            if with_ending
            else "write the paths as they are below data.root, or give as data.root the folder that they are below",
        )
    index = build(root, found)
    group_of = {path: one for path, *_, one in seen.values()}
    if any(group_of.values()):
        start: dict[bytes, int] = {}
        ones = [group_of[name] for name in index.names]
        index.groups = np.array([start.setdefault(one, row) if one else row for row, one in enumerate(ones)])
    return index


def _each(rows: "csv.DictReader[str]", table: Path) -> Iterator[dict[str, str]]:
    with _legible(rows, table):
        yield from rows


@contextmanager
def _legible(rows: "csv.DictReader[str]", table: Path) -> Iterator[None]:
    try:
        yield
    except csv.Error as error:
        where, remedy = f"{table}, line {rows.line_num}", "close all quotes, and save it as CSV in UTF-8"
        raise DataError(f"the list of images is no CSV: {error}", where=where, remedy=remedy) from error
