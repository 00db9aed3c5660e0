"""What a data module says about its data, and the batches that it gives."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as TF

from visionlab.data.digits import Digits
from visionlab.data.expand import Eightfold
from visionlab.data.files import class_folders
from visionlab.data.folder import Folder
from visionlab.data.normalize import Normalize
from visionlab.data.store import open_store
from visionlab.data.synthetic import Synthetic
from visionlab.data.transform import Transform
from visionlab.data.variants import open_variants
from visionlab.errors import ConfigError, DataError

PRETRAINED = SimpleNamespace(image_size=(24, 20), mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


def test_what_it_says(make_folder, folder):
    data = folder(make_folder((20, 10, 5)), val_fraction=0.2, test_fraction=0.2, image_size=[8, 10])
    assert data.classes == ["class0", "class1", "class2"]
    assert data.num_classes == 3
    assert data.class_counts.dtype == torch.int64
    assert data.class_counts.tolist() == [13, 6, 3]
    assert data.image_size == (8, 10)
    assert data.has_test
    summary = json.loads(json.dumps(data.summary()))
    assert (summary["name"], summary["classes"]) == ("mini", 3)
    assert (summary["train"], summary["val"], summary["test"]) == (22, 6, 7)
    assert summary["skipped"] == 0
    assert data.pixels([0, 1]).shape == (2, 3, 8, 10)
    batch = next(iter(data.val_dataloader()))
    assert data.image_names(batch.rows) == [data.index.names[row] for row in data.splits.val[:4]]


def test_loaders_see_their_own_split(make_folder, folder):
    data = folder(make_folder((20, 10)), test_fraction=0.2)
    seen = {}
    for split in ("train", "val", "test", "train_eval"):
        batches = list(getattr(data, f"{split}_dataloader")())
        seen[split] = torch.cat([batch.rows for batch in batches]).tolist()
        for batch in batches:
            assert batch.images.dtype == torch.uint8
            assert batch.images.equal(data.pixels(batch.rows))
            assert batch.labels.equal(torch.from_numpy(data.index.labels)[batch.rows])
    assert sorted([*seen["train"], *seen["val"], *seen["test"]]) == list(range(30))
    assert seen["train_eval"] == sorted(seen["train"]) != seen["train"]


def test_auto_is_what_pretrained_weights_ask_for_else_the_sets_own(make_folder):
    config = {"name": "mini", "root": make_folder()}
    assert Folder(**config).image_size == (224, 224)
    assert Folder(**config).mean == pytest.approx((0.485, 0.456, 0.406))
    asked = Folder(**config, expects=PRETRAINED)
    assert (asked.image_size, asked.mean, asked.std) == ((24, 20), (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    told = Folder(**config, expects=PRETRAINED, image_size=9, mean=[0, 0, 0], std=[1, 1, 1])
    assert (told.image_size, told.mean, told.std) == ((9, 9), (0, 0, 0), (1, 1, 1))


def test_batches_are_normalised_on_the_device_and_augmented_in_training_only(make_folder, folder):
    def brighten(images, labels, *, seed, epoch, places, classes):
        calls.append((seed, epoch, places.tolist(), classes))
        return torch.full_like(images, 255), labels

    calls = []
    data = folder(make_folder(), augment=brighten, mean=[0.5] * 3, std=[0.25] * 3, seed=7)
    batch = next(iter(data.train_dataloader()))
    data.trainer = SimpleNamespace(training=False, current_epoch=5)
    plain = data.on_after_batch_transfer(batch, 0)
    expected = (batch.images.float() / 255 - 0.5) / 0.25
    torch.testing.assert_close(plain.images, expected)
    torch.testing.assert_close(data.preprocess(batch.images), expected)
    assert calls == []
    data.trainer.training = True
    assert (data.on_after_batch_transfer(batch, 0).images == 2).all()
    assert calls == [(7, 5, [0, 1, 2, 3], 3)]


def test_numbers_from_0_to_1_are_normalised_as_their_bytes():
    """As augmentation leaves them, and as it does not."""
    pixels = torch.randint(0, 256, (2, 3, 5, 4), generator=torch.Generator().manual_seed(0)).byte()
    normalise = Normalize((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    expected = TF.normalize(pixels / 255, [0.1, 0.2, 0.3], [0.4, 0.5, 0.6])
    for images in (pixels, pixels / 255):
        torch.testing.assert_close(normalise(images), expected, atol=1e-5, rtol=0)


def test_the_seed_of_a_run_decides_the_order_and_that_of_the_split_the_split(make_folder, folder):
    root = make_folder((20, 20))

    def seen(**seeds):
        data = folder(root, **seeds)
        return data.splits.val.tolist(), torch.cat([batch.rows for batch in data.train_dataloader()]).tolist()

    (val, order), (same, other) = seen(), seen(seed=1)
    assert same == val and sorted(other) == sorted(order) and other != order
    assert seen(split_seed=1)[0] != val


def test_identical_images_are_found_kept_together_and_reported(make_folder, folder):
    root = make_folder((20, 20))
    for number in range(8):
        (root / f"class0/again{number}.png").write_bytes((root / f"class0/{number:03d}.png").read_bytes())
    (root / "class0/also class1.png").write_bytes((root / "class1/000.png").read_bytes())
    for seed in range(4):
        data = folder(root, split_seed=seed, val_fraction=0.4)
        assert data.summary()["duplicates"] == {"images": 9, "across": 0, "disputed": 1}
        sides = [{bytes(data.store.digests[row]) for row in rows} for rows in (data.splits.train, data.splits.val)]
        assert not sides[0] & sides[1]


def test_identical_images_across_published_splits_leave_train(make_folder, folder):
    root = make_folder((6, 6), below="set/train")
    make_folder((4, 4), below="set/test", seed=1)
    (root.parent / "test/class0/leak.png").write_bytes((root / "class0/000.png").read_bytes())
    data = folder(root.parent)
    assert data.summary()["duplicates"] == {"images": 1, "across": 1, "disputed": 0}
    assert data.summary()["train"] + data.summary()["val"] == 11
    assert data.summary()["test"] == 9


def test_filters_act_on_the_upright_size_and_are_recorded(make_folder, folder):
    root = make_folder((5, 5))  # 16 x 12 px
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (12, 16)).save(root / "class0/turned.jpg", exif=exif)
    Image.new("RGB", (12, 16)).save(root / "class0/upright.jpg")
    Image.new("RGB", (100, 20)).save(root / "class1/wide.png")
    Image.new("RGB", (2, 3)).save(root / "class1/small.png")
    assert folder(root, keep_sizes=["16x12"]).summary()["removed"] == {"keep_sizes": 3}
    data = folder(root, min_side=10, max_aspect=2.0)
    assert data.summary()["removed"] == {"min_side": 1, "max_aspect": 1}
    assert data.summary()["train"] + data.summary()["val"] == 12
    assert folder(root, min_side=12, max_aspect=1.5).summary()["removed"] == {"min_side": 1, "max_aspect": 1}
    assert folder(root, max_aspect=5.0).summary()["removed"] == {"max_aspect": 0}, "the bound itself may be"
    with pytest.raises(DataError, match=r"no image is left of 2 of 2 classes.*14 by data\.min_side"):
        folder(root, min_side=99)
    with pytest.raises(ConfigError, match="WIDTHxHEIGHT"):
        folder(root, keep_sizes=["big"])


def test_variants_of_another_seed_or_split_are_others_in_one_cache(make_folder, tmp_path):
    store = open_store(class_folders(make_folder((10, 10))), Transform(size=(8, 8)), cache_dir=tmp_path / "cache")

    def made(rows, seed):
        return open_variants(store, np.array(rows), Eightfold(), seed=seed, cache_dir=tmp_path / "cache").pixels

    first = made([0, 3, 5], 0).clone()
    assert first.equal(made([0, 3, 5], 0))
    assert not first.equal(made([0, 3, 5], 1)) and not first.equal(made([0, 3, 6], 0))


def test_expansion_enlarges_train_only(make_folder, folder):
    root = make_folder((10, 10))
    plain = folder(root, val_fraction=0.3)
    data = folder(root, val_fraction=0.3, expand=Eightfold())
    summary = data.summary()
    assert (summary["train"], summary["expanded_from"], summary["val"]) == (8 * 14, 14, 6)
    assert summary["split_hash"] == plain.summary()["split_hash"]
    assert data.class_counts.tolist() == [56, 56]
    assert list(data.splits.val) == list(plain.splits.val)
    batches = list(data.train_dataloader())
    rows = torch.cat([batch.rows for batch in batches])
    names = data.image_names(rows)
    assert len(set(names)) == 8 * 14
    training = {plain.index.names[row] for row in plain.splits.train}
    assert {name.split("#")[0] for name in names} == training
    for batch in batches:
        for name, image, label in zip(data.image_names(batch.rows), batch.images, batch.labels, strict=True):
            assert name.startswith(f"class{label}/")
            original = data.pixels([data.index.names.index(name.split("#")[0])])[0]
            if name.endswith("#1"):  # the horizontal flip
                assert image.equal(original.flip(-1))
    assert len(torch.cat([batch.rows for batch in data.train_eval_dataloader()])) == 14


def test_train_fraction_takes_a_part(make_folder, folder):
    root = make_folder((20, 10))
    whole, part = folder(root), folder(root, train_fraction=0.5)
    assert part.class_counts.tolist() == [8, 4]
    assert part.summary()["val"] == whole.summary()["val"]
    assert part.summary()["split_hash"] != whole.summary()["split_hash"]


def test_the_fingerprint_is_of_content_and_not_of_place(make_folder, folder):
    here, there, other = make_folder(), make_folder(below="elsewhere"), make_folder(below="other", seed=1)
    prints = [folder(root).summary()["fingerprint"] for root in (here, there, other)]
    assert prints[0] == prints[1] != prints[2]


def test_the_contents_of_a_split_are_those_of_its_files_whatever_is_trained_on(make_folder, folder):
    root, other = make_folder(), make_folder(below="other", seed=1)
    plain = folder(root, test_fraction=0.25).summary()
    less = folder(root, test_fraction=0.25, train_fraction=0.5).summary()
    assert less["contents"] == plain["contents"] and less["fingerprint"] != plain["fingerprint"]
    assert len({plain["contents"]["val"], plain["contents"]["test"], plain["fingerprint"]}) == 3
    elsewhere = folder(other, test_fraction=0.25).summary()
    assert {elsewhere["contents"][split] for split in ("val", "test")}.isdisjoint(plain["contents"].values())


def test_split_and_content_are_the_same_in_each_process_and_for_any_workers(make_folder, folder, tmp_path):
    root = make_folder((30, 30))
    here = folder(root)
    code = (
        "import sys; from pathlib import Path; import numpy as np\n"
        "from visionlab.data import building, checks, files, splits, store, transform\n"
        "building.SMALL = 0\n"
        "index = files.class_folders(Path(sys.argv[1]))\n"
        "to = transform.Transform(size=(8, 8))\n"
        "for workers in 1, 2:\n"
        "    opened = store.open_store(index, to, cache_dir=sys.argv[2] + str(workers), workers=workers)\n"
        "    fit = checks.check(index, opened, 'error', checks.Filters())\n"
        "    parts = splits.divide(index, fit.rows, fit.groups, splits.Plan())\n"
        "    print(parts.hash(index), int(opened.pixels.long().mul(opened.pixels.long()).sum()))\n"
    )
    command = [sys.executable, "-c", code, root, tmp_path / "their cache"]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    pixels = here.store.pixels.long()
    assert there == [f"{here.summary()['split_hash']} {int((pixels * pixels).sum())}"] * 2


def test_wrong_values_are_refused_by_name(make_folder, folder):
    root = make_folder()
    wrong = {"batch_size": 0, "image_size": "big", "mean": [0.5], "std": [1, 1, 0], "val_fraction": 1.5,
             "resize": "squeeze", "crop_ratio": 0, "sampler": "balance", "on_bad_image": "ignore",
             "mean ": "red"}  # fmt: skip
    for key, value in wrong.items():
        key = key.strip()
        with pytest.raises(ConfigError, match=rf"data\.{key}"):
            folder(root, **{key: value})


def test_one_class_only(make_folder, folder):
    with pytest.raises(DataError, match="one class only: class0"):
        folder(make_folder((5,)))


def test_class_folders_one_deeper_are_pointed_at(make_folder, folder):
    root = make_folder((5, 5), below="archive/photos").parent
    with pytest.raises(DataError, match=r"one class only: photos(.|\n)*archive/photos, if class0, class1 are"):
        folder(root)


def test_a_class_that_is_not_validated_is_named(make_folder, folder, caplog):
    make_folder((5, 5, 5), below="images/train")
    make_folder((2, 0, 2), below="images/val", seed=1)
    folder(make_folder((2, 2, 2), below="images/test", seed=2).parent)
    assert "no image to validate on of 1 of 3 classes: class1" in caplog.text and "to test of" not in caplog.text


def test_a_batch_divides_among_devices(make_folder, folder):
    data = folder(make_folder((20, 20)), batch_size=4)
    strategy = SimpleNamespace(root_device=torch.device("cpu"))
    seen = []
    for rank in (0, 1):
        data.trainer = SimpleNamespace(world_size=2, global_rank=rank, current_epoch=0, strategy=strategy)
        seen.append([batch.rows.tolist() for batch in data.train_dataloader()])
    data.trainer = None
    assert [one + two for one, two in zip(*seen, strict=True)] == [b.rows.tolist() for b in data.train_dataloader()]
    data.trainer = SimpleNamespace(world_size=3, global_rank=0, strategy=strategy)
    with pytest.raises(ConfigError, match="does not divide among 3 devices"):
        data.train_dataloader()


def test_digits():
    data = Digits(name="digits", root="nowhere", test_fraction=0.2)
    data.setup()
    assert data.summary()["train"] + data.summary()["val"] + data.summary()["test"] == 1797
    assert data.image_size == (32, 32)
    row = int(np.flatnonzero(data.index.labels == 0)[0])
    assert data.pixels([row])[0, :, 14:18, 14:18].float().mean() < 60  # a nought is empty in its middle
    assert (data.pixels([row])[0, 0] == data.pixels([row])[0, 2]).all()
    train = data.pixels(data.splits.train).float() / 255
    assert train.mean() == pytest.approx(data.mean[0], abs=0.01)
    assert train.std() == pytest.approx(data.std[0], abs=0.02)


def test_synthetic():
    data = Synthetic(name="noise", root="nowhere", images=60, kinds=3, image_size=[6, 9])
    data.setup()
    assert data.pixels([0]).shape == (1, 3, 6, 9)
    assert data.class_counts.tolist() == [16, 16, 16]
    assert data.pixels([0]).float().mean() < data.pixels([1]).float().mean() < data.pixels([2]).float().mean()
