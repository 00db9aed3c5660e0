"""The pictures on the page about a data set: samples, what augmentation makes of them, and groups of copies."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from visionlab.data import transform
from visionlab.data.survey import Survey
from visionlab.reports.page import Html, columns, gallery, join, note, picture

SPLITS = {"train": "Train", "val": "Validation", "test": "Test"}
SHOWN = 48  # odd images, and near duplicates in half as many groups, that the page shows; the CSV files have all
MANY = 120  # classes; of more, only the first have samples
VERSIONS = 8  # of each augmented image


def unusual(survey: Survey) -> Html:
    """The images of the most unusual shapes."""
    sizes = survey.store.sizes
    return gallery(
        (_original(survey, row), f"{sizes[row, 1]} x {sizes[row, 0]}", None, survey.name(row))
        for row in map(int, survey.shapes.unusual[:SHOWN])
    )


def groups(survey: Survey, found: Sequence[Sequence[int]]) -> Html:
    """Some groups as rows of pictures: those that stand in several splits or classes first, and marked."""
    odd = [survey.across(group) or survey.disputed(group) for group in found]
    order = sorted(range(len(found)), key=lambda i: (not odd[i], -len(found[i])))
    parts = []
    for i in order[: SHOWN // 2]:
        group = found[i]
        items = [
            (
                _stored(survey, row),
                survey.class_of(row),
                False if odd[i] else None,
                join([SPLITS.get(str(survey.split_of[row]), "left out").lower(), f" · {survey.name(row)}"]),
            )
            for row in group[:6]
        ]
        more = f"and {len(group) - 6} more" if len(group) > 6 else ""
        parts.append(join([gallery(items), note(more)]))
    rest = len(found) - len(parts)
    return join([columns(*parts, least=330), note(f"{rest:,} more groups are in the CSV file." if rest > 0 else "")])


def samples(survey: Survey) -> Iterator[Html]:
    """Some images of each class."""
    random = np.random.default_rng(0)
    names = survey.index.classes
    each = max(1, min(8, 96 // len(names)))
    items = []
    for label in range(min(len(names), MANY)):
        members = survey.readable[survey.index.labels[survey.readable] == label]
        for row in random.permutation(members)[:each]:
            items.append((_stored(survey, int(row)), names[label], None, ""))
    part = f" Of the first {MANY} classes." if len(names) > MANY else ""
    yield note(f"As the network gets them, before augmentation and normalisation.{part}")
    yield gallery(items)


def augmented(survey: Survey) -> Iterator[Html]:
    """Some images of training in their first epochs."""
    augment = survey.data.augment
    if not augment:
        yield note("No augmentation is chosen. To see one: augment=flip_crop, augment=randaugment, ...")
        return
    train = np.random.default_rng(1).permutation(survey.splits["train"])
    _, first = np.unique(survey.index.labels[train], return_index=True)  # an image each of some classes
    rows = train[np.sort(first)[:6]]
    images = survey.store.gather(torch.from_numpy(rows))
    labels = torch.from_numpy(survey.index.labels[rows])
    versions = []
    for epoch in range(VERSIONS):
        places = torch.arange(len(rows))
        changed, _ = augment(
            images, labels, seed=survey.data.seed, epoch=epoch, places=places, classes=survey.data.num_classes
        )
        versions.append((changed * 255).round().byte() if changed.is_floating_point() else changed)
    yield note(f"Some training images, and what augmentation makes of each in the first {VERSIONS} epochs.")
    for i, row in enumerate(rows):
        made = [(_as_picture(version[i]), f"epoch {epoch + 1}", None, "") for epoch, version in enumerate(versions)]
        yield gallery([(_as_picture(images[i]), survey.class_of(int(row)), None, ""), *made])


def _stored(survey: Survey, row: int) -> Html:
    return _as_picture(survey.store.pixels[row], alt=survey.name(row))


def _as_picture(pixels: torch.Tensor, alt: str = "") -> Html:
    return picture(pixels.permute(1, 2, 0).numpy(), alt=alt, largest=144)


def _original(survey: Survey, row: int) -> Html:
    """The whole image from its file, as the store's is cropped; the store's where there is no file."""
    if survey.index.stamps is None:
        return _stored(survey, row)
    try:
        image: NDArray[np.uint8] = np.asarray(transform.read(survey.index.root / survey.index.names[row]))
    except OSError:
        return _stored(survey, row)
    return picture(image, alt=survey.name(row), largest=144)
