"""Predicts the images of a source batch by batch, and writes what was asked for as it goes."""

from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from visionlab.data.index import printable
from visionlab.errors import ConfigError, DataError
from visionlab.out_folder import out_folder
from visionlab.prediction import files, sources
from visionlab.prediction.predictor import Predictor
from visionlab.runs import Run
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
    run: str | Path | Run,
    source: str | Path,
    *,
    tta: bool = False,
    gradcam: bool = False,
    batch_size: int | None = None,
    accelerator: str | None = None,
    out: str | Path | None = None,
) -> Iterator[Part]:
    """Do what `visionlab.predict` does, and yield what came of each batch; memory does not grow with the images."""
    run = run if isinstance(run, Run) else Run.open(run)
    if gradcam and out is None:
        raise ConfigError("gradcam=true writes pictures, but no place is given", where="out", remedy="add out=<folder>")
    folder = None if out is None else out_folder(out)
    found = sources.find(source, without=folder / "gradcam" if folder else None)
    predictor = Predictor(run, accelerator=accelerator, tta=tta)
    classes = predictor.loaded.classes
    about = {
        "run": printable(str(run.dir)),
        "source": printable(str(source)),
        "averaged": ["image", "mirror image"] if tta else ["image"],
        "classes": classes,
    }
    size = batch_size or run.config["data"]["batch_size"]
    read, example = 0, ""
    with files.writer(folder, about, len(classes)) if folder else nullcontext() as writer:
        for images in sources.read(found.images, predictor.loaded.transform, size):
            skipped = [{"image": printable(str(path)), "reason": why} for path, why in images.bad.items()]
            records = []
            if images.paths:
                with enough_memory(size):
                    probabilities = predictor.probabilities(images.pixels)
                    if gradcam and folder:
                        _explain(predictor, images, probabilities, found.base, folder / "gradcam")
                records = predictor.records([printable(str(path)) for path in images.paths], probabilities)
            if writer is not None:
                writer.add(records, skipped)
            read += len(records)
            example = example or next((f"{bad['image']}: {bad['reason']}" for bad in skipped), "")
            yield Part(records, skipped, len(found.images))
        if not read:
            raise DataError(f"no image of the source can be read; {example}", where=f"source={about['source']}")


def _explain(predictor: Predictor, images: sources.Images, probabilities: Tensor, base: Path, folder: Path) -> None:
    """Write for each image where the network sees the class that it names, under the image's own name."""
    heat = predictor.heat(images.pixels, probabilities.argmax(1))
    for path, pixels, warm in zip(images.paths, images.pixels.numpy(), heat.numpy(), strict=True):
        picture = folder / f"{path.relative_to(base)}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        files.overlay(pixels, warm).save(picture)
