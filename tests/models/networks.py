"""The names of the models, found by walking conf/, so that a new one is tested without being listed."""

from pathlib import Path

import visionlab.conf

CONF = Path(next(iter(visionlab.conf.__path__)))
NAMES = sorted(path.stem for path in (CONF / "model").glob("[!_]*.yaml"))
