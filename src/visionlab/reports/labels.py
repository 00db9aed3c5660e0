"""Labels that may be wrong: images of which networks that never learnt from them are sure that they show another class.

By self-confidence, the probability of the given label out of sample: Northcutt, Jiang and Chuang, "Confident Learning"
(https://arxiv.org/abs/1911.00068), section 4.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from visionlab.reports.gather import Entry
from visionlab.reports.numbers import percent
from visionlab.reports.page import Column, Html, note, table

SHOWN = 50
COLUMNS = ("image", "label", "predicted", "label_probability", "confidence")


def suspects(folds: Sequence[Entry]) -> list[dict[str, Any]]:
    """Return the validation images that were taken for another class, the least probable label first.

    Args:
        folds: The runs of a cross-validation: each image was validated by the one that had not learnt from it.
    """
    found = [
        {
            "image": row["image"],
            "label": row["target"],
            "predicted": row["predicted"],
            "label_probability": float(row["target_probability"]),
            "confidence": float(row["confidence"]),
        }
        for entry in folds
        for row in entry.run.run.predictions
        if row["split"] == "val" and row["predicted"] != row["target"]
    ]
    return sorted(found, key=lambda row: (row["label_probability"], row["image"]))


def section(found: Sequence[Mapping[str, Any]], images: int, file: str) -> list[Html]:
    """The first of them as a table.

    Args:
        found: As `suspects` returns them.
        images: How many were validated in all.
        file: The CSV file that has all of them.
    """
    if not found:
        return []
    heads: list[Column | str] = [
        "image", "label", "taken for",
        Column("probability of the label", form=percent), Column("of the other", form=percent),
    ]  # fmt: skip
    body = [[row[key] for key in COLUMNS] for row in found[:SHOWN]]
    words = (
        f"Each of the {images:,} images was answered by the fold that had not learnt from it, and {len(found):,} were "
        "taken for another class. Where that is sure and the label improbable, the label may be wrong, or the image "
        f"hard: look at it. All of them: {file}."
    )
    return [note(words), table(heads, body, tall=True, filterable=True, ident="labels")]
