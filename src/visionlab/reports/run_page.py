"""The page of one run: how good, how sure, how it got there, where it errs, and how to do it again."""

import math
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from visionlab.data.endings import left_out
from visionlab.reports import charts, run_facts, run_results, svg, two_classes
from visionlab.reports.charts import Mark, Series
from visionlab.reports.numbers import count, duration, is_share, of_metric, percent, short, significant
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
    join,
    note,
    table,
    tiles,
)
from visionlab.reports.reading import Reading
from visionlab.reports.svg import Axis, Keep

BADGES = {"completed": "good", "failed": "bad", "interrupted": "warn", "pruned": "warn", "running": "warn"}
_NAMES = {"test": "Test", "val": "Validation"}


def write(directory: str | Path) -> Path:
    """Write report.html and figures/ of a run from the files in its directory.

    Args:
        directory: A run directory of any status; what it lacks is left out of the page.

    Returns:
        The path of the page.
    """
    from visionlab.reports import run_figures  # matplotlib, which reading a page's code must not wait for

    run = Reading(Path(directory))
    drawn: dict[str, Html] = {}
    page = build(run, drawn.__setitem__)
    svg.write_files(drawn, run.run.page)
    run_figures.draw(run, run.run.figures)
    return page.write(run.run.page)


def build(run: Reading, keep: Keep) -> Page:
    """Make the page of a run.

    Args:
        run: The run directory.
        keep: Called with the name and the markup of each chart, for the files under figures/.
    """
    result = run.result
    status = str(result.get("status", "not begun"))
    data, model = result.get("data") or {}, result.get("model") or {}
    title = " · ".join(str(part) for part in (data.get("name"), model.get("name")) if part) or run.dir.name
    page = Page(title, subtitle=_subtitle(run), badge=status, badge_kind=BADGES.get(status, ""))
    page.section("Summary", _remarks(run), tiles(_headline(run)))
    page.section("Settings", *run_facts.settings(run))
    page.section("Curves", *_curves(run, keep))
    page.section("Confusion", *run_results.confusion(run, keep))
    page.section("Classes", *run_results.classes(run, keep))
    page.section("Two classes", *two_classes.section(run, keep))
    page.section("Samples", *run_results.samples(run))
    page.section("Calibration", *run_results.reliability(run, keep))
    page.section("Model", *run_facts.model(run))
    page.section("Data", *run_facts.data(run))
    page.section("Environment", *run_facts.environment(run))
    return page


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
    if result.get("begun_by"):  # a shorter run, whose epochs are its first
        parts.append(f"begun by {Path(str(result['begun_by'])).name}")
    return " · ".join(parts)


def _remarks(run: Reading) -> Html:
    result = run.result
    parts: list[Html] = []
    status = result.get("status")
    if status == "failed":
        parts.append(callout(f"This run failed: {result.get('error') or 'no reason was recorded'}", kind="bad"))
        if result.get("traceback"):
            parts.append(details("Where it failed", code(str(result["traceback"]))))
    elif status in {"interrupted", "running"}:
        state = "is under way, or was killed" if status == "running" else "was interrupted"
        parts.append(callout(f"This run {state}; the same command continues it. Below is what it has so far."))
    elif status == "pruned":
        parts.append(callout("The sweep stopped this run early, because it was behind the others."))
    data = result.get("data") or {}
    duplicates = data.get("duplicates") or {}
    for number, words in (
        (data.get("skipped"), "that could not be read and were left out"),
        (duplicates.get("across"), "left out of training, as identical ones are in validation or test"),
        (duplicates.get("disputed"), "with identical copies in another class"),
    ):
        if number:
            parts.append(callout(f"Images {words}: {number:,}."))
    if others := data.get("others"):
        parts.append(callout(f"{left_out(others)}."))
    losses = (row.get(key) for row in run.run.metrics for key in ("train/loss", "val/loss"))
    if any(loss is not None and math.isnan(loss) for loss in losses):  # an epoch may have had no validation
        parts.append(callout("The loss became NaN: the learning rate may be too high.", kind="bad"))
    if "val" in run.accuracies and "test" not in run.accuracies:
        parts.append(
            callout(
                "These are validation figures. The best epoch was chosen on the same images, so they flatter a little.",
                kind="info",
            )
        )
    return join(parts)


def _headline(run: Reading) -> list[Tile]:
    result = run.result
    metrics, model = result.get("metrics") or {}, result.get("model") or {}
    items = []
    for i, (split, accuracy) in enumerate(run.accuracies.items()):
        items.append(Tile(f"{_NAMES[split]} accuracy", percent(accuracy.value), accuracy.qualified, strong=i == 0))
    items += _reference(result.get("reference") or {}, metrics)
    main = next(iter(run.accuracies), "val")
    for key, label, form in (
        ("top5", "top-5 accuracy", percent),
        ("f1", "macro F1", percent),
        ("balanced_acc", "balanced accuracy", percent),
        ("auc", "area under the curve", significant),
        ("loss", "loss", significant),
    ):
        if metrics.get(f"{main}/{key}") is not None:
            items.append(Tile(f"{_NAMES[main]} {label}", form(metrics[f"{main}/{key}"])))
    if result.get("best_epoch") is not None:
        chosen = f"chosen by {result['monitor']}" if result.get("monitor") else ""
        items.append(Tile("Best epoch", f"{result['best_epoch'] + 1} of {count(result.get('epochs'))}", chosen))
    seconds = result.get("seconds") or {}
    if seconds.get("fit") is not None:
        items.append(Tile("Training time", duration(seconds["fit"]), f"{duration(seconds.get('total'))} in all"))
    if model.get("parameters") is not None:
        trainable = model.get("trainable_parameters")
        below = (
            ""
            if trainable is None
            else "all trainable"
            if trainable == model["parameters"]
            else f"{trainable:,} trainable"
        )
        items.append(Tile("Parameters", count(model["parameters"]), below))
    if model.get("flops"):
        items.append(Tile("FLOPs", short(model["flops"]), "forward pass of one image"))
    if result.get("images_per_second"):
        items.append(Tile("Throughput", f"{result['images_per_second']:,.0f} / s", "training images"))
    return items


def _reference(reference: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[Tile]:
    """What a report printed, and how far ours is from it."""
    items = []
    for key, value in reference.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        share = is_share(key)
        gap = ""
        if metrics.get(key) is not None:
            gap = f"ours {100 * (metrics[key] - value):+.1f} points" if share else f"ours {significant(metrics[key])}"
        below = " · ".join(str(part) for part in (gap, reference.get("source")) if part)
        items.append(Tile(f"Reported {key}", of_metric(key, value), below))
    return items


def _curves(run: Reading, keep: Keep) -> list[Html]:
    rows = run.metrics
    if not rows:
        return []
    epochs = [row["epoch"] + 1 for row in rows]  # people count from 1
    best = run.result.get("best_epoch")
    made = []

    def chart(name: str, keys: Mapping[str, str], axis: Axis) -> None:
        present = {key: label for key, label in keys.items() if any(key in row for row in rows)}
        if not present:
            return
        series = [
            Series(label, epochs, [row.get(key, math.nan) for row in rows], svg.colour(list(keys).index(key)))
            for key, label in present.items()
        ]
        marks = []
        if best is not None and best + 1 in epochs and series[-1].name == "validation":
            value = series[-1].ys[epochs.index(best + 1)]
            marks = [Mark(best + 1, value, f"best epoch {best + 1}", series[-1].colour)]
        over = Axis("epoch", whole=True)
        drawing = charts.lines(series, x=over, y=axis, marks=marks, width=372, height=270)
        keep(name, drawing)
        made.append(figure(drawing))

    both = {"train": "train", "val": "validation"}
    chart("loss", {f"{split}/loss": label for split, label in both.items()}, Axis("loss"))
    chart("accuracy", {f"{split}/acc": label for split, label in both.items()}, Axis("accuracy", share=True))
    chart("auc", {f"{split}/auc": label for split, label in both.items()}, Axis("area under the ROC curve"))
    chart("learning_rate", {"lr": "learning rate"}, _rate_axis([row.get("lr", math.nan) for row in rows]))
    every = (
        "lr",
        "train/loss",
        "train/acc",
        "val/loss",
        "val/acc",
        "val/top5",
        "val/f1",
        "val/balanced_acc",
        "val/auc",
        "seconds",
    )
    shown = [name for name in every if any(name in row for row in rows)]
    heads = [Column("epoch"), *(Column(name, form=significant if _plain(name) else percent) for name in shown)]
    written = run.run.metrics
    body = [[epoch, *(row.get(name) for name in shown)] for epoch, row in zip(map(int, epochs), written, strict=True)]
    note_ = note("Epochs count from 1 here, from 0 in metrics.csv.")
    return [
        columns(*made, least=320),
        details("Every epoch", note_, table(heads, body, tall=len(rows) > 15, ident="epochs")),
    ]


def _plain(name: str) -> bool:
    return not is_share(name)


def _rate_axis(values: list[float]) -> Axis:
    wide = svg.decades([v for v in values if v > 0])
    return Axis("learning rate", low=None if wide else 0.0, log=wide)
