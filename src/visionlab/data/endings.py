"""The files that are left out for their endings: those that may be photographs are counted and told of."""

import os
from collections.abc import Mapping

from visionlab.data.index import printable

# What lies among images and is none: notes, labels, tables, arrays, archives, and what systems and phones leave there
COMPANIONS = {
    ".txt", ".md", ".rst", ".rtf", ".html", ".htm", ".pdf", ".doc", ".docx", ".log", ".csv", ".tsv", ".xls", ".xlsx",
    ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".cfg", ".ini", ".mat", ".m", ".npy", ".npz", ".pkl", ".h5",
    ".hdf5", ".pt", ".pth", ".parquet", ".py", ".ipynb", ".sh", ".zip", ".tar", ".gz", ".tgz", ".7z", ".rar", ".md5",
    ".sha256", ".db", ".lnk", ".bak", ".tmp", ".lock", ".part", ".aae", ".mov", ".mp4",
}  # fmt: skip


def ending(name: str) -> str:
    """Return the ending of a file's name in small letters, as a person can read it."""
    return printable(os.path.splitext(name)[1].lower()) or "(no ending)"  # noqa: PTH122 (a Path a file costs time)


def by_ending(counts: Mapping[str, int], most: int = 5) -> str:
    """Say how many files have which ending, the most frequent first: `41 .heic, 3 .avif`."""
    kinds = sorted(counts.items(), key=lambda kind: (-kind[1], kind[0]))
    rest = sum(count for _, count in kinds[most:])
    return ", ".join([f"{count:,} {kind}" for kind, count in kinds[:most]] + [f"{rest:,} others"] * bool(rest))


def left_out(counts: Mapping[str, int]) -> str:
    """Say which files are left out for their endings: `44 files with other endings are left out: 41 .heic, 3 .avif`."""
    total = sum(counts.values())
    which = "1 file with another ending is" if total == 1 else f"{total:,} files with other endings are"
    return f"{which} left out: {by_ending(counts)}; convert what is a photograph to JPEG or PNG"
