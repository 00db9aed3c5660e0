"""A submission has the header, the ids and the order of its sample, and what is predicted of their images."""

import csv
import shutil

import pytest

import visionlab
from visionlab.errors import ConfigError, DataError


@pytest.fixture
def submit(quick_run, images, tmp_path):
    """Predict with a sample of some content; return the submission's rows and the records by their image's name."""

    def call(content, source=images):
        sample = tmp_path / "sample.csv"
        sample.write_bytes(content if isinstance(content, bytes) else content.encode())
        records = visionlab.predict(
            quick_run, source, probabilities=True, submission=sample, out=tmp_path / "out", batch_size=2
        )
        with (tmp_path / "out" / "submission.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file))
        return rows, {record["image"].removeprefix(f"{source}/"): record for record in records}

    return call


def test_the_classes_stand_beside_the_ids_in_their_order(submit, caplog):
    ids = {"f": "f.png", "below/a": "below/a.png", "a.png": "a.png", "d.v2": "d.v2.jpg", "b.png": "b.png"}
    head, *rows = submit("\ufefffile name,what it is\r\n" + "".join(f"{name},0\r\n" for name in ids))[0]
    records = submit("id,label\n" + "".join(f"{name},0\n" for name in ids))[1]
    assert head == ["file name", "what it is"]
    assert rows == [[name, records[image]["predicted"]] for name, image in ids.items()]
    assert len({label for _, label in rows}) > 1  # it is no constant that agrees
    assert "2 images have no id in" in caplog.text


def test_each_class_has_its_column(submit, quick_run):
    classes = quick_run.result["data"]["classes"][::-1]
    ids = ["c", "below/a", "a", "b", "d.v2", "e"]
    (head, *rows), records = submit(f"id,{','.join(classes)}\n" + "\n".join(ids))
    images = ["c.jpg", "below/a.png", "a.png", "b.png", "d.v2.jpg", "e.png"]
    assert head == ["id", *classes] and [row[0] for row in rows] == ids
    for row, image in zip(rows, images, strict=True):
        wanted = [records[image]["probabilities"][name] for name in classes]
        assert list(map(float, row[1:])) == pytest.approx(wanted, rel=1e-5)


@pytest.mark.parametrize(
    ("content", "kind", "says"),
    [
        ("id,label\na,\nx.png,\ny,\nz,\nw,\n", DataError, r"no image belongs to 4 of 5 ids \(x\.png, y, z, \.\.\.\)"),
        ("id\na\n", ConfigError, "no column behind the ids"),
        ("id,0,1,cat\na,,,\n", ConfigError, r"'cat' names no class, there is none for '2', '3', '4', \.\.\."),
        ("id,0,1,2,3,4,5,6,7,8,9,9\na\n", ConfigError, "a class has two"),
        ("id,label\n", ConfigError, "has no ids"),
        ("", ConfigError, "has no ids"),
        ('id,label\n"a,\n', ConfigError, "cannot be read: unexpected end"),
        ("id,étiquette\na,\n".encode("latin-1"), ConfigError, "not UTF-8"),
    ],
)
def test_a_sample_that_does_not_fit_is_refused_before_anything_is_predicted(submit, tmp_path, content, kind, says):
    with pytest.raises(kind, match=says):
        submit(content)
    assert not (tmp_path / "out").exists()


def test_a_sample_that_is_not_there_is_refused(quick_run, images, tmp_path):
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        visionlab.predict(quick_run, images, submission=tmp_path / "none.csv", out=tmp_path / "out")
    with pytest.raises(ConfigError, match="add out="):
        visionlab.predict(quick_run, images, submission=tmp_path / "none.csv")


def test_an_id_of_two_images_is_refused_and_one_with_its_ending_is_not(submit, images, tmp_path):
    for name in ("a.png", "a.jpg"):
        shutil.copy(images / "a.png", tmp_path / name)
    with pytest.raises(DataError, match=r"several images, a\.jpg and a\.png"):
        submit("id,label\na,\n", tmp_path)
    assert [row[0] for row in submit("id,label\na.png,\n", tmp_path)[0]] == ["id", "a.png"]


def test_an_image_that_cannot_be_read_leaves_the_other_files(submit, images, tmp_path):
    (tmp_path / "in").mkdir()
    shutil.copy(images / "a.png", tmp_path / "in/a.png")
    (tmp_path / "in/bad.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"no image can be read for 1 of 2 ids \(bad\)"):
        submit("id,label\na,\nbad,\n", tmp_path / "in")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["predictions.csv", "predictions.json"]
