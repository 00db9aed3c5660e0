"""What the terminal shows at the end of a run: the figures, the time, and where to look further."""

import io
import sys
from datetime import datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from visionlab.reports.reading import Reading
from visionlab.runs import Run

NAMES = (
    ("acc", "accuracy"),
    ("top5", "top-5"),
    ("f1", "F1 (macro)"),
    ("balanced_acc", "balanced accuracy"),
    ("auc", "area under the curve"),
    ("loss", "loss"),
)


def finished(run: Run, console: Console | None = None) -> None:
    """Print the closing table of a run that has just completed."""
    console = console or _console()
    result = run.result
    metrics, data, accuracies = result["metrics"], result["data"], Reading(run.dir).accuracies
    images = result.get("evaluated_images", data)
    splits = [split for split in ("val", "test") if f"{split}/acc" in metrics]
    table = Table(title=f"{data['name']} / {result['model']['name']}", title_justify="left", box=None, pad_edge=False)
    table.add_column("")
    for split in splits:
        table.add_column(f"{split} ({images[split]:,} images)", justify="right")
    for key, label in NAMES:
        if any(f"{split}/{key}" in metrics for split in splits):
            form = "{:.4f}" if key in ("auc", "loss") else "{:.2%}"
            known = (metrics.get(f"{split}/{key}") for split in splits)  # a split of one class has no auc
            table.add_row(label, *("" if value is None else form.format(value).replace("%", " %") for value in known))
        if key == "acc":
            ends = (accuracies[split].ends for split in splits)
            table.add_row("  95 % interval", *(f"{each} %" if each else "" for each in ends))
    console.print()
    console.print(table)
    if "test" not in splits and not data.get("test"):
        words = "The set has no test split; these are validation figures. data.test_fraction=0.2 holds one back."
        console.print(words, style="dim")
    if never := _never_predicted(run):
        few = ", ".join(never[:5] + ["..."] * (len(never) > 5))
        words = f"Never predicted: {few} ({len(never)} of {len(data['classes'])} classes), though there are images of "
        console.print(f"{words}{'it' if len(never) == 1 else 'each'}.", style="yellow")
    _where(run, console)


def remembered(run: Run, changes: list[str], console: Console | None = None) -> None:
    """Print the closing table of a run that had been completed before, and how to train again."""
    console = console or _console()
    finished(run, console)
    when = datetime.fromisoformat(run.result["started"]).astimezone().strftime("%d %B %Y, %H:%M")
    console.print(f"Remembered from {when}; nothing was trained. To train again:", Text("force=true", "bold"))
    for change in changes:
        console.print(f"since then: {change}", style="yellow")


def _never_predicted(run: Run) -> list[str]:
    """Return the classes that no evaluated image was taken for, of those that there are images of."""
    names, counts = Reading(run.dir).confusion  # a row a true class
    return [name for name, true, said in zip(names, counts.sum(1), counts.sum(0), strict=True) if true and not said]


def _console() -> Console:
    """Return the console to print on; in a notebook rich would pass over the file that a sweep's job prints to."""
    to_file = isinstance(sys.stdout, io.TextIOWrapper)
    return Console(highlight=False, markup=False, force_jupyter=False if to_file else None)  # names may hold brackets


def _where(run: Run, console: Console) -> None:
    result = run.result
    seconds, epochs = result["seconds"], result["epochs"]
    lines = Table.grid(padding=(0, 2))
    lines.add_row(
        "time",
        f"{seconds['fit']:.1f} s for {epochs} epoch{'s' * (epochs != 1)}, {seconds['total']:.1f} s in all; "
        f"best epoch {result['best_epoch'] + 1}",
    )
    lines.add_row("run", _path(run.dir))
    lines.add_row("page", _path(run.page))
    if any(run.dir.glob("events.out.tfevents.*")):
        lines.add_row("curves", Text(f"tensorboard --logdir {_short(run.dir.parent)}", style="bold"))
    console.print(lines)


def _path(path: Path) -> Text:
    return Text(_short(path), style=f"link {path.resolve().as_uri()}", overflow="fold")


def _short(path: Path) -> str:
    """Return a path relative to the working directory where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
