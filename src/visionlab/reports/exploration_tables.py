"""What the page about a data set shows, whole, as CSV files."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from visionlab import runs
from visionlab.data.survey import Survey


def write(survey: Survey, folder: Path) -> None:
    """Write the files, each with its head even where there is nothing to list."""
    split = survey.split_of

    def csv(name: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        runs.write_csv(folder / f"{name}.csv", [dict(zip(heads, row, strict=True)) for row in rows], heads)

    counts, names = survey.class_counts, survey.index.classes
    heads = [key.replace(" ", "_") for key in counts]
    csv("classes", ["class", *heads], ([name, *(int(counts[k][i]) for k in counts)] for i, name in enumerate(names)))
    csv("dimensions", ["width", "height", "images"], ([*size, count] for size, count in survey.shapes.table))
    sizes = survey.store.sizes
    odd = zip(map(int, survey.shapes.unusual), survey.shapes.why, strict=True)
    csv(
        "unusual",
        ["image", "width", "height", "why", "class", "split"],
        ([survey.name(i), int(sizes[i, 1]), int(sizes[i, 0]), why, survey.class_of(i), split[i]] for i, why in odd),
    )
    csv("unreadable", ["image", "reason"], survey.unreadable)
    copies = ((number, row) for number, group in enumerate(survey.exact) for row in group)
    csv(
        "duplicates",
        ["group", "image", "class", "split"],
        ([number, survey.name(row), survey.class_of(row), split[row]] for number, row in copies),
    )
    alike = [] if survey.near is None else zip(survey.near.rows.tolist(), survey.near.correlation, strict=True)
    csv(
        "near_duplicates",
        ["image", "other", "correlation", "class", "other_class", "split", "other_split"],
        (
            [*map(survey.name, pair), f"{like:.4f}", *map(survey.class_of, pair), *(split[row] for row in pair)]
            for pair, like in alike
        ),
    )
    heads = [f"{which}_{colour}" for which in ("mean", "std") for colour in ("red", "green", "blue")]
    csv(
        "channels",
        ["split", "images", *heads],
        ([k, c.images, *(f"{v:.6f}" for v in (*c.mean, *c.std))] for k, c in survey.colours.items()),
    )
