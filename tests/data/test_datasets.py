"""The published data sets, as miniature trees of their layouts; the real ones with -m slow."""

import hashlib
import itertools
import os
import pickle
import tarfile
import zipfile
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from PIL import Image

from visionlab.data.caltech101 import Caltech101
from visionlab.data.cifar10 import CIFAR10
from visionlab.data.tiny_imagenet10 import TinyImageNet10
from visionlab.errors import DataError

CONF = Path(str(files("visionlab.conf"))) / "data"
CHOICES = sorted(path.stem for path in CONF.glob("[!_]*.yaml"))
WNIDS = ["n01443537", "n01629819", "n01641577", "n01644900", "n01698640", "n01742172", "n01768244", "n01770393",
         "n01774384", "n01774750", "n01784675", "n02124075"]  # fmt: skip


def configured(name: str, *overrides: str):
    with initialize_config_module("visionlab.conf", version_base="1.3"):
        config = compose(overrides=[f"+data={name}", *(f"data.{override}" for override in overrides)]).data
    return instantiate(config, _convert_="all")


def save(path: Path, seed: int = 0, size: tuple[int, int] = (4, 4)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)


@pytest.mark.parametrize("name", CHOICES)
def test_every_choice_composes_and_names_itself(name, tmp_path):
    data = configured(name, f"root={tmp_path / 'nowhere'}")
    assert data.name == {"torchvision": "FashionMNIST"}.get(name, name)
    if name in ("digits", "synthetic"):
        data.setup()
        assert data.num_classes == 10
    else:
        with pytest.raises(DataError, match="nowhere"):
            data.setup()


PUBLISHED = [CIFAR10, Caltech101, TinyImageNet10]


@pytest.mark.parametrize("published", PUBLISHED)
def test_a_published_set_that_is_missing_says_which_file_to_put_where(published, tmp_path):
    data = published(name="mini", root=tmp_path / "nowhere")
    with pytest.raises(DataError, match="the data set is missing") as error:
        data.prepare_data()
    remedy = error.value.remedy
    assert "data.download=true" in remedy
    assert f"put the file {data.source.archive} from {data.source.url} into {tmp_path / 'nowhere'}/" in remedy


@pytest.mark.parametrize("published", PUBLISHED)
def test_a_published_set_is_unpacked_from_its_archive(published, tmp_path, monkeypatch):
    source = published.source
    unpacked = tmp_path / "packing" / source.folder
    if published is CIFAR10:
        cifar_batches(tmp_path / "packing")
    else:
        train = unpacked / "train" if published is TinyImageNet10 else unpacked
        for seed, (label, number) in enumerate(itertools.product(WNIDS[:2], (0, 50, 100, 101, 102))):
            save(train / label / f"{label}_{number}.png", seed)
    root = tmp_path / "set"
    root.mkdir()
    content = unpacked
    if source.inner is not None:
        with tarfile.open(tmp_path / "inner.tar.gz", "w:gz") as inner:
            inner.add(unpacked, source.folder)
        content = tmp_path / "inner.tar.gz"
    if source.archive.endswith(".zip"):
        with zipfile.ZipFile(root / source.archive, "w") as archive:
            for path in content.rglob("*") if content.is_dir() else [content]:
                archive.write(path, source.inner or path.relative_to(tmp_path / "packing"))
    else:
        with tarfile.open(root / source.archive, "w:gz") as archive:
            archive.add(content, source.folder)
    md5 = hashlib.md5((root / source.archive).read_bytes()).hexdigest()
    monkeypatch.setattr(published, "source", replace(source, md5=md5))
    data = published(name="mini", root=root, image_size=4, val_fraction=0.5, cache_dir=tmp_path / "cache")
    data.prepare_data()
    assert (root / source.folder).is_dir()
    assert len(data.splits.train) > 0


@pytest.mark.parametrize("name", CHOICES)
def test_every_key_says_what_it_means(name):
    for line in (CONF / "_base.yaml").read_text().splitlines()[1:]:
        assert "#" in line or line in ("defaults:", "  - _self_"), line
    assert (CONF / f"{name}.yaml").read_text().startswith("# ")


def cifar_batches(root: Path, per_batch: int = 20) -> None:
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    random = np.random.default_rng(0)
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({b"label_names": [name.encode() for name in names]}, 2))
    for name in [*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"]:
        pixels = random.integers(0, 256, (per_batch, 3072), dtype=np.uint8)
        content = {b"data": pixels, b"labels": [i % 10 for i in range(per_batch)]}
        (folder / name).write_bytes(pickle.dumps(content, 2))


def test_cifar_batches(tmp_path):
    cifar_batches(tmp_path)
    data = CIFAR10(name="cifar10", root=tmp_path, val_fraction=0.2, cache_dir=tmp_path / "cache")
    data.setup()
    assert data.classes[6] == "frog"
    assert [len(rows) for rows in (data.splits.train, data.splits.val, data.splits.test)] == [80, 20, 20]
    content = pickle.loads((tmp_path / "cifar-10-batches-py/data_batch_2").read_bytes())
    row = data.index.names.index("data_batch_2/0003")
    assert (data.pixels([row])[0].numpy().ravel() == content[b"data"][3]).all()
    assert data.index.labels[row] == 3
    assert data.index.frames is None  # the pixels are not kept in memory a second time


def test_a_pickle_that_would_run_something_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'harm'}",)

    cifar_batches(tmp_path)
    (tmp_path / "cifar-10-batches-py/data_batch_1").write_bytes(pickle.dumps({b"data": Evil()}))
    with pytest.raises(DataError, match="has no place"):
        CIFAR10(name="cifar10", root=tmp_path).setup()
    assert not (tmp_path / "harm").exists()


def test_a_damaged_batch_is_named(tmp_path):
    cifar_batches(tmp_path)
    file = tmp_path / "cifar-10-batches-py/data_batch_4"
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(DataError, match="data_batch_4"):
        CIFAR10(name="cifar10", root=tmp_path).setup()


def test_cifar_folders(tmp_path):
    seeds = itertools.count()
    for split, count in (("train", 10), ("test", 2)):
        for label in ("cat", "dog"):
            for number in range(count):
                save(tmp_path / split / label / f"{number:04d}.png", next(seeds))
    data = CIFAR10(name="cifar10", root=tmp_path, val_fraction=0.1, cache_dir=tmp_path / "cache")
    data.setup()
    assert [len(rows) for rows in (data.splits.train, data.splits.val, data.splits.test)] == [18, 2, 4]


def tiny_words(root: Path) -> None:
    (root / "words.txt").write_text("n01443537\tgoldfish, Carassius auratus\nn99\tother\n")


def test_tiny_imagenet_in_both_layouts_is_the_same_split(tmp_path):
    first = {"n01443537", "n01698640", "n01768244", "n01774384"}
    for place, wnid in enumerate(WNIDS):
        for number in (0, 1, 49, 50, 99, 100, 101, 102, 499):
            name = f"{wnid}_{number}.JPEG"
            save(tmp_path / "official/tiny-imagenet-200/train" / wnid / "images" / name, 1000 * place + number)
            if wnid in WNIDS[:10]:
                held_out = "val" if (number < 50) == (wnid in first) else "test"
                save(
                    tmp_path / "ten" / ("train" if number >= 100 else held_out) / wnid / "images" / name,
                    1000 * place + number,
                )
    save(tmp_path / "official/tiny-imagenet-200/val/images/val_0.JPEG")
    save(tmp_path / "official/tiny-imagenet-200/test/images/test_0.JPEG")
    tiny_words(tmp_path / "official/tiny-imagenet-200")
    tiny_words(tmp_path / "ten")
    seen = []
    for root in ("official", "ten", "official/tiny-imagenet-200"):
        data = TinyImageNet10(name="tiny", root=tmp_path / root, image_size=4, cache_dir=tmp_path / "cache")
        data.setup()
        splits = data.splits.train, data.splits.val, data.splits.test
        seen.append([{Path(name).name for name in data.image_names(rows)} for rows in splits])
    assert seen[0] == seen[1] == seen[2]
    assert [len(names) for names in seen[0]] == [40, len(seen[0][1]), len(seen[0][2])]
    assert len(seen[0][1]) + len(seen[0][2]) == 50
    assert data.classes[:2] == ["goldfish", "n01629819"]
    assert data.num_classes == 10


@pytest.mark.parametrize("validation", ["val", "valid"])
def test_tiny_imagenet_without_a_test_folder_keeps_its_validation(validation, tmp_path):
    for seed, (split, wnid, number) in enumerate(itertools.product(("train", validation), WNIDS[:2], (7, 107))):
        save(tmp_path / split / wnid / f"{split}_{number}.png", seed)
    data = TinyImageNet10(name="tiny", root=tmp_path, image_size=4, cache_dir=tmp_path / "cache")
    data.setup()
    assert [len(rows) for rows in (data.splits.train, data.splits.val, data.splits.test)] == [4, 4, 0]


def test_tiny_imagenet_of_another_making_is_an_error(tmp_path):
    (tmp_path / "train").mkdir()
    with pytest.raises(DataError):
        TinyImageNet10(name="tiny", root=tmp_path).setup()
    save(tmp_path / "train" / WNIDS[0] / "goldfish.png")
    with pytest.raises(DataError, match=r"goldfish\.png has no number"):
        TinyImageNet10(name="tiny", root=tmp_path).setup()


@pytest.fixture
def caltech(tmp_path):
    for label, count in (("BACKGROUND_Google", 5), ("ant", 33), ("bass", 42)):
        for number in range(1, count + 1):
            save(tmp_path / "101_ObjectCategories" / label / f"image_{number:04d}.jpg", number + 100 * count)
    (tmp_path / "101_ObjectCategories/BACKGROUND_Google/tmp").write_text("")
    return tmp_path


def caltech_data(root: Path, **config) -> Caltech101:
    data = Caltech101(name="caltech101", root=root, image_size=8, cache_dir=root / "cache", **config)
    data.setup()
    return data


def test_caltech_lists(caltech):
    for name, numbers in (("train.txt", range(1, 21)), ("test.txt", range(21, 34))):
        lines = [f"{label}/image_{i:04d}.jpg" for label in ("ant", "bass") for i in numbers]
        (caltech / name).write_text(
            "\n".join([*lines, "BACKGROUND_Google/image_0001.jpg", "BACKGROUND_Google/tmp", ""])
        )
    data = caltech_data(caltech, val_fraction=0.5)
    assert data.classes == ["ant", "bass"]
    assert [len(rows) for rows in (data.splits.train, data.splits.val, data.splits.test)] == [20, 20, 26]
    assert data.class_counts.tolist() == [10, 10]
    assert data.mean == (0.5, 0.5, 0.5)
    assert all(name.startswith("101_ObjectCategories/") for name in data.image_names([0, 1]))
    # what is listed and not there is a bad image, and is said so
    (caltech / "101_ObjectCategories/ant/image_0001.jpg").unlink()
    with pytest.raises(DataError, match="ant/image_0001"):
        caltech_data(caltech)


def test_caltech_without_lists(caltech):
    data = caltech_data(caltech)
    assert data.classes == ["ant", "bass"]
    assert len(data.splits.test) == 25  # a third
    assert (caltech_data(caltech).splits.test == data.splits.test).all()
    thirty = caltech_data(caltech, train_per_class=30, val_fraction=0.5)
    assert [len(rows) for rows in (thirty.splits.train, thirty.splits.val, thirty.splits.test)] == [30, 30, 15]


# --- the real sets, where they are unpacked ---------------------------------------------------------------------------

REAL = {
    "cifar10": (10, 45_000, 5_000, 10_000),
    "tiny_imagenet10": (10, 4_000, 500, 500),
    "caltech101": (101, 2_892, 2_892, 2_893),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_counts_of_the_real_sets(name):
    data = configured(name)
    if not data.root.is_dir():
        pytest.skip(f"{data.root} is not unpacked")
    data.setup()
    summary = data.summary()
    assert (summary["classes"], summary["train"], summary["val"], summary["test"]) == REAL[name]
    assert summary["skipped"] == 0
    assert (data.class_counts > 0).all()
    if name == "cifar10":  # published statistics are those of the original pixels; the JPEGs' are near
        pixels = data.pixels(data.splits.train[::7]).float() / 255
        np.testing.assert_allclose(pixels.mean((0, 2, 3)), data.mean, atol=0.005)
        np.testing.assert_allclose(pixels.std((0, 2, 3)), data.std, atol=0.01)
