"""The folders that doors write to: the one that a person names with `out=`, and names of such that keep apart."""

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from visionlab.errors import ConfigError


def out_folder(out: str | Path) -> Path:
    """Return the folder that is named: no run's own, whose record some of the files would replace.

    Args:
        out: As it was given; it may begin with ~, and Hydra makes numbers of digits.

    Raises:
        ConfigError: It is a run's.
    """
    folder = Path(str(out)).expanduser()
    if (folder / "result.json").exists():
        raise ConfigError(
            "a run lies there, and what is written could replace files of its record",
            where=f"out={out}",
            remedy=f"give a folder of its own, such as out={folder / 'more'}",
        )
    return folder


def from_here(place: str | Path) -> str:
    """Return a path as it is seen from the working directory; as it is where that is on another drive."""
    try:
        return os.path.relpath(place)
    except ValueError:
        return str(place)


def place_name(place: str | Path) -> str:
    """Name a place as no other is: by its path below the working directory, else by its last part and a digest."""
    path = Path(str(place)).expanduser().resolve()
    if path.is_relative_to(Path.cwd()):
        return "-".join(path.relative_to(Path.cwd()).parts) or path.name
    return f"{path.name}-{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"


def data_name(data: Mapping[str, Any]) -> str:
    """Name a data set by its config: of one's own images, by the folder and the list too."""
    if data.get("published") or data.get("root") is None:
        return str(data.get("name"))
    listed = [Path(str(data["csv"])).stem] if data.get("csv") else []
    return "-".join([str(data.get("name")), place_name(data["root"]), *listed])
