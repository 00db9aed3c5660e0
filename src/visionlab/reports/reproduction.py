"""The page of a reproduction: what a report printed, what came out here, and what it took."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from visionlab.runs import Run

MADE = "Made by `python -m visionlab.reproduce`"
HEAD = ("system", "metric", "printed", "ours", "n", "difference", "time", "measured", "remarks", "overrides")


@dataclass
class Row:
    """A system of a report.

    Attributes:
        experiment: Its file in conf/experiment.
        settings: What differs from that file, where the row is a trial of a search.
        command: What runs it.
        printed: What the report printed, by metric.
        source: Where the report printed it.
        note: What the figures do not say: contradictions in the report, known reasons for a difference.
        runs: Its completed runs, one a seed and otherwise alike.
        epochs: Epochs of the report's training.
        fraction: Share of the training images that it saw.
        image_size: Side of its images, px.
        precision: Its numerical precision.
        compiled: Whether its network goes through torch.compile.
        stand_ins: What was used in place of images or weights that are not public.
        missing: Why there is no run, or no more of them.
    """

    experiment: str
    settings: dict[str, Any] = field(default_factory=dict)
    command: str = ""
    printed: dict[str, float] = field(default_factory=dict)
    source: str = ""
    note: str = ""
    runs: list[Run] = field(default_factory=list)
    epochs: int = 0
    fraction: float = 1.0
    image_size: Any = None
    precision: str = "32-true"
    compiled: bool = False
    stand_ins: list[str] = field(default_factory=list)
    missing: str = ""

    @property
    def system(self) -> str:
        """Its experiment, and how it differs from that."""
        changed = ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in self.settings.items())
        return f"`{self.experiment}`" + (f" with {changed}" if changed else "")

    @property
    def metric(self) -> str:
        """What is compared: the test accuracy where the report printed one or nothing, else validation's."""
        have = [run.result["metrics"] for run in self.runs]
        wanted = ("test/acc", "val/acc") if "test/acc" in self.printed or not self.printed else ("val/acc", "test/acc")
        return next((name for name in wanted if have and all(name in metrics for metrics in have)), wanted[0])

    @property
    def values(self) -> list[float]:
        """The metric of each run."""
        return [run.result["metrics"][self.metric] for run in self.runs]

    @property
    def cuts(self) -> list[str]:
        """By what its runs were given less than the report's."""
        if not self.runs:
            return []
        data, epochs = self.runs[0].config["data"], self.runs[0].config["trainer"]["max_epochs"]
        fraction, size = data["train_fraction"], data["image_size"]
        return [
            *([f"shortened to {epochs} of {self.epochs} epochs"] if epochs < self.epochs else []),
            *([f"on {fraction:g} of the training images"] if fraction < self.fraction else []),
            *([f"at {size} instead of {self.image_size} px"] if size != self.image_size else []),
        ]

    @property
    def computed(self) -> str:
        """How its runs were computed, where that is another way than the row's."""
        trainer, model = self.runs[0].config["trainer"], self.runs[0].config["model"]
        ways = [
            *([f"in {trainer['precision']}"] if trainer["precision"] != self.precision else []),
            *(
                [f"{'with' if model['compile'] else 'without'} torch.compile"]
                if model["compile"] != self.compiled
                else []
            ),
        ]
        return f"computed {' and '.join(ways)}" if ways else ""

    @property
    def error(self) -> float:
        """Standard error, by the number of images alone, of the difference from the printed figure.

        That is one run's on as many images. The mean over seeds has about the same error, however many they are: all
        are evaluated on the same images.
        """
        share = min(max(statistics.mean(self.values), 0.01), 0.99)
        result = self.runs[0].result
        images = result.get("evaluated_images", result["data"])[self.metric.partition("/")[0]]
        return math.sqrt(2 * share * (1 - share) / images)

    def whole(self, run: Run) -> float:
        """Estimate the minutes of its whole training by the pace of a run that was given less, or of a sibling's.

        A training image counts as three of validation, for its way forward, back, and to the weights.
        """
        data, counts, fit = run.config["data"], run.result["data"], run.result["seconds"]["fit"]
        images = 3 * counts["train"] * self.fraction / data["train_fraction"] + counts["val"]
        more = images / (3 * counts["train"] + counts["val"]) * _pixels(self.image_size) / _pixels(data["image_size"])
        return float(fit / run.result["epochs"] * self.epochs * more / 60)


def _pixels(size: Any) -> int:
    """Count the pixels of an image of a side or of (height, width)."""
    return math.prod(size) if isinstance(size, Sequence) else size**2


def markdown(rows: Sequence[Row], *, today: str, remark: str = "", standing: str = "") -> str:
    """Return the page in Markdown: a table for each report, and what holds for all of them.

    Args:
        rows: The systems.
        today: The date of the page.
        remark: A paragraph about what was at hand, as of the images.
        standing: The page of an earlier day or of another machine. Its lines stay where there is no run now, or only a
            shortened one beside a whole one; so does its remark where none is given.
    """
    remark, lines = remark or _remark(standing), _lines(standing)
    for row in rows:
        before = lines.get(row.system, "")
        whole = before and "**" not in before and _cell(before, "ours")
        if not before or (row.runs and not (whole and row.cuts)):
            lines[row.system] = f"| {' | '.join(_cells(row, rows))} |"
    page = [
        "# What the reports printed, and what came out here",
        "",
        f"{MADE} on {today}.",
        *(["", remark] if remark else []),
        "",
        "- *ours* is the mean over n seeds ± their standard deviation, of the epoch that was best on validation.",
        "- *difference* is ours less what was printed, and in brackets how many of its standard errors that is, by the",
        "  number of images alone: all seeds of ours see the same images, so more of them do not lower it, and the",
        "  printed figure is one run, whose seed adds to it. Below 2 is within the noise.",
        "- A row whose training was shortened, or that stands on other images or weights, is not the report's: it has",
        "  no difference, and shows that the system runs.",
        "- *time* is of one run, in minutes; in brackets the report's whole training, estimated from the pace of what",
        "  was run, by epochs, images and pixels. *measured* is when its last run began, and on what.",
        "- A row's command is `python -m visionlab.train` and its last column.",
    ]
    for report in sorted({system[1:4] for system in lines}):
        page += ["", f"## Report {report}", "", f"| {' | '.join(HEAD)} |", "|" + " --- |" * len(HEAD)]
        # The trials of a system stay in the order in which its file lists them.
        page += [lines[system] for system in sorted(lines, key=_experiment) if system[1:4] == report]
    return "\n".join([*page, ""])


def _lines(page: str) -> dict[str, str]:
    """Return the lines of a page's tables by system."""
    return {line.split(" | ")[0].removeprefix("| "): line for line in page.splitlines() if line.startswith("| `")}


def _cell(line: str, column: str) -> str:
    """Return what a line of a table has in a column."""
    return line.split("|")[HEAD.index(column) + 1].strip()


def _remark(page: str) -> str:
    """Return the paragraph of a page about what was at hand, if it has one."""
    paragraphs = page.split("\n\n")
    made = next((i for i, text in enumerate(paragraphs) if text.startswith(MADE)), None)
    after = "" if made is None else paragraphs[made + 1]
    return "" if after.startswith("- ") else after


def _experiment(system: str) -> str:
    """Return the experiment of a system's name."""
    return system.split("`")[1]


def _measured(run: Run) -> str:
    """Return when and on what a run was computed, by its own record."""
    where, day = run.result["environment"], datetime.fromisoformat(run.result["started"]).strftime("%d %B %Y")
    return f"{day.lstrip('0')}; {where['device']} ({where['cores']} cores), torch {where['versions']['torch']}"


def _minutes(row: Row, rows: Sequence[Row]) -> str:
    """Return what a run took and, where that was less than the report's or nothing, what all of it would."""
    took = [run.result["seconds"]["total"] / 60 for run in row.runs]
    if took and not row.cuts:
        return f"{statistics.mean(took):,.1f}"
    paces = row.runs or [run for other in rows if other.experiment == row.experiment for run in other.runs]
    whole = f"({row.whole(paces[0]):,.0f})" if paces else ""
    return " ".join([*([f"{statistics.mean(took):,.1f}"] if took else []), *([whole] if whole else [])])


def _cells(row: Row, rows: Sequence[Row]) -> list[str]:
    printed, values = row.printed.get(row.metric), row.values
    ours = difference = ""
    if values:
        mean = statistics.mean(values)
        spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
        ours = f"{mean:.3f}{spread}"
        if printed is not None and not row.cuts and not row.stand_ins:
            difference = f"{mean - printed:+.3f} ({abs(mean - printed) / row.error:.1f})"
    remarks = [row.missing] if row.missing else []
    remarks += [f"**{cut}**" for cut in row.cuts]
    if row.runs:
        remarks += row.stand_ins
        remarks += [row.computed] if row.computed else []
    remarks += [row.note] if row.note else []
    return [
        row.system,
        row.metric,
        "" if printed is None else f"{printed:.3f}",
        ours,
        str(len(values) or ""),
        difference,
        _minutes(row, rows),
        _measured(max(row.runs, key=lambda run: str(run.result["started"]))) if row.runs else "",
        "; ".join(remarks),
        f"`{row.command.removeprefix('python -m visionlab.train ')}`",
    ]
