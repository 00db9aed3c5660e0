"""Torchvision's sets, as miniatures of their layouts that torchvision itself reads."""

import bz2
import json
import pickle
import re
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets

from visionlab.checks import check
from visionlab.config import compose, resolved
from visionlab.data.torchvision_sets import TorchvisionSet
from visionlab.errors import ConfigError, DataError
from visionlab.training.build import data_module


def noise(path: Path, seed: int, side: int = 8) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path)
    return str(path)


def idx(path: Path, array: np.ndarray) -> None:
    """Write the format of MNIST and its like."""
    path.parent.mkdir(parents=True, exist_ok=True)
    head = struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape)
    path.write_bytes(head + array.astype(np.uint8).tobytes())


def mnist(
    root: Path, name: str = "FashionMNIST", train: str = "train", test: str = "t10k", first: int = 0
) -> np.ndarray:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (40, 28, 28))
    for part, rows in ((train, pixels[:30]), (test, pixels[30:])):
        idx(root / name / "raw" / f"{part}-images-idx3-ubyte", rows)
        idx(root / name / "raw" / f"{part}-labels-idx1-ubyte", first + np.arange(len(rows)) % 10)
    return pixels


def pets(root: Path) -> None:
    seed = 0
    for split in ("trainval", "test"):
        lines = []
        for _ in range(10):
            for label, (breed, kind) in enumerate((("Abyssinian", 1), ("beagle", 2), ("Bengal", 1)), 1):
                seed += 1
                noise(root / "oxford-iiit-pet/images" / f"{breed}_{seed}.jpg", seed)
                lines.append(f"{breed}_{seed} {label} {kind} 1\n")
        (root / "oxford-iiit-pet/annotations").mkdir(exist_ok=True)
        (root / "oxford-iiit-pet/annotations" / f"{split}.txt").write_text("".join(lines))


def food(root: Path) -> None:
    for first, split in ((0, "train"), (100, "test")):
        names = {kind: [f"{kind}/{first + i}" for i in range(5)] for kind in ("apple_pie", "waffles")}
        for seed, name in enumerate(name for each in names.values() for name in each):
            noise(root / "food-101/images" / f"{name}.jpg", first + seed)
        (root / "food-101/meta").mkdir(exist_ok=True)
        (root / "food-101/meta" / f"{split}.json").write_text(json.dumps(names))


def signs(root: Path) -> None:
    rows = ["Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId"]
    for label in range(11):
        for i in range(4):
            noise(root / f"gtsrb/GTSRB/Training/{label:05d}/{i}.ppm", 10 * label + i)
        noise(root / f"gtsrb/GTSRB/Final_Test/Images/{label:05d}.ppm", 1000 + label)
        rows.append(f"{label:05d}.ppm;8;8;0;0;8;8;{label}")
    (root / "gtsrb/GT-final_test.csv").write_text("\n".join(rows))


def satellite(root: Path) -> None:
    for kind, i in ((kind, i) for kind in ("Forest", "River") for i in range(10)):
        noise(root / "eurosat/2750" / kind / f"{kind}_{i}.jpg", i + 100 * len(kind))


def opened(name: str, root: Path, *overrides: str):
    given = [f"data.{each}" for each in (f"name={name}", f"root={root}", f"cache_dir={root / 'cache'}", *overrides)]
    return data_module(compose(["data=torchvision", *given]))


def counts(data) -> list[int]:
    return [len(rows) for rows in (data.splits.train, data.splits.val, data.splits.test)]


def test_arrays_with_the_splits_and_classes_of_torchvision(tmp_path):
    pixels = mnist(tmp_path)
    data = opened("FashionMNIST", tmp_path)
    assert counts(data) == [24, 6, 10] and data.image_size == (28, 28)
    assert data.classes == datasets.FashionMNIST.classes  # whose order is not that of the alphabet
    row = data.index.names.index("test/0000009")
    assert (data.pixels([row])[0].numpy() == pixels[39]).all() and data.index.labels[row] == 9
    assert "listing" not in data.summary()  # published: a remembered run need not look again


def test_arrays_are_decoded_once_and_again_when_they_are_others(tmp_path):
    pixels = mnist(tmp_path)
    keys = [opened("FashionMNIST", tmp_path).store.key for _ in range(2)]
    assert keys[0] is not None and keys[0] == keys[1]
    idx(tmp_path / "FashionMNIST/raw/train-images-idx3-ubyte", 255 - pixels[:30])
    assert opened("FashionMNIST", tmp_path).store.key != keys[0]


def test_options_are_the_constructors_and_a_class_without_images_is_none(tmp_path):
    mnist(tmp_path, "EMNIST", "emnist-letters-train", "emnist-letters-test", first=1)
    data = opened("EMNIST", tmp_path, "options={split: letters}")
    assert data.classes == list("abcdefghij")  # torchvision's first is N/A
    assert data.index.labels[data.index.names.index("train/0000003")] == 3
    with pytest.raises(ConfigError, match=r"Unknown value 'runes'.*'letters'"):
        opened("EMNIST", tmp_path, "options={split: runes}")


def test_files_are_read_as_files(tmp_path):
    pets(tmp_path)
    data = opened("OxfordIIITPet", tmp_path, "image_size=8", "val_fraction=0.2")
    assert counts(data) == [24, 6, 30] and data.index.frames is None
    assert data.classes == ["Abyssinian", "Beagle", "Bengal"]
    assert data.index.labels[data.index.names.index("oxford-iiit-pet/images/Bengal_3.jpg")] == 2
    assert data.store.key is not None


def test_labels_are_those_that_the_set_gives(tmp_path):
    """The files of OxfordIIITPet have breeds; with this option their classes are cat and dog."""
    pets(tmp_path)
    data = opened("OxfordIIITPet", tmp_path, "image_size=8", "options={target_types: binary-category}")
    breeds = opened("OxfordIIITPet", tmp_path, "image_size=8")
    assert data.classes == ["Cat", "Dog"]
    assert np.bincount(data.index.labels).tolist() == [40, 20]
    assert np.bincount(breeds.index.labels).tolist() == [20, 20, 20]


@pytest.mark.parametrize(
    ("name", "write", "expected", "classes"),
    [
        ("Food101", food, [8, 2, 10], ["apple_pie", "waffles"]),
        ("GTSRB", signs, [33, 11, 11], [f"{label:02d}" for label in range(11)]),
        ("EuroSAT", satellite, [16, 4, 0], ["Forest", "River"]),
    ],
)
def test_layouts(name, write, expected, classes, tmp_path):
    write(tmp_path)
    data = opened(name, tmp_path, "image_size=8", f"val_fraction={0.25 if name == 'GTSRB' else 0.2}")
    assert counts(data) == expected and data.classes == classes
    assert data.index.stamps is not None and data.index.frames is None
    for path, label in zip(data.index.names, data.index.labels, strict=True):
        if name != "GTSRB":
            assert classes[label] in path
    assert data.image_size == (8, 8) and TorchvisionSet(name=name, root=tmp_path).image_size[0] in (64, 224)


def hundred(root: Path, random: np.random.Generator) -> None:
    (root / "cifar-100-python").mkdir()
    names = {"fine_label_names": [f"thing {label:02d}" for label in range(100)]}
    (root / "cifar-100-python/meta").write_bytes(pickle.dumps(names, 2))
    for split, count in (("train", 400), ("test", 100)):
        pixels = random.integers(0, 256, (count, 3072), dtype=np.uint8)
        content = {"data": pixels, "fine_labels": [i % 100 for i in range(count)]}
        (root / "cifar-100-python" / split).write_bytes(pickle.dumps(content, 2))


def houses(root: Path, random: np.random.Generator) -> None:
    for split, count in (("train", 40), ("test", 10)):
        pixels = random.integers(0, 256, (32, 32, 3, count), dtype=np.uint8)
        savemat(root / f"{split}_32x32.mat", {"X": pixels, "y": 1 + np.arange(count)[:, None] % 10})


def objects(root: Path, random: np.random.Generator) -> None:
    (root / "stl10_binary").mkdir()
    (root / "stl10_binary/class_names.txt").write_text("\n".join(f"thing{label}" for label in range(10)))
    for split, count in (("train", 40), ("test", 10)):
        random.integers(0, 256, (count, 3, 96, 96), dtype=np.uint8).tofile(root / "stl10_binary" / f"{split}_X.bin")
        (1 + np.arange(count, dtype=np.uint8) % 10).tofile(root / "stl10_binary" / f"{split}_y.bin")


def post(root: Path, random: np.random.Generator) -> None:
    for name, count in (("usps.bz2", 40), ("usps.t.bz2", 10)):
        rows = [
            " ".join([str(1 + i % 10), *(f"{j + 1}:{value:.2f}" for j, value in enumerate(random.uniform(-1, 1, 256)))])
            for i in range(count)
        ]
        (root / name).write_bytes(bz2.compress("\n".join(rows).encode()))


def writers(root: Path, random: np.random.Generator) -> None:
    for part, count in (("train", 40), ("test", 10)):
        idx(root / f"QMNIST/raw/qmnist-{part}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28)))
        labels = np.repeat(np.arange(count)[:, None] % 10, 8, axis=1).astype(">i4")  # the class, its writer, ...
        head = struct.pack(">HBB2I", 0, 12, 2, *labels.shape)
        (root / f"QMNIST/raw/qmnist-{part}-labels-idx2-int").write_bytes(head + labels.tobytes())


@pytest.mark.parametrize(
    ("name", "write", "side", "classes", "held_out"),
    [
        ("CIFAR100", hundred, 32, 100, 100), ("SVHN", houses, 32, 10, 10), ("STL10", objects, 96, 10, 10),
        ("USPS", post, 16, 10, 10), ("QMNIST", writers, 28, 10, 10),
    ],
)  # fmt: skip
def test_sets_of_arrays(name, write, side, classes, held_out, tmp_path, monkeypatch):
    write(tmp_path, np.random.default_rng(0))
    for module in ("cifar", "svhn", "stl10"):  # a miniature's digest is not the publisher's
        monkeypatch.setattr(f"torchvision.datasets.{module}.check_integrity", lambda *_: True)
    data = opened(name, tmp_path, "val_fraction=0.25")
    assert counts(data) == [3 * held_out, held_out, held_out] and data.image_size == (side, side)
    assert data.num_classes == classes and data.store.key is not None
    part = getattr(datasets, name)(
        tmp_path, **({"train": False} if name in ("CIFAR100", "USPS", "QMNIST") else {"split": "test"})
    )
    for place in (0, 7):
        row = data.index.names.index(f"test/{place:07d}")
        image, label = part[place]
        assert (data.pixels([row])[0].permute(1, 2, 0).numpy() == np.asarray(image.convert("RGB"))).all()
        assert data.index.labels[row] == label


def test_a_split_without_labels_is_left_out(tmp_path):
    for split in ("train", "val", "test"):
        for seed in range(10):
            noise(tmp_path / f"clevr/CLEVR_v1.0/images/{split}/{seed}.png", seed + 100 * len(split))
        scenes = [{"image_filename": f"{i}.png", "objects": [0] * (3 + i % 2)} for i in range(10)]
        (tmp_path / "clevr/CLEVR_v1.0/scenes").mkdir(exist_ok=True)
        (tmp_path / f"clevr/CLEVR_v1.0/scenes/CLEVR_{split}_scenes.json").write_text(json.dumps({"scenes": scenes}))
    data = opened("CLEVRClassification", tmp_path, "image_size=8")
    assert counts(data) == [10, 10, 0] and data.classes == ["3", "4"]


def test_paths_in_memory_are_no_pixels(tmp_path, monkeypatch):
    """As of LFWPeople: a digest of its paths would hide that its images have changed."""
    mnist(tmp_path)
    whole = datasets.FashionMNIST.__init__

    def of_paths(self, *args, **keywords):
        whole(self, *args, **keywords)
        self.pixels, self.data = self.data, [f"{place}.jpg" for place in range(len(self.data))]

    monkeypatch.setattr(datasets.FashionMNIST, "__init__", of_paths)

    def item(self, place):
        return Image.fromarray(self.pixels[place].numpy()), int(self.targets[place])

    monkeypatch.setattr(datasets.FashionMNIST, "__getitem__", item)
    monkeypatch.setattr("visionlab.data.torchvision_sets._keywords", lambda kind: {"train", "download"})
    data = opened("FashionMNIST", tmp_path)
    assert counts(data) == [24, 6, 10] and data.store.key is None


def test_a_damaged_file_is_named_with_all_others(tmp_path):
    food(tmp_path)
    for path in ("train", "test"):
        (tmp_path / "food-101/images/waffles" / f"{0 if path == 'train' else 104}.jpg").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"2 of 20 images cannot be read(.|\n)*waffles/0(.|\n)*waffles/104"):
        opened("Food101", tmp_path)


def test_classes_of_one_name_stay_two(tmp_path, monkeypatch):
    """ImageNet's names are tuples of synonyms, and it has two cranes."""
    mnist(tmp_path)
    names = [("crane",), ("crane",), ("tench", "Tinca tinca"), *"abcdefg"]
    monkeypatch.setattr(datasets.FashionMNIST, "classes", names)
    data = opened("FashionMNIST", tmp_path)
    assert data.classes[:3] == ["crane (0)", "crane (1)", "tench, Tinca tinca"]
    assert data.num_classes == 10


@pytest.mark.parametrize("name", ["FashionMNIST", "SEMEION", "Flowers102", "OxfordIIITPet", "USPS"])
def test_nothing_is_downloaded_unasked(name, tmp_path, monkeypatch):
    def never(*_, **__):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("urllib.request.urlopen", never)
    with pytest.raises(DataError, match="is missing") as error:
        opened(name, tmp_path)
    assert "data.download=true" in str(error.value) and f"torchvision.datasets.{name}" in str(error.value)


def test_a_download_that_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.FashionMNIST, "download", lambda self: mnist(Path(self.root)))
    assert counts(opened("FashionMNIST", tmp_path / "new", "download=true")) == [24, 6, 10]

    def offline(self):
        raise RuntimeError("Error downloading train-images-idx3-ubyte.gz:\nTried ...")

    monkeypatch.setattr(datasets.KMNIST, "download", offline)
    with pytest.raises(DataError, match=r"cannot be downloaded \(Error downloading train"):
        opened("KMNIST", tmp_path, "download=true")


def test_a_set_that_torchvision_does_not_download_says_so(tmp_path):
    with pytest.raises(DataError, match=r"kaggle(.|\n)*torchvision does not download it"):
        opened("FER2013", tmp_path, "download=true")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("FashonMNIST", "did you mean 'FashionMNIST'"),
        ("wrap_dataset_for_transforms_v2", "torchvision has no data set"),
        ("VisionDataset", "no images with one class each"),
        ("Kinetics", "no images with one class each"),
        ("CelebA", "no images with one class each"),
        ("ImageFolder", "use data=folder"),
    ],
)
def test_a_set_that_is_none_is_refused(name, message, tmp_path):
    with pytest.raises(ConfigError, match=message):
        opened(name, tmp_path)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("{splt: letters}", "missing 1 required positional argument: 'split'"),
        ("{split: letters, transform: x}", "transform is no option"),
        ("letters", "data.options=letters is not possible"),
    ],
)
def test_options_that_are_none_are_refused(options, says, tmp_path):
    with pytest.raises(ConfigError, match=re.escape(says)):
        config = compose(["data=torchvision", "data.name=EMNIST", f"data.root={tmp_path}", f"data.options={options}"])
        check(resolved(config))
        data_module(config)


def test_a_library_that_a_set_needs_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match="needs the library h5py") as error:
        opened("PCAM", tmp_path)
    assert error.value.remedy == "pip install h5py"


def test_files_that_torchvision_does_not_tell_are_read_by_it(tmp_path):
    for place, kind in enumerate(("001.ak47", "002.american-flag"), 1):
        for i in range(1, 11):
            noise(tmp_path / f"caltech256/256_ObjectCategories/{kind}/{place:03d}_{i:04d}.jpg", i + 100 * place, 64)
    folder = tmp_path / "caltech256/256_ObjectCategories/001.ak47"
    data = opened("Caltech256", tmp_path, "image_size=8")
    assert data.store.key is None, "kept, it would hide that a file has changed"
    assert data.classes == ["001.ak47", "002.american-flag"]
    (folder / "001_0001.jpg").write_bytes(b"no image")
    whole = (folder / "001_0003.jpg").read_bytes()
    (folder / "001_0003.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(
        DataError, match=r"2 of 20 images(.|\n)*0000000 \(not an image(.|\n)*0000002 \(image file is trunc"
    ):
        opened("Caltech256", tmp_path, "image_size=8")


@pytest.mark.parametrize("item", [(Image.new("L", (8, 8)), {"box": 1}), ("film", "sound", 1), Image.new("L", (8, 8))])
def test_a_set_of_other_things_is_refused(tmp_path, monkeypatch, item):
    """As those for detection, whose targets are no classes."""
    mnist(tmp_path)
    monkeypatch.setattr(datasets.FashionMNIST, "__getitem__", lambda self, place: item)
    with pytest.raises(ConfigError, match="no images with one class each"):
        opened("FashionMNIST", tmp_path)
