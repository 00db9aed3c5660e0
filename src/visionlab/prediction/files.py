"""What predictions leave in a folder: predictions.csv and predictions.json, and the pictures of Grad-CAM."""

import csv
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from visionlab.prediction.records import TOP

SMALLEST = 224  # px; smaller images are enlarged, or nobody could see the heat on them
OPACITY = 0.6  # of the heat where it is strongest


class Writer:
    """Writes records as they come, so that a folder of any length needs no memory.

    Args:
        table: The CSV file, open.
        listing: The JSON file, open.
        about: What stands before the images in the JSON file.
        top: Classes a record.
        every: The classes that have a column each behind these; none where not all probabilities are asked for.
    """

    def __init__(
        self, table: IO[str], listing: IO[str], about: Mapping[str, Any], top: int, every: Sequence[str]
    ) -> None:
        self.rows, self.listing = csv.writer(table, lineterminator="\n"), listing
        self.skipped: list[dict[str, str]] = []
        self._comma = ""
        further = [f"{word}_{rank}" for rank in range(2, top + 1) for word in ("class", "confidence")]
        each = [f"p({name})" for name in every]  # a class may have the name of another column
        self.rows.writerow(["image", "predicted", "confidence", *further, *each])
        self.listing.write(json.dumps(about, ensure_ascii=False, indent=1)[:-2] + ',\n "images": [')

    def add(self, records: Sequence[Mapping[str, Any]], skipped: Sequence[dict[str, str]]) -> None:
        """Write some records; what was skipped stands at the end of the JSON file."""
        for record in records:
            cells = [cell for each in record["top"] for cell in (each["class"], f"{each['confidence']:.6g}")]
            every = [f"{value:.6g}" for value in record.get("probabilities", {}).values()]
            self.rows.writerow([record["image"], *cells, *every])
            self.listing.write(f"{self._comma}\n  {json.dumps(record, ensure_ascii=False)}")
            self._comma = ","
        self.skipped += skipped

    def close(self) -> None:
        """End the JSON file."""
        self.listing.write(f'\n ],\n "skipped": {json.dumps(self.skipped, ensure_ascii=False)}\n}}\n')


@contextmanager
def writer(folder: Path, about: Mapping[str, Any], classes: Sequence[str], *, every: bool) -> Iterator[Writer]:
    """Open predictions.csv and predictions.json in a folder; they replace older ones when all is written.

    Args:
        folder: The folder.
        about: What stands before the images in the JSON file.
        classes: K class names.
        every: Whether the records have the probability of each class.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "predictions.csv", folder / "predictions.json"]
    parts = [path.with_name(f".{path.name}.part") for path in paths]
    try:
        with (
            parts[0].open("w", encoding="utf-8", newline="") as table,
            parts[1].open("w", encoding="utf-8") as listing,
        ):
            made = Writer(table, listing, about, min(TOP, len(classes)), classes if every else [])
            yield made
            made.close()
        for part, path in zip(parts, paths, strict=True):
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)


def overlay(pixels: NDArray[np.uint8], heat: NDArray[np.float32]) -> Image.Image:
    """Lay heat over an image, the more opaque the hotter, so that what is cold looks as it is.

    Args:
        pixels: uint8 [3, H, W].
        heat: Float [H, W], 0 to 1.
    """
    import matplotlib

    enlarge = max(1, math.ceil(SMALLEST / min(heat.shape)))
    size = heat.shape[1] * enlarge, heat.shape[0] * enlarge
    image = np.asarray(Image.fromarray(pixels.transpose(1, 2, 0)).resize(size, Image.Resampling.NEAREST), np.float32)
    warm = np.asarray(Image.fromarray(heat).resize(size, Image.Resampling.BICUBIC)).clip(0, 1)  # [H, W]
    colours = matplotlib.colormaps["turbo"](warm)[..., :3] * 255  # [H, W, 3]
    opacity = OPACITY * warm[..., None]
    return Image.fromarray((image * (1 - opacity) + colours * opacity).round().astype(np.uint8))
