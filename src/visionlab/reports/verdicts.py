"""Which of several runs is better, and how sure that is: tests on the same images, and repeated experiments."""

import math
from collections.abc import Sequence
from functools import partial
from statistics import fmean, stdev
from typing import Any

from visionlab.reports.comparing import completed, main_metric
from visionlab.reports.gather import Entry
from visionlab.reports.numbers import of_metric, significant, spread
from visionlab.reports.page import Column, Html, callout, note, table
from visionlab.reports.paired import PairedTest
from visionlab.reports.pairing import FOLDS
from visionlab.reports.reading import SPLITS

ACCURACIES, AREAS = ("test/acc", "val/acc"), ("test/auc", "val/auc")
MCNEMAR, DELONG = "McNemar's test, mid-p", "DeLong's test of the areas"
MOST_PAIRS = 28  # so many are shown, those of 8 runs; of more runs, the pairs with the best one


def tests(found: Sequence[PairedTest], untested: int, metric: str) -> list[Html]:
    """Whether the best is better beyond chance, in words and as a table of pairs."""
    if not found:
        return []
    split = SPLITS.get(metric.partition("/")[0], metric)
    best = found[0].a
    shown = found if len(found) <= MOST_PAIRS else [t for t in found if t.a == best]
    against_best = len(shown) > 1 and all(t.a == best for t in shown)
    repeated, by_area = any(t.repeated for t in shown), found[0].areas is not None
    of = "Area under the curve" if by_area else "Accuracy"
    other = "of the other" if against_best else "of B"
    heads: list[Column | str] = [
        *(["A is compared with"] if against_best else ["A", "B"]),
        *([Column("runs", hint="Of A and of the other")] if repeated else []),
        Column("verdict", hint="At the level of 5 %, by the corrected p"),
        Column(
            "difference",
            form=_area if by_area else _points,
            hint=f"{of} of A less that of the other{'' if by_area else ', in percentage points'}",
        ),
        Column("95 % CI", form=lambda ends: ends.text, numeric=True, hint="Of the difference"),
        *(
            [Column("of A", form=significant, hint=of), Column(other, form=significant, hint=of)]
            if by_area
            else [
                Column("only A right", form=_images, hint="Images, in the mean over pairs of runs"),
                Column("only the other" if against_best else "only B right", form=_images, hint="Images, likewise"),
            ]
        ),
        Column(
            "p",
            form=_p,
            hint=f"{DELONG if by_area else MCNEMAR} of two runs; of repeated experiments, or groups, of a t test",
        ),
        Column("p (Holm)", form=_p, hint="Corrected for the number of pairs"),
    ]
    body = []
    for t in shown:
        verdict = "may be chance" if t.better is None else f"{'A' if t.better == t.a else 'B'} is better"
        interval = _Interval(t.interval[0])
        interval.text = _ends(t)
        names = [t.b] if against_best else [t.a, t.b]
        names += [f"{t.runs[0]} and {t.runs[1]}"] if repeated else []
        pair = t.areas or (t.only_a, t.only_b)
        body.append(
            [*names, verdict, t.difference if by_area else 100 * t.difference, interval, *pair, t.p, t.adjusted]
        )
    return [
        callout(" ".join(sentences(found)), kind="info"),
        note(without(untested)),
        note(f"A is {best}." if against_best else ""),
        table(heads, body, tall=len(body) > 12, filterable=len(body) > 12, ident="tests"),
        note(_method(shown, len(found), split)),
    ]


def _method(shown: Sequence[PairedTest], pairs: int, split: str) -> str:
    """How the tests were made, and what they are about."""
    images = f"the same {shown[0].images:,} {split} images"
    level = f"two-sided, at the level of 5 % after Holm's correction for {_plural(pairs, 'pair')}."
    said = []
    groups, by_area = shown[0].groups, shown[0].areas is not None
    means = "mean areas" if by_area else "means"
    if any(t.repeated for t in shown):
        said.append(
            f"Of repeated experiments a t test of the difference of the {means}, on {images}, {level} Its standard "
            f"error has a part from the runs and one from the {'groups of ' * bool(groups)}images, so that it is about "
            "any networks of these two trainings on any such images."
        )
        if any(1 in t.runs for t in shown if t.repeated):
            said.append("An experiment of one run is given the deviation of the other.")
    if not all(t.repeated for t in shown):
        of_groups = "a t test of the areas by groups" if by_area else f"a t test by groups, or {MCNEMAR} if less sure"
        test = of_groups if groups else DELONG if by_area else MCNEMAR
        said.append(
            f"Of two single runs {test}, on {images}, {level} It is about these trained networks; how much another "
            "seed would change them, only repetitions tell."
        )
    if groups:
        said.append(f"The images come in {_plural(groups, 'group')}: those of one are not independent of each other.")
    if shown[0].a.endswith(FOLDS):
        said.append("Each image was answered by the fold that had not learnt from it.")
    return " ".join(said)


class _Interval(float):
    """The low end of an interval, by which a column is sorted, and the text that stands there."""

    text: str


def sentences(found: Sequence[PairedTest]) -> list[str]:
    """The outcome of the tests in words: what the best run is better than, and what it is not."""
    best = found[0].a
    of_best = [t for t in found if t.a == best]
    beaten = [t for t in of_best if t.better == best]
    level = [t for t in of_best if t.better is None]
    if len(of_best) == 1:
        t = of_best[0]
        counts = (
            f"95 % CI {_ends(t)}, means of {t.runs[0]:,} and {_plural(t.runs[1], 'run')} on {t.images:,} images"
            if t.repeated
            else f"95 % CI {_ends(t)}, on {t.images:,} images"
            if t.only_a is None or t.only_b is None
            else f"of the {t.only_a + t.only_b:,.0f} images that only one of them has right, {t.only_a:,.0f} are those "
            f"of {t.a}"
        )
        points = f"{_points(100 * t.difference)} points" if t.areas is None else f"{_area(t.difference)} of the area"
        gap = f"{points}; {counts} ({_p_words(t.p)})."
        if t.better:
            return [f"{t.better} is really better than {t.b}: {gap}"]
        more = "groups of images" if t.groups else "test images"
        return [
            f"No difference beyond chance between {t.a} and {t.b}: {gap} More {more}, or more seeds, could tell them "
            "apart."
        ]
    said = []
    if beaten:
        others = _named([t.b for t in beaten], len(of_best), "all others")
        said.append(f"{best} is really better than {others}.")
    if level:
        others = _named([t.b for t in level], len(of_best), "any other")
        said.append(f"{'Against' if beaten else f'{best} against'} {others}, the difference can be chance.")
    return said


def without(untested: int) -> str:
    """How many runs the tests leave out; empty where they have all."""
    have = "is" if untested == 1 else "are"
    runs = _plural(untested, "run")
    return f"{runs} on other images, or not evaluated on this split, {have} not tested." if untested else ""


def _named(names: list[str], of: int, every: str) -> str:
    if len(names) == of:
        return f"{every} on the same images"
    if len(names) > 4:
        return f"{len(names)} of the {of} others"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _plural(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _points(value: float) -> str:
    return f"{value:+.2f}"


def _area(value: float) -> str:
    return f"{value:+.4f}"


def _ends(test: PairedTest) -> str:
    if test.areas is not None:
        return " to ".join(f"{round(end, 4) + 0.0:+.4f}" for end in test.interval)
    low, high = (round(100 * end, 1) + 0.0 for end in test.interval)  # + 0.0: no minus before a zero
    return f"{low:+.1f} to {high:+.1f}"


def _images(value: float) -> str:
    return f"{value:,.0f}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 1e-4 else f"{value:.4f}" if value < 0.1 else f"{value:.2f}"


def _p_words(value: float) -> str:
    return f"p {_p(value)}" if value < 1e-4 else f"p = {_p(value)}"


def experiments(entries: Sequence[Entry]) -> list[dict[str, Any]]:
    """Mean and deviation of each experiment over its repetitions with other seeds or folds, one row an experiment.

    They stand in the order of what the page ranks runs by: a figure that all of them have. Of two classes there are
    also the areas under the ROC curves.
    """
    groups: dict[int, list[Entry]] = {}
    for entry in completed(entries):
        members = groups.setdefault(entry.group, [])
        if all(entry.repetition != other.repetition for other in members):  # not one run in two folders
            members.append(entry)
    areas = [name for name in AREAS if any(math.isfinite(entry.metric(name)) for entry in completed(entries))]
    names, made = [*ACCURACIES, *areas], []
    for members in groups.values():
        row: dict[str, Any] = {"experiment": members[0].experiment, "runs": len(members)}
        for name in names:
            values = [e.metric(name) for e in members if math.isfinite(e.metric(name))]
            row |= {name: fmean(values) if values else None, f"{name} sd": stdev(values) if len(values) > 1 else None}
            row |= {
                f"{name} runs": len(values),
                f"{name} min": min(values, default=None),
                f"{name} max": max(values, default=None),
            }
        results = [entry.run.result for entry in members]
        seconds = [spent for result in results if (spent := (result.get("seconds") or {}).get("fit")) is not None]
        row["parameters"] = (results[0].get("model") or {}).get("parameters")
        row["seconds"] = fmean(seconds) if seconds else None
        row["directories"] = [str(entry.run.dir) for entry in members]
        made.append(row)
    metric = main_metric(entries)
    return sorted(made, key=lambda row: -1 if row[metric] is None else row[metric], reverse=True)


def repetition_table(found: Sequence[dict[str, Any]]) -> list[Html]:
    """The table of the experiments; none where no one was repeated."""
    if all(row["runs"] < 2 for row in found):
        return []
    kinds = [kind for kind in (*ACCURACIES, *AREAS) if any(row.get(kind) is not None for row in found)]
    columns: dict[str, Column | str] = {"experiment": "experiment", "runs": "runs"}
    for kind in kinds:
        form = partial(of_metric, kind)
        columns[kind] = Column(f"{kind} mean", form=form)
        if any(row[f"{kind} runs"] != row["runs"] for row in found):
            columns[f"{kind} runs"] = Column("of runs", hint=f"How many of the runs have a {kind}")
        columns[f"{kind} sd"] = Column("± deviation", form=partial(spread, kind), numeric=True)
        columns |= {f"{kind} min": Column("least", form=form), f"{kind} max": Column("most", form=form)}
    body = [[row[key] for key in columns] for row in found]
    words = (
        "Over seeds and folds; ± is the standard deviation of single runs (n - 1), of accuracies in percentage points."
    )
    return [note(words), table([*columns.values()], body, ident="repetitions")]
