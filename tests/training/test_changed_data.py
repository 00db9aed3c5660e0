"""A run goes on, and is tested, on the images that it began with; what answers from memory says what has changed."""

import errno
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

import visionlab
from quick import QUICK
from visionlab.data.files import class_folders
from visionlab.data.module import ImageDataModule
from visionlab.errors import DataError
from visionlab.runs import Run
from visionlab.training import outcome


@pytest.fixture
def table(tmp_path):
    """A CSV with two classes of twelve images, two thirds to train on."""
    lines, splits = ["path,label,split"], ("train", "train", "val", "train", "train", "test")
    for name, shade in (("cat", 0), ("dog", 120)):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for number in range(12):
            Image.new("RGB", (8, 8), (shade, 9 * number, 60)).save(tmp_path / "photos" / name / f"{number}.png")
            lines.append(f"{name}/{number}.png,{name},{splits[number % 6]}")
    (tmp_path / "photos" / "list.csv").write_text("\n".join(lines) + "\n")
    return tmp_path / "photos" / "list.csv"


@pytest.fixture
def train(table, tmp_path):
    """Return a function that trains on them, in one directory."""

    def call(*overrides):
        data = ["data=folder", f"data.root={table.parent}", f"data.csv={table}", "data.batch_size=8"]
        return visionlab.train([*QUICK, *data, *overrides], directory=tmp_path / "run")

    return call


class Mine(ImageDataModule):
    """A data set of one's own, whose files only its class can find."""

    def __init__(self, *, csv, **common):
        super().__init__(**common)

    def find(self):
        return class_folders(self.root)


class Named(Mine):
    """One that gives the names of its files and nothing else of them."""

    def find(self):
        index = super().find()
        index.stamps = None
        return index


def learnt_images_become_test_images(table):
    table.write_text(table.read_text().replace("/0.png,cat,train", "/0.png,cat,test"))


def test_a_later_test_is_not_of_images_that_were_trained_on(train, table):
    train("test=false")
    before = table.read_text()
    learnt_images_become_test_images(table)
    with pytest.raises(DataError, match=r"have changed since the run began \(16 \+ 4 \+ 4 are now 15 \+ 4 \+ 5\)"):
        train()
    table.write_text(before)
    assert "test/acc" in train().result["metrics"]


def test_a_run_does_not_continue_on_other_images(train, table, caplog):
    run = train()
    run.update(status="running")  # as a kill leaves it
    learnt_images_become_test_images(table)
    with pytest.raises(DataError, match="force=true"):
        train()
    run.update(status="completed")
    visionlab.evaluate(run)
    assert "the images, their classes or their splits have changed" in caplog.text
    assert train("force=true").result["data"]["test"] == 5


def test_memory_tells_of_other_splits_and_of_other_weights(train, table, tmp_path, capsys):
    weights = tmp_path / "weights"
    shutil.copytree(train().dir, weights)
    fine_tuned = visionlab.train([*QUICK, f"model.weights={weights}"], directory=tmp_path / "tuned")
    for again in (train, lambda: visionlab.train([*QUICK, f"model.weights={weights}"], directory=fine_tuned.dir)):
        again()
        assert "since then" not in capsys.readouterr().out.split("Remembered")[1]
    learnt_images_become_test_images(table)
    train()
    assert "the images have changed" in capsys.readouterr().out
    shutil.copy(fine_tuned.checkpoint("best"), weights / "checkpoints" / "best.ckpt")
    visionlab.train([*QUICK, f"model.weights={weights}"], directory=fine_tuned.dir)
    assert "the weights have changed" in capsys.readouterr().out


def test_memory_tells_where_the_images_of_a_published_set_were(tmp_path, capsys):
    given = ["data=folder", "data.published=true", *QUICK[1:]]
    for name in ("one", "other"):
        for row in range(40):
            folder = tmp_path / name / f"class{row % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (row, row, row)).save(folder / f"{row}.png")
        visionlab.train([*given, f"data.root={tmp_path / name}"], directory=tmp_path / "run")
    assert f"the images were those in {tmp_path / 'one'}" in " ".join(capsys.readouterr().out.split())


def test_a_full_disk_only_interrupts(train, monkeypatch, capsys):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device", "predictions.csv")

    with monkeypatch.context() as patch:
        patch.setattr(outcome, "write", full)
        with pytest.raises(OSError, match="No space"):
            train()
    assert train().status == "completed" and "Continuing the interrupted run" in capsys.readouterr().out


def test_a_failed_run_that_is_asked_to_resume_is_not_cleared(train, capsys):
    run = train()
    run.update(status="failed")
    assert visionlab.train([f"resume={run.dir}"]).status == "completed"
    assert "Continuing the interrupted run" in capsys.readouterr().out


@pytest.mark.parametrize("kind", [Mine, Named])
def test_a_data_set_of_ones_own_is_looked_at_as_folders_are(table, tmp_path, capsys, kind):
    def train():
        own = ["data=folder", f"data._target_={__name__}.{kind.__name__}", f"data.root={table.parent}"]
        visionlab.train([*QUICK, *own, "data.batch_size=8"], directory=tmp_path / "run")
        return capsys.readouterr().out

    train()
    assert "since then" not in train()
    shutil.copy(table.parent / "cat" / "0.png", table.parent / "cat" / "12.png")
    assert "the images have changed: 25 files, were 24" in train()


def test_memory_tells_of_own_code_that_has_changed(tmp_path, monkeypatch, capsys):
    """Of the module that a config names, of what it imports beside it, and of one that only the optimizer needs."""
    package = tmp_path / "my_project"
    package.mkdir()
    files = {
        "__init__": "",
        "layers": "",
        "unused": "",
        "net": "import my_project.layers\nfrom visionlab.models.simple_cnn import SimpleCNN\n"
        "class Net(SimpleCNN):\n    pass\n",
        "steps": "import torch\nclass Mine(torch.optim.SGD):\n    pass\n",
    }
    run = Run(tmp_path / "run")
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)

    def train():
        own = ["model.network._target_=my_project.net.Net", "optimizer=sgd", "optimizer._target_=my_project.steps.Mine"]
        visionlab.train([*QUICK, *own, "trainer.max_epochs=1"], directory=run.dir)
        return " ".join(capsys.readouterr().out.split())

    train()
    (package / "unused.py").write_text("1\n")
    assert "since then" not in train()
    for name in ("layers", "steps"):
        (package / f"{name}.py").write_text(files[name] + "# of another kind\n")
    assert "since then: your code has changed: my_project/layers.py, my_project/steps.py" in train()
    run.update(status="running")  # as a kill leaves it
    for answer in ("Continuing the interrupted run", "Remembered"):
        _, found, after = train().partition(answer)
        assert found and ("since then: your code has changed" in after) == (answer != "Remembered")
    for name in [name for name in sys.modules if name.startswith("my_project")]:  # as in a process of its own
        monkeypatch.delitem(sys.modules, name)
    run.update(status="running")
    visionlab.train([f"resume={run.dir}"])
    recorded = {Path(file).stem for file in run.result["environment"]["own_code"]}
    assert recorded == {"__init__", "layers", "net", "steps"}
    capsys.readouterr()
    shutil.rmtree(package)
    assert "since then" not in train()
