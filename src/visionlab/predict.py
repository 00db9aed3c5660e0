"""Name the classes of images with one trained run or several: `python -m visionlab.predict run=... source=...`."""

import logging
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig

from visionlab import doors
from visionlab.checks import check_keys
from visionlab.config import resolved
from visionlab.out_folder import out_folder
from visionlab.schema import YES_NO, Choice, Number, Text, violations

if TYPE_CHECKING:
    from rich.console import Console

    from visionlab.prediction.members import Given
    from visionlab.prediction.threshold import Decisive

log = logging.getLogger(__name__)
RULES: dict[str, Number | Choice | Text] = {
    "tta": YES_NO,
    "gradcam": YES_NO,
    "probabilities": YES_NO,
    "submission": Text(or_null=True),
    "batch_size": Number(1, whole=True, or_null=True),
    "accelerator": Text(or_null=True),
}
IN_FULL, SHOWN = 4, 20  # so many images with all their classes, so many with a line each; the rest is counted
NAME, CLASS = 30, 24  # columns of an image's name, of a class's, at most


def predict(
    run: "Given | Sequence[Given]",
    source: str | Path,
    *,
    tta: bool = False,
    gradcam: bool = False,
    probabilities: bool = False,
    submission: str | Path | None = None,
    threshold: "Decisive | None" = None,
    batch_size: int | None = None,
    accelerator: str | None = None,
    out: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Name the classes of images.

    Args:
        run: The run or its directory; or several of the same classes, whose probabilities are averaged: a list of them,
            or the directory of a sweep, which stands for the runs of its best trial.
        source: An image, a folder (all images anywhere below it) or a pattern such as `photos/**/*.jpg`.
        tta: Average the probabilities of each image and of its mirror image (left for right).
        gradcam: Write for each image where the network sees the class, as PNG files below `out`/gradcam; of one run.
        probabilities: Tell the probability of each class, not of the most probable ones alone.
        submission: The sample of a submission, a CSV file; `out`/submission.csv then has its header and, in its order,
            its ids: images' names below the source, with or without their ending. Of two columns the second is the
            predicted class; more are the probabilities of the classes that they are named by.
        threshold: Of two classes, from which probability of one of them on an image is taken for it, such as
            `{"melanoma": 0.31}` or "melanoma:0.31"; unless given, the more probable class is named.
        batch_size: Images a batch; as the run was trained unless given, of several runs the smallest.
        accelerator: Where to compute; as each run was trained unless given.
        out: A folder for predictions.csv and predictions.json.

    Returns:
        A record for each image that could be read: `image`, `predicted`, `confidence`, and `top`, a list of the five
        most probable classes with `class` and `confidence`; with a threshold the predicted one is the first of them,
        also where the other is more probable. Where they are asked for, `probabilities` has the number of each class by
        its name, in the order of the (first) run. A file that cannot be read is named in the log.

    Raises:
        RunError: No run lies there, or a sweep without a complete trial.
        DataError: The source has no image, or none that can be read, or lacks one of the submission's.
        ConfigError: The runs have different classes; files are asked for without a folder; pictures are asked for of
            several networks, or of one without convolutions; the sample is none of a submission; or the threshold is
            none of one of two classes.
    """
    from visionlab.prediction.stream import stream

    records = []
    how: dict[str, Any] = {
        "tta": tta,
        "gradcam": gradcam,
        "probabilities": probabilities,
        "submission": str(submission) if isinstance(submission, Path) else submission,
        "threshold": threshold,
        "batch_size": batch_size,
        "accelerator": accelerator,
    }
    for error in violations(how, RULES):
        raise error
    for part in stream(run, source, out=out, **how):
        records += part.records
        for bad in part.skipped:
            log.warning("%s is skipped: %s", bad["image"], bad["reason"])
    return records


@hydra.main(version_base="1.3", config_path="pkg://visionlab.conf", config_name="predict")
def job(config: DictConfig) -> None:
    """Predict what a command line asks for, with a bar, and print the first of it."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    asked = resolved(config)
    check_keys(asked, "predict")
    for error in violations(asked, RULES):
        raise error
    from visionlab.prediction.members import classes, members
    from visionlab.prediction.stream import stream
    from visionlab.prediction.threshold import Threshold

    given = asked.pop("run")
    runs = members(given if isinstance(given, list) else str(given))
    warnings.filterwarnings("ignore", module="PIL")  # about odd metadata in images that it reads all the same
    console = Console(highlight=False)
    first: list[dict[str, Any]] = []
    skipped: list[dict[str, str]] = []
    counts: Counter[str] = Counter()
    columns = (TextColumn("predicting"), BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.file.isatty()) as bar:
        task = bar.add_task("", total=None)
        for part in stream(runs, str(asked.pop("source")), **asked):
            first += part.records[: SHOWN - len(first)]
            counts.update(record["predicted"] for record in part.records)
            for bad in part.skipped:
                bar.console.print(f"skipped {bad['image']}: {bad['reason']}", markup=False, soft_wrap=True)
            skipped += part.skipped
            bar.update(task, total=part.total, advance=len(part.records) + len(part.skipped))
    _show(console, first, counts, len(skipped), written=asked["out"] is not None)
    if not isinstance(given, list) and runs[0].dir != Path(str(given)) and len(runs) == 1:
        console.print(f"The best run of the sweep was used, {runs[0].dir}", markup=False, soft_wrap=True)
    together = [f"of {len(runs)} networks"] if len(runs) > 1 else []
    if averaged := [*together, *(["over the image and its mirror image"] if asked["tta"] else [])]:
        console.print(f"Each confidence is the mean {', '.join(averaged)}.")
    if threshold := Threshold.read(asked["threshold"], classes(runs[0])):
        console.print(f"Taken for {threshold}.", markup=False)
    if asked["out"] is not None:
        further = {"gradcam": asked["gradcam"], "submission.csv": asked["submission"]}
        for name in ("predictions.csv", "predictions.json", *(name for name in further if further[name])):
            path = out_folder(asked["out"]) / name
            console.print(str(path), style=f"link {path.resolve().as_uri()}", markup=False, soft_wrap=True)


def _show(
    console: "Console", first: Sequence[Mapping[str, Any]], counts: Counter[str], skipped: int, *, written: bool
) -> None:
    """Print a table of at most 80 columns and what the rest came to."""
    from rich.table import Table
    from rich.text import Text

    images = counts.total()
    in_full = images <= IN_FULL
    table = Table(box=None, pad_edge=False, width=min(80, console.width))
    table.add_column("image", max_width=NAME, no_wrap=True)
    ratio, most = (1, None) if in_full else (None, CLASS)  # the room beside is the bar's, or the further classes'
    table.add_column("class", overflow="ellipsis", no_wrap=True, ratio=ratio, max_width=most)
    table.add_column("confidence", justify="right", no_wrap=True)
    table.add_column("" if in_full else "then", overflow="ellipsis", no_wrap=True, ratio=1)
    for record in first:
        best, *others = record["top"]
        name = Text(_end_of(record["image"], NAME))
        if in_full:
            table.add_row(name, Text(best["class"], "bold"), _percent(best), _bar(best))
            for each in others:
                table.add_row("", Text(each["class"]), _percent(each), _bar(each))
        else:
            then = ", ".join(f"{each['class']} ({_percent(each)})" for each in others)
            table.add_row(name, Text(best["class"]), _percent(best), Text(then, "dim"))
    console.print(table)
    if images > len(first):
        console.print(f"and {images - len(first):,} more{'' if written else '; out=<folder> writes all'}", style="dim")
    if not in_full:
        first_few = ", ".join(f"{name} ({count:,})" for name, count in counts.most_common(8))
        rest = f" and {len(counts) - 8} other classes" if len(counts) > 8 else ""
        console.print(f"{images:,} images, named {first_few}{rest}", markup=False)
    if skipped:
        what = "file could not be read and was" if skipped == 1 else "files could not be read and were"
        console.print(f"{skipped:,} {what} skipped.")


def _end_of(path: str, width: int) -> str:
    """Shorten a path from its front, as the end tells images apart; a Chinese character takes two columns."""
    from rich.cells import cell_len

    if cell_len(path) <= width:
        return path
    while cell_len(path) >= width:
        path = path[1:]
    return f"…{path}"


def _percent(each: Mapping[str, Any]) -> str:
    return f"{100 * each['confidence']:.1f} %"


def _bar(each: Mapping[str, Any]) -> str:
    return "▇" * round(16 * float(each["confidence"]))


def main() -> None:
    """Enter from the command line."""
    doors.enter(job)


doors.callable_module(__name__)

if __name__ == "__main__":
    main()
