"""Which images a folder or a table holds, and which classes they make."""

import os
from xml.etree import ElementTree

import pytest
from PIL import Image

from visionlab.data import files
from visionlab.data.files import class_folders
from visionlab.data.index import Split
from visionlab.data.listing import find, listed
from visionlab.errors import DataError
from visionlab.reports import charts, svg


def test_class_folders(make_folder):
    index = class_folders(make_folder((2, 3)))
    assert index.classes == ["class0", "class1"]
    assert index.names[0] == "class0/000.png"
    assert index.labels.tolist() == [0, 0, 1, 1, 1]
    assert set(index.splits) == {Split.FREE}


def test_order_is_of_names_whatever_the_file_system_says(make_folder, monkeypatch):
    root = make_folder((5, 5))
    straight = class_folders(root)

    class Reversed:
        def __init__(self, path):
            self.entries = sorted(real(path), key=lambda entry: entry.name, reverse=True)

        def __enter__(self):
            return iter(self.entries)

        def __exit__(self, *_):
            pass

    real = files.os.scandir
    monkeypatch.setattr(files.os, "scandir", Reversed)
    backwards = class_folders(root)
    assert backwards.names == straight.names == sorted(straight.names)
    assert (backwards.labels == straight.labels).all()


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "Validation", "Testing"), ("train", "valid", "test")]
)
def test_split_folders(make_folder, names):
    for seed, (name, count) in enumerate(zip(names, (3, 1, 2), strict=True)):
        make_folder((count, count), below=f"images/{name}", seed=seed)
    index = class_folders(make_folder((), below="images"))
    assert index.classes == ["class0", "class1"]
    assert [(index.splits == split).sum() for split in (Split.TRAIN, Split.VAL, Split.TEST)] == [6, 2, 4]


def test_images_beside_the_splits_are_spoken_of(make_folder, caplog):
    for name, counts in (("train", (3, 3)), ("test", (1, 1)), ("dev", (2, 2)), ("notes", ())):
        root = make_folder(counts, below=f"images/{name}", seed=len(name)).parent
    (root / "notes").mkdir()
    (root / "lost+found").mkdir()
    assert len(class_folders(root)) == 8
    assert "dev beside" in caplog.text and "its images are left out" in caplog.text
    assert "notes" not in caplog.text and "lost" not in caplog.text


def test_a_train_is_also_a_vehicle(make_folder):
    root = make_folder((2, 2))
    (root / "class0").rename(root / "train")
    assert class_folders(root).classes == ["class1", "train"]


def test_a_class_without_training_images_is_named(make_folder):
    make_folder((3, 3), below="images/train")
    make_folder((1, 1, 1), below="images/test", seed=1)
    with pytest.raises(DataError, match="none to train on: class2"):
        class_folders(make_folder((), below="images"))


def test_folders_of_splits_are_no_classes(make_folder, tmp_path, caplog):
    """As sets of competitions come: the labels in a table, the images of a split in one folder."""
    for name in ("train", "test"):
        (tmp_path / "flat" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tmp_path / "flat" / name / "1.png")
    with pytest.raises(DataError, match="test and train are names of splits, but train has no"):
        class_folders(tmp_path / "flat")
    make_folder((2, 2), below="half/val")
    with pytest.raises(DataError, match="there is none to train on"):
        class_folders(make_folder((2, 2), below="half/test", seed=1).parent)
    root = make_folder((2, 2), below="beside/train", seed=2).parent
    (root / "test").mkdir()
    Image.new("RGB", (4, 4)).save(root / "test" / "1.png")
    assert len(class_folders(root)) == 4 and "1 images lie beside the class folders" in caplog.text


def test_a_split_beside_other_images_is_not_taken_for_a_class(make_folder):
    make_folder((3, 3), below="images/Train")
    root = make_folder((3,))
    (root / "class0").rename(root / "unlabelled")
    with pytest.raises(DataError, match=r"Train may be the split .* or a class, beside unlabelled") as error:
        class_folders(root)
    assert "move unlabelled away" in error.value.remedy and "directly into it" in error.value.remedy
    Image.new("RGB", (4, 4)).save(root / "Train/1.png")
    assert class_folders(root).classes == ["Train", "unlabelled"]


def test_folders_without_images_make_no_class(make_folder):
    root = make_folder((2, 2))
    (root / "class7").mkdir()
    index = class_folders(root)
    assert index.classes == ["class0", "class1"]
    assert index.empty == ("class7",)


def test_a_class_is_the_same_however_its_accent_is_stored(make_folder):
    """As train was unpacked on Linux, and val copied from a Mac."""
    for split, name in (("train", "caf\u00e9"), ("val", "cafe\u0301")):
        below = make_folder((2, 2), below=f"images/{split}", seed=len(split))
        (below / "class0").rename(below / name)
    index = class_folders(make_folder((), below="images"))
    assert len(index.classes) == 2 and index.empty == ()
    assert [label for _, label in sorted(zip(index.names, index.labels, strict=True))] == [0, 0, 1, 1] * 2


def test_control_characters_in_names_are_written_out(make_folder, folder):
    """No SVG file may hold them, and a terminal would obey them."""
    root = make_folder((4, 4))
    (root / "class1").rename(root / "é\x0b1\r")
    (root / "class0/000.png").rename(root / "class0/\x1b[2J.png")
    data = folder(root)
    assert data.classes == ["class0", "é\\x0b1\\x0d"]
    assert data.image_names([0]) == ["class0/\\x1b[2J.png"]
    ElementTree.fromstring(svg.standalone(charts.bars(data.classes, [4, 4], axis=svg.Axis("images"))).encode())


def test_a_thousand_classes(make_folder):
    index = class_folders(make_folder([1] * 1000, size=(1, 1)))
    assert len(index.classes) == 1000


def test_errors_say_what_is_there_instead(make_folder, tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        class_folders(tmp_path / "nowhere")
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="not a folder"):
        class_folders(tmp_path / "file")
    with pytest.raises(DataError, match="no files at all"):
        class_folders(make_folder((0, 0)))
    phone = tmp_path / "phone/cats"
    phone.mkdir(parents=True)
    (phone / "IMG_1.HEIC").write_text("")
    with pytest.raises(DataError, match=r"1 \.heic"):
        class_folders(phone.parent)
    flat = tmp_path / "flat"
    flat.mkdir()
    Image.new("RGB", (2, 2)).save(flat / "a.png")
    with pytest.raises(DataError, match=r"no class folders(.|\n)*data\.csv="):
        class_folders(flat)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_a_table_of_paths(make_folder, delimiter):
    root = make_folder((3, 3))
    rows = [("path", "label", "split"), ("class0/000.png", "cat", "train"), ("class0/001.png", "dog", ""),
            ("class1/000.png", "cat", "test"), ("class1/001.png", "dog", "val"),
            ("gone.png", "dog", "train")]  # fmt: skip
    table = root / "list.csv"
    table.write_text("\n".join(delimiter.join(row) for row in rows), encoding="utf-8-sig")
    index = listed(root, table)
    assert index.classes == ["cat", "dog"]
    assert dict(zip(index.names, index.labels.tolist(), strict=True))["class0/001.png"] == 1
    assert index.splits.tolist() == [Split.TRAIN, Split.FREE, Split.TEST, Split.VAL, Split.TRAIN]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("filename,label\na.png,cat\n", "no column 'path'(.|\n)*of its columns filename, name the one with the images"),
        (",filename,label\n0,a.png,cat\n", "of its columns filename, name"),
        ("path,split\na.png,train\n", "write path,label"),
        (
            "Datei,Art\na.png,cat\n",
            "no column 'path' and no column 'label'(.|\n)*of its columns datei, art, name the one with the images' "
            "paths 'path' and the one with the classes 'label'",
        ),
        ("path,cat\na.png,1\n", "no column 'label'(.|\n)*of its columns cat, name the one with the classes 'label'"),
        ("path,label\na.png,cat\nb.png,dog\n", "none of the 2 images(.|\n)*as they are below data.root"),
        ("path,label\na.png,\n", "line 2"),
        ("path,label,split\na.png,cat,dev\n", "the split 'dev' is unknown"),
        ("path,label\na.png,cat\na.png,dog\n", "listed twice"),
        ("path,label\na.png,cat\n./a.png,dog\n", "listed twice"),
        ("path,label\nb/a.png,cat\nb\\a.png,dog\n", "listed twice"),
        ('path,label\na.png,"cat\n' + "b.png,dog\n" * 20_000, "is no CSV"),
        ("path" * 50_000, "is no CSV"),
        ('path,label\n1.png,"dog\n2.png,cat\n', "is no CSV: unexpected end of data"),
        ('path,label,note\n1.png,dog,one\n2.png,cat,"two\n3.png,cat,\n', "is no CSV"),
        ('path,label\n1.png,"dog\n2.png,"cat\n', "is no CSV"),
        ('path,label\n1.png,"dog\n2.png"\n', "line 3(.|\n)*close all quotes"),
        ("path,label\n1.png,grapes, red\n", "more fields than the header(.|\n)*line 2"),
        ("path,label,Label\n1.png,1,cat\n", "two columns 'label'"),
        ("", "no column"),
    ],
)
def test_a_wrong_table_is_refused_with_its_line(tmp_path, text, message):
    (tmp_path / "list.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        listed(tmp_path, tmp_path / "list.csv")


def test_a_row_may_end_with_a_comma_as_spreadsheets_write_them(make_folder):
    root = make_folder((2, 2))
    (root / "list.csv").write_text("path,label\nclass0/000.png,cat,\nclass1/000.png,dog,,\n")
    assert listed(root, root / "list.csv").classes == ["cat", "dog"]


def test_what_divides_a_table_is_seen_in_its_header(make_folder):
    root = make_folder((2, 2))
    lines = ["path;label", 'class0/000.png;"grapes, red, ripe"', "class1/000.png;grapes, white, ripe"]
    (root / "list.csv").write_text("\n".join(lines))
    assert listed(root, root / "list.csv").classes == ["grapes, red, ripe", "grapes, white, ripe"]


def test_a_table_may_lie_in_the_home_folder(make_folder, tmp_path, monkeypatch):
    root = make_folder((2, 2))
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "mine.csv").write_text("path,label\nclass0/000.png,a\nclass1/000.png,b\n")
    assert len(find(root, "~/mine.csv")) == 2


def test_a_table_of_names_without_endings_is_told_of_them(make_folder):
    root = make_folder((2, 2))
    (root / "list.csv").write_text("path,label\nclass0/000,a\nclass1/000,b\n")
    with pytest.raises(DataError, match=r"none of the 2 images.*class0/000\n(.|\n)*class0/000\.png"):
        listed(root, root / "list.csv")


def test_a_table_calls_splits_as_folders_may_be_called(make_folder):
    root = make_folder((2, 2))
    lines = ["path,label,split", "class0/000.png,a,Train", "class1/000.png,b,training"]
    lines += ["class0/001.png,a,validation", "class1/001.png,b,Testing"]
    (root / "list.csv").write_text("\n".join(lines))
    assert listed(root, root / "list.csv").splits.tolist() == [Split.TRAIN, Split.VAL, Split.TRAIN, Split.TEST]


def test_an_image_that_a_table_names_in_two_ways_is_one(make_folder):
    root = make_folder((2, 2))
    (root / "list.csv").write_text("path,label\n./class0/000.png,a\nclass0/000.png,a\nclass1/000.png,b\n")
    assert listed(root, root / "list.csv").names == ["./class0/000.png", "class1/000.png"]


def test_a_missing_file_of_a_table_is_a_bad_image(make_folder, folder):
    root = make_folder((3, 3))
    lines = ["path,label", *(f"class{i}/00{j}.png,{i}" for i in (0, 1) for j in range(3)), "gone.png,1"]
    (root / "list.csv").write_text("\n".join(lines))
    with pytest.raises(DataError, match=r"gone\.png \(cannot be opened"):
        folder(root, csv="list.csv")
    assert folder(root, csv="list.csv", on_bad_image="skip").summary()["skipped"] == 1


@pytest.mark.parametrize("unlistable", ["class1", "images"])
def test_unlistable_folder(make_folder, monkeypatch, unlistable):
    root = make_folder((2, 2))
    real = files.os.scandir

    def scandir(path):
        if str(path).endswith(unlistable):
            raise PermissionError(13, "Permission denied")
        return real(path)

    monkeypatch.setattr(files.os, "scandir", scandir)
    with pytest.raises(DataError, match=rf"cannot list the folder .*{unlistable}: Permission denied"):
        class_folders(root)


def test_links_that_lead_nowhere_are_bad_images_or_nothing(make_folder, folder):
    root = make_folder((4, 4))
    for name in ("class0/circle.png", "class0/circle", "class0/circle.heic", "circle"):
        (root / name).symlink_to(root / name)
    index = class_folders(root)
    assert index.classes == ["class0", "class1"] and index.others == {}
    with pytest.raises(DataError, match=r"class0/circle\.png \(cannot be opened: too many levels of symbolic links"):
        folder(root)
    assert folder(root, on_bad_image="skip").summary()["skipped"] == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_links_into_a_forbidden_folder(make_folder, folder, tmp_path):
    root, secret = make_folder((4, 4)), make_folder((1,), below="secret", seed=1)
    (root / "class0/far.png").symlink_to(secret / "class0/000.png")
    (root / "class0/away").symlink_to(secret / "class0")
    secret.chmod(0)
    try:
        assert folder(root, on_bad_image="skip").summary()["skipped"] == 1
        with pytest.raises(DataError, match="cannot be reached"):
            class_folders(secret / "class0")
    finally:
        secret.chmod(0o700)
