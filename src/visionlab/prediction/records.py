"""What is said of an image: its most probable classes, and all of them where they are asked for."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from visionlab.prediction.threshold import Threshold

TOP = 5


def ordered(probabilities: Tensor, threshold: Threshold | None = None) -> Tensor:
    """Return the classes that are told of each image, int64 [B, T]: first the one that it is taken for.

    Args:
        probabilities: Float [B, K].
        threshold: What decides, of two classes; unless given, the larger probability.
    """
    if threshold is None:
        return probabilities.topk(min(TOP, probabilities.shape[1]), dim=1).indices
    predicted = threshold.decide(probabilities[:, threshold.place])
    return torch.stack([predicted, 1 - predicted], dim=1)


def records(
    names: Sequence[str], probabilities: Tensor, order: Tensor, classes: Sequence[str], *, every: bool = False
) -> list[dict[str, Any]]:
    """Return a record for each of B images, see `visionlab.predict`.

    Args:
        names: B names.
        probabilities: Float [B, K].
        order: What `ordered` makes of them, int64 [B, T].
        classes: K class names.
        every: Whether the probability of each class is in it.
    """
    confidences = probabilities.gather(1, order)
    found: list[dict[str, Any]] = [
        {
            "image": name,
            "predicted": classes[indices[0]],
            "confidence": values[0],
            "top": [{"class": classes[i], "confidence": value} for i, value in zip(indices, values, strict=True)],
        }
        for name, values, indices in zip(names, confidences.tolist(), order.tolist(), strict=True)
    ]
    if every:
        for record, values in zip(found, probabilities.tolist(), strict=True):
            record["probabilities"] = dict(zip(classes, values, strict=True))
    return found
