"""The parts of a page about several runs: their table, tests, repetitions, curves and costs."""

import math
import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from visionlab.reports import charts, roc, settings, svg
from visionlab.reports.charts import Point, Series
from visionlab.reports.gather import Entry, Gathered
from visionlab.reports.numbers import MISSING, count, duration, is_share, of_metric, percent, short, significant
from visionlab.reports.page import ABSENT, Column, Html, columns, escape, figure, note, table
from visionlab.reports.reading import GROUPED, SPLITS
from visionlab.reports.svg import Axis, Keep


def completed(entries: Sequence[Entry]) -> list[Entry]:
    """The runs that are an answer."""
    return [entry for entry in entries if entry.status == "completed"]


def main_metric(entries: Sequence[Entry]) -> str:
    """What runs are ranked by, on the test split if all completed ones were tested, else on validation.

    The accuracy; of two classes the area under the ROC curve where that chose the best epoch of all of them.
    """
    done = completed(entries)
    kind = "auc" if done and all(str(e.run.result.get("monitor")).endswith("/auc") for e in done) else "acc"
    return f"test/{kind}" if done and all(math.isfinite(e.metric(f"test/{kind}")) for e in done) else f"val/{kind}"


def ranked(entries: Sequence[Entry], metric: str, mode: str = "max") -> list[Entry]:
    """The completed runs that have the metric, the best first."""
    sign = -1 if mode == "max" else 1
    known = [entry for entry in completed(entries) if math.isfinite(entry.metric(metric))]
    return sorted(known, key=lambda entry: sign * entry.metric(metric))


def luck(chosen: int, metric: str) -> str:
    """What to know of the best of several runs; empty of a single one."""
    if chosen < 2:
        return ""
    images = SPLITS.get(metric.partition("/")[0])
    where = f"on the same {images} images " if images else ""
    return (
        f"The best of {chosen:,} {where}is the best in part by luck, so its figure flatters; an interval is that of "
        "one run, without this choice."
    )


def rows(gathered: Gathered) -> list[dict[str, Any]]:
    """One flat row a run, for the CSV file and for Python: raw numbers, None where there is none."""
    every = [entry.run.result for entry in gathered.entries]
    metrics = sorted({name for result in every for name in result.get("metrics") or {}}, key=_metric_order)
    reported = list(dict.fromkeys(name for result in every for name in _references(result)))
    keys = [key for key in gathered.keys if key not in ("data", "model")]  # classes, where these columns have names
    made = []
    for entry in gathered.entries:
        result = entry.run.result
        model, seconds = result.get("model") or {}, result.get("seconds") or {}
        made.append(
            {"run": entry.label, "status": entry.status, "data": entry.data, "model": entry.model}
            | {key: settings.plain(entry.settings.get(key)) for key in keys}
            | {"seed": entry.seed}
            | {name: (result.get("metrics") or {}).get(name) for name in metrics}
            | {f"reported {name}": _references(result).get(name) for name in reported}
            | {name: result.get(name) for name in ("best_epoch", "epochs", "images_per_second")}
            | {name: model.get(name) for name in ("parameters", "trainable_parameters", "flops")}
            | {"fit_seconds": seconds.get("fit"), "total_seconds": seconds.get("total")}
            | {"error": entry.error or None, "directory": str(entry.run.dir)}
        )
    return made


def _references(result: dict[str, Any]) -> dict[str, float]:
    found = result.get("reference") or {}
    return {k: v for k, v in found.items() if isinstance(v, int | float) and not isinstance(v, bool)}


def _metric_order(name: str) -> tuple[bool, int, str]:
    split, _, kind = name.partition("/")
    order = ["acc", "top5", "f1", "balanced_acc", "auc", "loss"]
    return split != "test", order.index(kind) if kind in order else len(order), name


def link(entry: Entry, page: Path, text: str = "") -> Html:
    """The run's name, or another text, linked to its page if it has one."""
    target, text = entry.run.run.page, text or entry.label
    if not target.is_file():
        return escape(text)
    way = quote(Path(os.path.relpath(target.resolve(), page.parent.resolve())).as_posix())
    return Html(f'<a href="{way}">{escape(text)}</a>')


def run_table(gathered: Gathered, entries: Sequence[Entry], page: Path, metric: str) -> Html:
    """The table of runs, best first, then those without a result."""
    best = ranked(entries, metric)
    ordered = best + [entry for entry in entries if entry not in best]
    split = metric.partition("/")[0]
    short_names = settings.short_names(gathered.columns)
    shown = gathered.columns[:8]
    kinds = [kind for kind in ("test/acc", "val/acc") if any(math.isfinite(e.metric(kind)) for e in entries)]
    reported = list(dict.fromkeys(name for entry in entries for name in _references(entry.run.result)))
    failed = any(entry.status != "completed" for entry in entries)
    told = (entry.run.predictions(split) for entry in entries if split in entry.run.splits)
    grouped = any(answers.groups is not None for answers in told)
    area = f"{split}/auc"
    of_two = any(math.isfinite(entry.metric(area)) for entry in entries)
    heads: list[Column | str] = ["run"]
    for kind in kinds:
        heads.append(Column(kind, form=percent))
        if kind == metric:
            heads.append(Column("95 % CI", hint=f"Wilson's interval of the accuracy{f', of {GROUPED}' * grouped}"))
    heads += [Column(f"reported {name}", form=partial(of_metric, name)) for name in reported]
    heads += [Column(short_names[key], form=settings.written, hint=key) for key in shown]
    heads += [
        Column(f"{split}/f1", form=percent),
        *([Column(area, form=significant, hint="The area under the ROC curve")] if of_two else []),
        *([Column("95 % CI", hint=f"Of the area{f', of {GROUPED}' * grouped}")] if metric == area else []),
        Column(f"{split}/loss", form=significant),
        Column("epoch", hint="The best epoch, of how many"),
        Column("parameters", form=count),
        Column("FLOPs", form=short, hint="Forward pass of one image"),
        Column("time", form=duration, hint="Training"),
        Column("images/s", form=count, hint="Training"),
    ]
    heads += ["status"] if failed else []
    body = []
    for entry in ordered:
        result = entry.run.result
        model = result.get("model") or {}
        row: list[object] = [link(entry, page)]
        for kind in kinds:
            row.append(_known(entry.metric(kind)))
            if kind == metric:
                accuracy = entry.run.accuracies.get(split)
                row.append((accuracy and accuracy.ends) or MISSING)
        row += [_references(result).get(name) for name in reported]
        row += [entry.settings.get(key, ABSENT) for key in shown]
        epoch = result.get("best_epoch")
        row.append(_known(entry.metric(f"{split}/f1")))
        row += [_known(entry.metric(area))] if of_two else []
        row += [roc.ends(entry.run, split) or MISSING] if metric == area else []
        row.append(_known(entry.metric(f"{split}/loss")))
        row.append(MISSING if epoch is None else f"{epoch + 1} of {result.get('epochs')}")
        row += [model.get("parameters"), model.get("flops"), (result.get("seconds") or {}).get("fit")]
        row.append(result.get("images_per_second"))
        row += [entry.status] if failed else []
        body.append(row)
    keys = [entry.key for entry in ordered]
    return table(heads, body, filterable=True, tall=len(body) > 15, keys=keys, ident="runs")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def curves(entries: Sequence[Entry], best: Entry | None, keep: Keep) -> list[Html]:
    """Validation accuracy and loss of all runs over one another, the best one on top."""
    drawn = [entry for entry in entries if entry.run.metrics]
    if not drawn:
        return []
    # More lines, or more experiments, than colours can tell apart.
    many = len(drawn) > 12 or (len({entry.experiment for entry in drawn}) > 1 and not hues(drawn))
    ordered = [entry for entry in drawn if entry is not best] + [entry for entry in drawn if entry is best]
    named, made = hues(drawn, best if many else None), []
    for name, axis in (
        ("val/acc", Axis("validation accuracy", share=True)),
        ("train/acc", Axis("training accuracy", share=True)),
        ("val/auc", Axis("validation area under the ROC curve")),
        ("val/loss", Axis("validation loss")),
        ("train/loss", Axis("training loss")),
    ):
        series = [
            Series(
                e.label,
                [row["epoch"] + 1 for row in e.run.metrics],
                [row.get(name, math.nan) for row in e.run.metrics],
                "var(--text)" if many and e is best else e.hue,
                faint=many and e is not best,
                key=e.key,
            )
            for e in ordered
            if any(name in row for row in e.run.metrics)
        ]
        if series:
            drawing = charts.lines(series, x=Axis("epoch", whole=True), y=axis, names=False)
            keep(axis.label.replace(" ", "_"), svg.with_legend(drawing, named))
            made.append(figure(drawing))
    return [charts.legend(named), columns(*made)]


def hues(entries: Sequence[Entry], best: Entry | None = None) -> list[tuple[str, str]]:
    """What the runs' colours stand for, where they tell something: (name, colour) of each."""
    experiments = {entry.hue: entry.experiment for entry in entries}
    if len({entry.experiment for entry in entries}) > len(experiments):
        models = {entry.hue: entry.model for entry in entries}
        experiments = models if len(models) > 1 else {}
    shown = [(name, hue) for hue, name in experiments.items()]
    if best is not None:
        shown = [*([] if len(shown) == 1 else shown), (f"best: {best.label}", "var(--text)")]
    return shown if len(shown) > 1 or best is not None else []


def costs(entries: Sequence[Entry], metric: str, keep: Keep) -> list[Html]:
    """Accuracy, or the area under the curve, against what it costs: parameters, time and FLOPs."""
    known = ranked(entries, metric)
    few = len(known) <= 20
    split, of_accuracy = metric.partition("/")[0], metric.endswith("/acc")
    named, made = hues(known), []
    for label, group, name, form in (
        ("parameters", "model", "parameters", count),
        ("training time (s)", "seconds", "fit", duration),
        ("FLOPs of one image", "model", "flops", short),
    ):
        points = []
        for entry in known:
            cost = (entry.run.result.get(group) or {}).get(name)
            if not cost:
                continue
            accuracy = entry.run.accuracies.get(split)
            spread = accuracy.interval if accuracy is not None and of_accuracy else None
            tip = f"{entry.label}\n{metric} {of_metric(metric, entry.metric(metric))}\n{label} {form(cost)}"
            points.append(
                Point(
                    cost,
                    entry.metric(metric),
                    entry.experiment,
                    tip,
                    entry.hue,
                    spread if few else None,
                    entry.key,
                )
            )
        if len({point.x for point in points}) > 1:
            wide = max(p.x for p in points) / min(p.x for p in points) > 8
            across, up = Axis(label, log=wide), Axis(metric, share=is_share(metric))
            drawing = charts.scatter(points, x=across, y=up, width=372, height=290)
            kind = "accuracy" if of_accuracy else "area"
            keep(f"{kind}_by_{'time' if name == 'fit' else name}", svg.with_legend(drawing, named))
            made.append(figure(drawing))
    return (
        [
            charts.legend(named),
            columns(*made, least=320),
            note("Bars are 95 % confidence intervals." if few and of_accuracy else ""),
        ]
        if made
        else []
    )


def setting_table(gathered: Gathered, page: Path) -> list[Html]:
    """Every setting that differs, a row a setting, for those that found no column in the table of runs."""
    if not gathered.keys or set(gathered.keys) == set(gathered.columns[:8]):
        return []
    entries = gathered.entries
    if len(entries) <= 6:
        heads: list[Column | str] = ["setting", *(Column(entry.label, settings.written) for entry in entries)]
        body = [[key, *(entry.settings.get(key, ABSENT) for entry in entries)] for key in gathered.keys]
    else:
        heads = ["run", *(Column(key, settings.written) for key in gathered.keys)]
        body = [[link(entry, page), *(entry.settings.get(key, ABSENT) for key in gathered.keys)] for entry in entries]
    return [table(heads, body, filterable=True, tall=True, ident="settings")]
