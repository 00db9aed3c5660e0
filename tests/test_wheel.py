"""The wheel, in an empty folder, does what the checkout does."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from quick import QUICK
from visionlab.runs import Run

pytestmark = pytest.mark.process

ROOT = Path(__file__).parents[1]


def python(*arguments, cwd, **environment):
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=os.environ | environment, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the wheel, and nothing else, was installed."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("site")
    for name in ("src", "conf"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    python("-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", "dist", ".", cwd=source)
    (wheel,) = (source / "dist").glob("visionlab-*.whl")
    python("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(site), str(wheel), cwd=source)
    return site


def test_it_holds_every_config_and_every_asset(site):
    for suffix in ("*.yaml", "*.css", "*.js", "*.html", "py.typed"):
        for tree, home in (("conf", "visionlab/conf"), ("src/visionlab", "visionlab")):
            for path in (ROOT / tree).rglob(suffix):
                assert (site / home / path.relative_to(ROOT / tree)).is_file(), path


def test_it_trains_in_an_empty_folder(site, tmp_path):
    code = "import visionlab, visionlab.conf; print(visionlab.__file__, visionlab.conf.__path__[0])"
    assert python("-c", code, cwd=tmp_path, PYTHONPATH=str(site)).count(str(site)) == 2
    python("-m", "visionlab.train", *QUICK, cwd=tmp_path, PYTHONPATH=str(site))
    (run,) = (tmp_path / "outputs").iterdir()
    assert Run(run).status == "completed"
