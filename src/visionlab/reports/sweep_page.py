"""The page of a sweep: the best so far, what mattered, every trial, and those that failed."""

import math
import shlex
from pathlib import Path

from visionlab.reports import charts, comparing, settings, verdicts
from visionlab.reports.gather import Entry, Gathered, Sweep, gather
from visionlab.reports.importance import importance
from visionlab.reports.numbers import count, duration, percent, significant
from visionlab.reports.page import Column, Html, Page, Tile, code, columns, figure, note, table, tiles
from visionlab.reports.parallel import parallel
from visionlab.reports.statistics import wilson
from visionlab.reports.svg import Axis


def write(directory: str | Path) -> Path:
    """Write report.html of a sweep directory from its sweep.json and its runs, and return the page's path.

    It may be called at any time: while trials are under way the page shows the best so far.

    Raises:
        RunError: The directory holds no readable sweep.json.
    """
    target = Path(directory) / "report.html"
    found = gather([directory])
    sweep = found.sweeps[0]
    done = len(comparing.completed(sweep.entries))
    badge = f"{done} of {len(sweep.entries)} trials"
    kind = "good" if done == len(sweep.entries) else "warn"
    page = Page(f"Sweep {sweep.name}", subtitle=subtitle(sweep), badge=badge, badge_kind=kind)
    page.section("Best", *best(sweep, target))
    page.section("Trials", *trials(found, sweep, target))
    page.section("Importance", *importances(sweep))
    page.section("Curves", *comparing.curves(sweep.entries, sweep.best))
    page.section("Cost", *comparing.costs(sweep.entries, sweep.monitor))
    if sweep.monitor.endswith("/acc"):
        tests = verdicts.paired_tests(sweep.entries, sweep.monitor)
        page.section("Is the best really better?", *verdicts.tests(tests, sweep.monitor))
        page.section("Repetitions", *verdicts.repetition_table(verdicts.repetitions(sweep.entries)))
    page.section("Failed trials", *failures(sweep))
    return page.write(target)


def subtitle(sweep: Sweep) -> str:
    """What was searched, in a line."""
    swept = ", ".join(sweep.swept) or "its settings"
    return " · ".join(part for part in (sweep.kind, f"over {swept}", f"{sweep.mode} of {sweep.monitor}") if part)


def write_value(sweep: Sweep, value: float) -> str:
    """Write a value of the sweep's monitor."""
    return percent(value) if is_share(sweep) else significant(value)


def is_share(sweep: Sweep) -> bool:
    """Whether the monitor goes from 0 to 1."""
    return not sweep.monitor.endswith("loss")


def best(sweep: Sweep, page: Path) -> list[Html]:
    """The best trial so far, and the command that trains it alone."""
    statuses = [entry.status for entry in sweep.entries]
    counts = {status: statuses.count(status) for status in ("completed", "pruned", "failed", "running", "interrupted")}
    others = ", ".join(f"{n} {status}" for status, n in counts.items() if n and status != "completed")
    spent = sum(float((e.run.result.get("seconds") or {}).get("total") or 0) for e in sweep.entries)
    items = []
    winner = sweep.best
    if winner is not None:
        value = winner.metric(sweep.monitor)
        items.append(Tile(f"Best {sweep.monitor}", write_value(sweep, value), _interval(winner, sweep), strong=True))
        test = winner.metric("test/acc")
        if math.isfinite(test) and sweep.monitor != "test/acc":
            items.append(Tile("Its test accuracy", percent(test), _interval(winner, sweep, "test")))
    items += [
        Tile("Trials", f"{counts['completed']} of {len(statuses)}", f"completed{', ' if others else ''}{others}"),
        Tile("Time", duration(spent or None), "of all trials together"),
    ]
    parts = [tiles(items)]
    if winner is not None:
        parts += [
            note(f"{winner.label} is the best {'so far' if counts['running'] else 'trial'}. To train it alone:"),
            code(command(winner)),
        ]
    return parts


def command(entry: Entry) -> str:
    """The command that trains a run alone."""
    overrides = entry.run.result.get("overrides") or [f"{k}={settings.written(v)}" for k, v in entry.overrides.items()]
    return shlex.join(["python", "-m", "visionlab.train", *map(str, overrides)])


def _interval(entry: Entry, sweep: Sweep, split: str | None = None) -> str:
    accuracy = entry.run.accuracies.get(split or sweep.monitor.partition("/")[0])
    if (
        not (split or sweep.monitor.endswith("/acc"))
        or accuracy is None
        or accuracy.correct is None
        or not accuracy.total
    ):
        return ""
    low, high = wilson(accuracy.correct, accuracy.total)
    return f"95\u00a0%\u00a0CI {100 * low:.1f} to {100 * high:.1f}, n = {accuracy.total:,}"


def trials(found: Gathered, sweep: Sweep, page: Path) -> list[Html]:
    """Every trial with its settings, the best first."""
    order = comparing.ranked(sweep.entries, sweep.monitor, sweep.mode)
    order += [entry for entry in sweep.entries if entry not in order]
    numbers = {entry.key: i for i, entry in enumerate(sweep.entries, 1)}
    short_names = settings.short_names(sweep.swept)
    tested = any(math.isfinite(entry.metric("test/acc")) for entry in sweep.entries)
    form = percent if is_share(sweep) else significant
    heads: list[Column | str] = [
        "trial",
        *(Column(short_names[key], settings.written, hint=key) for key in sweep.swept),
    ]
    heads += [Column(sweep.monitor, form=form)]
    heads += [Column("test/acc", form=percent)] if tested and sweep.monitor != "test/acc" else []
    heads += [
        Column("best epoch", form=count),
        Column("parameters", form=count),
        Column("time", form=duration),
        "status",
    ]
    body = []
    for entry in order:
        result = entry.run.result
        value, test = entry.metric(sweep.monitor), entry.metric("test/acc")
        row: list[object] = [comparing.link(entry, page, str(numbers[entry.key]))]
        row += [entry.overrides.get(key, entry.settings.get(key)) for key in sweep.swept]
        row.append(None if math.isnan(value) else value)
        if tested and sweep.monitor != "test/acc":
            row.append(None if math.isnan(test) else test)
        epoch = result.get("best_epoch")
        row += [None if epoch is None else epoch + 1, (result.get("model") or {}).get("parameters")]
        row += [(result.get("seconds") or {}).get("fit"), entry.status]
        body.append(row)
    keys = [entry.key for entry in order]
    return [table(heads, body, filterable=True, tall=len(body) > 15, keys=keys, ident=f"trials-{sweep.name}")]


def importances(sweep: Sweep) -> list[Html]:
    """How much each hyperparameter mattered, and the trials as parallel coordinates."""
    done = comparing.completed(sweep.entries)
    names = settings.short_names(sweep.swept)
    values = {e.key: {key: e.overrides.get(key, e.settings.get(key)) for key in sweep.swept} for e in done}
    parts = []
    found = importance([(values[e.key], e.metric(sweep.monitor)) for e in done], sweep.swept)
    if found is not None:
        chart = charts.bars(
            [names[key] for key in found.shares],
            list(found.shares.values()),
            axis=Axis("share of the variation explained", 0, 1, share=True),
            label="importance of each hyperparameter",
        )
        parts.append(figure(chart, f"Importance for {sweep.monitor}: {found.method}; {len(done)} trials."))
    lines = parallel(
        [(e.key, values[e.key], e.metric(sweep.monitor)) for e in done],
        names,
        metric=sweep.monitor,
        share=is_share(sweep),
        best=sweep.best.key if sweep.best else "",
    )
    if lines:
        words = (
            "A line a trial, the stronger the better; orange is the best. Drag along an axis to keep the trials that "
            "pass there; a click lets go."
        )
        parts.append(figure(lines, words))
    return [columns(*parts)] if len(names) <= 2 and len(parts) == 2 else parts


def failures(sweep: Sweep) -> list[Html]:
    """The trials that gave no result, and why."""
    lost = [entry for entry in sweep.entries if entry.status in {"failed", "interrupted"}]
    if not lost:
        return []
    rows = [
        (entry.label, ", ".join(f"{k}={settings.written(v)}" for k, v in entry.overrides.items()), entry.status,
         entry.error or "no reason was recorded")
        for entry in lost
    ]  # fmt: skip
    return [table(["trial", "settings", "status", "why"], rows, ident="failures")]
