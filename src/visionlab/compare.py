"""Runs and sweeps side by side: `python -m visionlab.compare outputs/a outputs/b`, or `visionlab.compare(a, b)`."""

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from visionlab import doors
from visionlab.errors import RunError
from visionlab.out_folder import out_folder, place_name
from visionlab.runs import Run, write_atomically, write_csv

if TYPE_CHECKING:
    from rich.table import Table

    from visionlab.reports.paired import PairedTest


@dataclass(frozen=True)
class Comparison:
    """What a comparison found, and where it lies.

    Args:
        page: The page.
        csv: The same runs as a CSV file.
        rows: A row a run, with raw numbers; `pandas.DataFrame(comparison.rows)` works.
        tex: A table for LaTeX, a row an experiment.
        experiments: The same: the mean of its runs with other seeds or folds, their deviation and their number.
        tests: A test of each pair of experiments on the same images: McNemar's of single runs, of those that were
            repeated with other seeds a t test of their means; all folds of a cross-validation count as one run, and
            images of one group as dependent.
        untested: The completed runs on other images, or not evaluated on the split, which these tests leave out.
        metric: What the runs are ranked by: an accuracy, or of two classes the area under the ROC curve where that
            chose the best epoch of all of them.
    """

    page: Path
    csv: Path
    tex: Path
    rows: list[dict[str, Any]] = field(repr=False)  # a screenful for each run, where a notebook shows the whole
    experiments: list[dict[str, Any]] = field(repr=False)
    tests: list["PairedTest"] = field(repr=False)
    untested: int
    metric: str

    @property
    def figures(self) -> Path:
        """The folder of the charts of the page, as SVG."""
        return self.page.parent / "figures"


def compare(*directories: str | Path | Run, out: str | Path | None = None) -> Comparison:
    """Lay runs and sweeps side by side in one page, one CSV file and one table for LaTeX.

    Args:
        directories: Runs, their directories, those of sweeps, or folders that hold either.
        out: Where they go; unless given, `outputs/comparisons/<name>`, or for a single sweep its own directory.

    Raises:
        RunError: A directory is missing or holds no run, or a sweep has none yet.
    """
    from visionlab.reports import compare_page, comparing, latex, pairing, sweep_page, verdicts
    from visionlab.reports.gather import gather

    places = [one.dir if isinstance(one, Run) else one for one in directories]
    gathered = gather(places)
    if not gathered.entries:
        raise RunError(
            "this sweep has no runs yet",
            where=str(gathered.sweeps[0].directory),
            remedy="wait for its first run, or give the same sweep command again to continue it",
        )
    metric = comparing.main_metric(gathered.entries)
    rows = comparing.rows(gathered)
    named = {Path(place).resolve() for place in places}
    if out is None and len(named) == len(gathered.sweeps) == 1:  # the sweep has a page and a table of its own
        (sweep,) = gathered.sweeps
        metric = sweep.objective if sweep.objective.endswith(sweep_page.TESTED) else metric
        tests, untested = sweep_page.paired(sweep)
        page, csv = sweep_page.write(sweep, tests=tests, untested=untested), sweep.directory / "runs.csv"
    else:
        tests, untested = pairing.paired_tests(gathered.entries, metric)
        folder = out_folder(out if out is not None else Path("outputs") / "comparisons" / _name(places))
        page = compare_page.write(gathered, folder / "comparison.html", tests=tests, untested=untested, metric=metric)
        csv = folder / "comparison.csv"
    write_csv(csv, rows)
    experiments, tex = verdicts.experiments(gathered.entries), csv.with_suffix(".tex")
    write_atomically(tex, latex.write(experiments))
    return Comparison(page, csv, tex, rows, experiments, tests, untested, metric)


def _name(directories: Sequence[str | Path]) -> str:
    """A name for what is compared: its path where it is one folder, else one that the same folders get again."""
    paths = sorted({str(Path(directory).resolve()) for directory in directories})
    if len(paths) == 1:
        return place_name(paths[0])
    return f"{len(paths)}-{hashlib.sha256('|'.join(paths).encode()).hexdigest()[:8]}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare what the command line names, and print the result."""
    parser = argparse.ArgumentParser(
        prog="python -m visionlab.compare",
        description="Lay runs and sweeps side by side: a page with a sortable table, curves, costs and a paired test "
        "of who is really better, and the same as CSV and as a table for LaTeX.",
        epilog="example: python -m visionlab.compare outputs/cifar10-simple_cnn-* outputs/sweeps/lr",
    )
    parser.add_argument(
        "directories", nargs="+", type=Path, metavar="DIR", help="a run, a sweep, or a folder of either"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to write (outputs/comparisons/<name>)")
    asked = parser.parse_args(arguments)
    _print(compare(*asked.directories, out=asked.out))


def _print(found: Comparison) -> None:
    """Print the best runs, who is really better, and where the page lies, in 80 columns."""
    from rich.console import Console
    from rich.table import Table

    from visionlab.reports.numbers import duration, of_metric, short
    from visionlab.reports.verdicts import sentences, without

    console = Console(highlight=False, markup=False)  # names may hold brackets
    console = console if console.width <= 80 else Console(width=80, highlight=False, markup=False)
    table = Table(box=None, pad_edge=False)
    table.add_column("run", max_width=36, overflow="fold")  # its end tells it from others
    shown = _shown(found.metric)
    for head in (*shown, "parameters", "time"):
        table.add_column(head, justify="right", no_wrap=True)
    known = sorted(found.rows, key=lambda row: -(row.get(found.metric) or -1))
    for row in known[:20]:
        name = row["run"] if row["status"] == "completed" else f"{row['run']} ({row['status']})"
        table.add_row(
            name,
            *(of_metric(key, row.get(key)) for key in shown.values()),
            short(row["parameters"]),
            duration(row["fit_seconds"]),
        )
    console.print(table)
    if len(known) > 20:
        console.print(f"and {len(known) - 20} more", style="dim")
    if repeated := [row for row in found.experiments if row["runs"] > 1]:
        console.print()
        console.print(_means(repeated, shown))
    for text in filter(None, [*sentences(found.tests), without(found.untested)] if found.tests else []):
        console.print(text, markup=False)
    for path in (found.page, found.csv, found.tex):
        console.print(str(path), style=f"link {path.resolve().as_uri()}", soft_wrap=True, markup=False)


def _shown(metric: str) -> dict[str, str]:
    """Return what of each run is printed, by the heads of its columns."""
    if metric.endswith("/auc"):
        return {"test auc": "test/auc", "val auc": "val/auc"}
    return {"test": "test/acc", "val": "val/acc"}


def _means(repetitions: list[dict[str, Any]], shown: Mapping[str, str]) -> "Table":
    """Return the table of the experiments that were repeated."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("mean over seeds or folds", max_width=36, overflow="fold")
    table.add_column("runs", justify="right")
    for head in shown:
        table.add_column(head, justify="right", no_wrap=True)
    for row in repetitions[:20]:
        cells = (_mean(key, row.get(key), row.get(f"{key} sd")) for key in shown.values())
        table.add_row(row["experiment"], str(row["runs"]), *cells)
    return table


def _mean(metric: str, mean: float | None, deviation: float | None) -> str:
    from visionlab.reports.numbers import of_metric, spread

    value, unit, _ = of_metric(metric, mean).partition("\u00a0%")
    return value + unit if mean is None or deviation is None else f"{value} {spread(metric, deviation)}{unit}"


doors.callable_module(__name__)

if __name__ == "__main__":
    doors.enter(main)
