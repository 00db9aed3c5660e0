"""The table of a comparison for a paper: LaTeX, with the rules of the package booktabs."""

from collections.abc import Mapping, Sequence
from typing import Any

from visionlab.reports.numbers import is_share

SPECIAL = str.maketrans(
    {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
    | {c: f"\\{c}" for c in "_%&#${}"}
)
METRICS = {
    "test/acc": "test accuracy (\\%)",
    "val/acc": "validation accuracy (\\%)",
    "test/auc": "test AUC",
    "val/auc": "validation AUC",
}


def write(experiments: Sequence[Mapping[str, Any]]) -> str:
    """Return a tabular with a row an experiment, see `visionlab.reports.verdicts.experiments`.

    A figure is the mean over the runs, with their standard deviation where there are several.
    """
    metrics = [name for name in METRICS if any(row.get(name) is not None for row in experiments)]
    repeated = any(row["runs"] > 1 for row in experiments)
    heads = ["", *(["runs"] if repeated else []), *(METRICS[name] for name in metrics), "parameters", "time (min)"]
    lines = [
        "% \\usepackage{booktabs}",
        *(["% mean and standard deviation (n - 1) of single runs over seeds or folds"] if repeated else []),
        f"\\begin{{tabular}}{{l{'r' * (len(heads) - 1)}}}",
        "\\toprule",
        _row(heads),
        "\\midrule",
    ]
    for row in experiments:
        figures = (_figure(name, row[name], row[f"{name} sd"]) for name in metrics)
        parameters, seconds = row["parameters"], row["seconds"]
        cost = ("--" if parameters is None else f"{parameters:,}", "--" if seconds is None else _minutes(seconds))
        lines.append(_row([escaped(row["experiment"]), *([str(row["runs"])] if repeated else []), *figures, *cost]))
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}", ""])


def escaped(text: str) -> str:
    """Return a text as LaTeX prints it."""
    return text.translate(SPECIAL)


def _row(cells: Sequence[str]) -> str:
    return " & ".join(cells) + " \\\\"


def _minutes(seconds: float) -> str:
    minutes = seconds / 60
    return f"{minutes:,.0f}" if minutes >= 100 else f"{minutes:.1f}" if minutes >= 1 else f"{minutes:.2g}"


def _figure(metric: str, mean: float | None, deviation: float | None) -> str:
    if mean is None:
        return "--"
    scale, digits = (100, 2) if is_share(metric) else (1, 4)
    spread = "" if deviation is None else f" \\pm {scale * deviation:.{digits}f}"
    return f"${scale * mean:.{digits}f}{spread}$"
