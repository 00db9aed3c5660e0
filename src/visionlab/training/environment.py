"""What a run ran on, and what of it has changed since."""

import hashlib
import logging
import os
import platform
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionlab.checks import importable, not_imported
from visionlab.errors import ConfigError, UserError
from visionlab.runs import Run
from visionlab.training import typed

if TYPE_CHECKING:
    import torch

log = logging.getLogger(__name__)
FOLDER = "visionlab.data.folder.Folder"
# In the paths of modules that belong to Python or to a distribution, whose version says what they are.
INSTALLED = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}", sysconfig.get_path("stdlib") + os.sep)
PACKAGES = ("visionlab", "torch", "torchvision", "lightning", "torchmetrics", "kornia", "hydra-core")


def describe(device: "torch.device", config: dict[str, Any]) -> dict[str, Any]:
    """Return machine, versions, thread count and the state of our source and of a person's own, for result.json.

    Args:
        device: What the run computes on, which on a machine with a GPU may be its CPU all the same.
        config: Plain, of which classes of a person's own are read.
    """
    import torch

    found: dict[str, Any] = {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or "cpu",
        "versions": _versions(),
        "own_code": own_code(config),
    }
    return found | source()


def _versions() -> dict[str, str]:
    found = {name: version(name) for name in PACKAGES}
    with suppress(PackageNotFoundError):  # an extra, whose networks and optimizers a config may name
        found["timm"] = version("timm")
    return found


def source() -> dict[str, str | None]:
    """Return the commit of our own source and a digest of what is not committed; None outside a checkout."""
    root = Path(__file__).parents[3]

    def git(*words: str) -> str | None:
        try:
            done = subprocess.run(["git", *words], cwd=root, capture_output=True, timeout=10, check=True)
        except (OSError, subprocess.SubprocessError):
            return None
        return os.fsdecode(done.stdout).strip()

    # An installed package may lie inside somebody else's checkout, whose commits say nothing about us.
    if not (root / "src" / "visionlab").is_dir() or not (commit := git("rev-parse", "--short=10", "HEAD")):
        return {"commit": None, "uncommitted": None}
    changed = os.fsencode(git("diff", "HEAD", "--", "src", "conf") or "")
    # A diff has no file that git was not told of, as that of a new network often is.
    for name in (git("ls-files", "--others", "--exclude-standard", "-z", "--", "src", "conf") or "").split("\0"):
        if name and (root / name).is_file():
            changed += os.fsencode(name) + (root / name).read_bytes()
    return {"commit": commit, "uncommitted": hashlib.sha256(changed).hexdigest()[:10] if changed else None}


def own_code(config: dict[str, Any]) -> dict[str, str]:
    """Return a digest of each file of a person's own packages that is in use: those that the config names classes of.

    A package is a person's own where it is neither ours nor installed. Of what was typed into a notebook, a digest of
    each class by its name.
    """
    from hydra.utils import get_object

    named = [target for target in _targets(config) if not target.startswith("visionlab.")]
    for target in named:  # an optimizer's has not been imported yet
        with suppress(Exception):  # it is raised again, in its own words, where the object is built
            get_object(target)
    packages = {target.partition(".")[0] for target in named}
    own = {name for name in packages if not any(place in _place(name) for place in INSTALLED)}
    files = {Path(_place(name)) for name in sys.modules if name.partition(".")[0] in own}
    found = {str(file): _digest(file) for file in sorted(files) if file.is_file()}
    return found | {target: told for target in named if (told := _typed(target))}


def _place(module_name: str) -> str:
    """Return the file of an imported module, or the folder of one that has none; "" for what was typed in."""
    module = sys.modules.get(module_name)
    return getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", [])), "")


def _typed(name: str) -> str | None:
    """Return a digest of a class that was typed into this notebook, None of all others."""
    package, _, inner = name.partition(".")
    return typed.digest(inner) if package == "__main__" and not _place(package) else None


def _targets(node: Any) -> Iterator[str]:
    """Go through the names of all objects that a config builds."""
    values = node.values() if isinstance(node, dict) else node if isinstance(node, list) else ()
    if isinstance(node, dict) and isinstance(node.get("_target_"), str):
        yield node["_target_"]
    for value in values:
        yield from _targets(value)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]


def _edits(run: Run) -> list[str]:
    """Return a sentence where files of a person's own code are others than those that a run was trained with."""
    own = run.result.get("environment", {}).get("own_code", {})
    now = ((file, _typed(file) or (_digest(Path(file)) if Path(file).is_file() else None)) for file in own)
    edited = [file for file, digest in now if digest not in (own[file], None)]
    here = f"{Path.cwd()}{os.sep}"
    return [f"your code has changed: {', '.join(file.removeprefix(here) for file in edited)}"] if edited else []


def require_code(run: Run, *groups: str) -> None:
    """Find the classes that a run is built from again, and warn where a person's own have changed since its training.

    Args:
        run: The run.
        groups: The parts of its config that are needed, such as model.

    Raises:
        ConfigError: One cannot be imported, as a person's own from another working directory.
    """
    from hydra.utils import get_object

    for target in _targets({group: run.config[group] for group in groups}):
        try:
            get_object(target)
        except ImportError as error:
            package, own = target.partition(".")[0], run.result.get("environment", {}).get("own_code", {})
            folder = None if importable(package) else _folder(target, own)
            remedy = f"start from {folder}, or put that into PYTHONPATH" if folder else not_imported(target, error)
            what = f"{target}, which the run was trained with, cannot be imported here"
            raise ConfigError(what, where=str(run.dir / "config.yaml"), remedy=remedy) from error
    for sentence in _edits(run):
        log.warning("since the run was trained, %s", sentence)


def _folder(target: str, own: Iterable[str]) -> Path | None:
    """Return the folder that a class was imported from, by the files of its package that a run recorded."""
    package, *_ = modules = tuple(target.split(".")[:-1])
    files = [file.parent if file.stem == "__init__" else file.with_suffix("") for file in map(Path, own)]
    its_own = (file.parts[: -len(modules)] for file in files if file.parts[-len(modules) :] == modules)
    beside = (file.parts[: file.parts.index(package)] for file in files if package in file.parts)
    found = next(its_own, None) or next(beside, None)
    return Path(*found) if found else None


def digest_of_weights(weights: str | None) -> str | None:
    """Return a digest of the file that a config's weights mean; None where they mean none."""
    path = Path(weights or "").expanduser()
    file = path / "checkpoints" / "best.ckpt" if path.is_dir() else path
    return _digest(file) if file.is_file() else None


def changes(run: Run, root: str | None = None) -> list[str]:
    """Return, as sentences, what a completed run was recorded with that is different now.

    Cheap, since it is asked whenever a run answers from memory: it reads no image, and imports no torch but for a data
    set of a person's own class; a person's own images it lists.

    Args:
        run: The run.
        root: Where its images are said to lie now, where that is known.
    """
    then = run.result.get("environment", {})
    found = []
    recorded, versions = then.get("versions", {}), _versions()
    # A run from before timm was recorded says nothing of it.
    timm = ["timm"] if "timm" in recorded and any("timm" in each.lower() for each in _targets(run.config)) else []
    for name in ("visionlab", "torch", *timm):
        before, now = recorded.get(name), versions.get(name, "not installed")
        if before != now:
            found.append(f"{name} was {before}, is now {now}")
    now_source = source()
    if then.get("commit") and (then["commit"], then.get("uncommitted")) != tuple(now_source.values()):
        found.append("the source of visionlab has changed")
    found += _edits(run)
    listed = run.result.get("data", {}).get("listing")
    listing = _listing(run) if listed else None
    if listing and any(listing[key] != value for key, value in listed.items()):
        more = f": {listing['files']:,} files, were {listed['files']:,}" if listing["files"] != listed["files"] else ""
        found.append(f"the images have changed{more}")
    before = run.config["data"].get("root")
    if before and root and Path(before).expanduser().resolve() != Path(root).expanduser().resolve():
        found.append(f"the images were those in {before}, not in {root}")
    began_with = run.result.get("model", {}).get("weights_digest")
    if began_with and digest_of_weights(run.config["model"]["weights"]) not in (began_with, None):
        found.append(f"the weights have changed: {run.config['model']['weights']}")
    return found


def _listing(run: Run) -> dict[str, int | str] | None:
    """List the images of a run anew; None where they are not to be found any more."""
    data = run.config["data"]
    if data["_target_"] != FOLDER:
        from hydra.utils import instantiate

        try:
            listed: dict[str, int | str] = instantiate(data, _partial_=True, _convert_="all")().find_now().listing()
        except Exception:  # its code may raise anything by now, and the answer does not hang on it
            return None
        return listed
    from visionlab.data.listing import find

    try:
        return find(Path(data["root"]).expanduser(), data["csv"]).listing()
    except UserError:
        return None
