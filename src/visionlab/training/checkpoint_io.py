"""Checkpoint files that are whole or not taken: written aside, synced, renamed, and known by their digest."""

import hashlib
import json
import os
import shutil
from pathlib import Path
from textwrap import shorten
from typing import Any

import torch
from lightning.fabric.plugins import CheckpointIO
from torch import nn

from visionlab.errors import CheckpointError, CheckpointUnwritable
from visionlab.runs import write_atomically

DIGESTS = "digests.json"


class WholeCheckpointIO(CheckpointIO):
    """Writes each checkpoint to a temporary name, syncs it and renames it; the one before stays as `previous-*`.

    Beside the checkpoints lies a list of the SHA-256 digests of all that were written whole. The digest is noted before
    the rename, so a crash between the two leaves an unused digest and never an unknown file.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write a checkpoint.

        Raises:
            CheckpointUnwritable: For want of space, say; the one before is untouched.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        try:
            with part.open("wb") as file:
                torch.save(checkpoint, file)
                file.flush()
                os.fsync(file.fileno())
            _note_digest(part)
            if path.exists():
                _keep(path)
            part.replace(path)
        except (OSError, RuntimeError) as error:
            # torch's zip writer speaks of positions in the file where the disk is full.
            full = shutil.disk_usage(path.parent).free < 1 << 20
            part.unlink(missing_ok=True)
            reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
            raise CheckpointUnwritable(
                f"the checkpoint could not be written: {'No space left on device' if full else reason}",
                where=str(path),
                remedy="free some space and give the same command again; it continues from the checkpoint before",
            ) from error

    def load_checkpoint(self, path: Any, map_location: Any = "cpu", weights_only: bool | None = None) -> dict[str, Any]:
        """Read a checkpoint, tensors and plain values only, for Lightning to move to wherever the run is now."""
        return load(Path(path), map_location=map_location)

    def remove_checkpoint(self, path: Any) -> None:
        """Remove a checkpoint."""
        Path(path).unlink(missing_ok=True)


def load(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """Read a checkpoint with `weights_only=True`: what it pickles beyond tensors and plain values does not run.

    Raises:
        CheckpointError: The file is missing, truncated, or holds something else.
    """
    try:
        content: dict[str, Any] = torch.load(path, map_location=map_location, weights_only=True)
    except FileNotFoundError as error:
        raise CheckpointError("there is no checkpoint", where=str(path)) from error
    except Exception as error:  # torch raises a dozen types for a damaged or hostile file
        raise CheckpointError(
            f"the checkpoint cannot be read: {str(error).splitlines()[0]}",
            where=str(path),
            remedy="train again with force=true",
        ) from error
    return content


def load_network(network: nn.Module, path: Path) -> None:
    """Give a network the weights that a checkpoint of a classifier around it holds.

    Raises:
        CheckpointError: The file cannot be read, or its weights are those of another network.
    """
    content = load(path)
    try:
        state = content["state_dict"]
        network.load_state_dict({k.removeprefix("network."): v for k, v in state.items() if k.startswith("network.")})
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(
            f"the checkpoint does not fit the run's network: {shorten(str(error), 300)}",
            where=str(path),
            remedy="put the network's code back as it was when the run was trained, or train again with force=true",
        ) from error


def newest_whole(folder: Path, name: str = "last.ckpt") -> tuple[Path | None, list[Path]]:
    """Find the newest checkpoint that is whole.

    Returns:
        The checkpoint, or None, and those that were passed over because they are truncated or were tampered with.
    """
    try:
        known = set(json.loads((folder / DIGESTS).read_text(encoding="utf-8")))
    except (OSError, json.JSONDecodeError):
        known = set()
    damaged: list[Path] = []
    for path in (folder / name, folder / f"previous-{name}"):
        if path.exists():
            if _digest(path) in known:
                return path, damaged
            damaged.append(path)
    return None, damaged


def forget_previous(folder: Path) -> None:
    """Remove the checkpoints that were kept in case a later one is damaged: a run that is completed needs none."""
    for path in folder.glob("previous-*"):
        path.unlink()


def _keep(path: Path) -> None:
    """Keep a checkpoint as `previous-*` as well: a kill before the next has its name leaves none of them nameless."""
    second, link = path.with_name(f"previous-{path.name}"), path.with_name(f".{path.name}.{os.getpid()}.link")
    try:
        link.unlink(missing_ok=True)
        os.link(path, link)
    except OSError:  # a file system that has no links
        path.replace(second)
        return
    link.replace(second)
    link.unlink(missing_ok=True)  # still there where both were names of one file already


def _note_digest(part: Path) -> None:
    notes = part.parent / DIGESTS
    try:
        known = json.loads(notes.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError):
        known = []
    write_atomically(notes, json.dumps([*known, _digest(part)][-8:]))  # best and last, each with the one before


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
