"""A run directory as the reports see it: what is there is read once, what is missing is empty."""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import compress
from pathlib import Path
from sys import intern
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from visionlab.errors import RunError
from visionlab.reports.statistics import interval, wilson
from visionlab.runs import Run

SPLITS = {"test": "test", "val": "validation"}  # as they are called in a sentence
GROUPED = "images in groups, which count for fewer than as many independent ones"  # what an interval is of
RANDOM_SAMPLES = 24  # samples.npz begins with so many images drawn at random; the rest are confident mistakes


@dataclass(frozen=True)
class Accuracy:
    """The accuracy on a split, with its 95 % confidence interval and of how many images where that is known."""

    value: float
    total: int | None = None
    interval: tuple[float, float] | None = None
    groups: int | None = None  # that the images come in, None where each stands for itself

    @property
    def ends(self) -> str:
        """The interval in per cent, empty where it is not known."""
        return "" if self.interval is None else f"{100 * self.interval[0]:.1f} to {100 * self.interval[1]:.1f}"

    @property
    def qualified(self) -> str:
        """The interval and the number of images in words, empty where they are not known."""
        of = f" in {self.groups:,} group{'s' * (self.groups != 1)}" if self.groups else ""
        return f"95\u00a0%\u00a0CI {self.ends}, n = {self.total:,}{of}" if self.ends else ""


@dataclass(frozen=True)
class Predictions:
    """The evaluated images of one split, in the order of predictions.csv."""

    split: str
    images: list[str]
    target: list[str]
    predicted: list[str]
    confidence: NDArray[np.float64]  # [N]
    correct: NDArray[np.bool_]  # [N]
    groups: list[str] | None = None  # equal for images that belong together, as those of one patient

    def __len__(self) -> int:
        return len(self.images)


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """Return the answers to several sets of images as those to one."""

    def each(column: str) -> list[str]:
        return [value for part in parts for value in getattr(part, column)]

    confidence, correct = (np.concatenate([getattr(part, key) for part in parts]) for key in ("confidence", "correct"))
    groups = each("groups") if all(part.groups for part in parts) else None
    return Predictions(parts[0].split, each("images"), each("target"), each("predicted"), confidence, correct, groups)


def number(text: object) -> float:
    """Return a cell as a number, NaN for an empty one or for a word."""
    try:
        return float(text)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return math.nan


class Reading:
    """The files of one run directory, each read when first asked for."""

    def __init__(self, directory: Path) -> None:
        self.dir = Path(directory)
        self.run = Run(directory)

    @cached_property
    def result(self) -> dict[str, Any]:
        """result.json, empty where the run has not begun."""
        return self.run.result

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config, empty if there is none that can be read."""
        try:
            return self.run.config
        except RunError:
            return {}

    @cached_property
    def metrics(self) -> list[dict[str, float]]:
        """metrics.csv as numbers, a row an epoch; an empty cell is NaN."""
        return [{k: math.nan if v is None else v for k, v in row.items()} for row in self.run.metrics]

    @cached_property
    def lines(self) -> list[dict[str, str]]:
        """The lines of predictions.csv."""
        return self.run.predictions

    @cached_property
    def _by_split(self) -> dict[str, Predictions]:
        # By columns and with shared strings: a comparison holds the predictions of a hundred runs at a time.
        try:
            with (self.dir / "predictions.csv").open(newline="", encoding="utf-8") as file:
                head, *rows = csv.reader(file)
            table = dict(zip(head, zip(*rows, strict=True), strict=True)) if rows else {}
        except (OSError, ValueError):  # also of a line that is cut off
            return {}
        found = {}
        for split in dict.fromkeys(table.get("split", ())):
            of_split = [name == split for name in table["split"]]
            column = {name: list(compress(values, of_split)) for name, values in table.items()}
            found[split] = Predictions(
                split=split,
                images=list(map(intern, column["image"])),
                target=list(map(intern, column["target"])),
                predicted=list(map(intern, column["predicted"])),
                confidence=np.array([number(value) for value in column["confidence"]], float),
                correct=np.array(column["correct"]) == "1",
                groups=list(map(intern, column["group"])) if "group" in column else None,
            )
        return found

    @property
    def splits(self) -> list[str]:
        """The splits with predictions, test first."""
        return sorted(self._by_split, key=lambda name: (name != "test", name))

    def predictions(self, split: str) -> Predictions:
        """The predictions of one split."""
        return self._by_split[split]

    @property
    def split(self) -> str | None:
        """The split that the page is about: test where it was evaluated, else val."""
        return self.splits[0] if self.splits else None

    @cached_property
    def accuracies(self) -> dict[str, Accuracy]:
        """The accuracy of each split that result.json has one of, test first."""
        metrics = self.result.get("metrics") or {}
        images = self.result.get("evaluated_images") or self.result.get("data") or {}
        found: dict[str, Accuracy] = {}
        for split in ("test", "val"):
            value = number(metrics.get(f"{split}/acc"))
            if math.isnan(value):
                continue
            if split in self.splits:
                predictions = self.predictions(split)
                ends = interval(predictions.correct, predictions.groups)
                groups = len(set(predictions.groups)) if predictions.groups else None
                found[split] = Accuracy(value, len(predictions), ends, groups)
            else:
                total = images.get(split) or None
                found[split] = Accuracy(value, total, wilson(round(value * total), total) if total else None)
        return found

    @cached_property
    def confusion(self) -> tuple[list[str], NDArray[np.int64]]:
        """Class names `[K]` and counts int64 `[K, K]` of confusion.csv; no names if there is none."""
        try:
            with (self.dir / "confusion.csv").open(newline="", encoding="utf-8") as file:
                (_, *names), *rows = csv.reader(file)
            counts = np.array([[int(value) for value in row[1:]] for row in rows], np.int64)
            return names, counts.reshape(len(names), len(names))
        except (OSError, ValueError):  # also of a file that is cut off
            return [], np.zeros((0, 0), np.int64)

    @cached_property
    def layers(self) -> list[dict[str, str]]:
        """layers.csv, a row a layer."""
        try:
            with (self.dir / "layers.csv").open(newline="", encoding="utf-8") as file:
                return [row for row in csv.DictReader(file) if None not in row.values()]
        except OSError:
            return []

    @cached_property
    def model_text(self) -> str:
        """model.txt, the layers as they were printed; empty if there is none."""
        try:
            return (self.dir / "model.txt").read_text(encoding="utf-8")
        except OSError:
            return ""

    @cached_property
    def samples(self) -> tuple[NDArray[np.uint8], list[int]]:
        """samples.npz: images uint8 `[N, H, W, 3]` and their lines in predictions.csv; none if there is no file."""
        try:
            with np.load(self.dir / "samples.npz") as file:
                return file["images"], [int(row) for row in file["rows"]]
        except (OSError, ValueError, KeyError, BadZipFile):
            return np.zeros((0, 1, 1, 3), np.uint8), []

    @property
    def sample_groups(self) -> tuple[list[int], list[int]]:
        """The places in `samples` of those drawn at random, and of the most confident mistakes."""
        if self.split is None:
            return [], []
        rows = self.samples[1]
        first = min(RANDOM_SAMPLES, sum(line["split"] == self.split for line in self.lines))
        usable = [i for i, row in enumerate(rows) if 0 <= row < len(self.lines)]
        mistakes = [i for i in usable if i >= first and self.lines[rows[i]]["correct"] != "1"]
        return [i for i in usable if i < first], mistakes
