"""The PNG files under figures/ of a run."""

import math
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from visionlab.reports import figures
from visionlab.reports.reading import Reading
from visionlab.reports.statistics import class_scores
from visionlab.reports.svg import decades


def draw(run: Reading, folder: Path) -> None:
    """Draw each figure that the run has the numbers for."""
    folder.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a line for each letter that no font has; the page has them all
        _draw(run, folder)


def _draw(run: Reading, folder: Path) -> None:
    rows, best = run.metrics, run.result.get("best_epoch")
    epochs = [row["epoch"] + 1 for row in rows]  # people count from 1

    def curves(name: str, keys: dict[str, str], y: str, log: bool = False) -> None:
        series = {
            label: (epochs, [row.get(key, math.nan) for row in rows])
            for key, label in keys.items()
            if any(math.isfinite(row.get(key, math.nan)) for row in rows)
        }
        if series:
            figures.curves(series, y=y, best=None if best is None else best + 1, log=log).savefig(
                folder / f"{name}.png"
            )

    curves("loss", {"train/loss": "train", "val/loss": "validation"}, "loss")
    curves("accuracy", {"train/acc": "train", "val/acc": "validation"}, "accuracy")
    curves("auc", {"val/auc": "validation"}, "area under the ROC curve")
    rates = [row["lr"] for row in rows if row.get("lr", math.nan) > 0]
    curves("learning_rate", {"lr": "learning rate"}, "learning rate", log=decades(rates))

    names, counts = run.confusion
    if names and counts.sum():
        figures.confusion_matrix(counts, names).savefig(folder / "confusion.png")
        figures.confusion_matrix(counts, names, normalise=True).savefig(folder / "confusion_normalised.png")
        scores = class_scores(counts)
        order = np.argsort(-scores.recall, kind="stable")
        recall = np.where(scores.support, scores.recall, math.nan)[order].tolist()
        bars = figures.class_bars([names[i] for i in order], recall, mean=scores.accuracy)
        bars.savefig(folder / "accuracy_per_class.png")

    if run.split is not None:
        predictions = run.predictions(run.split)
        if np.isfinite(predictions.confidence).any():
            drawing = figures.reliability(predictions.confidence, predictions.correct)
            drawing.savefig(folder / "reliability.png")

    images, places = run.samples
    for name, chosen in zip(("samples", "mistakes"), run.sample_groups, strict=True):
        if chosen:
            lines = [run.lines[places[i]] for i in chosen]
            right = [line["correct"] == "1" for line in lines]
            grid = figures.sample_grid(images[chosen], list(map(caption, lines)), right)
            grid.savefig(folder / f"{name}.png")


def caption(line: Mapping[str, str]) -> str:
    """Say what an image of the grid was taken for and what it is, with names as long as fit under it."""
    found = f"{_brief(line['predicted'], 14)} · {100 * float(line['confidence']):.0f} %"
    return found if line["correct"] == "1" else f"{found}\nis {_brief(line['target'], 18)}"


def _brief(name: str, most: int) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"
