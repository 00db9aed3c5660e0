"""A data set of one's own is one subclass: all else is there."""

import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from visionlab.config import compose
from visionlab.data.index import Index, Split
from visionlab.data.module import ImageDataModule
from visionlab.errors import DataError
from visionlab.training.build import data_module


class Stripes(ImageDataModule):
    """Stripes one way or the other; the last tenth is for test."""

    own_size = 12
    own_mean = own_std = (0.5, 0.5, 0.5)

    def find(self) -> Index:
        labels = np.arange(200) % 2
        return Index(
            root=self.root,
            names=[f"{row:03d}" for row in range(200)],
            labels=labels,
            classes=["rows", "columns"],
            splits=np.where(np.arange(200) < 180, Split.FREE, Split.TEST),
            frames=lambda row: np.random.default_rng(row).permuted(self.stripes(labels[row]), axis=labels[row]),
        )

    @staticmethod
    def stripes(label: int) -> np.ndarray:
        return np.repeat(np.arange(144, dtype=np.uint8).reshape(12, 12, 1), 3, axis=2)


def test_a_subclass_has_splits_batches_and_statistics(tmp_path):
    data = Stripes(name="stripes", root=tmp_path, batch_size=10, folds=3, fold=1)
    data.setup()
    assert (len(data.splits.train), len(data.splits.val), len(data.splits.test)) == (120, 60, 20)
    assert data.splits.test.tolist() == list(range(180, 200))
    assert data.class_counts.tolist() == [60, 60]
    batch = next(iter(data.train_dataloader()))
    assert batch.images.shape == (10, 3, 12, 12)
    assert data.preprocess(batch.images).abs().max() <= 1


class Flat(ImageDataModule):
    """Files, of which it gives the names alone."""

    def find(self) -> Index:
        names = sorted(path.name for path in self.root.glob("*.png"))
        labels = np.array([int(name[0] == "b") for name in names])
        return Index(self.root, names, labels, ["a", "b"], np.full(len(names), Split.FREE))


def test_files_that_change_are_noticed_without_a_word_of_it(tmp_path):
    """Their sizes and times tell: without them a run would be remembered although its images are others."""
    for number in range(20):
        Image.new("RGB", (8, 8), (12 * number, 0, 0)).save(tmp_path / f"{'ab'[number % 2]}{number}.png")

    def look():
        data = Flat(name="flat", root=tmp_path, image_size=8, cache_dir=tmp_path / "cache")
        data.setup()
        return data.summary()["listing"], data.store.key

    before = look()
    Image.effect_noise((8, 8), 50).save(tmp_path / "a0.png")
    after = look()
    assert before[0] != after[0] and before[1] != after[1]


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Write the two files of CONTRIBUTING.md where Python and Hydra find them; return what makes the data."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.partition("## Add a data set")[2].partition("\n## ")[0]
    blocks = {kind: textwrap.dedent(body) for kind, body in re.findall(r" *```(\w+)\n(.*?) *```\n", section, re.S)}
    (tmp_path / "my_set.py").write_text(blocks["python"])
    (tmp_path / "conf" / "data").mkdir(parents=True)
    (tmp_path / "conf/data/my_set.yaml").write_text(blocks["yaml"].replace("visionlab.data.my_set", "my_set"))
    monkeypatch.syspath_prepend(str(tmp_path))
    given = [f"hydra.searchpath=[file://{tmp_path / 'conf'}]", "data=my_set", f"data.cache_dir={tmp_path / 'cache'}"]
    return lambda root: data_module(compose([*given, f"data.root={root}"]))


def test_example_of_the_guide(example, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        example(tmp_path / "nowhere")
    (tmp_path / "set" / "photos").mkdir(parents=True)
    with pytest.raises(DataError, match="no images"):
        example(tmp_path / "set")
    for number in range(20):
        name = f"{('lime', 'plum')[number % 2]}_{number}.jpg"
        Image.new("RGB", (8, 8), (12 * number, 0, 0)).save(tmp_path / "set" / "photos" / name)
    data = example(tmp_path / "set")
    assert data.classes == ["lime", "plum"] and data.image_size == (64, 64)
    assert (len(data.splits.train), len(data.splits.val)) == (16, 4)
