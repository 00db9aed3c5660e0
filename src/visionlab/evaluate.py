"""Evaluate a trained run again, on its data or others of its classes: `python -m visionlab.evaluate run=...`."""

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import hydra
from omegaconf import DictConfig, OmegaConf

from visionlab import doors, runs
from visionlab.checks import check_data, check_folder, check_keys
from visionlab.config import resolved
from visionlab.errors import ConfigError, DataError, nearest
from visionlab.out_folder import out_folder
from visionlab.runs import Run
from visionlab.schema import YES_NO, Choice, Number, Text, violations
from visionlab.words import braced

if TYPE_CHECKING:
    from visionlab.data.module import ImageDataModule
    from visionlab.prediction.threshold import Decisive
    from visionlab.training.evaluation import Evaluation

log = logging.getLogger(__name__)
RULES: dict[str, Number | Choice | Text] = {
    "split": Choice(("train", "val", "test", "all")),
    "tta": YES_NO,
    "batch_size": Number(1, whole=True, or_null=True),
    "accelerator": Text(or_null=True),
}


def evaluate(
    run: str | Path | Run,
    split: Literal["train", "val", "test", "all"] = "test",
    *,
    data: Mapping[str, Any] | None = None,
    tta: bool = False,
    threshold: "Decisive | None" = None,
    accelerator: str | None = None,
    batch_size: int | None = None,
    out: str | Path | None = None,
) -> "Evaluation":
    """Evaluate the best checkpoint of a run.

    Args:
        run: The run or its directory.
        split: Which split of the data; all: every image of them, for data that the run was not trained on.
        data: Keys of the run's data config that are replaced, such as `{"root": "other/photos"}`.
        tta: Whether to average the probabilities of an image and of its mirror image (left for right).
        threshold: Of two classes, from which probability of one of them on an image is taken for it, such as
            `{"melanoma": 0.31}` or "melanoma:0.31". All but loss and auc follow it, and the metrics have `sensitivity`
            and `specificity` too, with that class as the positive one.
        accelerator: Where to compute; as the run was trained unless given.
        batch_size: Images a batch; as the run was trained unless given. The sums of a batch depend on its size in the
            last digits.
        out: A folder that predictions.csv and metrics.json are written to.

    Raises:
        RunError: No run lies there.
        DataError: The data have other classes than the run, or lack the split.
        ConfigError: There is no such split, or another argument is not possible, as a threshold of more classes.
    """
    for error in violations({"split": split, "tta": tta, "batch_size": batch_size, "accelerator": accelerator}, RULES):
        raise error
    from visionlab.prediction.members import classes
    from visionlab.prediction.mirrored import Mirrored
    from visionlab.prediction.threshold import Threshold
    from visionlab.training import build, checkpoint_io, devices, environment, evaluation, learnt, outcome

    run = run if isinstance(run, Run) else Run.open(run)
    limit = Threshold.read(threshold, classes(run))
    environment.require_code(run, "model", "loss")
    folder = None if out is None else out_folder(out)
    config = build.for_evaluation(OmegaConf.create(run.config), run, accelerator)
    given: object = data  # of any type, where a command line has it
    if not isinstance(given, Mapping | None):
        what, remedy = f"data={data} is no mapping", f"give {braced('data', {'root': str(data)})}"
        raise ConfigError(what, where="data", remedy=remedy)
    for key in data or {}:
        if key not in config.data:
            remedy = nearest(str(key), map(str, config.data), "data")
            raise ConfigError(f"the run's data have no key '{key}'", where=f"data.{key}", remedy=remedy)
    trained = config.copy()
    config.data.update(data or {})
    if "root" in (data or {}):
        check_folder(config.data, "python -m visionlab.predict names the classes of other images")
    config.data.batch_size = batch_size or config.data.batch_size
    plain = resolved(config)
    check_data(plain)
    devices.check(plain["trainer"])
    try:
        module = build.data_module(config, divided=split != "all")
        _require_classes(module, run)  # what the run has learnt from is asked of images of its classes alone
        learnt.check(split, module, trained, data or {})
    except DataError as error:
        if error.where != "data.root":
            raise
        raise DataError(error.what, where="data", remedy="say where they are now: 'data={root: <folder>}'") from error
    if split == "test" and not module.has_test:
        remedy = "use split=all" if data else "use split=val"
        raise DataError("the data have no test split", where=str(config.data.root), remedy=remedy)
    recorded, now = run.result["data"], module.summary()
    if not data and split != "all" and any(recorded[key] != now[key] for key in ("split_hash", "fingerprint")):
        log.warning("the images, their classes or their splits have changed since the run was trained")
        learnt.tell_new(split, module, run)
    classifier = build.classifier(config, module, pretrained=False, run=run)
    checkpoint_io.load_network(classifier.network, run.answer())
    if tta:
        classifier.network = Mirrored(classifier.network)
    loaders = {
        "train": module.train_eval_dataloader,
        "val": module.val_dataloader,
        "test": module.test_dataloader,
        "all": module.train_eval_dataloader,
    }
    with devices.enough_memory(config.data.batch_size):
        found = evaluation.evaluate(build.trainer(config), classifier, loaders[split](), split, module.preprocess)
    if limit is not None:
        found = limit.applied(found)
    if folder is not None:
        runs.write_csv(folder / "predictions.csv", outcome.predictions(found, module))
        figures: dict[str, Any] = {f"{split}/{name}": value for name, value in found.metrics.items()}
        figures |= {"threshold": {limit.name: limit.least}} if limit else {}
        runs.write_atomically(folder / "metrics.json", json.dumps(figures, indent=1) + "\n")
    return found


def _require_classes(module: "ImageDataModule", run: Run) -> None:
    from visionlab.data.index import canonical

    ours, theirs = run.result["data"]["classes"], module.classes
    if list(map(canonical, theirs)) != list(map(canonical, ours)):
        what = f"the data have the classes {_few(theirs, 5)}, the run was trained on others"
        raise DataError(what, where=str(module.root), remedy=f"give data with the classes {_few(ours, 8)}")


def _few(names: Sequence[str], most: int) -> str:
    return f"{', '.join(names[:most])}{'...' if len(names) > most else ''}"


@hydra.main(version_base="1.3", config_path="pkg://visionlab.conf", config_name="evaluate")
def job(config: DictConfig) -> None:
    """Evaluate and print the figures beside those that the run recorded."""
    from rich.console import Console
    from rich.table import Table

    from visionlab.prediction.members import classes
    from visionlab.prediction.threshold import Threshold

    asked = resolved(config)
    check_keys(asked, "evaluate")
    run = Run.open(asked.pop("run"))
    found = evaluate(run, **asked)
    mirrored = " with their mirror images" if asked["tta"] else ""
    console = Console(highlight=False, markup=False)
    console.print(f"{run.dir.name}, {found.split}, {len(found.rows):,} images{mirrored}")
    if limit := Threshold.read(asked["threshold"], classes(run)):
        console.print(f"Taken for {limit}.")
    table = Table(box=None)
    for column in ("", "now", "result.json"):
        table.add_column(column, justify="left" if not column else "right")
    for name, value in found.metrics.items():
        recorded = run.result.get("metrics", {}).get(f"{found.split}/{name}")
        table.add_row(f"{found.split}/{name}", f"{value:.6f}", "" if recorded is None else f"{recorded:.6f}")
    console.print(table)


def main() -> None:
    """Enter from the command line."""
    doors.enter(job)


doors.callable_module(__name__)

if __name__ == "__main__":
    main()
