"""The table of a reproduction: what a report printed, what came out here, and what it took."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from visionlab.runs import Run


@dataclass
class Row:
    """A system of a report.

    Attributes:
        experiment: Its file in conf/experiment.
        command: What runs it.
        printed: What the report printed, by metric.
        source: Where the report printed it.
        runs: Its completed runs, one a seed.
        epochs: Epochs that each was given, where that is fewer than the report's; else None.
        stand_in: The folder that stood in for images that are not public; else None.
        missing: Why there is no run.
    """

    experiment: str
    command: str
    printed: dict[str, float] = field(default_factory=dict)
    source: str = ""
    runs: list[Run] = field(default_factory=list)
    epochs: int | None = None
    stand_in: str | None = None
    missing: str = ""

    @property
    def metric(self) -> str:
        """What is compared: the test accuracy where the report printed one, else validation's."""
        have = [run.result["metrics"] for run in self.runs]
        wanted = ("test/acc", "val/acc") if "test/acc" in self.printed or not self.printed else ("val/acc", "test/acc")
        return next((name for name in wanted if have and all(name in metrics for metrics in have)), wanted[0])

    @property
    def values(self) -> list[float]:
        """The metric of each run."""
        return [run.result["metrics"][self.metric] for run in self.runs]


def markdown(rows: Sequence[Row], *, heading: str) -> str:
    """Return the table as a Markdown page."""
    head = ["system", "metric", "printed", "ours", "n", "difference", "seconds a run", "remarks"]
    lines = [heading, "", f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
    for row in rows:
        lines.append(f"| {' | '.join(_cells(row))} |")
    return "\n".join([*lines, "", "Each row again: `python -m visionlab.reproduce <system>`.", ""])


def _cells(row: Row) -> list[str]:
    printed, values = row.printed.get(row.metric), row.values
    ours = difference = seconds = ""
    if values:
        mean = statistics.mean(values)
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        ours, difference = f"{mean:.3f}{spread}", "" if printed is None else f"{mean - printed:+.3f}"
        seconds = f"{statistics.mean(run.result['seconds']['total'] for run in row.runs):,.0f}"
    remarks = [row.missing] if row.missing else []
    if row.epochs:
        asked = row.runs[0].config["trainer"]["max_epochs"] if row.runs else row.epochs
        remarks.append(f"shortened to {asked} epochs: not the report's training")
    if row.stand_in:
        remarks.append(f"on {row.stand_in} instead of the report's photographs")
    shown = "" if printed is None else f"{printed:.3f}"
    return [
        f"`{row.experiment}`",
        row.metric,
        shown,
        ours,
        str(len(values) or ""),
        difference,
        seconds,
        "; ".join(remarks),
    ]
