"""`explore` finds what is odd about a folder of images, and says which settings deal with it."""

import csv
import io
import subprocess
import sys
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from visionlab import explore
from visionlab.config import compose
from visionlab.data import duplicates
from visionlab.data.color import LUMA
from visionlab.data.survey import Survey, deviations, measure_shapes
from visionlab.errors import DataError
from visionlab.reports import exploration
from visionlab.reports.exploration import findings
from visionlab.training.build import data_module


def scene(seed, size=(60, 60)):
    """A picture of blobs: smooth, as photographs are, so that scaling leaves it alike."""
    random = np.random.default_rng(seed)
    small = Image.fromarray(random.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    return small.resize(size, Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """40 and 12 images of 60 px, of which some are odd in a way of their own."""
    root = tmp_path_factory.mktemp("photos")
    for label, (name, count) in enumerate({"cherry": 40, "tomato": 12}.items()):
        (root / name).mkdir()
        for i in range(count):
            scene(100 * label + i).save(root / name / f"{i:02d}.png")
    scene(500, (60, 20)).save(root / "cherry" / "wide.png")
    scene(501, (30, 30)).save(root / "cherry" / "small.png")
    (root / "cherry" / "copy.png").write_bytes((root / "cherry" / "03.png").read_bytes())
    buffer = io.BytesIO()
    Image.open(root / "cherry" / "05.png").resize((90, 90)).resize((60, 60)).save(buffer, "JPEG", quality=60)
    (root / "tomato" / "again.jpg").write_bytes(buffer.getvalue())
    (root / "tomato" / "cut.png").write_bytes((root / "tomato" / "00.png").read_bytes()[:300])
    (root / "tomato" / "<b>empty.jpg").write_bytes(b"")
    (root / "tomato" / "IMG_1.HEIC").write_bytes(b"a photograph")
    return root


@pytest.fixture(scope="module")
def found(photos, tmp_path_factory):
    out = tmp_path_factory.mktemp("explored")
    overrides = ["data=folder", "data.name=fruit", f"data.root={photos}", "data.image_size=48", "augment=fruit"]
    return explore(overrides, out=out)


def rows(found, name):
    with (found.dir / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_classes_of_the_whole_set_and_of_each_split(found):
    assert [(row["class"], int(row["all"])) for row in rows(found, "classes")] == [("cherry", 43), ("tomato", 15)]
    for row in rows(found, "classes"):
        assert int(row["all"]) == sum(int(row[key]) for key in ("train", "val", "test", "left_out"))
    assert int(rows(found, "classes")[1]["left_out"]) == 2


def test_sizes_and_unusual_ones(found):
    sizes = {(row["width"], row["height"]): int(row["images"]) for row in rows(found, "dimensions")}
    assert sizes == {("60", "60"): 54, ("60", "20"): 1, ("30", "30"): 1}
    assert {row["image"] for row in rows(found, "unusual")} == {"cherry/wide.png", "cherry/small.png"}
    assert "data.keep_sizes=[60x60]" in found.page.read_text()


def test_the_suggested_settings_leave_out_what_they_say(found, photos):
    ((setting, count),) = found.survey.shape_filters
    data = data_module(
        compose(["data=folder", f"data.root={photos}", "data.image_size=48", "data.on_bad_image=skip", setting])
    )
    assert sum(data.fit.removed.values()) == count == 2


def filters(sizes, root):
    """What is suggested for classes of images of these sizes, (width, height) and how many."""
    for label, each in sizes.items():
        (root / label).mkdir(parents=True)
        shapes = [shape for shape, count in each.items() for _ in range(count)]
        for i, shape in enumerate(shapes):
            scene(i, shape).save(root / label / f"{i}.png")
    return explore(["data=folder", f"data.root={root}", "data.image_size=16"], out=root.parent / "out").survey


def test_the_other_orientation_is_not_unusual(tmp_path):
    survey = filters({"cat": {(40, 30): 11, (30, 40): 9}, "dog": {(40, 30): 11, (30, 40): 9}}, tmp_path / "photos")
    assert len(survey.shapes.unusual) == 0 and survey.shape_filters == []


def test_no_suggestion_empties_a_class(tmp_path):
    survey = filters({"cat": {(40, 30): 30}, "dog": {(40, 30): 30}, "pencil": {(30, 40): 5}}, tmp_path / "photos")
    assert len(survey.shapes.unusual) == 5 and survey.shape_filters == []


def test_what_is_not_rare_is_not_suggested_to_be_left_out(tmp_path):
    various = {(40 + i, 60 + i): 1 for i in range(14)}
    photos = {name: various | {(300, 20): 3} for name in ("cat", "dog")}
    survey = filters(photos, tmp_path / "photos")
    assert [key for key, _ in survey.shapes.overrides] == ["data.min_side=21", "data.max_aspect=1.5"]
    assert survey.shape_filters == []


def test_unreadable_files(found):
    reasons = {row["image"]: row["reason"] for row in rows(found, "unreadable")}
    assert set(reasons) == {"tomato/<b>empty.jpg", "tomato/cut.png"}
    assert reasons["tomato/<b>empty.jpg"] == "empty file"


def test_a_class_of_which_nothing_can_be_read_is_shown(tmp_path):
    filters({name: {(40 + i, 60 + i): 1 for i in range(12)} for name in ("cat", "dog")}, tmp_path / "photos")
    (tmp_path / "photos" / "heic").mkdir()
    for number in range(9):
        (tmp_path / "photos" / "heic" / f"{number}.jpg").write_bytes(b"\0\0\0\x18ftypheic and no JPEG")
    found = explore(["data=folder", f"data.root={tmp_path / 'photos'}", "data.image_size=16"], out=tmp_path / "shown")
    assert len(rows(found, "unreadable")) == 9
    assert [(row["all"], row["train"]) for row in rows(found, "classes") if row["class"] == "heic"] == [("9", "0")]
    assert "no image to train on of heic: training stops at that" in found.page.read_text()
    assert "no image to train on of heic" in findings(found.survey)
    with pytest.raises(DataError, match="heic"):
        data_module(compose(["data=folder", f"data.root={tmp_path / 'photos'}", "data.on_bad_image=skip"]))


def test_where_nothing_can_be_read_there_is_nothing_to_show(tmp_path):
    for name in ("a", "b"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "0.jpg").write_bytes(b"no JPEG")
    with pytest.raises(DataError, match="no image is left of 2 of 2 classes"):
        explore(["data=folder", f"data.root={tmp_path / 'photos'}"], out=tmp_path / "shown")


def test_what_the_command_says_already_is_not_suggested_again(found):
    command = "python -m visionlab.train data=folder"
    for given, warned in (([], True), (["data.on_bad_image=skip"], False)):
        page = exploration.build(found.survey, ["data=folder", *given], lambda name, chart: None).render()
        assert page[page.index(command) :].partition("<")[0].count("data.on_bad_image=skip") == 1
        assert ("Training stops" in page) == warned


def test_files_with_other_endings(found):
    said = "1 file with another ending is left out: 1 .heic"
    assert said in found.page.read_text()
    assert any(line.startswith(said) for line in findings(found.survey))


def test_exact_and_near_duplicates(found):
    assert {row["image"] for row in rows(found, "duplicates")} == {"cherry/03.png", "cherry/copy.png"}
    pairs = [(row["image"], row["other"], row["class"], row["other_class"]) for row in rows(found, "near_duplicates")]
    assert pairs == [("cherry/05.png", "tomato/again.jpg", "cherry", "tomato")]


def test_means_and_deviations_are_those_of_the_pixels(found):
    data = found.survey.data
    pixels = data.pixels(data.splits.train).double() / 255
    train = next(row for row in rows(found, "channels") if row["split"] == "train")
    assert int(train["images"]) == len(pixels)
    for channel, colour in enumerate(("red", "green", "blue")):
        assert float(train[f"mean_{colour}"]) == pytest.approx(float(pixels[:, channel].mean()), abs=1e-5)
        std = pixels[:, channel].std(correction=0)
        assert float(train[f"std_{colour}"]) == pytest.approx(float(std), abs=1e-5)


def test_the_page_shows_it_all_and_escapes_names(found):
    page = found.page.read_text()
    for text in ("cherry/wide.png", "tomato/cut.png", "cherry/copy.png", "tomato/again.jpg", "epoch 8"):
        assert text in page
    assert "<b>empty" not in page and "&lt;b&gt;empty" in page
    assert page.count("<img") == 2 + 2 + 2 + 16 + 2 * 9  # odd, copies, alike, samples, augmented


def test_the_charts_are_files_of_their_own(found):
    files = {path.name: ElementTree.parse(path) for path in (found.dir / "figures").iterdir()}
    assert set(files) == {"sizes.svg", *(f"images_per_class_{which}.svg" for which in ("all", "train", "val"))}
    words = {element.text for element in files["images_per_class_all.svg"].iter()}
    assert {"cherry", "tomato", "43", "15"} <= words


def test_unusual_without_a_usual_size():
    random = np.random.default_rng(0)
    sizes = random.integers(200, 260, (300, 2))
    sizes[7], sizes[11] = (20, 24), (230, 1700)
    shapes = measure_shapes(sizes, np.arange(300))
    assert set(shapes.unusual.tolist()) == {7, 11} and sorted(shapes.why) == ["long and thin", "small"]
    settings = dict(text.split("=") for text, _ in shapes.overrides)
    assert 24 >= float(settings["data.min_side"]) > 20
    assert 1700 / 230 > float(settings["data.max_aspect"]) >= 260 / 200 - 0.1
    assert [rows.tolist() for _, rows in shapes.overrides] == [[7], [11]]
    assert deviations(np.array([1.0, 1, 1, 1, 9]))[-1] > 3


def looks(thumbs):
    found = duplicates.Looks.room(len(thumbs))
    found.put(np.arange(len(thumbs)), thumbs)
    return found


def test_alike_finds_all_pairs_and_groups_join_them():
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(4500, 3, 8, 8, generator=random) * 255  # more than two blocks of hashes
    thumbs = torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")
    for copy, original in ((4400, 3), (2100, 2099), (4401, 3)):
        thumbs[copy] = (thumbs[original] * 0.95 + 4 + torch.randn(3, 32, 32, generator=random)).clamp(0, 255)
    found = duplicates.alike(looks(thumbs))
    assert sorted(map(tuple, found.rows.tolist())) == [(3, 4400), (3, 4401), (2099, 2100), (4400, 4401)]
    assert (found.correlation > 0.99).all()
    assert duplicates.groups(found.rows) == [[3, 4400, 4401], [2099, 2100]]


@pytest.mark.parametrize(
    ("colour", "shared"), [((20, 60, 250), 0), ((100, 100, 100), 300)], ids=["blue skies", "portraits"]
)
def test_a_colour_or_what_all_images_share_makes_none_alike(colour, shared):
    """Two have the same hash, as their grey is the same, but other colours in other places."""
    random = torch.Generator().manual_seed(0)

    def patterns(count, channels):
        coarse = torch.rand(count, channels, 8, 8, generator=random) - 0.5
        return torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear")

    tints = patterns(2, 1) * 10
    tints = torch.cat([tints / LUMA[0], -tints / LUMA[1], 0 * tints], 1)  # of no effect on the grey
    two = torch.tensor(colour).view(3, 1, 1) + 2 * patterns(1, 1)
    everywhere, others = shared * patterns(1, 1), 100 + 60 * patterns(30, 3)
    for tint, pairs in ((tints, []), (tints[:1].expand(2, -1, -1, -1), [[0, 1]])):
        assert duplicates.alike(looks(everywhere + torch.cat([two + tint, others]))).rows.tolist() == pairs


class Largest(TorchDispatchMode):
    """Notes how many numbers the largest tensor has that is made."""

    numbers = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        self.numbers = max([self.numbers, *(each.numel() for each in tree_leaves(made) if isinstance(each, Tensor))])
        return made


def test_memory_of_the_search_is_bounded(monkeypatch):
    monkeypatch.setattr(duplicates, "_PRODUCTS", 1_000_000)
    thumbs = torch.rand(4500, 3, 32, 32, generator=torch.Generator().manual_seed(0)) * 255
    thumbs[100] = thumbs[4000]
    seen = looks(thumbs)
    assert sum(part.nbytes for part in vars(seen).values()) < 3500 * len(thumbs)
    with Largest() as largest:
        assert duplicates.alike(seen).rows.tolist() == [[100, 4000]]
    assert largest.numbers <= 1_000_000


def test_of_equal_files_one_is_compared_with_others(tmp_path):
    buffer = io.BytesIO()
    scene(0).resize((90, 90)).resize((60, 60)).save(buffer, "JPEG", quality=60)
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i in range(20):
            scene(20 * label + i).save(tmp_path / name / f"{i:02d}.png")
    for i in range(5):
        (tmp_path / "a" / f"copy{i}.png").write_bytes((tmp_path / "a" / "00.png").read_bytes())
        (tmp_path / "a" / f"like{i}.jpg").write_bytes(buffer.getvalue())
    survey = Survey(data_module(compose(["data=folder", f"data.root={tmp_path}", "data.image_size=48"])))
    assert [[survey.name(row) for row in pair] for pair in survey.near.rows] == [["a/00.png", "a/like0.jpg"]]
    assert list(map(len, survey.exact)) == [6, 5]


def test_labels_that_contradict_each_other_come_first_in_red(tmp_path):
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i in range(20):
            scene(20 * label + i).save(tmp_path / name / f"{i:02d}.png")
    for original, copy in (("a/00", "a/copy"), ("a/00", "a/third"), ("a/01", "b/wrong")):
        (tmp_path / f"{copy}.png").write_bytes((tmp_path / f"{original}.png").read_bytes())
    scene(2).resize((90, 90)).resize((60, 60)).save(tmp_path / "b" / "alike.png")
    given = ["data=folder", f"data.root={tmp_path}", "data.image_size=48", f"outputs={tmp_path / 'out'}"]
    found = explore(given)
    assert "3 images equal to another one, byte for byte; 1 picture of them in different classes" in findings(
        found.survey
    )
    assert findings(found.survey)[-1].endswith("1 in different classes")
    page = found.page.read_text()
    copies, alike = page[page.index("equal byte for byte") :].split("Near duplicates", 1)
    assert "1 picture is in different classes" in copies
    assert copies.index("b/wrong.png") < copies.index("a/copy.png"), "what needs a person comes first"
    assert copies.count('class="wrong"') == 2 and alike.count('class="wrong"') == 2


def test_more_pairs_than_anyone_reads_are_cut_off_and_said(tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(duplicates, "MOST_PAIRS", 10, raising=False)
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i in range(40):
            picture = scene(80 if i < 3 else 40 * label + i)
            picture.resize((70 + i, 60 + label)).resize((60, 60)).save(tmp_path / name / f"{i}.png")
    found = explore(["data=folder", f"data.root={tmp_path}", "data.image_size=48", f"outputs={tmp_path / 'out'}"])
    assert 0 < len(found.survey.near.rows) <= 10 and "10 pairs or more look alike" in caplog.text
    assert "later images were not compared" in found.page.read_text()


@pytest.mark.parametrize("resize", ["pad", "none"])
def test_a_common_black_border_makes_no_duplicates(resize, tmp_path):
    for label, name in enumerate(("a", "b")):
        (tmp_path / name).mkdir()
        for i in range(20):
            scene(20 * label + i, (60, 24) if i % 2 else (60, 30)).save(tmp_path / name / f"{i}.png")
    given = ["data=folder", f"data.root={tmp_path}", "data.image_size=100", f"data.resize={resize}"]
    found = explore([*given, f"outputs={tmp_path / 'out'}"])
    assert len(found.survey.near.rows) == 0
    assert "No augmentation is chosen" in found.page.read_text()


def test_two_folders_of_ones_own_do_not_overwrite_each_other(tmp_path, monkeypatch):
    """Nor do those of one last name, or two lists of one folder."""
    monkeypatch.chdir(tmp_path)
    pages = set()
    for kind in ("summer/images", "winter/images"):
        for number in range(4):
            (place := tmp_path / kind / "ab"[number % 2]).mkdir(parents=True, exist_ok=True)
            scene(number, (16, 16)).save(place / f"{number}.png")
        given = ["data=folder", f"data.root={tmp_path / kind}", "data.image_size=16", f"outputs={tmp_path / 'out'}"]
        pages.add(explore(given).page)
    files = sorted((tmp_path / "winter/images").rglob("*.png"))
    lines = [f"{file.relative_to(tmp_path / 'winter/images')},{file.parent.name}" for file in files]
    (tmp_path / "winter/images/few.csv").write_text("\n".join(["path,label", *lines]))
    pages.add(explore([*given, "data.csv=few.csv"]).page)
    names = ("folder-summer-images", "folder-winter-images", "folder-winter-images-few")
    assert pages == {tmp_path / "out/explore" / name / "explore.html" for name in names}
    monkeypatch.chdir(tmp_path / "out")
    assert explore(given).dir.name.startswith("folder-images-"), "a digest of where it lies"


def test_the_command_says_what_was_found(photos, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "own.yaml").write_text("defaults: [folder, _self_]\nimage_size: 48\n")
    command = [sys.executable, "-m", "visionlab.explore", "--config-dir", str(tmp_path), "data=own"]
    done = subprocess.run([*command, f"data.root={photos}", f"out={tmp_path}"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = tmp_path / "explore.html"
    assert "2 files cannot be read" in done.stdout and str(page) in done.stdout
    assert f"visionlab.train --config-dir {tmp_path} data=own data.root={photos}" in page.read_text(), "to paste"


def test_what_is_too_much_for_a_page_is_said(tmp_path):
    for label in range(121):
        folder = tmp_path / "photos" / f"{label:03d}"
        folder.mkdir(parents=True)
        for i in range(7):
            scene(7 * label + i, (9, 9)).save(folder / f"{i}.png") if i < 2 else (folder / f"{i}.png").touch()
    found = explore(["data=folder", f"data.root={tmp_path / 'photos'}", "data.image_size=8"], out=tmp_path)
    page = found.page.read_text()
    assert "The first 500 of 605; unreadable.csv has all." in page and "Of the first 120 classes." in page
    assert len(rows(found, "unreadable")) == 605


def test_data_that_are_missing():
    with pytest.raises(DataError):
        explore(["data=folder", "data.root=nowhere"])
