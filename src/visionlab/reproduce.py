"""Regenerate the five reports: `python -m visionlab.reproduce`, or one of them: `... reproduce 002`.

Every file of conf/experiment is a system of a report. What is complete is answered from memory, what is missing is
trained, and one page and one Markdown table put ours beside what was printed.
"""

import argparse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

from omegaconf import DictConfig

from visionlab import doors, runs
from visionlab.config import choices, compose, resolved
from visionlab.errors import ConfigError, UserError, nearest
from visionlab.reports.reproduction import Row, markdown
from visionlab.runs import Run


def reproduce(
    *which: str,
    data: str | Path = "data",
    photos: Mapping[str, str | Path] | None = None,
    weights: Mapping[str, str | Path] | None = None,
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
        photos: For reports (`000`), a folder of images in class folders, standing in for photographs that are not
            public.
        weights: For names of networks, a weights file or a run directory, standing in for ImageNet's weights.
        seeds: Runs of each system, with seeds that follow the experiment's own.
        epochs: Shorten every training to so many epochs; such rows are marked and are not the report's.
        outputs: Where the runs live.
        only_table: Train nothing; gather what is complete, whatever its seed, and of each system what was trained
            longest.
        extra: Further overrides for all.

    Raises:
        ConfigError: A name fits no experiment.
    """
    from visionlab.train import train

    rows = []
    for name in _chosen(which):
        row, overrides = _ask(name, Path(data), photos or {}, weights or {}, [f"outputs={outputs}", *extra])
        rows.append(row)
        if row.missing:
            continue
        if only_table:
            config = compose(overrides)
            row.runs = _longest(config, Path(outputs))
            if not row.runs:
                needed = ", and needs torchvision's ImageNet weights" if config.model.weights == "imagenet" else ""
                row.missing = f"not run{needed}"
            continue
        if epochs is not None:
            overrides.append(f"trainer.max_epochs={min(epochs, row.epochs)}")
        first = compose(overrides).seed
        for seed in range(first, first + seeds):
            try:
                row.runs.append(train([*overrides, f"seed={seed}"]))
            except UserError as error:
                row.missing = error.what
                break
    return rows


def _ask(
    name: str,
    data: Path,
    photos: Mapping[str, str | Path],
    weights: Mapping[str, str | Path],
    overrides: list[str],
) -> tuple[Row, list[str]]:
    """Return the row of a system, without runs, and the overrides that ask for it on what is at hand."""
    config = compose([f"experiment={name}", *overrides, "data.root=unknown"])
    reference = dict(config.reference or {})
    row = Row(
        name, source=str(reference.pop("source", "")), note=str(reference.pop("note", "")),
        printed={key: float(value) for key, value in reference.items()}, epochs=config.trainer.max_epochs,
    )  # fmt: skip
    own = [f"experiment={name}"]
    if config.data.name != "folder":
        own.append(f"data.root={data / config.data.name}")
    elif (folder := photos.get(name[:3])) is not None:
        # The stand-in has other sizes than the ones that report 004 kept.
        own += [f"data.root={folder}", "data.keep_sizes=null"]
        row.stand_ins.append(f"{Path(folder).name} for the report's photographs")
    else:
        row.missing = f"its photographs are not public; give --photos {name[:3]}=<folder> for a stand-in"
    if config.model.weights == "imagenet" and config.model.name in weights:
        own.append(f"model.weights={weights[config.model.name]}")
        row.stand_ins.append(f"weights of {Path(weights[config.model.name]).name} for ImageNet's")
    row.command = " ".join(["python -m visionlab.train", *own])
    return row, [*own, *overrides]


def _longest(config: DictConfig, outputs: Path) -> list[Run]:
    """Return the completed runs of a config, whatever their seed, that were given the most epochs."""
    found = []
    for result in sorted(outputs.glob(f"{config.data.name}-{config.model.name}-*/result.json")):
        run = Run(result.parent)
        if run.status == "completed":
            asked = config.copy()
            asked.seed, asked.trainer.max_epochs = run.config["seed"], run.config["trainer"]["max_epochs"]
            if runs.name(resolved(asked)) == run.dir.name:
                found.append(run)
    most = max((run.config["trainer"]["max_epochs"] for run in found), default=0)
    return [run for run in found if run.config["trainer"]["max_epochs"] == most]


def _chosen(which: Sequence[str]) -> list[str]:
    known = choices("experiment")
    for name in which:
        if not any(one.startswith(name) for one in known):
            raise ConfigError(
                f"no experiment begins with '{name}'", where="conf/experiment", remedy=nearest(name, known)
            )
    exact, beginnings = set(which) & set(known), tuple(set(which) - set(known))
    return [one for one in known if not which or one in exact or (beginnings and one.startswith(beginnings))]


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not a name and a path, as 000=photos or alexnet=outputs/my-run")
    return name, path


def main(arguments: Sequence[str] | None = None) -> None:
    """Reproduce what the command line names; write the table and the page."""
    parser = argparse.ArgumentParser(prog="python -m visionlab.reproduce", description=__doc__)
    parser.add_argument("which", nargs="*", help="reports or systems: 002, 003_alexnet_scratch; all unless given")
    parser.add_argument("--data", default="data", help="folder with cifar10/, tiny_imagenet10/, caltech101/")
    parser.add_argument(
        "--photos", action="append", type=_pair, default=[], metavar="REPORT=PATH",
        help="a folder with a folder of images for each class, for report 000 or 004",
    )  # fmt: skip
    parser.add_argument(
        "--weights",
        action="append",
        type=_pair,
        default=[],
        metavar="NETWORK=PATH",
        help="a run directory or file that stands in for ImageNet's weights",
    )  # fmt: skip
    parser.add_argument("--seeds", type=int, default=1, help="runs of each system")
    parser.add_argument("--epochs", type=int, help="shorten every training; such rows are marked")
    parser.add_argument("--outputs", default="outputs", help="where the runs live")
    parser.add_argument("--only-table", action="store_true", help="train nothing; gather the longest complete runs")
    parser.add_argument("--remark", default="", help="a sentence for the head of the page, as about the images at hand")
    parser.add_argument("--table", type=Path, help="Markdown file to write (<outputs>/reproduction.md)")
    asked = parser.parse_args(arguments)
    rows = reproduce(
        *asked.which, data=asked.data, photos=dict(asked.photos), weights=dict(asked.weights),
        seeds=asked.seeds, epochs=asked.epochs, outputs=asked.outputs, only_table=asked.only_table,
    )  # fmt: skip
    text = markdown(rows, today=datetime.now(UTC).strftime("%d %B %Y"), remark=asked.remark)
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
