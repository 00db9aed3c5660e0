"""The data module: from a folder's name to batches on the device, and everything that others ask about the data."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
import torch
from lightning import LightningDataModule
from torch import Tensor

from visionlab.data.batch import Batch
from visionlab.data.checks import Filters, check
from visionlab.data.download import Source
from visionlab.data.expand import Expansion
from visionlab.data.files import one_class, stamped
from visionlab.data.index import Index, IntArray, canonical, printable
from visionlab.data.loader import Loader, Sampler
from visionlab.data.normalize import Normalize
from visionlab.data.splits import Plan, Splits, divide, tell_unseen
from visionlab.data.store import open_store
from visionlab.data.transform import Resize, Transform
from visionlab.data.values import Triple, at_least_one, choice, pair, share, triple
from visionlab.data.variants import Variants, open_variants
from visionlab.errors import ConfigError

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Augmenter(Protocol):
    """What `visionlab.data.augment.Augmentation` does."""

    def __call__(
        self, images: Tensor, labels: Tensor, *, seed: int, epoch: int, places: Tensor, classes: int
    ) -> tuple[Tensor, Tensor]:
        """Change uint8 [B, 3, H, W], to uint8 or to float in 0 to 1, and the labels where images are mixed."""


class Asked(Protocol):
    """What pretrained weights ask for (`visionlab.models.weights.Expected`)."""

    image_size: tuple[int, int]
    mean: Triple
    std: Triple


class ImageDataModule(LightningDataModule, ABC):
    """Base of all data sets; a subclass says which images there are (`find`) and what `auto` means for them.

    Args:
        name: Of the data set, for run directories and pages.
        root: Folder of the images.
        published: The images are the same wherever `root` lies. Only a run's identity asks.
        image_size: Side, or [height, width], in px; "auto" for what pretrained weights ask for, else `own_size`.
        resize: See `Transform`.
        crop_ratio: See `Transform`.
        mean: Three numbers in 0 to 1, or "auto" for what pretrained weights ask for, else `own_mean`.
        std: As `mean`.
        batch_size: Images a step, over all devices, so that a result does not hang on their number.
        val_fraction: See `Plan`; so are test_fraction, folds, fold, train_fraction and split_seed (its seed).
        sampler: See `Loader`; so is drop_last.
        on_bad_image: error: refuse to start, naming all bad files. skip: leave them out and count them.
        keep_sizes: See `Filters`; so are min_side and max_aspect.
        expand: Enlarges the training split, once, before training.
        cache_dir: Where decoded images are kept; None for the user's cache folder.
        download: Fetch the data set where it is missing.
        workers: Processes that decode; None for one a core.
        augment: Changes training batches on the device.
        seed: Of order and augmentation.
        expects: What pretrained weights ask for; None without them.
    """

    source: Source | None = None
    own_size: int | tuple[int, int] = 224
    own_mean: Triple = IMAGENET_MEAN
    own_std: Triple = IMAGENET_STD

    def __init__(
        self,
        *,
        name: str,
        root: str | Path,
        published: bool = False,
        image_size: int | Sequence[int] | Literal["auto"] = "auto",
        resize: Resize = "crop",
        crop_ratio: float = 1.0,
        mean: Sequence[float] | Literal["auto"] = "auto",
        std: Sequence[float] | Literal["auto"] = "auto",
        batch_size: int = 32,
        val_fraction: float | None = None,
        test_fraction: float | None = None,
        folds: int | None = None,
        fold: int = 0,
        split_seed: int = 0,
        train_fraction: float = 1.0,
        sampler: Literal["shuffle", "balanced"] = "shuffle",
        drop_last: bool = False,
        on_bad_image: Literal["error", "skip"] = "error",
        keep_sizes: Sequence[str] | None = None,
        min_side: int | None = None,
        max_aspect: float | None = None,
        expand: Expansion | None = None,
        cache_dir: str | Path | None = None,
        download: bool = False,
        workers: int | None = None,
        augment: Augmenter | None = None,
        seed: int = 0,
        expects: Asked | None = None,
    ) -> None:
        super().__init__()
        self.name, self.root, self.published = name, Path(root).expanduser(), published
        asked = expects.image_size if expects is not None else self.own_size
        self.image_size = pair(asked if image_size == "auto" else image_size)
        self.mean = triple("mean", (expects.mean if expects else self.own_mean) if mean == "auto" else mean)
        self.std = triple("std", (expects.std if expects else self.own_std) if std == "auto" else std)
        choice("resize", resize, get_args(Resize))
        share("crop_ratio", crop_ratio, whole=True)
        self.transform = Transform(size=self.image_size, resize=resize, crop_ratio=crop_ratio)
        self.preprocess = Normalize(self.mean, self.std)
        self.filters = Filters.of(keep_sizes, min_side, max_aspect)
        self.plan = Plan(val_fraction, test_fraction, folds, fold, train_fraction, split_seed)
        at_least_one("batch_size", batch_size)
        choice("sampler", sampler, ("shuffle", "balanced"))
        choice("on_bad_image", on_bad_image, ("error", "skip"))
        self.batch_size, self.sampler, self.drop_last = batch_size, sampler, drop_last
        self.on_bad_image = on_bad_image
        self.cache_dir, self.download, self.workers = cache_dir, download, workers
        self.augment, self.expand, self.seed = augment, expand, seed
        self.sampled = False  # whether only the first batches of validation or test will be taken
        self.divided = True  # False: all images are meant, as one split
        self.empty_classes = False  # whether classes may have no images that can be used: to look at, not to learn
        self._ready = False

    @abstractmethod
    def find(self) -> Index:
        """Return the images below `root`.

        Raises:
            DataError: They are missing or not laid out as expected.
        """

    def find_now(self) -> Index:
        """Return what `find` does, with the sizes and times of files of which it gave the names alone."""
        index = self.find()
        if index.stamps is None and index.frames is None:
            index.stamps = np.array([stamped(index.root, name)[1:] for name in index.names])
        return index

    def present(self) -> bool:
        """Return whether the data set is there, so that nothing needs to be unpacked or fetched."""
        return self.source is None or (self.root / self.source.folder).is_dir()

    def prepare_data(self) -> None:
        """Fetch what is missing and fill the store: once a machine, before `setup` on every process."""
        self.setup()

    def setup(self, stage: str | None = None) -> None:
        """Index, check, divide.

        Raises:
            DataError: Images are missing, bad, or of one class only.
        """
        if self._ready:
            return
        if self.source is not None and not self.present():
            self.source.provide(self.root, download=self.download)
        self.index = self.find_now()
        self.classes = self.index.classes
        self.num_classes = len(self.classes)
        if self.num_classes < 2:
            raise one_class(self.root, self.classes[0], self.index.empty)
        self.store = open_store(self.index, self.transform, cache_dir=self.cache_dir, workers=self.workers)
        self.index.frames = None  # the store has their pixels
        empty = self.empty_classes
        self.fit = check(self.index, self.store, self.on_bad_image, self.filters, empty_classes=empty)
        rows, none = self.fit.rows, np.zeros(0, dtype=np.int64)
        self.splits = (
            divide(self.index, rows, self.fit.groups, self.plan, empty_classes=empty)
            if self.divided
            else Splits(rows, none, none, none)
        )
        self.has_test = len(self.splits.test) > 0
        tell_unseen(self.index, self.splits)
        self.variants: Variants | None = None
        self._train, self._labels = self.splits.train, self.index.labels
        if self.expand is not None and self.divided:
            # The split's seed: the enlarged set belongs to the split, and runs with several seeds share it.
            self.variants = open_variants(
                self.store, self._train, self.expand, seed=self.plan.seed, cache_dir=self.cache_dir
            )
            origins = self.variants.origins
            self._train = np.concatenate([self._train, len(self.index) + np.arange(len(origins))])
            self._labels = np.concatenate([self._labels, self._labels[origins]])
        self.class_counts = torch.from_numpy(np.bincount(self._labels[self._train], minlength=self.num_classes))
        self._ready = True

    def summary(self) -> dict[str, Any]:
        """Return what a result records about the data.

        name, classes, train, val, test: counts. split_hash: of which image is where. fingerprint: of the contents of
        the files. contents: the same of validation and of test alone. skipped: bad files. others: files left out for
        their endings, counted by these. removed: by filter. duplicates: images that have an identical one before them;
        of these `across` were taken out of train (or validation), as their likes are in validation or test, and
        `disputed` have likes in other classes. expanded_from: originals of an enlarged training split. listing: of
        files that nobody published, which may change from one run to the next. groups: of train, val and test, how
        many groups of images they have, where a list says which stay together.
        """
        splits, rows, groups = self.splits, self.fit.rows, self.fit.groups
        again = rows[groups[rows] != rows]
        disputed = self.index.labels[again] != self.index.labels[groups[again]]
        summary: dict[str, Any] = {
            "name": self.name,
            "classes": self.num_classes,
            "train": len(self._train),
            "val": len(splits.val),
            "test": len(splits.test),
            "split_hash": splits.hash(self.index),
            "fingerprint": self._fingerprint(splits.train, splits.val, splits.test),
            "contents": {"val": self._fingerprint(splits.val), "test": self._fingerprint(splits.test)},
            "skipped": self.fit.skipped,
            "others": dict(self.index.others),
            "removed": self.fit.removed,
            "duplicates": {"images": len(again), "across": len(splits.leaks), "disputed": int(disputed.sum())},
        }
        if self.variants is not None:
            summary["expanded_from"] = len(splits.train)
        if (own := self.index.groups) is not None:
            parts = {"train": splits.train, "val": splits.val, "test": splits.test}
            summary["groups"] = {name: len(np.unique(own[part])) for name, part in parts.items()}
        if not self.published and self.index.stamps is not None:
            summary["listing"] = self.index.listing()
        return summary

    def _fingerprint(self, *splits: IntArray) -> str:
        """Return a digest of the names of images and of the contents of their files."""
        content = hashlib.sha256()
        for row in np.concatenate(splits):
            content.update(canonical(self.index.names[row]) + self.store.digests[row].tobytes())
        return content.hexdigest()[:16]

    def image_names(self, rows: Tensor | Sequence[int]) -> list[str]:
        """Return the paths of the images, relative to `root`, with forward slashes; a variant's ends in #number."""
        names = []
        for row in map(int, rows):
            copy, number = row - len(self.index), ""
            if copy >= 0 and self.variants is not None:
                row, number = int(self.variants.origins[copy]), f"#{copy // len(self.splits.train) + 1}"
            names.append(printable(self.index.names[row]) + number)
        return names

    def pixels(self, rows: Tensor | Sequence[int] | IntArray) -> Tensor:
        """Return the images as the store holds them: uint8 [N, 3, H, W]."""
        wanted = torch.as_tensor(rows, dtype=torch.int64)
        return self.store.gather(wanted) if self.variants is None else self.variants.gather(self.store, wanted)

    def train_dataloader(self) -> Loader:
        """Return the shuffled training batches."""
        return self._loader(self._train, sampler=self.sampler, drop_last=self.drop_last)

    def train_eval_dataloader(self) -> Loader:
        """Return the training images in order, without variants, for an accuracy on what was learnt from."""
        return self._loader(self.splits.train)

    def val_dataloader(self) -> Loader:
        """Return the validation images in order."""
        return self._loader(self._in_order(self.splits.val))

    def test_dataloader(self) -> Loader:
        """Return the test images in order."""
        return self._loader(self._in_order(self.splits.test))

    def _in_order(self, rows: IntArray) -> IntArray:
        """Return rows by name, so class by class; mixed, the same each time, where only the first will be taken."""
        return np.random.default_rng(self.plan.seed).permutation(rows) if self.sampled else rows

    def _loader(self, rows: IntArray, sampler: Sampler = "sequential", drop_last: bool = False) -> Loader:
        trainer = self.trainer
        pinned = trainer is not None and trainer.strategy.root_device.type == "cuda"
        return Loader(
            self.pixels if self.variants is not None else partial(self.store.gather, pinned=pinned),
            rows,
            self._labels[rows],
            batch_size=self._share_of_batch(),
            sampler=sampler,
            drop_last=drop_last,
            seed=self.seed,
            epoch=None if trainer is None else lambda: trainer.current_epoch,
            rank=0 if trainer is None else trainer.global_rank,
            world_size=1 if trainer is None else trainer.world_size,
            pin_memory=pinned,
        )

    def _share_of_batch(self) -> int:
        """Return the images of a batch that fall to this process.

        Raises:
            ConfigError: The batch does not divide among the devices.
        """
        processes = 1 if self.trainer is None else self.trainer.world_size
        if self.batch_size % processes:
            raise ConfigError(
                f"data.batch_size={self.batch_size} does not divide among {processes} devices",
                where="data.batch_size",
                remedy=f"give a multiple of {processes}; it is the total over all devices",
            )
        return self.batch_size // processes

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        """Augment (in training only) and normalise on the device."""
        images, labels = batch.images, batch.labels
        trainer = self.trainer
        if self.augment is not None and trainer is not None and trainer.training:
            images, labels = self.augment(
                images,
                labels,
                seed=self.seed,
                epoch=trainer.current_epoch,
                places=batch.places,
                classes=self.num_classes,
            )
        return Batch(self.preprocess.to(images.device)(images), labels, batch.rows, batch.places)
