"""What is said of an image: its most probable classes, and all of them where they are asked for."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor

TOP = 5


def records(
    names: Sequence[str], probabilities: Tensor, classes: Sequence[str], *, every: bool = False
) -> list[dict[str, Any]]:
    """Return a record for each of B images, see `visionlab.predict`.

    Args:
        names: B names.
        probabilities: Float [B, K].
        classes: K class names.
        every: Whether the probability of each class is in it.
    """
    confidences, order = probabilities.topk(min(TOP, len(classes)), dim=1)
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
