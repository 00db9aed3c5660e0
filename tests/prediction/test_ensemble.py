"""Several runs predict the mean of what each of them predicts alone, class by class."""

import csv
import json
import shutil

import pytest

import visionlab
from visionlab.errors import ConfigError, RunError
from visionlab.runs import Run


def edited(run, folder, **data):
    """A copy of a run whose result says other things of its data."""
    copy = Run(shutil.copytree(run.dir, folder))
    copy.update(data=copy.result["data"] | data)
    return copy


def alone(run, images, **how):
    return {each["image"]: each["probabilities"] for each in visionlab.predict(run, images, probabilities=True, **how)}


@pytest.mark.parametrize("how", [{}, {"tta": True, "batch_size": 3}])
def test_the_mean_is_that_of_the_single_predictions_whatever_the_order_of_the_classes(
    quick_run, folds, images, tmp_path, how
):
    classes = quick_run.result["data"]["classes"]
    other = edited(Run(folds.best.dirs[0]), tmp_path / "other", classes=[*classes[4:], *classes[:4]])
    first, second = alone(quick_run, images, **how), alone(other, images, **how)
    found = visionlab.predict([quick_run, other.dir], images, probabilities=True, **how)
    assert len(found) == len(first) == 7
    for record in found:
        one, two, mean = first[record["image"]], second[record["image"]], record["probabilities"]
        assert max(abs(one[name] - two[name]) for name in classes) > 0.01
        assert list(mean) == classes and sum(mean.values()) == pytest.approx(1, abs=1e-6)
        assert mean == pytest.approx({name: (one[name] + two[name]) / 2 for name in classes}, abs=1e-6)
        assert record["predicted"] == max(mean, key=mean.get) and record["confidence"] == max(mean.values())
        assert [each["confidence"] for each in record["top"]] == sorted(mean.values(), reverse=True)[:5]


def test_a_sweep_stands_for_the_runs_of_its_best_trial(folds, images, tmp_path, monkeypatch):
    assert len(folds.best.dirs) == 2
    wanted = visionlab.predict(list(folds.best.dirs), images)
    assert wanted != visionlab.predict(folds.best.dirs[0], images)
    (tmp_path / "link").symlink_to(folds.dir)
    monkeypatch.chdir(tmp_path)
    assert visionlab.predict(folds.dir, images, out="out") == visionlab.predict("link", images) == wanted
    named = json.loads((tmp_path / "out/predictions.json").read_text())["run"]
    assert [Run.open(each).dir.resolve() for each in named] == [each.resolve() for each in folds.best.dirs]
    with pytest.raises(RunError, match=r"predict averages its 2 best"):
        visionlab.load(folds.dir)


def test_what_is_given_twice_counts_once(quick_run, folds, images, caplog):
    twice = visionlab.predict([quick_run, folds.dir, str(quick_run.dir), folds.best.dirs[1]], images)
    assert [line.split()[-6:] for line in caplog.messages] == [["is", "given", "twice", "and", "counts", "once"]] * 2
    assert twice == visionlab.predict([quick_run, *folds.best.dirs], images)


def test_every_probability_is_written_beside_columns_of_the_same_name(quick_run, images, tmp_path):
    names = ["image", "predicted", "class_2", "p(x)", *"456789"]
    run = edited(quick_run, tmp_path / "run", classes=names)
    records = visionlab.predict(run, images, probabilities=True, out=tmp_path / "out")
    assert json.loads((tmp_path / "out/predictions.json").read_text())["images"] == records
    with (tmp_path / "out/predictions.csv").open(newline="") as file:
        head, *rows = csv.reader(file)
    assert len(head) == len(set(head)) and head[-10:] == [f"p({name})" for name in names]
    for row, record in zip(rows, records, strict=True):
        cells = dict(zip(head, row, strict=True))
        assert cells["image"] == record["image"] and cells[f"p({cells['predicted']})"] == cells["confidence"]
        assert [float(cell) for cell in row[-10:]] == pytest.approx(list(record["probabilities"].values()), rel=1e-5)
    assert all("probabilities" not in record for record in visionlab.predict(run, images))


def test_an_image_that_one_way_of_reading_cannot_read_is_skipped_by_all(quick_run, folds, images, monkeypatch, caplog):
    from visionlab.prediction import sources

    read = sources._read

    def fails(path, transform):
        return "too small" if path.name == "b.png" and transform.size == (10, 10) else read(path, transform)

    runs = [quick_run, *folds.best.dirs]
    wanted = [record for record in visionlab.predict(runs, images) if not record["image"].endswith("b.png")]
    monkeypatch.setattr(sources, "_read", fails)
    found = visionlab.predict(runs, images)
    assert [record["image"] for record in found] == [record["image"] for record in wanted]
    for one, other in zip(found, wanted, strict=True):
        assert one["confidence"] == pytest.approx(other["confidence"], abs=1e-6)
    assert "b.png is skipped: too small" in caplog.text


def test_runs_of_one_way_of_reading_read_each_image_once(folds, images, monkeypatch):
    from visionlab.prediction import sources

    read, paths = sources._read, []
    monkeypatch.setattr(sources, "_read", lambda path, way: paths.append(path) or read(path, way))
    visionlab.predict(folds.dir, images)
    assert len(paths) == len(set(paths)) == 7


def test_what_cannot_be_averaged_is_refused(quick_run, folds, images, tmp_path):
    classes = quick_run.result["data"]["classes"]
    other = edited(quick_run, tmp_path / "other", classes=[*"abcd", *classes[4:]])
    with pytest.raises(ConfigError, match="first has 0, 1, 2 and 1 more, only the second has a, b, c") as error:
        visionlab.predict([quick_run, other], images)
    assert str(quick_run.dir) in error.value.where and str(other.dir) in error.value.where
    with pytest.raises(ConfigError, match="2 are given"):
        visionlab.predict(folds.dir, images, gradcam=True, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="names no run"):
        visionlab.predict([], images)
    with pytest.raises(RunError, match="no run lies here"):
        visionlab.predict([quick_run, tmp_path / "nowhere"], images)
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun/result.json").write_text('{"status": "failed"}')
    for given in (tmp_path / "begun", [quick_run, tmp_path / "begun"]):
        with pytest.raises(RunError, match=r"no network yet \(failed\)"):
            visionlab.predict(given, images)
    (tmp_path / "sweep.json").write_text('{"best": null}')
    with pytest.raises(RunError, match="no trial is complete"):
        visionlab.predict(tmp_path, images)
