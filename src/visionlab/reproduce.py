"""Regenerate the five reports: `python -m visionlab.reproduce`, or one of them: `... reproduce 002`.

Every file of conf/experiment is a system of a report. What is complete is answered from memory, what is missing is
trained, and one page and one Markdown table put ours beside what was printed.
"""

import argparse
import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from visionlab import doors, runs
from visionlab.config import choices, compose, resolved
from visionlab.errors import ConfigError, UserError, nearest
from visionlab.reports.reproduction import Row, markdown
from visionlab.runs import Run


def reproduce(
    *which: str,
    data: str | Path = "data",
    photos: str | Path | None = None,
    seeds: int = 1,
    epochs: int | None = None,
    outputs: str | Path = "outputs",
    only_table: bool = False,
    extra: Sequence[str] = (),
) -> list[Row]:
    """Run what is missing of the reports' systems and return a row for each.

    Args:
        which: Systems (`002_alexnet`) or beginnings of their names (`002`); all of them unless given.
        data: The folder that holds the sets as `cifar10`, `tiny_imagenet10`, `caltech101`.
        photos: A folder of images in class folders, standing in for photographs that are not public.
        seeds: Runs of each system, with seeds that follow the experiment's own.
        epochs: Shorten every training to so many epochs; such rows are marked and are not the report's.
        outputs: Where the runs live.
        only_table: Train nothing; only gather what is complete.
        extra: Further overrides for all.

    Raises:
        ConfigError: A name fits no experiment.
    """
    return [
        _row(name, data=Path(data), photos=photos, seeds=seeds, epochs=epochs, outputs=outputs, only_table=only_table,
             extra=extra)
        for name in _chosen(which)
    ]  # fmt: skip


def _chosen(which: Sequence[str]) -> list[str]:
    known = choices("experiment")
    for name in which:
        if not any(one.startswith(name) for one in known):
            raise ConfigError(
                f"no experiment begins with '{name}'", where="conf/experiment", remedy=nearest(name, known)
            )
    exact, beginnings = set(which) & set(known), tuple(set(which) - set(known))
    return [one for one in known if not which or one in exact or (beginnings and one.startswith(beginnings))]


def _row(
    name: str,
    *,
    data: Path,
    photos: str | Path | None,
    seeds: int,
    epochs: int | None,
    outputs: str | Path,
    only_table: bool,
    extra: Sequence[str],
) -> Row:
    from visionlab.train import train

    overrides = [f"experiment={name}", f"outputs={outputs}", *extra]
    config = compose([*overrides, "data.root=unknown"])
    reference = dict(config.reference or {})
    row = Row(name, "", source=str(reference.pop("source", "")), epochs=epochs)
    row.printed = {key: float(value) for key, value in reference.items()}
    if config.data.name == "folder":
        if photos is None:
            row.missing = "its photographs are not public; give --photos <folder> for a stand-in"
            return row
        # The stand-in has other sizes than the ones that report 004 kept.
        overrides += [f"data.root={photos}", "data.keep_sizes=null"]
        row.stand_in = Path(photos).name
    else:
        overrides.append(f"data.root={data / config.data.name}")
    if epochs is not None:
        overrides.append(f"trainer.max_epochs={min(epochs, config.trainer.max_epochs)}")
        row.epochs = epochs if epochs < config.trainer.max_epochs else None
    row.command = " ".join(["python -m visionlab.train", *overrides])
    for seed in range(config.seed, config.seed + seeds):
        seeded = [*overrides, f"seed={seed}"]
        run = Run(Path(outputs) / runs.name(resolved(compose(seeded))))
        if run.status != "completed":
            if only_table:
                row.missing = "not run yet"
                continue
            try:
                run = train(seeded)
            except UserError as error:
                row.missing = error.what
                break
        row.runs.append(run)
    if row.runs:
        row.missing = ""
    return row


def main(arguments: Sequence[str] | None = None) -> None:
    """Reproduce what the command line names; write the table and the page."""
    parser = argparse.ArgumentParser(prog="python -m visionlab.reproduce", description=__doc__)
    parser.add_argument("which", nargs="*", help="reports or systems: 002, 003_alexnet_scratch; all unless given")
    parser.add_argument("--data", default="data", help="folder with cifar10/, tiny_imagenet10/, caltech101/")
    parser.add_argument("--photos", help="folder with a folder of images for each class, for reports 000 and 004")
    parser.add_argument("--seeds", type=int, default=1, help="runs of each system")
    parser.add_argument("--epochs", type=int, help="shorten every training; such rows are marked")
    parser.add_argument("--outputs", default="outputs", help="where the runs live")
    parser.add_argument("--only-table", action="store_true", help="train nothing; gather what is complete")
    parser.add_argument("--table", type=Path, help="Markdown file to write (<outputs>/reproduction.md)")
    asked = parser.parse_args(arguments)
    rows = reproduce(
        *asked.which, data=asked.data, photos=asked.photos, seeds=asked.seeds, epochs=asked.epochs,
        outputs=asked.outputs, only_table=asked.only_table,
    )  # fmt: skip
    now = datetime.now(UTC).strftime("%d %B %Y")
    heading = (
        "# What the reports printed, and what came out here\n\n"
        f"Made by `python -m visionlab.reproduce` on {now}, {platform.machine()}, see each run's page for the rest.\n"
        "`ours` is the mean over n seeds ± their standard deviation, with the epoch that was best on validation."
    )
    text = markdown(rows, heading=heading)
    table = asked.table or Path(asked.outputs) / "reproduction.md"
    runs.write_atomically(table, text)
    print(text)
    complete = [run.dir for row in rows for run in row.runs]
    if complete:
        from visionlab.compare import compare

        found = compare(*complete, out=Path(asked.outputs) / "comparisons" / "reproduction")
        print(found.page)
    print(table)


doors.callable_module(__name__)

if __name__ == "__main__":
    doors.enter(main)
