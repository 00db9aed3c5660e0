"""Predicts the images of a source batch by batch, and writes what was asked for as it goes."""

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from visionlab.data.index import printable
from visionlab.errors import ConfigError, DataError
from visionlab.out_folder import out_folder
from visionlab.prediction import files, sources
from visionlab.prediction.ensemble import Ensemble, Views
from visionlab.prediction.members import Given, classes, members
from visionlab.prediction.records import ordered, records
from visionlab.prediction.submission import Submission
from visionlab.prediction.threshold import Decisive, Threshold
from visionlab.training.devices import enough_memory


@dataclass(frozen=True)
class Part:
    """What came of a batch.

    Attributes:
        records: The images that could be read, see `visionlab.predict`.
        skipped: `image` and `reason` of those that could not.
        total: Images of the whole source.
    """

    records: list[dict[str, Any]]
    skipped: list[dict[str, str]]
    total: int


def stream(
    run: Given | Sequence[Given],
    source: str | Path,
    *,
    tta: bool = False,
    gradcam: bool = False,
    probabilities: bool = False,
    submission: str | Path | None = None,
    threshold: Decisive | None = None,
    batch_size: int | None = None,
    accelerator: str | None = None,
    out: str | Path | None = None,
) -> Iterator[Part]:
    """Do what `visionlab.predict` does, and yield what came of each batch; memory does not grow with the images.

    Only a submission grows by a row an image, as its ids have an order of their own.
    """
    runs = members(run)
    limit = Threshold.read(threshold, classes(runs[0]))
    if gradcam and len(runs) > 1:
        what = f"gradcam=true shows what one network sees, and {len(runs)} are given"
        raise ConfigError(what, where="gradcam", remedy=f"give one run, such as run={runs[0].dir}")
    if gradcam and out is None:
        raise ConfigError("gradcam=true writes pictures, but no place is given", where="out", remedy="add out=<folder>")
    if submission is not None and out is None:
        what = "submission=<sample> writes a submission, but no place is given"
        raise ConfigError(what, where="out", remedy="add out=<folder>")
    folder = None if out is None else out_folder(out)
    found = sources.find(source, without=folder / "gradcam" if folder else None)
    submitted = None if submission is None else Submission(submission, classes(runs[0]), found.images, found.base)
    ensemble = Ensemble(runs, accelerator=accelerator, tta=tta)
    named = [printable(str(each.dir)) for each in runs]
    about: dict[str, Any] = {
        "run": named if len(named) > 1 else named[0],
        "source": printable(str(source)),
        "averaged": ["image", "mirror image"] if tta else ["image"],
        "classes": ensemble.classes,
    }
    if limit is not None:
        about["threshold"] = {limit.name: limit.least}
    size = batch_size or min(each.config["data"]["batch_size"] for each in runs)
    read, example = 0, ""
    with files.writer(folder, about, ensemble.classes, every=probabilities) if folder else nullcontext() as writer:
        for views in ensemble.read(found.images, size):
            skipped = [{"image": printable(str(path)), "reason": why} for path, why in views.bad.items()]
            made = []
            if views.paths:
                with enough_memory(size):
                    mean = ensemble.probabilities(views)
                    order = ordered(mean, limit)
                    if gradcam and folder:
                        _explain(ensemble, views, order[:, 0], found.base, folder / "gradcam")
                names = [printable(str(path)) for path in views.paths]
                made = records(names, mean, order, ensemble.classes, every=probabilities)
                if submitted is not None:
                    submitted.add(views.paths, [record["predicted"] for record in made], mean)
            if writer is not None:
                writer.add(made, skipped)
            read += len(made)
            example = example or next((f"{bad['image']}: {bad['reason']}" for bad in skipped), "")
            yield Part(made, skipped, len(found.images))
        if not read:
            raise DataError(f"no image of the source can be read; {example}", where=f"source={about['source']}")
    if submitted is not None and folder is not None:
        submitted.write(folder / "submission.csv")


def _explain(ensemble: Ensemble, views: Views, predicted: Tensor, base: Path, folder: Path) -> None:
    """Write for each image where the only network sees its class, of int64 [B], under the image's own name."""
    (predictor,) = ensemble.predictors
    batch = views.pixels[predictor.loaded.transform]
    heat = predictor.heat(batch, predicted)
    for path, pixels, warm in zip(views.paths, batch.numpy(), heat.numpy(), strict=True):
        picture = folder / f"{path.relative_to(base)}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        files.overlay(pixels, warm).save(picture)
