"""What an evaluation leaves in the run directory, for the reports to read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from visionlab.data.module import ImageDataModule
from visionlab.runs import Run, write_csv, write_table
from visionlab.training.evaluation import Evaluation

RANDOM_SAMPLES = CONFIDENT_MISTAKES = 24
THUMBNAIL = 128  # px; a page shows samples no larger


def write(run: Run, evaluations: Sequence[Evaluation], data: ImageDataModule) -> None:
    """Write predictions.csv, confusion.csv and samples.npz; the last evaluation is the one that is shown."""
    rows: list[dict[str, Any]] = []
    for evaluation in evaluations:
        rows += predictions(evaluation, data)
    write_csv(run.dir / "predictions.csv", rows)
    shown = evaluations[-1]
    classes = data.classes
    counts = shown.confusion.tolist()
    table = [[name, *row] for name, row in zip(classes, counts, strict=True)]
    write_table(run.dir / "confusion.csv", ["target", *classes], table)
    _write_samples(run, shown, data, first_line=len(rows) - len(shown.rows))


def predictions(evaluation: Evaluation, data: ImageDataModule) -> list[dict[str, Any]]:
    """Return a row of predictions.csv for each image of an evaluation; a group is named by its first image."""
    groups = data.index.groups
    first = [] if groups is None else data.image_names(groups[evaluation.rows.numpy()])
    return [
        {
            "split": evaluation.split,
            "image": image,
            "target": data.classes[label],
            "predicted": data.classes[predicted],
            "confidence": f"{confidence:.6g}",
            "correct": int(label == predicted),
            "target_probability": f"{right:.6g}",
            **group,
        }
        for image, group, label, predicted, confidence, right in zip(
            data.image_names(evaluation.rows),
            [{"group": name} for name in first] or [{}] * len(evaluation.rows),
            evaluation.labels.tolist(),
            evaluation.predicted.tolist(),
            evaluation.confidence.tolist(),
            evaluation.label_probability.tolist(),
            strict=True,
        )
    ]


def _write_samples(run: Run, shown: Evaluation, data: ImageDataModule, first_line: int) -> None:
    """Keep some images as the network saw them: random ones, then the mistakes it was surest of."""
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randperm(len(shown.rows), generator=generator)[:RANDOM_SAMPLES]
    wrong = (shown.predicted != shown.labels).nonzero()[:, 0]
    surest = wrong[shown.confidence[wrong].argsort(descending=True, stable=True)][:CONFIDENT_MISTAKES]
    lines = torch.cat([chosen, surest])
    images = data.pixels(shown.rows[lines])
    if max(images.shape[2:]) > THUMBNAIL:
        scale = THUMBNAIL / max(images.shape[2:])
        images = torch.nn.functional.interpolate(images, scale_factor=scale, mode="bilinear", antialias=True)
    temporary = run.dir / ".samples.npz"
    np.savez_compressed(
        temporary, images=images.permute(0, 2, 3, 1).numpy(), rows=(lines + first_line).numpy(), random=len(chosen)
    )
    temporary.replace(run.dir / "samples.npz")
