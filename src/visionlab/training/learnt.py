"""Whether images that a run is to be evaluated on are some that it learnt from."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from visionlab.data.index import IntArray
from visionlab.data.module import ImageDataModule
from visionlab.errors import ConfigError, DataError
from visionlab.runs import Run
from visionlab.training import build

log = logging.getLogger(__name__)
HOW = {  # keys that say how they are read, and change neither which there are nor where they are
    "image_size", "resize", "crop_ratio", "mean", "std", "batch_size", "sampler", "drop_last", "expand",
    "cache_dir", "workers", "download",
}  # fmt: skip


def check(split: str, now: ImageDataModule, trained: DictConfig, data: Mapping[str, Any]) -> None:
    """Refuse to validate or test on images that a run was trained on, and tell them among `all`.

    Args:
        split: The split that is to be evaluated.
        now: The data to evaluate on, set up.
        trained: The config that the run was trained with.
        data: Keys of its data config that were replaced for `now`.

    Raises:
        ConfigError: Such images are in the validation or test split.
    """
    elsewhere = _elsewhere(trained.data, data)
    changed = next((key for key, value in data.items() if key not in HOW and trained.data.get(key) != value), None)
    if split != "all" and not (split in ("val", "test") and changed):
        return
    try:
        then = build.data_module(trained)
    except DataError as error:  # as of a list that is gone, which is no reason to refuse another
        if not elsewhere:  # of other images nothing else is to be expected
            log.warning("whether the run was trained on some of these cannot be seen any more: %s", error.what)
        return
    if split == "all":
        _tell(now, then)
    else:
        refuse(split, str(changed), now, then)


def _elsewhere(trained: Mapping[str, Any], data: Mapping[str, Any]) -> bool:
    """Whether the images lie below another folder than those of a run."""
    places = [Path(str(root)).expanduser().resolve() for root in (trained.get("root"), data.get("root"))]
    return "root" in data and places[0] != places[1]


def refuse(split: str, key: str, now: ImageDataModule, then: ImageDataModule) -> None:
    """Refuse a split with images that the run was trained on, or, to test on, that its best epoch was chosen by.

    Raises:
        ConfigError: It has some.
    """
    rows = getattr(now.splits, split)
    chosen_by = (then.splits.train, then.splits.val) if split == "test" else (then.splits.train,)
    if known := _known(now, rows, then, *chosen_by):
        raise ConfigError(
            f"data.{key} would divide anew the images that the run was trained on: of {len(rows):,} in {split} it has "
            f"seen {known:,}",
            where=f"data.{key}",
            remedy="leave it out, train a run with it, or name other images with 'data={root: <folder>}'",
        )


def _tell(now: ImageDataModule, then: ImageDataModule) -> None:
    """Say how many of all images are no test of the run."""
    rows = now.splits.train
    learnt, chosen_by = (_known(now, rows, then, part) for part in (then.splits.train, then.splits.val))
    if learnt or chosen_by:
        log.warning(
            "of these %s images the run was trained on %s, and its best epoch was chosen by %s: their figures are no "
            "test of it",
            *(f"{count:,}" for count in (len(rows), learnt, chosen_by)),
        )


def tell_new(split: str, now: ImageDataModule, run: Run) -> None:
    """Say how many images of a split were not in it when the run was trained, where its record lists those that were.

    Images that were added, or another version of visionlab, may have divided all of them anew.
    """
    then = {row["image"] for row in run.predictions if row["split"] == split}
    names = now.image_names(getattr(now.splits, split)) if then else []
    if new := sum(name not in then for name in names):
        log.warning(
            "of the %s images in %s %s were not there: the run may have learnt from them, so its figures are no test "
            "of it",
            *(f"{len(names):,}", split, f"{new:,}"),
        )


def _known(now: ImageDataModule, rows: IntArray, then: ImageDataModule, *parts: IntArray) -> int:
    """Count the images of some rows that are in some parts of a training, whatever their names."""
    seen = {then.store.digests[row].tobytes() for part in parts for row in part}
    return sum(now.store.digests[row].tobytes() in seen for row in rows)
