"""The page that lays runs and sweeps side by side."""

import re
from pathlib import Path

from visionlab.reports import comparing, roc, svg, sweep_page, verdicts
from visionlab.reports.gather import Gathered
from visionlab.reports.numbers import of_metric, spread
from visionlab.reports.page import Html, Page, Tile, callout, join, note, tiles
from visionlab.reports.paired import PairedTest
from visionlab.reports.reading import SPLITS


def write(gathered: Gathered, path: Path, *, tests: list[PairedTest], untested: int, metric: str) -> Path:
    """Write the page, and its charts to figures/ beside it.

    Args:
        gathered: The runs.
        path: Where the page goes.
        tests: The paired tests of the runs.
        untested: The completed runs that have no part in them.
        metric: What the runs are ranked by, see `comparing.main_metric`.
    """
    entries = gathered.entries
    done = comparing.completed(entries)
    names = list(dict.fromkeys(entry.data for entry in entries if entry.data))
    page = Page(
        f"Comparison of {len(entries)} runs",
        subtitle=f"on {', '.join(names)}" if names else "",
        badge="" if len(done) == len(entries) else f"{len(done)} of {len(entries)} completed",
        badge_kind="warn",
    )
    chosen = len({entry.group for entry in comparing.ranked(entries, metric)})
    luck = note(comparing.luck(chosen, metric))
    page.section("Summary", _remarks(gathered), tiles(_headline(gathered, metric)), luck)
    page.section("Runs", comparing.run_table(gathered, entries, path, metric))
    page.section("Is it really better?", *verdicts.tests(tests, untested, metric))
    page.section("Repetitions", *verdicts.repetition_table(verdicts.experiments(entries)))
    best = comparing.ranked(entries, metric)
    drawn: dict[str, Html] = {}
    page.section("Curves", *comparing.curves(entries, best[0] if best else None, drawn.__setitem__))
    page.section("Cost", *comparing.costs(entries, metric, drawn.__setitem__))
    page.section("Settings", *comparing.setting_table(gathered, path))
    for sweep in gathered.sweeps:

        def keep(name: str, chart: Html, of: str = re.sub(r"[^\w-]+", "_", sweep.name)) -> None:
            drawn[f"{of}_{name}"] = chart

        page.section(
            f"Sweep {sweep.name}",
            *sweep_page.best(sweep),
            *sweep_page.front(sweep, path),
            *sweep_page.trials(sweep, path),
            *sweep_page.importances(sweep, keep),
            *sweep_page.failures(sweep),
        )
    svg.write_files(drawn, path)
    return page.write(path)


def _headline(gathered: Gathered, metric: str) -> list[Tile]:
    """The three best experiments, of which a repeated one is as good as the mean of its runs, not as its luckiest."""
    items = []
    split, _, kind = metric.partition("/")
    words = f"{SPLITS[split]} {'accuracy' if kind == 'acc' else 'area under the ROC curve'}"
    known = [row for row in verdicts.experiments(gathered.entries) if row[metric] is not None]
    single = {str(entry.run.dir): entry for entry in gathered.entries}
    for place, row in zip(("Best", "Second", "Third"), known, strict=False):
        count, entry = row[f"{metric} runs"], single[row["directories"][0]]
        ends = entry.run.accuracies[split].ends if kind == "acc" else roc.ends(entry.run, split)
        told = (
            f"{spread(metric, row[f'{metric} sd'])}, mean of {count} runs" if count > 1 else f"95\u00a0%\u00a0CI {ends}"
        )
        name = row["experiment"] if count > 1 else entry.label
        items.append(Tile(f"{place} {words}", of_metric(metric, row[metric]), f"{name} · {told}", place == "Best"))
    return items


def _remarks(gathered: Gathered) -> Html:
    """What makes the runs hard to compare."""
    done = comparing.completed(gathered.entries)
    results = [entry.run.result.get("data") or {} for entry in done]
    if len({data.get("name") for data in results}) > 1:
        return callout("These runs are on different data sets, so their accuracies cannot be compared directly.")
    parts = []
    divisions = {data.get("split_hash") for data in results}
    # Where they only train on more or fewer images, their validation images are the same.
    if len(divisions) > 1 and len({entry.contents("val") for entry in done} - {None}) != 1:
        parts.append(
            callout(
                "These runs divided the images differently, or have different ones: their validation images differ."
            )
        )
    if len({(data.get("split_hash"), data.get("fingerprint")) for data in results}) > len(divisions):
        parts.append(callout("The files of the data set changed between these runs (fingerprint)."))
    return join(parts)
