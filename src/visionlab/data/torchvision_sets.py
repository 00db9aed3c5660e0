"""Any set of `torchvision.datasets` whose images have one class each."""

import hashlib
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import FileLock
from PIL import Image

from visionlab.data.files import Placed, build, stamped
from visionlab.data.index import ByteArray, Index, Split, printable
from visionlab.data.module import ImageDataModule
from visionlab.errors import ConfigError, DataError, nearest

# Sets whose images are all of one size, px; those of the others are photographs.
SIDES = {
    **dict.fromkeys(("MNIST", "FashionMNIST", "KMNIST", "QMNIST", "EMNIST"), 28),
    **dict.fromkeys(("CIFAR10", "CIFAR100", "SVHN"), 32),
    **dict.fromkeys(("USPS", "SEMEION"), 16),
    **{"FER2013": 48, "EuroSAT": 64, "STL10": 96, "PCAM": 96},
}
# What torchvision calls them; of several names the first that a set has.
SPLITS = {
    Split.TRAIN: ("train", "trainval", "train-standard"),
    Split.VAL: ("val", "valid"),
    Split.TEST: ("test",),
}
Files = list[tuple[str, int]]  # path and label of each image
OWN = {"ImageFolder", "DatasetFolder"}  # of images that nobody published
# Sets without one class an image, so that none is downloaded in vain.
OTHERS = {
    "CelebA", "Cityscapes", "CocoCaptions", "CocoDetection", "FakeData", "Flickr30k", "Flickr8k", "HMDB51", "Kinetics",
    "Kitti", "LFWPairs", "MovingMNIST", "PhotoTour", "SBDataset", "SBU", "UCF101", "VisionDataset", "VOCDetection",
    "VOCSegmentation", "WIDERFace",
}  # fmt: skip
TAKEN = {"root", "train", "download", "transform", "transforms", "target_transform", "loader"}  # given by us, or nobody


class TorchvisionSet(ImageDataModule):
    """A set of torchvision, in the splits and with the order of classes that it has there.

    Args:
        name: As in `torchvision.datasets`: FashionMNIST, CIFAR100, Flowers102, ...
        options: Further keywords of its constructor: {split: letters} of EMNIST, {annotation_level: family} of
            FGVCAircraft, {target_types: binary-category} of OxfordIIITPet.
        **common: See `ImageDataModule`; `root` is torchvision's, in which most sets have a folder of their own.

    Raises:
        ConfigError: torchvision has no such set.
    """

    def __init__(self, *, name: str, options: Mapping[str, Any] | None = None, **common: Any) -> None:
        self.own_size = SIDES.get(name, 224)
        super().__init__(name=name, **common)
        self.kind = _kind(name)
        self.keywords = _keywords(self.kind)
        self.options = dict(options or {})
        if taken := TAKEN & set(self.options):
            raise ConfigError(
                f"{min(taken)} is no option of a data set here",
                where="data.options",
                remedy="leave it out; data.root, data.download and augment are the keys for that",
            )

    def find(self) -> Index:
        """Return the images: their files, where the set has files, else their pixels."""
        parts = {split: part for split, part in self._parts().items() if not _unlabelled(part)}
        files = {split: _files(part) for split, part in parts.items()}
        if all(files.values()):
            labels = {split: [label for _, label in pairs or ()] for split, pairs in files.items()}
            classes = _class_names(parts, labels)
            found: list[Placed] = []
            for split, pairs in files.items():
                for path, label in pairs or ():
                    name = os.path.relpath(path, self.root).replace(os.sep, "/")
                    found.append((*stamped(self.root, name), classes[label], split))
            return _in_order(build(self.root, found), classes)
        for part in parts.values():
            self._require_classes(part)
        return _frames(self.root, parts)

    def _parts(self) -> dict[Split, Any]:
        """Return torchvision's objects, one a split."""
        if "train" in self.keywords:
            return {split: self._open(train=split == Split.TRAIN) for split in (Split.TRAIN, Split.TEST)}
        if "split" not in self.keywords or "split" in self.options:
            return {Split.FREE: self._open()}
        parts = {}
        for split, names in SPLITS.items():
            for name in names:
                try:
                    parts[split] = self._open(split=name)
                except _NoSuchSplit:
                    continue
                break
        return parts

    def _open(self, **part: Any) -> Any:
        """Return torchvision's object of a split, downloaded where that is allowed and needed."""
        fetched = "download" in self.keywords
        try:
            # SEMEION downloads unless it is told not to
            return self._made(**part, **({"download": False} if fetched else {}))
        except (RuntimeError, OSError) as error:
            if isinstance(error.__context__, ImportError):
                raise self._lacking(error.__context__) from error
            if not (self.download and fetched):
                otherwise = (
                    "download it with data.download=true, or" if fetched else "torchvision does not download it;"
                )
                raise self._missing(f"is missing ({_first_line(error)})", otherwise) from error
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f".{self.name}.lock"):  # several processes may want the same
                return self._made(**part, download=True)
        except (RuntimeError, OSError, ConfigError) as error:
            cause = error.__cause__ if isinstance(error, ConfigError) else error
            raise self._missing(f"cannot be downloaded ({_first_line(cause)})", "without a download") from error

    def _made(self, **keywords: Any) -> Any:
        try:
            return self.kind(root=str(self.root), **keywords, **self.options)
        except ImportError as error:
            raise self._lacking(error) from error
        except (ValueError, TypeError) as error:
            if "argument split." in str(error) and "split" in keywords:
                raise _NoSuchSplit from error
            raise ConfigError(
                f"torchvision's {self.name} cannot be opened: {_first_line(error)}",
                where="data.options",
                remedy=f"give keywords of torchvision.datasets.{self.name}, such as 'data.options={{key: value}}'",
            ) from error

    def _lacking(self, error: ImportError) -> ConfigError:
        return ConfigError(
            f"torchvision's {self.name} needs the library {error.name}, which is not installed",
            where="data.name",
            remedy=f"pip install {error.name}",
        )

    def _missing(self, what: str, otherwise: str) -> DataError:
        return DataError(
            f"torchvision's {self.name} {what}: {self.root}",
            where="data.root",
            remedy=f"{otherwise} put its files there as the documentation of torchvision.datasets.{self.name} says",
        )

    def _require_classes(self, part: Any) -> None:
        try:
            image, label = part[0]
        except OSError:  # a damaged file, which the check of all images names
            return
        except (ValueError, TypeError):  # it is no pair, but a video with its sound or an image alone
            image = label = None
        if not isinstance(image, Image.Image) or not isinstance(label, int):
            raise _without_classes(self.kind.__name__)


class _NoSuchSplit(Exception):
    """A set has no part of this name."""


def sets() -> dict[str, Any]:
    """Return torchvision's data sets of images with one class each, by their names."""
    from torchvision import datasets

    kinds = {name: getattr(datasets, name) for name in datasets.__all__ if name not in OWN | OTHERS}
    return {name: kind for name, kind in kinds.items() if inspect.isclass(kind)}


def _kind(name: str) -> Any:
    kinds = sets()
    if name not in kinds and name not in OWN | OTHERS:
        raise ConfigError(f"torchvision has no data set '{name}'", where="data.name", remedy=nearest(name, kinds))
    if name in OWN:
        raise ConfigError(
            f"{name} is for images of your own", where="data.name", remedy="use data=folder data.root=..."
        )
    if name in OTHERS:
        raise _without_classes(name)
    return kinds[name]


def _without_classes(name: str) -> ConfigError:
    return ConfigError(
        f"torchvision's {name} has no images with one class each",
        where="data.name",
        remedy="choose a set for classification, of still images",
    )


def _keywords(kind: Any) -> set[str]:
    """Return the names of a constructor's arguments, and of those that it hands on to the classes below."""
    constructors = [each.__dict__["__init__"] for each in inspect.getmro(kind) if "__init__" in each.__dict__]
    return {name for constructor in constructors for name in inspect.signature(constructor).parameters}


def _first_line(error: BaseException | None) -> str:
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def _class_names(parts: Mapping[Split, Any], labels: Mapping[Split, list[int]]) -> list[str]:
    """Return a name for each label; ImageNet's are tuples of synonyms, and two of its classes are cranes."""
    last = max(map(max, labels.values()))
    # A set may have names for several kinds of labels, as OxfordIIITPet for breeds and for cat and dog.
    lists = [
        names
        for part in parts.values()
        for key in ("classes", "bin_classes", "categories")
        if (names := getattr(part, key, None))
    ]
    exact = [names for names in lists if len(names) == last + 1]
    given = next(iter(exact or [names for names in lists if len(names) > last]), None)
    if given is None:
        return [f"{label:0{len(str(last))}d}" for label in range(last + 1)]
    names = [name if isinstance(name, str) else ", ".join(name) for name in given]
    return [f"{name} ({label})" if names.count(name) > 1 else name for label, name in enumerate(names)]


def _in_order(index: Index, classes: list[str]) -> Index:
    """Number the classes of an index as `classes` has them."""
    place = {printable(name): label for label, name in enumerate(classes)}
    order = sorted(range(len(index.classes)), key=lambda label: place[index.classes[label]])
    index.classes = [index.classes[label] for label in order]
    index.labels = np.argsort(order)[index.labels]
    return index


def _unlabelled(part: Any) -> bool:
    """Return whether nobody was told the classes, as of CLEVR's test split."""
    pairs = _pairs(part)
    return bool(pairs) and pairs[0][1] is None


def _pairs(part: Any) -> list[tuple[Any, Any]]:
    """Return what a set keeps of its images, if they are files: path and label, or what else its class makes of them.

    torchvision has no public way to ask, so what its classes keep for themselves is read.
    """

    def kept(*names: str) -> Any:
        return next((getattr(part, name) for name in names if hasattr(part, name)), None)

    pairs = kept("_samples", "samples", "imgs")
    return pairs or list(zip(kept("_image_files", "_images") or (), kept("_labels") or (), strict=False))


def _files(part: Any) -> Files | None:
    """Return the files of a set; None where its images are none."""
    pairs = _pairs(part)
    if not pairs or not isinstance(pairs[0][0], str | Path) or not _believed([label for _, label in pairs], part):
        return None
    return [(str(path), int(label)) for path, label in pairs]


def _believed(labels: Any, part: Any) -> bool:
    """Return whether labels are those that the set itself gives with an image."""
    if len(labels) != len(part):
        return False
    for place in {0, len(part) // 2, len(part) - 1}:
        try:
            label = part[place][1]
        except Exception:  # a damaged file, which the check of all images names with all others
            continue
        if not isinstance(label, int) or not np.array_equal(labels[place], label):
            return False
    return True


def _frames(root: Path, parts: Mapping[Split, Any]) -> Index:
    """Index images that are no files, as `<split>/<number>`."""
    labels = {split: _labels(part) for split, part in parts.items()}
    classes = _class_names(parts, labels)
    found: list[Placed] = []
    for split, part in parts.items():
        stamp = _stamp(part)
        found += [
            (f"{split.name.lower()}/{i:07d}", *stamp, classes[label], split) for i, label in enumerate(labels[split])
        ]
    index = _in_order(build(root, found), classes)

    def frame(row: int) -> ByteArray:
        split, number = index.names[row].split("/")
        return np.asarray(parts[Split[split.upper()]][int(number)][0].convert("RGB"))

    index.frames = frame
    if not all(hasattr(getattr(part, "data", None), "nbytes") for part in parts.values()):
        index.stamps = None  # no arrays, but the paths of files, say: nothing tells that their pixels changed
    return index


def _labels(part: Any) -> list[int]:
    for given in (getattr(part, name) for name in ("targets", "labels", "y") if hasattr(part, name)):
        if _believed(given, part):
            return [int(label) for label in given]
    return [part[place][1] for place in range(len(part))]


def _stamp(part: Any) -> tuple[int, int]:
    """Return size and digest of the array that a set is in memory."""
    held = getattr(part, "data", ())
    pixels = np.ascontiguousarray(held if hasattr(held, "nbytes") else ())
    return pixels.nbytes, int.from_bytes(hashlib.sha256(pixels.data).digest()[:8], "little", signed=True)
