"""What the tests of predictions share: some images, and the networks of a cross-validation."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quick import QUICK


@pytest.fixture(scope="session")
def folds(tmp_path_factory):
    """A cross-validation of two folds, of images of another size than `quick_run` has; tests only read it."""
    from visionlab import sweep

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("visionlab.reports.sweep_page.write", lambda sweep, **_: sweep.directory / "report.html")
        patch.setattr("visionlab.reports.run_page.write", lambda directory: Path(directory) / "report.html")
        wanted = ["sweep=cross_validation", "data.folds=2", "data.image_size=10", "trainer.max_epochs=1"]
        return sweep([*QUICK, *wanted, f"outputs={tmp_path_factory.mktemp('folds')}"])


@pytest.fixture(scope="session")
def images(tmp_path_factory):
    """Seven PNG and JPEG files, one of them in a folder of its own."""
    root = tmp_path_factory.mktemp("images")
    (root / "below").mkdir()
    for number, name in enumerate(("a.png", "b.png", "c.jpg", "d.v2.jpg", "e.png", "f.png", "below/a.png")):
        pixels = np.random.default_rng(number).integers(0, 256, (6, 5), dtype=np.uint8)
        Image.fromarray(pixels).resize((30, 40), Image.Resampling.BICUBIC).save(root / name)
    return root
