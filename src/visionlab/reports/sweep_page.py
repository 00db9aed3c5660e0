"""The page of a sweep: the best so far, what mattered, every trial, and those that failed."""

import math
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import stdev

from visionlab.reports import charts, comparing, labels, pairing, roc, settings, svg, verdicts
from visionlab.reports.importance import importance
from visionlab.reports.numbers import count, duration, of_metric, short, spread
from visionlab.reports.page import ABSENT, Column, Html, Page, Tile, code, figure, note, table, tiles
from visionlab.reports.paired import PairedTest
from visionlab.reports.parallel import parallel
from visionlab.reports.svg import Axis, Keep
from visionlab.reports.trials import Sweep, Trial
from visionlab.runs import write_csv

TESTED = ("/acc", "/auc")  # metrics of which two trials can be tested on the same images


def paired(sweep: Sweep) -> tuple[list[PairedTest], int]:
    """Test its trials pairwise, see `pairing.paired_tests`; none where it seeks neither an accuracy nor an area."""
    return pairing.paired_tests(sweep.entries, sweep.objective) if sweep.objective.endswith(TESTED) else ([], 0)


def write(sweep: Sweep, *, tests: list[PairedTest], untested: int) -> Path:
    """Write report.html and figures/ into a sweep's directory, and of a cross-validation labels.csv.

    It may be called at any time: while trials are under way, the page shows the best so far.

    Args:
        sweep: The sweep.
        tests: The paired tests of its runs.
        untested: The completed runs that have no part in them.

    Returns:
        The path of the page.
    """
    target = sweep.directory / "report.html"
    done = sum(trial.status in ("completed", "pruned") for trial in sweep.trials)
    kind = "good" if done == _total(sweep) and _over(sweep) else "warn"
    badge = f"{done} of {_total(sweep)} trials"
    page = Page(f"Sweep {sweep.name}", subtitle=subtitle(sweep), badge=badge, badge_kind=kind)
    drawn: dict[str, Html] = {}
    keep = drawn.__setitem__
    page.section("Best", *best(sweep))
    page.section("Best compromises", *front(sweep, target))
    page.section("Trials", *trials(sweep, target))
    page.section("Repetitions", *repetitions(sweep, target))
    page.section("Hyperparameters", *importances(sweep, keep))
    page.section("Curves", *comparing.curves(sweep.entries, sweep.best.entries[0] if sweep.best else None, keep))
    if sweep.objective.endswith(TESTED):
        page.section("Cost", *comparing.costs(sweep.entries, sweep.objective, keep))
        page.section("Is the best really better?", *verdicts.tests(tests, untested, sweep.objective))
    page.section("Labels to check", *labels_to_check(sweep))
    page.section("Failed trials", *failures(sweep))
    svg.write_files(drawn, target)
    return page.write(target)


def _total(sweep: Sweep) -> int:
    """Count the trials that were asked for, as far as they are known; two of the same settings are one."""
    known = len(sweep.statuses)
    return known if _over(sweep) else max(sweep.content.get("total") or 0, known)


def _over(sweep: Sweep) -> bool:
    """Whether the sweep came to its end: it was neither stopped nor out of its time."""
    return bool(sweep.content.get("status", "completed") == "completed")


def subtitle(sweep: Sweep) -> str:
    """What was searched, in a line."""
    over = f"over {', '.join(sweep.swept)}" if sweep.swept else ""
    repeated = f"repeated over {', '.join(sweep.replicates)}" if sweep.replicates else ""
    sought = " and ".join(f"{mode} {name}" for name, mode in sweep.objectives.items())
    return " · ".join(part for part in (sweep.kind, over, repeated, sought) if part)


def value_text(name: str, value: float | None) -> str:
    """Write a figure of a run as its name asks for."""
    if name in {"parameters", "trainable_parameters", "flops"}:
        return short(value)
    if name == "seconds":
        return duration(value)
    return of_metric(name, value)


def best(sweep: Sweep) -> list[Html]:
    """The best trial so far, and the command that trains it alone."""
    statuses = sweep.statuses
    others = ", ".join(
        f"{statuses.count(status)} {status}" for status in dict.fromkeys(statuses) if status != "completed"
    )
    spent = sweep.content.get("seconds") or sum(trial.seconds or 0 for trial in sweep.trials)
    winner, items = sweep.best, []
    if winner is not None:
        value = value_text(sweep.objective, winner.value)
        items.append(Tile(f"Best {sweep.objective}", value, _qualified(winner, sweep), strong=True))
        test = sweep.tested(winner)
        if math.isfinite(test) and sweep.objective != sweep.test_metric:
            each = sweep.test_figures(winner)
            told = f"{spread(sweep.test_metric, stdev(each))}, mean of {len(each)} runs" if len(each) > 1 else ""
            words = {"test/acc": "Its test accuracy", "test/auc": "Its area under the ROC curve on test"}
            below = told or _interval(winner, sweep.test_metric)
            items.append(Tile(words[sweep.test_metric], of_metric(sweep.test_metric, test), below))
    done = f"{statuses.count('completed')} of {_total(sweep)}"
    items += [
        Tile("Trials", done, f"completed{', ' if others else ''}{others}"),
        Tile("Time", duration(spent or None), "of the whole sweep" if sweep.content.get("seconds") else "of training"),
    ]
    parts = [tiles(items)]
    if winner is not None:
        name = ", ".join(f"{key}={settings.written(value)}" for key, value in winner.overrides.items())
        several = len(winner.entries) > 1
        called = winner.entries[0].experiment if several else winner.entries[0].label
        alone = "its runs alone" if several else "it alone"
        state = "of all" if _over(sweep) and "running" not in statuses else "so far"
        parts += [
            note(f"The best {state}: {name or called}. To train {alone}:"),
            code(command(sweep, winner)),
            note(comparing.luck(len(sweep.ranked), sweep.objective)),
        ]
    return parts


def command(sweep: Sweep, trial: Trial) -> str:
    """The command that trains a trial alone."""
    known = sweep.content.get("best") or {}
    its = {entry.run.dir.resolve().name for entry in trial.entries}
    if known.get("command") and {Path(path).name for path in known.get("dirs", ())} == its:
        return str(known["command"])
    overrides = trial.entries[0].run.result.get("overrides")
    overrides = overrides or [f"{k}={settings.written(v)}" for k, v in trial.overrides.items()]
    return shlex.join(["python", "-m", "visionlab.train", *map(str, overrides)])


def _qualified(trial: Trial, sweep: Sweep) -> str:
    if math.isfinite(trial.deviation):
        return f"{spread(sweep.objective, trial.deviation)}, mean of {len(trial.entries)} runs"
    return _interval(trial, sweep.objective)


def _interval(trial: Trial, metric: str) -> str:
    """The interval of a trial of one run; empty where there is none."""
    split, _, kind = metric.partition("/")
    run = trial.entries[0].run
    if len(trial.entries) > 1:
        return ""
    if kind == "auc":
        return (known := roc.ends(run, split)) and f"95\u00a0%\u00a0CI {known}"
    return run.accuracies[split].qualified if kind == "acc" and split in run.accuracies else ""


def trials(sweep: Sweep, page: Path) -> list[Html]:
    """Every trial with its settings, the best first."""
    ranked = sweep.ranked
    order = ranked + [trial for trial in sweep.trials if trial not in ranked]
    return [_table(sweep, order, page, f"trials-{sweep.name}")]


def front(sweep: Sweep, page: Path) -> list[Html]:
    """With several objectives, the trials that no other beats in all of them."""
    words = "No other trial is better than one of these in one of the objectives without being worse in another."
    return [note(words), _table(sweep, sweep.front, page, f"front-{sweep.name}")] if sweep.front else []


def _table(sweep: Sweep, order: Sequence[Trial], page: Path, ident: str) -> Html:
    names = settings.short_names(sweep.swept)
    tested = {trial.key: sweep.tested(trial) for trial in order}
    with_test = sweep.objective != sweep.test_metric and any(math.isfinite(value) for value in tested.values())
    repeated = any(len(trial.entries) > 1 for trial in order)
    shown = list(sweep.objectives)
    heads: list[Column | str] = ["trial", *(Column(names[key], settings.written, hint=key) for key in sweep.swept)]
    heads += [Column(name, form=partial(value_text, name)) for name in shown]
    heads += (
        [Column("± deviation", partial(spread, sweep.objective), hint="Of single runs (n - 1)"), Column("runs", count)]
        if repeated
        else []
    )
    heads += [Column(sweep.test_metric, form=partial(of_metric, sweep.test_metric))] if with_test else []
    heads += [
        Column("best epoch", form=count),
        Column("parameters", form=count),
        Column("time", form=duration),
        "status",
    ]
    body = []
    for trial in order:
        entry = trial.entries[0]
        result = entry.run.result
        row: list[object] = [comparing.link(entry, page, str(trial.place))]
        row += [trial.overrides.get(key, entry.settings.get(key, ABSENT)) for key in sweep.swept]
        row.append(_known(trial.value))
        row += trial.ranked.means[1:] if trial.ranked else [None] * len(shown[1:])
        row += [_known(trial.deviation), len(trial.entries)] if repeated else []
        row += [_known(tested[trial.key])] if with_test else []
        epoch = result.get("best_epoch")
        row += [None if epoch is None else epoch + 1, (result.get("model") or {}).get("parameters")]
        row += [trial.seconds, trial.status]
        body.append(row)
    keys = [trial.key for trial in order]
    return table(heads, body, filterable=len(body) > 3, tall=len(body) > 15, keys=keys, ident=ident)


def repetitions(sweep: Sweep, page: Path) -> list[Html]:
    """The single runs of a sweep that repeats its trials."""
    if not sweep.replicates:
        return []
    shown = [*sweep.swept, *sweep.replicates]
    single = [
        (trial, entry, sweep.figure(entry), status)
        for trial in sweep.trials
        for entry, (status, _) in zip(trial.entries, trial.outcomes, strict=True)
    ]
    # As they were asked for, and not as they ended.
    asked = {key: [settings.written(value) for value in values] for key, values in sweep.replicates.items()}
    single.sort(
        key=lambda run: (
            run[0].place,
            *(each.index(said) if (said := settings.written(run[1].overrides.get(key))) in each else len(each)
              for key, each in asked.items()),
        )
    )  # fmt: skip
    rows: list[list[object]] = [
        [comparing.link(entry, page, str(trial.place)), *(entry.overrides.get(key, ABSENT) for key in shown),
         _known(value), status]
        for trial, entry, value, status in single
    ]  # fmt: skip
    heads: list[Column | str] = ["trial", *(Column(key, settings.written) for key in shown)]
    heads += [Column(sweep.objective, form=partial(value_text, sweep.objective)), "status"]
    keys = [entry.key for _, entry, _, _ in single]
    return [table(heads, rows, keys=keys, filterable=len(rows) > 3, tall=len(rows) > 15, ident="repetitions")]


def labels_to_check(sweep: Sweep) -> list[Html]:
    """Of a cross-validation, the images that its best trial took for another class, which it lists in a file too."""
    if set(sweep.replicates) != {"data.fold"} or sweep.best is None:
        return []
    folds = sweep.best.entries
    if not all("val" in entry.run.splits for entry in folds):  # a file of predictions is gone
        return []
    found = labels.suspects(folds)
    write_csv(sweep.directory / "labels.csv", found, labels.COLUMNS)
    return labels.section(found, sum(len(entry.run.predictions("val")) for entry in folds), "labels.csv")


def _known(value: float) -> float | None:
    return None if math.isnan(value) else value


def importances(sweep: Sweep, keep: Keep) -> list[Html]:
    """How much each hyperparameter mattered, and the trials as parallel coordinates."""
    names = settings.short_names(sweep.swept)
    done = sweep.ranked
    parts = []
    found = importance([(trial.overrides, trial.value) for trial in done], sweep.swept)
    if found is not None:
        chart = charts.bars(
            [names[key] for key in found.shares],
            list(found.shares.values()),
            axis=Axis("share of the variation explained", 0, 1, share=True),
            label="importance of each hyperparameter",
        )
        keep("importance", chart)
        parts.append(figure(chart, f"Importance for {sweep.objective}: {found.method}; {len(done)} trials."))
    lines = parallel(
        [(trial.key, trial.overrides, trial.value) for trial in done],
        names,
        metric=sweep.objective,
        text=lambda value: value_text(sweep.objective, value),
        best=sweep.best.key if sweep.best else "",
        largest=sweep.mode == "max",
    )
    if lines:
        words = (
            "A line a trial, the stronger the better; orange is the best. Drag along an axis to keep the trials that "
            "pass there; a click lets go."
        )
        keep("parallel_coordinates", lines)
        parts.append(figure(lines, words))
    return parts


def failures(sweep: Sweep) -> list[Html]:
    """The trials that gave no result, and why."""
    rows = [
        (trial.place, ", ".join(f"{k}={settings.written(v)}" for k, v in entry.overrides.items()), status,
         error or "no reason was recorded")
        for trial in sweep.trials
        for entry, (status, error) in zip(trial.entries, trial.outcomes, strict=True)
        if status in {"failed", "interrupted", "missing"}
    ]  # fmt: skip
    rows += [
        (row["trial"], ", ".join(f"{k}={settings.written(v)}" for k, v in row["overrides"].items()), "failed",
         row["error"])
        for row in sweep.refused
    ]  # fmt: skip
    heads: list[Column | str] = [Column("trial", numeric=False), "settings", "status", "why"]
    return [table(heads, rows, ident="failures")] if rows else []
