"""Regenerate the five reports: `python -m visionlab.reproduce`, or one of them: `... reproduce 002`.

Every file of conf/experiment is a system of a report. What is complete is answered from memory, what is missing is
trained, and one page and one Markdown table put ours beside what was printed.
"""

import argparse
import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from visionlab import doors, reference, runs
from visionlab.config import choices, compose, resolved
from visionlab.errors import ConfigError, UserError, nearest
from visionlab.reports.reproduction import Row, markdown
from visionlab.runs import Run
from visionlab.sweeps.space import written

# What a table may gather under one system: its seeds, its shortened runs, or other ways to compute the same.
MAY_DIFFER = (
    "seed",
    "trainer.max_epochs",
    "data.train_fraction",
    "data.image_size",
    "trainer.precision",
    "optimizer.fused",
    "model.channels_last",
    "model.compile",
)


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
        which: Systems (`002_alexnet`), or beginnings of their names (`002`), which bring the trials of the reports'
            searches too; all of them unless given.
        data: The folder that holds the sets as `cifar10`, `tiny_imagenet10`, `caltech101`.
        photos: For reports (`000`), a folder of images in class folders, standing in for photographs that are not
            public.
        weights: For names of networks, a weights file or a run directory, standing in for ImageNet's weights.
        seeds: Runs of each system, with seeds that follow the experiment's own.
        epochs: Shorten every training to so many epochs; such rows are marked and are not the report's.
        outputs: Where the runs live.
        only_table: Train nothing; gather what is complete, whatever its seed, and of each system what was trained
            longest.
        extra: Overrides for every run, such as `trainer.precision=bf16-mixed`.

    Raises:
        ConfigError: A name fits no experiment.
    """
    from visionlab.train import train

    rows = []
    for name, settings in _chosen(which):
        row, overrides = _ask(name, settings, Path(data), photos or {}, weights or {}, extra)
        overrides.append(f"outputs={written(str(outputs))}")
        rows.append(row)
        if row.missing:
            continue
        if only_table:
            config = compose(overrides)
            row.runs = _nearest(config, Path(outputs))
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
    settings: Mapping[str, Any],
    data: Path,
    photos: Mapping[str, str | Path],
    weights: Mapping[str, str | Path],
    extra: Sequence[str],
) -> tuple[Row, list[str]]:
    """Return the row of a system, without runs, and the overrides that ask for it on what is at hand."""
    own = [f"experiment={name}", *(f"{key}={written(value)}" for key, value in settings.items())]
    config = compose([*own, "data.root=unknown"])
    printed = reference.of(resolved(config)) or {}
    row = Row(
        name, dict(settings), source=printed.get("source", ""), note=printed.get("note", ""),
        printed={key: float(value) for key, value in printed.items() if "/" in key},
        epochs=config.trainer.max_epochs, fraction=config.data.train_fraction, image_size=config.data.image_size,
        precision=config.trainer.precision, compiled=config.model.compile,
    )  # fmt: skip
    if config.data.name != "folder":
        own.append(f"data.root={written(str(data / config.data.name))}")
    elif (folder := photos.get(name[:3])) is not None:
        # The stand-in has other sizes than the ones that report 004 kept.
        own += [f"data.root={written(str(folder))}", "data.keep_sizes=null"]
        row.stand_ins.append(f"{Path(folder).name} for the report's photographs")
    else:
        row.missing = f"its photographs are not public; give --photos {name[:3]}=<folder> for a stand-in"
    if config.model.weights == "imagenet" and config.model.name in weights:
        own.append(f"model.weights={written(str(weights[config.model.name]))}")
        row.stand_ins.append(f"weights of {Path(weights[config.model.name]).name} for ImageNet's")
    own += extra
    row.command = shlex.join(["python", "-m", "visionlab.train", *own])
    return row, own


def _nearest(config: DictConfig, outputs: Path) -> list[Run]:
    """Return the completed runs of a config that are nearest to all of it and alike but for their seeds."""
    alike: dict[tuple[Any, ...], list[Run]] = {}
    for result in sorted(outputs.glob(f"{config.data.name}-{config.model.name}-*/result.json")):
        run = Run(result.parent)
        if run.status != "completed":
            continue
        asked, theirs = config.copy(), OmegaConf.create(run.config)
        for key in MAY_DIFFER:
            if OmegaConf.select(asked, key) is not None:
                OmegaConf.update(asked, key, OmegaConf.select(theirs, key))
        # A training longer than the report's is not the report's either.
        more = (
            asked.trainer.max_epochs > config.trainer.max_epochs
            or asked.data.train_fraction > config.data.train_fraction
        )
        if not more and runs.name(resolved(asked)) == run.dir.name:
            alike.setdefault(tuple(OmegaConf.select(asked, key) for key in MAY_DIFFER[1:]), []).append(run)

    def nearness(group: list[Run]) -> tuple[Any, ...]:
        data, trainer = group[0].config["data"], group[0].config["trainer"]
        return (
            data["image_size"] == config.data.image_size,
            trainer["max_epochs"] * data["train_fraction"],
            trainer["precision"] == config.trainer.precision,
            group[0].config["model"]["compile"] == config.model.compile,
            len(group),
        )

    return max(alike.values(), key=nearness, default=[])


def _chosen(which: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name the systems and, for those that were not named in full, the trials that their files list beside them."""
    known = choices("experiment")
    for name in which:
        if not any(one.startswith(name) for one in known):
            raise ConfigError(
                f"no experiment begins with '{name}'", where="conf/experiment", remedy=nearest(name, known)
            )
    exact, beginnings = set(which) & set(known), tuple(set(which) - set(known))
    for one in known:
        if one in exact:
            yield one, {}
        elif not which or one.startswith(beginnings):
            yield one, {}
            trials = (compose([f"experiment={one}"]).reference or {}).get("trials", [])
            yield from ((one, reference.settings(trial)) for trial in trials)


def _pair(text: str) -> tuple[str, str]:
    name, equals, path = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"'{text}' is not a name and a path, as 000=photos or alexnet=outputs/my-run")
    return name, path


def main(arguments: Sequence[str] | None = None) -> None:
    """Reproduce what the command line names; write the table and the page."""
    parser = argparse.ArgumentParser(prog="python -m visionlab.reproduce", description=__doc__)
    parser.add_argument(
        "which", nargs="*",
        help="reports with all trials of their searches (002) or single systems (002_alexnet), all unless given; "
        "and overrides for every run: trainer.precision=bf16-mixed",
    )  # fmt: skip
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
    parser.add_argument(
        "--table",
        type=Path,
        help="Markdown file (<outputs>/reproduction.md); its lines stay where nothing has been run here",
    )
    asked = parser.parse_intermixed_args(arguments)  # names and overrides stand on either side of options
    extra = [word for word in asked.which if "=" in word]
    which = [word for word in asked.which if "=" not in word]
    rows = reproduce(
        *which, data=asked.data, photos=dict(asked.photos), weights=dict(asked.weights),
        seeds=asked.seeds, epochs=asked.epochs, outputs=asked.outputs, only_table=asked.only_table, extra=extra,
    )  # fmt: skip
    table = asked.table or Path(asked.outputs) / "reproduction.md"
    page = {"today": datetime.now(UTC).strftime("%d %B %Y").lstrip("0"), "remark": asked.remark}
    standing = table.read_text(encoding="utf-8") if table.exists() else ""
    runs.write_atomically(table, markdown(rows, **page, standing=standing))
    print(markdown(rows, **page))
    complete = [run.dir for row in rows for run in row.runs]
    if complete:
        from visionlab.compare import compare

        found = compare(*complete, out=Path(asked.outputs) / "comparisons" / "reproduction")
        print(found.page)
    print(table)


doors.callable_module(__name__)

if __name__ == "__main__":
    doors.enter(main)
