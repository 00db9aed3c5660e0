"""The parts of a run's page that come from its predictions: confusion, classes, samples, calibration."""

import math
from itertools import compress

import numpy as np

from visionlab.reports import charts
from visionlab.reports.heat import heatmap
from visionlab.reports.numbers import percent
from visionlab.reports.page import Column, Html, Tile, columns, figure, gallery, join, note, picture, table, tabs, tiles
from visionlab.reports.reading import SPLITS, Reading
from visionlab.reports.statistics import BINS, calibration, class_scores, interval, wilson
from visionlab.reports.svg import Axis, Keep


def confusion(run: Reading, keep: Keep) -> list[Html]:
    """The matrix as counts and as shares, and the confusions that happen most."""
    names, counts = run.confusion
    if not counts.sum():
        return []
    plain = heatmap(counts, names, normalise=False, label="confusion matrix, counts")
    shares = heatmap(counts, names, normalise=True, label="confusion matrix, per cent of each true class")
    keep("confusion", plain)
    keep("confusion_normalised", shares)
    totals = counts.sum(1)
    wrong = [(int(counts[r, c]), int(r), int(c)) for r, c in np.argwhere(counts > 0) if r != c]
    wrong.sort(key=lambda item: (-item[0], item[1], item[2]))
    rows = [(names[r], names[c], images, images / int(totals[r])) for images, r, c in wrong[:15]]
    heads: list[Column | str] = ["true class", "taken for", "images"]
    heads.append(Column("of the class", form=lambda v: percent(v, 1)))
    split = f" {SPLITS.get(run.split, run.split)}" if run.split else ""
    words = note(f"{int(counts.sum()):,}{split} images. The normalised matrix is in per cent of its row.")
    matrix = tabs("confusion-matrix", {"Counts": plain, "Normalised": shares})
    if not rows:
        return [words, matrix]
    listed = join([Html("<h3>Most frequent confusions</h3>"), table(heads, rows, ident="confusions")])
    return [words, columns(matrix, listed)] if len(names) <= 15 else [words, matrix, listed]


def classes(run: Reading, keep: Keep) -> list[Html]:
    """The classification report, and the accuracy on each class as bars."""
    names, counts = run.confusion
    if not counts.sum():
        return []
    scores = class_scores(counts)
    heads: list[Column | str] = [
        "class",
        Column("precision", form=percent, bar=True, hint="Of the images taken for this class, the share that is of it"),
        Column("recall", form=percent, bar=True, hint="The accuracy on this class: of its images, the share found"),
        Column("F1", form=percent, bar=True, hint="Harmonic mean of precision and recall"),
        Column("support", hint="Images of this class"),
    ]
    each = zip(names, scores.precision, scores.recall, scores.f1, scores.support, strict=True)
    rows = [(name, float(p), float(r), float(f), int(images)) for name, p, r, f, images in each]
    total = int(scores.support.sum())
    foot = [
        ("accuracy", Html(""), Html(""), scores.accuracy, total),
        ("macro average", *scores.macro, total),
        ("weighted average", *scores.weighted, total),
    ]
    order = [int(i) for i in np.argsort(-scores.recall, kind="stable")]
    tips = []
    for i in order:
        right, images = int(counts[i, i]), int(scores.support[i])
        low, high = _class_interval(run, names[i], right, images)
        tips.append(f"{names[i]}\n{right} of {images} images\n95 % CI {100 * low:.0f} to {100 * high:.0f} %")
    drawing = charts.bars(
        [names[i] for i in order],
        [float(scores.recall[i]) if scores.support[i] else math.nan for i in order],
        axis=Axis("accuracy on the class (dashed: on all images)", 0, 1, share=True),
        tips=tips,
        mean=scores.accuracy,
        label="accuracy per class",
    )
    keep("accuracy_per_class", drawing)
    long = len(names) > 20
    report = table(heads, rows, foot=foot, filterable=long, tall=long, ident="classification-report")
    frame = Html(f'<div class="tall"><div class="scroll" tabindex="0">{figure(drawing)}</div></div>')
    return [columns(report, frame if long else figure(drawing))]


def _class_interval(run: Reading, name: str, right: int, images: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of the accuracy on a class."""
    answers = run.predictions(run.split) if run.split else None
    if not images or answers is None or answers.groups is None:
        return wilson(right, images) if images else (0.0, 1.0)
    own = np.array(answers.target) == name
    return interval(answers.correct[own], list(compress(answers.groups, own)))


def samples(run: Reading) -> list[Html]:
    """Images drawn at random, and those that the run was surest and wrong about."""
    images, rows = run.samples
    some, mistakes = run.sample_groups

    def shown(places: list[int]) -> Html:
        items = []
        for i in places:
            line = run.lines[rows[i]]
            right = line["correct"] == "1"
            caption = f"{line['predicted']} · {percent(float(line['confidence']), 0)}"
            items.append(
                (picture(images[i], alt=line["image"]), caption, right, "" if right else f"is {line['target']}")
            )
        return gallery(items)

    parts = []
    if some:
        parts += [note("Drawn at random; below each the predicted class with its confidence."), shown(some)]
    if mistakes:
        parts += [Html("<h3>Most confident mistakes</h3>"), shown(mistakes)]
    return parts


def reliability(run: Reading, keep: Keep) -> list[Html]:
    """Whether the stated confidence can be believed."""
    if run.split is None:
        return []
    predictions = run.predictions(run.split)
    found = calibration(predictions.confidence, predictions.correct)
    if not found.counts.sum():
        return []
    drawing = charts.reliability(found.edges, found.accuracy, found.counts, label="reliability curve")
    keep("reliability", drawing)
    stated, accuracy = float(np.nanmean(predictions.confidence)), float(predictions.correct.mean())
    if abs(stated - accuracy) < 0.01:
        verdict = "about as sure as it is right"
    else:
        verdict = "surer than it is right" if stated > accuracy else "less sure than it could be"
    words = tiles(
        [
            Tile("Expected calibration error", percent(found.ece), f"{BINS} bins of equal width", strong=True),
            Tile("Mean confidence", percent(stated), f"the model is {verdict}"),
            Tile("Accuracy", percent(accuracy), f"{len(predictions):,} {SPLITS.get(run.split, run.split)} images"),
        ]
    )
    return [
        columns(figure(drawing, "Where a bar stays below the diagonal, the model is surer than it is right."), words)
    ]
