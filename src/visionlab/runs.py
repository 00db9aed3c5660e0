"""Identity, layout and state of a run directory: the one module that knows them.

A run is a function of its config. Its directory is named by the hash of what determines its outcome, so the same
question asked twice finds its answer. `result.json` is the contract between a run and everything after it; it is
replaced in one atomic step, and only the status `completed` is ever taken as an answer.
"""

import csv
import hashlib
import io
import json
import logging
import os
import re
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, cast

from filelock import FileLock, Timeout

from visionlab.errors import RunError
from visionlab.out_folder import from_here

log = logging.getLogger(__name__)

Status = Literal["running", "completed", "failed", "interrupted", "pruned"]

# Keys that cannot change what comes out of a run: where things lie, what is printed, what is done with the result.
NOT_IDENTITY = (
    "hydra",
    "outputs",
    "force",
    "resume",
    "test",
    "logger",
    "sweep",
    "reference",
    "callbacks.progress",
    "callbacks.checkpoint",
    "callbacks.sweep",
    "data.cache_dir",
    "data.download",
    "data.workers",
    "data.published",
    "trainer.enable_progress_bar",
    "trainer.enable_model_summary",
)
# Keys that came later, and the value that says what was so before them: the runs of then keep their names.
LATER = {"data.drop_last": False}
# Lightning takes an int here for so many batches and a float for a share: 1 is one batch, 1.0 is all of them.
BATCHES = ("limit_train_batches", "limit_val_batches", "limit_test_batches", "overfit_batches")


def identity(config: Mapping[str, Any], without: Iterable[str] = ()) -> str:
    """Return the hash, 10 hexadecimal digits, of what determines the outcome of a run.

    Args:
        config: The resolved config as plain containers. Defaults are in it, so an edited YAML file changes the hash;
            the order of keys does not, nor does 1e-3 for 0.001 or 1 for 1.0, except where it counts batches.
        without: Further keys that do not count, as the seed for what repetitions have in common.
    """
    kept = json.loads(json.dumps(config, default=str))
    # A published set holds the same images wherever it lies; a folder of one's own is known by nothing but its path.
    if kept.get("data", {}).get("published"):
        kept["data"].pop("root", None)
    elif kept.get("data", {}).get("root"):
        kept["data"]["root"] = str(Path(kept["data"]["root"]).expanduser().resolve())
    for key in (*NOT_IDENTITY, *without, *LATER):
        *parents, last = key.split(".")
        node = kept
        for parent in parents:
            node = node.get(parent) or {}
        if key not in LATER or node.get(last) == LATER[key]:
            node.pop(last, None)
    if "trainer" in kept:
        kept["trainer"] = {key: with_unit(key, value) for key, value in kept["trainer"].items()}
    text = json.dumps(_canonical(kept), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:10]


def with_unit(key: str, value: Any) -> Any:
    """Tell a number of batches from a share of them, which otherwise are equal where both are 1."""
    counts = key.rpartition(".")[2] in BATCHES and isinstance(value, int)
    return f"{value} batches" if counts else value


def _canonical(value: Any) -> Any:
    """Make equal numbers look equal: 1.0 becomes 1."""
    if isinstance(value, dict):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def name(config: Mapping[str, Any]) -> str:
    """Return `<data>-<model>-<hash>`, the name of the directory of the run that this config describes."""
    parts = (str(config[group].get("name") or group) for group in ("data", "model"))
    return "-".join([*(re.sub(r"[^\w.]+", "_", part) for part in parts), identity(config)])


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader, or a crash at any moment, finds the old content or the new, never half."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(
        "w", dir=path.parent, prefix=f".{path.name}.", delete=False, encoding="utf-8"
    ) as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            Path(file.name).unlink(missing_ok=True)
            raise
    mask = os.umask(0)
    os.umask(mask)
    Path(file.name).chmod(0o666 & ~mask)
    Path(file.name).replace(path)


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]], columns: Sequence[str] | None = None) -> None:
    """Write rows as CSV in one atomic step; the columns are those of the first row unless given."""
    columns = columns or list(rows[0])
    write_table(path, columns, ([row.get(column, "") for column in columns] for row in rows))


def write_table(path: Path, head: Sequence[Any], rows: Iterable[Sequence[Any]]) -> None:
    """Write rows without names as CSV in one atomic step; two columns may have the same head."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    write_atomically(path, text.getvalue())


class Run:
    """A run directory: what was asked, how far it got and what came out.

    Args:
        directory: The run directory, which need not exist yet.
    """

    def __init__(self, directory: str | Path) -> None:
        self.dir = Path(directory)
        self._held = False

    def __repr__(self) -> str:
        return f"Run('{self.dir}', {self.status or 'not begun'})"

    @classmethod
    def open(cls, directory: str | Path) -> "Run":
        """Return the run that lies in a directory.

        Raises:
            RunError: No run lies there.
        """
        run = cls(directory)
        if not run.result:
            from visionlab.missing_run import no_run

            raise no_run(run.dir)
        return run

    # What a run consists of ------------------------------------------------------------------------------------

    @property
    def page(self) -> Path:
        """The page that a person opens first."""
        return self.dir / "report.html"

    @property
    def figures(self) -> Path:
        """The folder of the figures of the page, as PNG and SVG."""
        return self.dir / "figures"

    def checkpoint(self, which: Literal["best", "last"] = "best") -> Path:
        """The checkpoint with the best monitored value, or the last one written."""
        return self.dir / "checkpoints" / f"{which}.ckpt"

    def answer(self) -> Path:
        """The best checkpoint, for use; where the run is not completed, a warning says so."""
        if self.status != "completed":
            log.warning("%s is not completed (%s): its best epoch so far is used", self.dir, self.status)
        return self.checkpoint("best")

    @property
    def result(self) -> dict[str, Any]:
        """The content of result.json; empty where the run has not begun. Read anew each time: it changes."""
        try:
            content: dict[str, Any] = json.loads((self.dir / "result.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError, json.JSONDecodeError):
            return {}  # a result that cannot be read is no answer
        return content

    @property
    def status(self) -> Status | None:
        """How far the run got; None where it has not begun. `running` may also mean that it was killed."""
        return self.result.get("status")

    @property
    def untested(self) -> bool:
        """Whether it is completed, and has a test split that was not evaluated."""
        result = self.result
        if result.get("status") != "completed":
            return False
        return bool(result["data"]["test"]) and "test" not in result["evaluated"]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config of the run as plain containers.

        Raises:
            RunError: It is missing or damaged.
        """
        from omegaconf import OmegaConf
        from yaml import YAMLError

        file = self.dir / "config.yaml"
        try:
            content = OmegaConf.to_container(OmegaConf.load(file))
        except (OSError, ValueError, YAMLError) as error:
            raise _no_config(file, getattr(error, "strerror", None) or "it is no YAML") from error
        if not content or not isinstance(content, dict):
            raise _no_config(file, "it is empty")
        return cast(dict[str, Any], content)

    @property
    def metrics(self) -> list[dict[str, float | None]]:
        """One row an epoch of metrics.csv, as numbers; an empty cell is None."""
        rows = self._rows("metrics.csv")
        return [{key: float(value) if value else None for key, value in row.items()} for row in rows]

    @property
    def predictions(self) -> list[dict[str, str]]:
        """One row an evaluated image of predictions.csv."""
        return self._rows("predictions.csv")

    def _rows(self, file: str) -> list[dict[str, str]]:
        try:
            with (self.dir / file).open(newline="", encoding="utf-8") as lines:
                return list(csv.DictReader(lines))
        except FileNotFoundError:
            return []

    # How its state changes ---------------------------------------------------------------------------------------

    def update(self, **changes: Any) -> None:
        """Replace keys of result.json in one atomic step."""
        write_atomically(self.dir / "result.json", json.dumps(self.result | changes, indent=1, default=str) + "\n")

    def clear(self) -> None:
        """Forget what an earlier attempt left, but for what Hydra wrote just now, its log and the lock."""
        for path in self.dir.iterdir():
            if _is_hydras_or_a_lock(path):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def discard_if_unused(self) -> None:
        """Remove the directory where nothing but Hydra's own files came to lie in it, unless another process holds it.

        One that decodes its images has written nothing yet.
        """
        if not self.dir.is_dir():
            return
        lock = nullcontext() if self._held else FileLock(self.dir / ".lock", timeout=0)
        with suppress(Timeout), lock:
            if all(map(_is_hydras_or_a_lock, self.dir.iterdir())):
                _let_go_of_logs(self.dir)
                shutil.rmtree(self.dir, ignore_errors=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the directory: one process a run. A second one waits until the first is done, and says so.

        Raises:
            RunError: The directory cannot be written.
        """
        try:
            self.dir.mkdir(parents=True, exist_ok=True)
            lock = FileLock(self.dir / ".lock")
            try:
                lock.acquire(timeout=0)
            except Timeout:
                print(f"{self.dir} is being trained by {self._holder()}; waiting for it (Ctrl-C leaves).", flush=True)
                lock.acquire()
            (self.dir / ".lock-holder").write_text(f"process {os.getpid()} on {socket.gethostname()}")
        except OSError as error:
            raise RunError(
                f"the run directory cannot be written: {error.strerror or error}",
                where=str(self.dir),
                remedy="free some space, or choose another place with outputs=<folder>",
            ) from error
        self._held = True
        try:
            yield
        finally:
            self._held = False
            (self.dir / ".lock-holder").unlink(missing_ok=True)
            lock.release()

    @property
    def busy(self) -> bool:
        """Whether another process holds the directory now."""
        if not (self.dir / ".lock").exists():
            return False
        try:
            with FileLock(self.dir / ".lock", timeout=0):
                return False
        except Timeout:
            return True

    def _holder(self) -> str:
        try:
            return (self.dir / ".lock-holder").read_text()
        except OSError:
            return "another process"


def _is_hydras_or_a_lock(path: Path) -> bool:
    return path.name in {".hydra", ".lock", ".lock-holder"} or path.suffix == ".log"


def best_of(sweep: Path) -> list[Path] | None:
    """Return the directories of a sweep's best runs, [] while no trial is complete; None of what is no sweep."""
    try:
        best = json.loads((sweep / "sweep.json").read_text(encoding="utf-8")).get("best") or {"dirs": []}
        return [Path(from_here((sweep / name).resolve())) for name in best["dirs"]]
    except (OSError, ValueError, LookupError, TypeError, AttributeError):
        return None


def _no_config(file: Path, why: str) -> RunError:
    remedy = "copy the whole directory of the run, or train again with force=true"
    return RunError(f"the run's config cannot be read: {why}", where=str(file), remedy=remedy)


def _let_go_of_logs(directory: Path) -> None:
    """Detach the log files of a directory that is about to go, or the next message of this process would raise."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler, logging.FileHandler) and directory.resolve() in Path(handler.baseFilename).parents:
            root.removeHandler(handler)
            handler.close()
