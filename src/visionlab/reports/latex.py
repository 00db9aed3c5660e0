"""The table of a comparison for a paper: LaTeX, with the rules of the package booktabs."""

from collections.abc import Mapping, Sequence
from typing import Any

SPECIAL = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {c: f"\\{c}" for c in "_%&#${}"}
)
SPLITS = {"test": "test accuracy (\\%)", "val": "validation accuracy (\\%)"}


def write(experiments: Sequence[Mapping[str, Any]]) -> str:
    """Return a tabular with a row an experiment, see `visionlab.reports.verdicts.experiments`.

    An accuracy is the mean over the runs, with their standard deviation where there are several.
    """
    splits = [split for split in SPLITS if any(row[f"{split}/acc"] is not None for row in experiments)]
    repeated = any(row["runs"] > 1 for row in experiments)
    heads = ["", *(["runs"] if repeated else []), *(SPLITS[split] for split in splits), "parameters", "time (min)"]
    lines = [
        "% \\usepackage{booktabs}",
        *(["% mean and standard deviation (n - 1) of single runs over seeds or folds"] if repeated else []),
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "\\toprule",
        _row(heads),
        "\\midrule",
    ]
    for row in experiments:
        accuracies = (_accuracy(row[f"{split}/acc"], row[f"{split}/acc sd"]) for split in splits)
        parameters, seconds = row["parameters"], row["seconds"]
        cost = ("--" if parameters is None else f"{parameters:,}", "--" if seconds is None else _minutes(seconds))
        lines.append(_row([escaped(row["experiment"]), *([str(row["runs"])] if repeated else []), *accuracies, *cost]))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def escaped(text: str) -> str:
    """Return a text as LaTeX prints it."""
    return text.translate(SPECIAL)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:,.0f}" if minutes >= 100 else f"{minutes:.1f}" if minutes >= 1 else f"{minutes:.2g}"


def _accuracy(mean: float | None, deviation: float | None) -> str:
    spread = "" if deviation is None else f" \\pm {100 * deviation:.2f}"
    return "--" if mean is None else f"${100 * mean:.2f}{spread}$"
