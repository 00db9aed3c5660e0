"""What a run says that it ran on, and what of our own source has changed since."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest
import torch

from visionlab.out_folder import from_here
from visionlab.runs import Run
from visionlab.training import environment


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one commit, that visionlab takes for its own."""
    home = tmp_path / "src/visionlab/training"
    home.mkdir(parents=True)
    shutil.copy(environment.__file__, home)
    (tmp_path / "conf").mkdir()
    monkeypatch.setattr(environment, "__file__", str(home / "environment.py"))
    who = ("-c", "user.name=somebody", "-c", "user.email=somebody@example.com")
    for words in (("init", "-q"), ("add", "."), (*who, "commit", "-q", "-m", "all")):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def test_an_edit_of_a_new_file_changes_the_source_too(checkout):
    assert environment.source()["uncommitted"] is None
    network = checkout / "src/visionlab/models/my_net.py"
    network.parent.mkdir()
    found = []
    for text in ("width = 32\n", "width = 64\n"):
        network.write_text(text)
        found.append(environment.source()["uncommitted"])
    assert None not in found
    assert found[0] != found[1]


def test_a_known_file_that_is_edited_changes_the_source(checkout):
    file = checkout / "src/visionlab/training/environment.py"
    file.write_text(Path(file).read_text() + "# \udcff\n", errors="surrogateescape")
    assert environment.source()["uncommitted"] is not None


def test_what_a_run_computes_on_is_recorded_and_not_what_else_there_is(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda *_: "a GPU")
    assert environment.describe(torch.device("cuda", 1), {})["device"] == "a GPU"
    assert environment.describe(torch.device("cpu"), {})["device"] != "a GPU"


@pytest.mark.parametrize(
    ("network", "recorded", "named"),
    [
        ("visionlab.models.library.TimmNetwork", {"timm": "1.0.0"}, ["timm was 1.0.0, is now 1.0.1"]),
        ("visionlab.models.library.TimmNetwork", {"timm": "1.0.1"}, []),
        ("visionlab.models.library.TimmNetwork", {}, []),
        ("visionlab.models.simple_cnn.SimpleCNN", {"timm": "1.0.0"}, []),
    ],
)
def test_another_timm_is_named_where_a_run_used_it(quick_run, tmp_path, monkeypatch, network, recorded, named):
    monkeypatch.setattr(environment, "version", lambda name: {"timm": "1.0.1"}.get(name, "2.0"))
    shutil.copytree(quick_run.dir, tmp_path / "run")
    run = Run(tmp_path / "run")
    config = run.dir / "config.yaml"
    config.write_text(config.read_text().replace("visionlab.models.simple_cnn.SimpleCNN", network))
    now = dict.fromkeys(environment.PACKAGES, "2.0")
    run.update(environment=environment.describe(torch.device("cpu"), {}) | {"versions": now | recorded})
    assert environment.changes(run) == named


@pytest.mark.parametrize(
    ("target", "file"),
    [
        ("mine.Net", "mine.py"),
        ("mine.Net", "mine/__init__.py"),
        ("mine.mine.Net", "mine/mine.py"),  # a package without __init__.py
        ("mine.deep.nets.Net", "mine/deep/nets.py"),
        ("mine.Net", "mine/parts.py"),
        ("mine.nets.Net", "mine/mine/parts.py"),
    ],
)
def test_the_folder_that_a_class_was_imported_from(tmp_path, target, file):
    assert environment._folder(target, [str(tmp_path / file)]) == tmp_path
    assert environment._folder("other.Net", [str(tmp_path / file)]) is None


NET = """
{rate}

def head(width): return torch.nn.Linear(3, width)

class Base(torch.nn.Module):
    kernel = 3

SIZES = [64, {3, 5}]

def act(x): return x

class Net(Base):
    def __init__(self, num_classes, width=8):
        super().__init__()
        self.head, self.rate = head(num_classes), RATE{note}

    def forward(self, images, act=act):
        return act(self.head(images.mean((2, 3))))

    @torch.no_grad()
    def wide(self):
        return SIZES[0] + 1
"""


def test_the_digest_of_what_was_typed_is_the_same_in_every_process():
    """Sets of words have another order in each."""
    typed = "def net(x, y={'a', 'b', 'c', 'd'}, z=print): return x in {'one', 'two', 'three', 'four'}\n"
    code = f"{typed}from visionlab.training.typed import digest\nprint(digest('net'))"
    found = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True
        ).stdout
        for seed in "1234"
    }
    assert len(found) == 1 and len(found.pop().strip()) == 16


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("", "", True),
        ("{note}", "  # another remark", True),
        ("class Net", "\n\nclass Net", True),
        ("width=8", "width=9", False),
        ("kernel = 3", "kernel = 5", False),
        ("mean((2, 3))", "amax((2, 3))", False),
        ("Linear(3, width)", "Linear(3, width, bias=False)", False),
        ("{rate}", "RATE = 0.2", False),
        ("SIZES[0] + 1", "SIZES[0] + 2", False),
        ("SIZES = [64,", "SIZES = [65,", False),
        ("def act(x): return x", "def act(x): return -x", False),
    ],
)
def test_what_was_typed_into_a_notebook_is_known_by_its_code(monkeypatch, old, new, same):
    digests = []
    for text in (NET, NET.replace(old, new)):
        main = ModuleType("__main__")
        main.torch = torch
        monkeypatch.setitem(sys.modules, "__main__", main)
        code = text.replace("{rate}", "RATE = 0.1").replace("{note}", "")
        exec(compile(code, f"cell {len(digests)}", "exec"), vars(main))
        (found,) = environment.own_code({"model": {"_target_": "__main__.Net"}}).items()
        digests.append(found)
    assert (digests[0] == digests[1]) is same and digests[0][0] == "__main__.Net"
    run = SimpleNamespace(result={"environment": {"own_code": dict([digests[0]])}})
    assert environment._edits(run) == ([] if same else ["your code has changed: __main__.Net"])


def test_a_path_on_another_drive_stays_as_it_is(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert from_here(tmp_path / "run") == "run"

    def other_drive(*_):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    monkeypatch.setattr("os.path.relpath", other_drive)
    assert from_here(tmp_path / "run") == str(tmp_path / "run")
