"""predict names every image as evaluate does, whatever the file, and says what it could not read."""

import csv
import io
import json
import os
import shutil
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console

import visionlab
from quick import QUICK
from visionlab.errors import ConfigError, DataError
from visionlab.predict import _show
from visionlab.prediction import sources
from visionlab.prediction.predictor import Predictor
from visionlab.runs import Run


def photo(seed: int, label: int) -> Image.Image:
    """A smooth picture of 60 to 199 px a side with a tint that tells its class."""
    random = np.random.default_rng((seed, label))
    coarse = random.integers(0, 120, (5, 6, 3), dtype=np.uint8)
    coarse[..., label] += 100
    return Image.fromarray(coarse).resize(tuple(random.integers(60, 200, 2).tolist()), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Folders with what cameras and browsers leave: JPEGs of many sizes, one turned by EXIF, and a transparent PNG."""
    root = tmp_path_factory.mktemp("photos")
    for split, count in (("train", 16), ("test", 9)):
        for label, name in enumerate(("apple", "leaf", "sky")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                image = photo(number + (split == "test") * 1000, label)
                exif = Image.Exif()
                exif[0x0112] = 6 if number == 1 else 1
                image.save(folder / f"{number:02d}.jpg", exif=exif, quality=90)
            image.putalpha(Image.linear_gradient("L").resize(image.size))
            image.save(folder / "see-through.png")
    return root


@pytest.fixture(scope="module")
def run(photos, tmp_path_factory):
    """A run on them that cuts out the centre, so that preprocessing matters."""
    data = [f"data.root={photos}", "data.image_size=16", "data.crop_ratio=0.8", "data.batch_size=8"]
    return visionlab.train([*QUICK, "data=folder", *data, f"outputs={tmp_path_factory.mktemp('outputs')}"])


@pytest.fixture
def door(tmp_path, monkeypatch, capsys):
    """The command line in this process; returns the exit code and what was printed."""
    from visionlab import predict

    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["visionlab.predict", *arguments])
        code = 0
        try:
            predict.main()
        except SystemExit as left:
            code = left.code
        printed = capsys.readouterr()
        return code, printed.out + printed.err

    return call


@pytest.mark.parametrize("resize", ["pad", "none", "stretch"])
def test_a_file_is_brought_to_the_size_as_the_data_were(photos, tmp_path, resize):
    data = [f"data.root={photos}", "data.image_size=[16,24]", f"data.resize={resize}", "trainer.max_epochs=1"]
    run = visionlab.train([*QUICK, "data=folder", *data, f"outputs={tmp_path}"])
    recorded = {str(photos / row["image"]): row for row in run.predictions if row["split"] == "test"}
    found = visionlab.predict(run, photos / "test")
    for record in found:
        assert record["confidence"] == pytest.approx(float(recorded[record["image"]]["confidence"]), abs=1e-5)
    assert len({round(record["confidence"], 4) for record in found}) > 10


@pytest.mark.parametrize("batch_size", [None, 1, 7])
def test_every_test_image_is_named_as_evaluate_names_it(run, photos, batch_size):
    found = {record["image"]: record for record in visionlab.predict(run, photos / "test", batch_size=batch_size)}
    evaluated = visionlab.evaluate(run)
    recorded = {str(photos / row["image"]): row for row in run.predictions if row["split"] == "test"}
    assert len(found) == len(evaluated.rows) == 30
    assert found.keys() == recorded.keys()
    for image, row in recorded.items():
        assert found[image]["predicted"] == row["predicted"]
        assert found[image]["confidence"] == pytest.approx(float(row["confidence"]), abs=1e-5)
    assert len({round(record["confidence"], 4) for record in found.values()}) > 10  # it is no constant that agrees


def test_a_source_is_a_file_a_folder_or_a_pattern(run, photos, monkeypatch):
    folder = photos / "test"
    (photos / "test" / "notes.txt").write_text("no image")
    (photos / "test" / ".hidden.jpg").write_text("no image")
    everything = visionlab.predict(run, folder)
    assert [record["image"] for record in everything] == sorted(record["image"] for record in everything)
    (single,) = visionlab.predict(run, folder / "sky" / "00.jpg")
    (same,) = (record for record in everything if record["image"] == single["image"])
    assert single["confidence"] == pytest.approx(same["confidence"], abs=1e-6)
    jpegs = visionlab.predict(run, f"{folder}/**/*.jpg")
    assert len(jpegs) == 27 and all(record["image"].endswith(".jpg") for record in jpegs)
    assert len(visionlab.predict(run, f"{folder}/[al]*")) == 20  # folders that match are gone through
    monkeypatch.chdir(folder)
    assert [record["image"] for record in visionlab.predict(run, "sky/0[01].jpg")] == ["sky/00.jpg", "sky/01.jpg"]


def test_what_links_reach_by_several_ways_is_predicted_once(tmp_path, caplog):
    (tmp_path / "in" / "below").mkdir(parents=True)
    for name in ("a.png", "below/b.png"):
        photo(1, 0).save(tmp_path / "in" / name)
    (tmp_path / "in/below/c.heic").write_bytes(b"0")
    (tmp_path / "in/below/here").symlink_to(tmp_path / "in/below")
    wanted = [tmp_path / "in" / name for name in ("a.png", "below/b.png")]
    assert sources.find(f"{tmp_path}/in/**/*.png").images == wanted
    assert sources.find(f"{tmp_path}/in/**").images == wanted
    assert "1 file with another ending is left out" in caplog.text


def test_a_folder_that_exists_is_no_pattern(tmp_path, monkeypatch):
    for name in ("photos[1]/a.png", "photos1/b.png"):
        (tmp_path / name).parent.mkdir()
        photo(1, 0).save(tmp_path / name)
    found = sources.find(tmp_path / "photos[1]/*.png")
    assert found.images == [tmp_path / "photos[1]/a.png"] and found.base == tmp_path / "photos[1]"
    monkeypatch.chdir(tmp_path)
    assert list(map(str, sources.find("photos[1]/*").images)) == ["photos[1]/a.png"]
    assert list(map(str, sources.find("photos[12]/*").images)) == ["photos1/b.png"]


def test_a_record_has_the_classes_in_order_and_the_files_say_the_same(run, photos, tmp_path):
    records = visionlab.predict(run, photos / "test", out=tmp_path)
    for record in records:
        confidences = [each["confidence"] for each in record["top"]]
        assert confidences == sorted(confidences, reverse=True)
        assert sum(confidences) == pytest.approx(1)  # three classes, so the top 5 are all
        assert record["top"][0] == {"class": record["predicted"], "confidence": record["confidence"]}
    listing = json.loads((tmp_path / "predictions.json").read_text())
    assert listing["images"] == records and listing["skipped"] == [] and listing["classes"] == ["apple", "leaf", "sky"]
    with (tmp_path / "predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["image"], row["predicted"], row["class_3"]) for row in rows] == [
        (record["image"], record["predicted"], record["top"][2]["class"]) for record in records
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["predictions.csv", "predictions.json"]


def test_a_source_whose_name_is_not_utf8_is_written_down(quick_run, tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/latin-\xe9"))
    folder.mkdir()
    photo(1, 0).save(folder / "a.png")
    visionlab.predict(quick_run, folder, out=tmp_path / "out")
    listing = json.loads((tmp_path / "out" / "predictions.json").read_text(encoding="utf-8"))
    assert listing["source"] == f"{tmp_path}/latin-\\xe9"
    (folder / "a.png").unlink()
    with pytest.raises(DataError, match="no images in") as error:
        visionlab.predict(quick_run, folder)
    str(error.value).encode()


def test_test_time_augmentation_averages_an_image_and_its_mirror_image(run, photos, tmp_path):
    with Image.open(photos / "test" / "leaf" / "00.jpg") as opened:
        image = opened.convert("RGB").crop((0, 0, 60, 60))
    image.save(tmp_path / "a.png")
    image.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(tmp_path / "b.png")

    def probabilities(source, **how):
        (record,) = visionlab.predict(run, tmp_path / source, **how)
        return {each["class"]: each["confidence"] for each in record["top"]}

    plain, mirrored, both = probabilities("a.png"), probabilities("b.png"), probabilities("a.png", tta=True)
    assert plain != mirrored
    for name in both:
        assert both[name] == pytest.approx((plain[name] + mirrored[name]) / 2, abs=1e-6)


def test_bad_files_are_named_and_skipped(run, photos, tmp_path, door):
    (tmp_path / "in").mkdir()
    good = (photos / "test" / "sky" / "00.jpg").read_bytes()
    for name, content in (
        ("empty.png", b""),
        ("cut.jpg", good[: len(good) // 2]),
        ("text.jpg", b"hello"),
        ("good.jpg", good),
    ):
        (tmp_path / "in" / name).write_bytes(content)
    code, text = door(f"run={run.dir}", "source=in", "out=out")
    assert code == 0
    assert "skipped in/empty.png: empty file" in text and "skipped in/text.jpg: not an image" in text
    assert "skipped in/cut.jpg" in text and "3 files could not be read" in text
    listing = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [record["image"] for record in listing["images"]] == ["in/good.jpg"]
    assert {bad["image"] for bad in listing["skipped"]} == {"in/empty.png", "in/cut.jpg", "in/text.jpg"}
    (tmp_path / "in" / "good.jpg").unlink()
    code, text = door(f"run={run.dir}", "source=in", "out=none")
    assert code == 2 and "no image of the source can be read" in text and "Traceback" not in text
    assert not any((tmp_path / "none").iterdir())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["source=nowhere"], "no such file or folder: nowhere"),
        (["source=*.jpg"], "no images that match"),
        (["source=."], "no images in"),
        ([], "source must be given"),
        (["source=.", "gradcam=true"], "out=<folder>"),
        (["source=.", "submission=sample.csv"], "out=<folder>"),
        (["source=.", "submission=[a]", "out=o"], "text or null"),
        (["source=.", "probabilities=2"], "probabilities=2"),
        (["source=.", "run=[]"], "names no run"),
        (["source=.", "run=[1,elsewhere]"], "no run lies here"),
        (["source=.", "tta=2"], "tta=2"),
        (["source=.", "sorce=x"], "did you mean 'source'"),
        (["source=.", "accelerator=gpuu"], "no gpuu"),
    ],
)
def test_a_mistake_is_said(quick_run, door, tmp_path, arguments, says):
    if "accelerator=gpuu" in arguments:
        photo(0, 0).save(tmp_path / "a.png")
    code, text = door(f"run={quick_run.dir}", *arguments)
    assert code == 2 and says in text and "Traceback" not in text


def test_the_terminal_shows_the_top_five_in_80_columns(quick_run, door, tmp_path):
    for number in range(30):
        photo(number, 0).save(tmp_path / f"a-rather-long-name-for-an-image-{number:02d}.png")
    code, text = door(f"run={quick_run.dir}", "source=.", "tta=true")
    assert code == 0 and max(map(len, text.splitlines())) <= 80
    assert "and 10 more; out=<folder> writes all" in text and "30 images, named" in text and "its mirror image" in text
    assert "name-for-an-image-07.png" in text
    code, text = door(f"run={quick_run.dir}", "source=.", "out=all")
    assert "and 10 more\n" in text and len(Path("all/predictions.csv").read_text().splitlines()) == 31
    code, text = door(f"run={quick_run.dir}", "source=a-rather-long-name-for-an-image-00.png")
    assert len([line for line in text.splitlines() if "%" in line]) == 5


def test_the_terminal_says_what_is_averaged_in_80_columns(quick_run, door, tmp_path):
    for number in range(5):
        photo(number, 0).save(tmp_path / f"{number}.png")
    shutil.copytree(quick_run.dir, tmp_path / "copy")
    Path("sample.csv").write_text("id,label\n3,\n")
    wanted = ["tta=true", "probabilities=true", "submission=sample.csv", "out=all"]
    code, text = door(f"run=[{quick_run.dir},copy,copy]", "source=*.png", *wanted)
    assert code == 0 and max(map(len, text.splitlines())) <= 80
    assert "the mean of 2 networks, over the image and its mirror image." in text
    assert text.split()[-3:] == ["all/predictions.csv", "all/predictions.json", "all/submission.csv"]
    Path("sweep.json").write_text(json.dumps({"best": {"dirs": ["copy"]}}))
    code, text = door("run=.", "source=*.png")
    assert code == 0 and "mean" not in text and "best run of the sweep was used, copy" in text


def test_the_bar_of_a_certain_class_is_whole_in_80_columns():
    console = Console(width=80, file=io.StringIO())
    record = {"image": "a.png", "top": [{"class": "sky", "confidence": 1.0}]}
    _show(console, [record], Counter(sky=1), 1, written=False)
    text = console.file.getvalue()
    assert "▇" in text and "…" not in text
    assert "1 file could not be read and was skipped." in text


def test_the_end_of_a_wide_name_is_shown(quick_run, door, tmp_path):
    for number in range(6):
        photo(number, 0).save(tmp_path / f"{'写真' * 14}-{number}.png")
    code, text = door(f"run={quick_run.dir}", "source=.")
    assert code == 0 and all(f"写真-{number}.png " in text for number in range(6))


def test_memory_does_not_grow_with_the_folder(tmp_path, monkeypatch):
    from visionlab.data.transform import Transform

    read = []
    monkeypatch.setattr(sources, "_read", lambda path, transform: read.append(path) or np.zeros((4, 4, 3), np.uint8))
    batches = sources.read([tmp_path / str(number) for number in range(100)], Transform(size=(4, 4)), 5)
    assert next(batches).pixels.shape == (5, 3, 4, 4)
    assert len(read) <= 5 * (sources.AHEAD + 1)
    assert sum(len(images.paths) for images in batches) == 95


def test_gradcam_writes_a_picture_an_image_under_its_own_name(run, photos, tmp_path):
    (tmp_path / "in" / "below").mkdir(parents=True)
    photo(1, 0).save(tmp_path / "in" / "a.png")
    photo(2, 1).save(tmp_path / "in" / "below" / "a.jpg")
    visionlab.predict(run, tmp_path / "in", gradcam=True, out=tmp_path / "out")
    pictures = sorted(path.relative_to(tmp_path / "out" / "gradcam") for path in (tmp_path / "out").rglob("*.png"))
    assert [str(path) for path in pictures] == ["a.png.png", "below/a.jpg.png"]
    with Image.open(tmp_path / "out" / "gradcam" / "a.png.png") as picture:
        assert picture.size == (224, 224)
        shown = np.asarray(picture, np.int64)
    transform = visionlab.load(run).transform
    plain = np.asarray(Image.fromarray(transform(photo(1, 0))).resize((224, 224), Image.Resampling.NEAREST), np.int64)
    change = np.abs(shown - plain).sum(2)
    assert change.max() > 100 and change.min() < 30  # hot somewhere, and what is cold stays as it was


@pytest.mark.parametrize("pattern", ["", "**/*.png"])
def test_the_pictures_of_an_earlier_call_are_no_source(quick_run, tmp_path, pattern):
    photo(0, 0).save(tmp_path / "a.png")
    for name in ("out/gradcam/a.png.png", "gradcam/b.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        photo(1, 1).save(tmp_path / name)
    records = visionlab.predict(quick_run, tmp_path / pattern, out=tmp_path / "out")
    found = {Path(record["image"]).relative_to(tmp_path).as_posix() for record in records}
    assert found == {"a.png", "gradcam/b.png"}


def test_gradcam_is_of_the_class_that_is_named(run, photos, tmp_path, monkeypatch):
    asked, heat = [], Predictor.heat

    def noted(self, pixels, classes):
        asked.extend(classes.tolist())
        return heat(self, pixels, classes)

    monkeypatch.setattr(Predictor, "heat", noted)
    records = visionlab.predict(run, photos / "test", gradcam=True, out=tmp_path)
    classes = run.result["data"]["classes"]
    assert [classes[index] for index in asked] == [record["predicted"] for record in records]


@pytest.mark.parametrize("wrong", [{"batch_size": 0}, {"batch_size": -1}, {"tta": "false"}, {"gradcam": 1}])
def test_from_python_a_wrong_argument_is_refused_too(quick_run, tmp_path, wrong):
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        visionlab.predict(quick_run, tmp_path, **wrong)


def test_gradcam_needs_a_convolution(photos, tmp_path):
    mlp = [option for option in QUICK if not option.startswith("model")]
    data = ["data.image_size=8", "model=mlp", "trainer.max_epochs=1"]
    run = visionlab.train([*mlp, *data, f"outputs={tmp_path}"])
    with pytest.raises(ConfigError, match="no convolution"):
        visionlab.predict(run, photos / "test" / "sky", gradcam=True, out=tmp_path / "out")


def test_from_python_bad_files_are_logged_and_nothing_readable_is_an_error(run, photos, tmp_path, caplog):
    (tmp_path / "bad.jpg").write_text("hello")
    with pytest.raises(DataError, match=r"bad\.jpg: not an image"):
        visionlab.predict(run, tmp_path)
    photo(3, 2).save(tmp_path / "good.png")
    assert len(visionlab.predict(run, tmp_path)) == 1
    assert "bad.jpg is skipped: not an image" in caplog.text


def test_files_of_a_folder_that_may_be_images_are_told_of(run, tmp_path, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    for name in ("a.heic", "b.HEIC", "notes.txt"):
        (tmp_path / "in" / name).write_bytes(b"0")
    told = "2 files with other endings are left out: 2 .heic; convert what is a photograph to JPEG or PNG"
    with pytest.raises(DataError, match="no images in in"):
        visionlab.predict(run, "in")
    assert told in caplog.text
    photo(3, 2).save(tmp_path / "in" / "good.png")
    for source, also in (("in", True), ("i*", True), ("in/*.png", False)):  # the last says itself what is wanted
        caplog.clear()
        assert [record["image"] for record in visionlab.predict(run, source)] == ["in/good.png"]
        assert (told in caplog.text) == also


def test_bf16_runs_are_predicted_in_bf16(photos, tmp_path):
    """What was evaluated in half the digits is predicted in them, or the confidences would differ visibly."""
    data = ["data=folder", f"data.root={photos}", "data.image_size=16", "trainer.precision=bf16-mixed"]
    run = visionlab.train([*QUICK, *data, "trainer.max_epochs=1", f"outputs={tmp_path}"])
    recorded = {str(photos / row["image"]): row for row in run.predictions if row["split"] == "test"}
    for record in visionlab.predict(run, photos / "test"):
        assert record["confidence"] == pytest.approx(float(recorded[record["image"]]["confidence"]), abs=1e-5)


def test_half_precision_is_single_on_a_cpu(quick_run, photos, tmp_path):
    copy = Run(shutil.copytree(quick_run.dir, tmp_path / "run"))
    text = (copy.dir / "config.yaml").read_text()
    assert text.count("precision: 32-true") == 1
    (copy.dir / "config.yaml").write_text(text.replace("precision: 32-true", "precision: 16-mixed"))
    assert visionlab.predict(copy, photos / "test") == visionlab.predict(quick_run, photos / "test")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_names_the_same(run, photos):
    cpu = visionlab.predict(run, photos / "test", accelerator="cpu")
    for one, other in zip(cpu, visionlab.predict(run, photos / "test", accelerator="gpu"), strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-3)


def test_the_white_of_a_run_is_that_of_what_it_classifies(tmp_path):
    for number, name in enumerate("ab" * 12):
        place = tmp_path / "cells" / name / f"{number}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.full((8, 8), 4095 - 100 * number, dtype=np.uint16)).save(place)
    given = [*QUICK, "data=folder", f"data.root={tmp_path / 'cells'}", "+data.white=4095"]
    run = visionlab.train(given, directory=tmp_path / "run")
    loaded = visionlab.load(run)
    assert loaded.transform.white == 4095
    assert loaded.transform.load((tmp_path / "cells/a/0.png").read_bytes())[0].min() == 255
    made = visionlab.export(run, "safetensors", out=tmp_path / "exported")
    assert "divided by 4095, cut off" in json.loads(made.description.read_text())["decoding"]
