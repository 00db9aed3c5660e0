"""Of a run of two classes: its ROC curve, and what thresholds that were chosen on validation do on the other images."""

from itertools import compress

import numpy as np
from numpy.typing import NDArray

from visionlab.reports import applying, charts, roc
from visionlab.reports.charts import Series
from visionlab.reports.numbers import percent
from visionlab.reports.page import Column, Html, Tile, columns, figure, note, table, tiles
from visionlab.reports.reading import GROUPED, SPLITS, Predictions, Reading, number
from visionlab.reports.roc import Scores
from visionlab.reports.statistics import interval
from visionlab.reports.svg import Axis, Keep

SOUGHT = (0.9, 0.95, 0.99)  # sensitivities that a threshold is chosen for
DRAWN = 400  # points of a curve, at most


def section(run: Reading, keep: Keep) -> list[Html]:
    """The curve and the thresholds; nothing of a run of more classes, or where a class has no image."""
    names, _ = run.confusion
    if len(names) != 2 or run.split is None:
        return []
    predictions = run.predictions(run.split)
    counts = [predictions.target.count(name) for name in names]
    if not all(counts) or not np.isfinite(predictions.confidence).all():
        return []
    positive = names[0] if counts[0] < counts[1] else names[1]
    scores = Scores.read(predictions, positive)
    alarms, hits = (rates[_some(len(rates))].tolist() for rates in scores.curve)
    diagonal = Series("by chance", [0, 1], [0, 1], "var(--muted)", dashed=True)
    drawing = charts.lines(
        [diagonal, Series("this run", alarms, hits)],
        x=Axis(f"of the others, taken for {positive}", 0, 1, share=True),
        y=Axis(f"of {positive}, found", 0, 1, share=True),
        names=False,
        label="ROC curve",
    )
    keep("roc", drawing)
    area = number((run.result.get("metrics") or {}).get(f"{run.split}/auc", scores.area[0]))
    known = roc.ends(run, run.split)
    told = f"95\u00a0% CI {known} ({'Obuchowski' if scores.groups else 'DeLong'})"
    tile = Tile(
        "Area under the curve", f"{area:.4f}", told if known else "no error of it can be estimated", strong=True
    )
    split = SPLITS.get(run.split, run.split)
    words = note(
        f"{positive} is the positive class, as there are fewer images of it: {int(scores.positive.sum()):,} of "
        f"{len(predictions):,} {split} images."
        if counts[0] != counts[1]
        else f"{positive} is taken for the positive class."
    )
    return [words, columns(figure(drawing), tiles([tile])), *_thresholds(run, predictions, scores, positive)]


def _some(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count - 1, min(count, DRAWN)).round().astype(np.int64))


def _thresholds(run: Reading, predictions: Predictions, scores: Scores, positive: str) -> list[Html]:
    """A row for the class that is named, and one for each sensitivity that was sought on validation."""
    said = np.array(predictions.predicted) == positive  # at 0.5 to the last digit that is recorded, either may be
    command: list[Html] = []
    rows: list[list[object]] = [["as predicted", 0.5, *_rates(scores, said)]]
    if "val" in run.splits:
        chosen = Scores.read(run.predictions("val"), positive)
        if chosen.positive.any() and np.isfinite(chosen.of).all():
            for share in SOUGHT:
                limit = chosen.threshold(share)
                rows.append([f"sensitivity of {100 * share:.0f} %", limit, *_rates(scores, scores.of >= limit)])
            command = applying.threshold(run, positive, chosen.threshold(SOUGHT[1]), SOUGHT[1])
    method = f"Wilson's interval{f' of {GROUPED}' if scores.groups else ''}"
    heads: list[Column | str] = [
        "chosen for",
        Column("threshold", form=lambda value: f"{value:.4f}", hint=f"From this probability of {positive} on"),
        Column("sensitivity", form=percent, hint=f"Of the images of {positive}, the share found"),
        Column("95 % CI", hint=method),
        Column("specificity", form=percent, hint="Of the others, the share not taken for it"),
        Column("95 % CI", hint=method),
        Column("precision", form=percent, hint="Of what is taken for it, the share that is"),
    ]
    where = (
        "The thresholds were chosen on the same images, so these figures flatter."
        if run.split == "val"
        else "The thresholds were chosen on the validation images, and never on those that they are measured on here."
    )
    return [table(heads, rows, ident="thresholds"), note(where if len(rows) > 1 else ""), *command]


def _rates(scores: Scores, said: NDArray[np.bool_]) -> list[object]:
    """Return what a row says where bool [N] images are taken for the positive class."""
    found: list[object] = []
    for own, right in ((scores.positive, said), (~scores.positive, ~said)):
        low, high = interval(right[own], scores.groups and list(compress(scores.groups, own)))
        found += [float(right[own].mean()), f"{100 * low:.1f} to {100 * high:.1f}"]
    return [*found, float(scores.positive[said].mean()) if said.any() else None]
