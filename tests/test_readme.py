"""Every command of the README runs, as printed but for overrides behind it that keep it short."""

import json
import re
import shlex
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.models import resnet18

pytestmark = pytest.mark.process

README = Path(__file__).parents[1] / "README.md"
TEXT = README.read_text()
COMMANDS = [match for match in re.findall(r"`(python -m visionlab\.[^`]+)`", TEXT) if match.count(" ") > 2]
RUN = "outputs/digits-simple_cnn-0123456789"
SWEEP = "outputs/sweeps/cross_validation-digits-0123"

# What keeps a command short without changing what it does.
SHORT = {
    "train": ["trainer.max_epochs=1", "+trainer.limit_train_batches=2", "logger=none", "trainer.accelerator=cpu"],
    "reproduce": ["--epochs=1"],
    "tune": ["steps=1", "compile=false", "data.image_size=8"],
}
SMALL = ["data.image_size=8", "model.network.filters=[4,8]", "model.network.dense_units=8"]


@pytest.fixture(scope="module")
def place(tmp_path_factory, quick_run):
    """A folder that holds what the README's commands name: photographs, miniature data sets, a finished run."""
    folder = tmp_path_factory.mktemp("readme")
    random = np.random.default_rng(0)

    def images(path, count, side):
        path.mkdir(parents=True)
        for i in range(count):
            Image.fromarray(random.integers(0, 256, (side, side, 3), dtype=np.uint8)).save(path / f"{i}.png")

    for name in ("cats", "dogs"):
        images(folder / "photos" / name, 20, 40)
    for split in ("train", "test"):
        for i in range(10):
            images(folder / "data/cifar10" / split / f"class{i}", 12, 32)
    for i in range(5):
        images(folder / "data/caltech101/101_ObjectCategories" / f"class{i}", 12, 70)
    for split in ("train", "val", "test"):
        for i in range(10):
            images(folder / "data/tiny_imagenet10" / split / f"n{i:08}" / "images", 6, 64)
    words = "".join(f"n{i:08}\tthing {i}\n" for i in range(10))
    (folder / "data/tiny_imagenet10/words.txt").write_text(words)
    for part in ("train", "t10k"):
        raw = folder / "data/FashionMNIST/raw"
        raw.mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (100, 28, 28), dtype=np.uint8)
        (raw / f"{part}-images-idx3-ubyte").write_bytes(struct.pack(">4I", 0x803, *pixels.shape) + pixels.tobytes())
        (raw / f"{part}-labels-idx1-ubyte").write_bytes(
            struct.pack(">2I", 0x801, 100) + bytes(i % 10 for i in range(100))
        )
    shutil.copytree(quick_run.dir, folder / RUN)
    shutil.copytree(quick_run.dir, folder / f"{RUN[:-1]}a")
    (folder / SWEEP).mkdir(parents=True)
    best = {"dirs": [f"../../{Path(RUN).name}", f"../../{Path(RUN).name[:-1]}a"]}
    (folder / SWEEP / "sweep.json").write_text(json.dumps({"best": best, "runs": []}))
    cached = folder / "hub/checkpoints/resnet18-f37072fd.pth"  # as if it had been downloaded
    cached.parent.mkdir(parents=True)
    torch.save(resnet18().state_dict(), cached)
    return folder


def run(command, place, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("TORCH_HOME", str(place))
    words = [sys.executable, *command[1:]] if command[0] == "python" else command
    done = subprocess.run(words, capture_output=True, text=True, timeout=900, cwd=place)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    return done.stdout


def test_the_readme_begins_as_it_should():
    blocks = [line.strip() for line in TEXT.splitlines() if line.startswith("    python -m pip")]
    assert blocks == [
        "python -m pip install -e . && python -m visionlab.train",
        'python -m pip install -e ".[test]" && python -m pytest',
    ]
    assert len(COMMANDS) > 15


@pytest.mark.parametrize("command", COMMANDS)
def test_command(command, place, monkeypatch):
    words = shlex.split(command)
    door = words[2].removeprefix("visionlab.")
    short = list(SHORT.get(door, []))
    if "sweep=architectures" in command:
        # All architectures take minutes; which there are is the contract tests' matter.
        short += ["model=simple_cnn,simple_cnn_bn"]
    elif door == "train" and "--cfg" not in words and "data" not in command.replace("data.batch_size", ""):
        short += SMALL
    if "--cfg" in words:
        short = []
    if "model.weights=outputs" in command:  # the run that was copied here has this network
        short += ["data.image_size=8", "model.network.filters=[8,16]", "model.network.dense_units=32"]
    if "model=resnet" in command:  # at 32 px it has a first layer that ImageNet's weights do not fit
        short += ["data.image_size=96" if "weights=imagenet" in command else "data.image_size=32"]
    if "logger=wandb" in command:
        short.remove("logger=none")
        monkeypatch.setenv("WANDB_MODE", "offline")  # no account is needed for its files
    short = [word.removeprefix("+") for word in short]
    run([*words, *short], place, monkeypatch)


def test_python_example(place, monkeypatch):
    (code,) = re.findall(r"```python\n(.*?)```", TEXT, re.S)
    code = code.replace('"trainer.max_epochs=3"', '"trainer.max_epochs=1", "data.image_size=8"')
    run(["python", "-c", code], place, monkeypatch)


def test_files_that_the_readme_names_exist():
    for target in re.findall(r"\]\(([\w./-]+)\)", TEXT):
        assert (README.parent / target).exists(), target
