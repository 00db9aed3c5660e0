"""The page of one run: how good, how sure, how it got there, where it errs, and how to do it again."""

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from visionlab.reports import charts
from visionlab.reports.charts import Axis, Mark, Series
from visionlab.reports.numbers import MISSING, count, duration, percent, short, show, significant
from visionlab.reports.page import (
    Column,
    Html,
    Page,
    Tile,
    callout,
    code,
    columns,
    details,
    figure,
    gallery,
    join,
    note,
    pairs,
    picture,
    table,
    tabs,
    tiles,
)
from visionlab.reports.reading import Reading
from visionlab.reports.statistics import calibration, class_scores, wilson

BINS = 15
RANDOM_SAMPLES = 24
_BADGES = {"completed": "good", "failed": "bad", "interrupted": "warn", "pruned": "warn", "running": "warn"}


def write(directory: str | Path, *, images: bool = True) -> Path:
    """Write report.html and figures/ of a run from the files in its directory, and return the page's path.

    Args:
        directory: A run directory of any status; what it lacks is left out of the page.
        images: Whether figures/ gets PNG files beside the SVG files (drawing them is most of the cost).
    """
    run = Reading(Path(directory))
    drawn: dict[str, Html] = {}
    page = build(run, keep=drawn.__setitem__)
    folder = run.run.figures
    if drawn:
        folder.mkdir(parents=True, exist_ok=True)
    for name, chart in drawn.items():
        (folder / f"{name}.svg").write_text(charts.standalone(chart), encoding="utf-8")
    if images:
        from visionlab.reports.run_figures import draw

        draw(run, folder)
    return page.write(run.run.page)


def build(run: Reading, *, keep: Callable[[str, Html], Any] = lambda name, chart: None) -> Page:
    """Make the page of a run.

    Args:
        run: The run directory.
        keep: Called with the name and the markup of each chart, for the files under figures/.
    """
    result = run.result
    status = str(result.get("status", "not begun"))
    data, model = result.get("data") or {}, result.get("model") or {}
    title = " · ".join(str(part) for part in (data.get("name"), model.get("name")) if part) or run.dir.name
    page = Page(title, subtitle=_subtitle(run), badge=status, badge_kind=_BADGES.get(status, ""))
    page.section("Summary", _remarks(run), tiles(_headline(run)))
    page.section("Settings", *_settings(run))
    page.section("Curves", *_curves(run, keep))
    page.section("Confusion", *_confusion(run, keep))
    page.section("Classes", *_classes(run, keep))
    page.section("Samples", *_samples(run))
    page.section("Calibration", *_calibration(run, keep))
    page.section("Model", *_model(run))
    page.section("Data", *_data(run))
    page.section("Environment", *_environment(run))
    return page


def reported_split(run: Reading) -> str | None:
    """The split that confusion.csv and the headline are about: test where there is one, else val."""
    return run.splits[0] if run.splits else None


def accuracies(run: Reading) -> dict[str, tuple[float, int | None, int | None]]:
    """Of each evaluated split: accuracy, number of correct images and number of images (None where unknown)."""
    metrics, data = run.result.get("metrics") or {}, run.result.get("data") or {}
    found: dict[str, tuple[float, int | None, int | None]] = {}
    for split in ("test", "val"):
        value = metrics.get(f"{split}/acc")
        if value is None:
            continue
        if split in run.splits:
            predictions = run.predictions(split)
            found[split] = (float(value), int(predictions.correct.sum()), len(predictions))
        else:
            total = data.get(split)
            known = isinstance(total, int) and total > 0 and math.isfinite(value)
            found[split] = (float(value), round(value * total) if known else None, total if known else None)
    return found


def _subtitle(run: Reading) -> str:
    result = run.result
    parts = [run.dir.name]
    if result.get("started"):
        try:
            parts.append(datetime.fromisoformat(str(result["started"])).strftime("%d %B %Y, %H:%M").lstrip("0"))
        except ValueError:
            parts.append(str(result["started"]))
    if result.get("seed") is not None:
        parts.append(f"seed {result['seed']}")
    return " · ".join(parts)


def _remarks(run: Reading) -> Html:
    result, parts = run.result, []
    status = result.get("status")
    if status == "failed":
        parts.append(callout(f"This run failed: {result.get('error') or 'no reason was recorded'}", kind="bad"))
    elif status in {"interrupted", "running"}:
        parts.append(
            callout(
                f"This run is {'under way, or was killed' if status == 'running' else 'interrupted'}: "
                "the same command continues it. What follows is what it has so far."
            )
        )
    elif status == "pruned":
        parts.append(callout("The sweep stopped this run early because it was behind the others."))
    skipped = (result.get("data") or {}).get("skipped")
    number = len(skipped) if isinstance(skipped, list) else skipped
    if number:
        parts.append(callout(f"{number:,} images could not be used and were left out."))
    warnings = result.get("warnings") or []
    parts += [callout(text) for text in ([warnings] if isinstance(warnings, str) else warnings)]
    if "test" not in accuracies(run) and "val" in accuracies(run):
        parts.append(
            callout(
                "Validation images only: the best epoch was chosen on them, so the accuracy is a little optimistic.",
                kind="info",
            )
        )
    return join(parts)


_NAMES = {"test": "Test", "val": "Validation"}


def _headline(run: Reading) -> list[Tile]:
    result = run.result
    metrics, model = result.get("metrics") or {}, result.get("model") or {}
    found = accuracies(run)
    items = []
    for i, (split, (value, correct, total)) in enumerate(found.items()):
        below = ""
        if correct is not None and total:
            low, high = wilson(correct, total)
            below = f"95 % CI {100 * low:.1f} to {100 * high:.1f}, n = {total:,}"
        items.append(Tile(f"{_NAMES[split]} accuracy", percent(value), below, strong=i == 0))
    for key, value in (result.get("reference") or {}).items():
        if isinstance(value, int | float) and not isinstance(value, bool):
            source = (result.get("reference") or {}).get("source")
            ours = metrics.get(key)
            gap = f"ours {100 * (ours - value):+.1f} points" if ours is not None and key.endswith("acc") else ""
            written = percent(value) if value <= 1 and not key.endswith("loss") else significant(value)
            items.append(Tile(f"Reported {key}", written, " · ".join(filter(None, [gap, source and str(source)]))))
    main = next(iter(found), "val")
    for key, label, form in (
        ("top5", "top-5 accuracy", percent),
        ("f1", "macro F1", percent),
        ("balanced_acc", "balanced accuracy", percent),
        ("loss", "loss", significant),
    ):
        if metrics.get(f"{main}/{key}") is not None:
            items.append(Tile(f"{_NAMES[main]} {label}", form(metrics[f"{main}/{key}"])))
    if result.get("best_epoch") is not None:
        chosen = f"by {result['monitor']}, of {count(result.get('epochs'))}" if result.get("monitor") else ""
        items.append(Tile("Best epoch", result["best_epoch"], chosen))
    seconds = result.get("seconds") or {}
    if seconds.get("fit") is not None:
        items.append(Tile("Training time", duration(seconds["fit"]), f"{duration(seconds.get('total'))} in all"))
    if model.get("parameters") is not None:
        trainable = model.get("trainable_parameters")
        items.append(
            Tile("Parameters", count(model["parameters"]), f"{count(trainable)} trainable" if trainable else "")
        )
    if model.get("flops"):
        items.append(Tile("FLOPs", short(model["flops"]), "forward, one image"))
    if result.get("images_per_second"):
        items.append(Tile("Throughput", f"{result['images_per_second']:,.0f} / s", "training images"))
    return items


def _settings(run: Reading) -> list[Html]:
    result, parts = run.result, []
    overrides = [str(text) for text in result.get("overrides") or []]
    if overrides:
        rows = []
        for text in overrides:
            key, _, value = text.partition("=")
            rows.append((key, value or MISSING))
        parts.append(table(["setting", "differs from the default"], rows, sort=False))
    elif result:
        parts.append(note("Nothing differs from the defaults."))
    if result.get("command"):
        parts += [Html("<h3>The command</h3>"), code(str(result["command"]))]
    if run.config:
        import yaml

        text = yaml.safe_dump(run.config, sort_keys=False, allow_unicode=True)
        parts.append(details("The whole config", code(text)))
    return parts


def _curves(run: Reading, keep: Callable[[str, Html], Any]) -> list[Html]:
    rows = run.metrics
    if not rows:
        return []
    epochs = [row["epoch"] for row in rows]
    best = run.result.get("best_epoch")
    made = []

    def chart(name: str, keys: Mapping[str, str], axis: Axis) -> None:
        present = {key: label for key, label in keys.items() if any(key in row for row in rows)}
        if not present:
            return
        series = [
            Series(label, epochs, [row.get(key, math.nan) for row in rows], charts.colour(i))
            for i, (key, label) in enumerate(present.items())
        ]
        marks = []
        val = next((s for s in series if s.name == "validation"), None)
        if best is not None and val is not None and best in epochs:
            marks = [Mark(best, val.ys[epochs.index(best)], f"best epoch, {best}", val.colour)]
        drawing = charts.lines(series, x=Axis("epoch"), y=axis, marks=marks, label=f"{axis.label} over epochs")
        keep(name, drawing)
        made.append(figure(drawing))

    both = {"train": "train", "val": "validation"}
    chart("loss", {f"{split}/loss": label for split, label in both.items()}, Axis("loss"))
    chart("accuracy", {f"{split}/acc": label for split, label in both.items()}, Axis("accuracy", share=True))
    chart("learning_rate", {"lr": "learning rate"}, _rate_axis([row.get("lr", math.nan) for row in rows]))
    if not made:
        return []
    shown = [
        name
        for name in ("epoch", "lr", "train/loss", "train/acc", "val/loss", "val/acc", "val/f1", "seconds")
        if any(name in row for row in rows)
    ]
    heads = [Column(name, form=percent if name.endswith(("acc", "f1")) else _cell) for name in shown]
    each = table(heads, [[_known(row.get(name)) for name in shown] for row in rows], tall=len(rows) > 15)
    return [columns(*made), details("Every epoch", each)]


def _known(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _cell(value: float | None) -> str:
    return show(int(value)) if value is not None and float(value).is_integer() else significant(value)


def _rate_axis(values: list[float]) -> Axis:
    known = [v for v in values if v > 0]
    wide = bool(known) and max(known) / min(known) > 20
    return Axis("learning rate", low=None if wide else 0.0, log=wide)


def _split_words(run: Reading) -> str:
    split = reported_split(run) or ""
    total = sum(row["split"] == split for row in run.lines)
    return f"{total:,} {_NAMES.get(split, split).lower()} images"


def _confusion(run: Reading, keep: Callable[[str, Html], Any]) -> list[Html]:
    names, counts = run.confusion
    if not names or not counts.sum():
        return []
    plain = charts.heatmap(counts, names, normalise=False, label="confusion matrix, counts")
    shares = charts.heatmap(counts, names, normalise=True, label="confusion matrix, per cent of each true class")
    keep("confusion", plain)
    keep("confusion_normalised", shares)
    totals = counts.sum(1)
    wrong = [(int(counts[r, c]), r, c) for r, c in np.argwhere(counts > 0) if r != c]
    wrong.sort(key=lambda item: (-item[0], item[1], item[2]))
    rows = [(names[r], names[c], n, n / totals[r]) for n, r, c in wrong[:15]]
    heads = ["true class", "taken for", "images", Column("of the class", form=lambda v: percent(v, 1), bar=True)]
    parts = [
        note(f"{int(counts.sum()):,} images. Rows are true classes; the normalised matrix is in per cent of its row."),
        tabs("confusion-matrix", {"Counts": plain, "Normalised": shares}),
    ]
    if rows:
        parts += [Html("<h3>Most frequent confusions</h3>"), table(heads, rows)]
    return parts


def _classes(run: Reading, keep: Callable[[str, Html], Any]) -> list[Html]:
    names, counts = run.confusion
    if not names or not counts.sum():
        return []
    scores = class_scores(counts)
    share = Column("precision", form=percent, bar=True, hint="Of the images taken for this class, how many are of it")
    heads: list[Column | str] = [
        "class",
        share,
        Column("recall", form=percent, bar=True, hint="The accuracy on this class: of its images, how many are found"),
        Column("F1", form=percent, bar=True, hint="Harmonic mean of precision and recall"),
        Column("support", hint="Images of this class"),
    ]
    each = zip(names, scores.precision, scores.recall, scores.f1, scores.support, strict=True)
    rows = [(name, float(p), float(r), float(f), int(n)) for name, p, r, f, n in each]
    total = int(scores.support.sum())
    foot = [
        ("accuracy", None, None, scores.accuracy, total),
        ("macro average", *scores.macro, total),
        ("weighted average", *scores.weighted, total),
    ]
    order = np.argsort(-scores.recall, kind="stable")
    tips = [
        f"{names[i]}\n{percent(scores.recall[i], 1)} of {scores.support[i]} images"
        + ("\n95 % CI {:.0f} to {:.0f}".format(*_interval(counts, i)) if scores.support[i] else "")
        for i in order
    ]
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
    return [
        columns(
            table(heads, rows, foot=foot, filterable=long, tall=True, ident="classification-report"),
            Html(f'<div class="{"tall" if long else ""}"><div class="scroll">{figure(drawing)}</div></div>'),
        )
    ]


def _interval(counts: Any, i: int) -> tuple[float, float]:
    low, high = wilson(int(counts[i, i]), int(counts[i].sum()))
    return 100 * low, 100 * high


def sample_groups(run: Reading) -> tuple[list[int], list[int]]:
    """Places in samples.npz of the random samples and of the most confident mistakes."""
    rows = run.samples[1]
    split = reported_split(run)
    total = sum(row["split"] == split for row in run.lines)
    first = min(RANDOM_SAMPLES, total, len(rows))
    usable = [i for i, row in enumerate(rows) if 0 <= row < len(run.lines)]
    return [i for i in usable if i < first], [i for i in usable if i >= first and run.lines[rows[i]]["correct"] != "1"]


def _samples(run: Reading) -> list[Html]:
    images, rows = run.samples
    some, mistakes = sample_groups(run)

    def shown(places: list[int]) -> Html:
        items = []
        for i in places:
            line = run.lines[rows[i]]
            right = line["correct"] == "1"
            sure = percent(float(line["confidence"]), 0)
            caption = f"{line['predicted']} {sure}" if right else f"{line['predicted']} {sure}, is {line['target']}"
            items.append((picture(images[i], alt=line["image"]), caption, right))
        return gallery(items)

    parts = []
    if some:
        parts += [note("Drawn at random. The caption is the prediction with its confidence."), shown(some)]
    if mistakes:
        parts += [Html("<h3>Most confident mistakes</h3>"), shown(mistakes)]
    return parts


def _calibration(run: Reading, keep: Callable[[str, Html], Any]) -> list[Html]:
    split = reported_split(run)
    if split is None:
        return []
    predictions = run.predictions(split)
    found = calibration(predictions.confidence, predictions.correct, BINS)
    if not found.counts.sum():
        return []
    drawing = charts.reliability(found.edges, found.accuracy, found.counts, label="reliability curve")
    keep("reliability", drawing)
    stated = float(np.nanmean(predictions.confidence))
    accuracy = float(predictions.correct.mean())
    verdict = (
        "surer than it is right"
        if stated > accuracy + 0.01
        else "less sure than it could be"
        if stated < accuracy - 0.01
        else "about as sure as it is right"
    )
    words = tiles(
        [
            Tile("Expected calibration error", percent(found.ece), f"{BINS} bins of equal width", strong=True),
            Tile("Mean confidence", percent(stated), f"{_split_words(run)}"),
            Tile("Accuracy", percent(accuracy), f"the model is {verdict}"),
        ]
    )
    return [columns(figure(drawing, "Bars below the diagonal: the model is surer than it is right."), words)]


def _model(run: Reading) -> list[Html]:
    if not run.layers:
        return []
    heads = list(run.layers[0])
    numbers = {"parameters", "flops"}
    shown: list[Column | str] = [Column(h.replace("_", " "), form=count if h in numbers else show) for h in heads]
    rows = [[_integer(row[h]) if h in numbers else row[h] for h in heads] for row in run.layers]
    model = run.result.get("model") or {}
    foot = []
    if model.get("parameters") is not None:
        foot = [
            [
                {"layer": "total", "type": "", "parameters": model["parameters"], "flops": model.get("flops")}.get(
                    h, ""
                )
                for h in heads
            ]
        ]
        foot = [[Html("") if v == "" else v for v in foot[0]]]
    return [table(shown, rows, foot=foot, sort=False, tall=len(rows) > 18, ident="layers")]


def _integer(text: str) -> int | None:
    try:
        return int(float(text))
    except ValueError:
        return None


def _data(run: Reading) -> list[Html]:
    data = dict(run.result.get("data") or {})
    if not data:
        return []
    classes = data.pop("classes", None)
    if isinstance(classes, list):
        data["classes"] = len(classes)
    words = {key.replace("_", " "): value for key, value in data.items()}
    parts = [pairs(words)]
    if isinstance(classes, list):
        parts.append(details("Class names", note(", ".join(str(name) for name in classes))))
    return parts


def _environment(run: Reading) -> list[Html]:
    environment = run.result.get("environment") or {}
    if not isinstance(environment, Mapping) or not environment:
        return []
    flat = {}
    for key, value in environment.items():
        if isinstance(value, Mapping):
            flat |= {f"{key} {inner}": v for inner, v in value.items()}
        else:
            flat[str(key).replace("_", " ")] = value
    return [pairs(flat)]
