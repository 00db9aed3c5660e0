"""The page about a data set: what is in it, what is odd about it, and which settings deal with that."""

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from visionlab.data import duplicates
from visionlab.data.endings import left_out
from visionlab.data.survey import FENCE, RARE, Survey
from visionlab.reports import charts, exploration_pictures, exploration_tables, svg
from visionlab.reports.charts import Point, Series
from visionlab.reports.exploration_pictures import MANY, SHOWN, SPLITS
from visionlab.reports.numbers import percent
from visionlab.reports.page import (
    Column,
    Html,
    Page,
    Tile,
    callout,
    code,
    columns,
    figure,
    join,
    note,
    table,
    tabs,
    tiles,
)
from visionlab.reports.svg import Axis, Keep

LISTED = 500  # unreadable files that the page shows; the CSV file has all
SKIP = "data.on_bad_image=skip"


def write(survey: Survey, folder: Path, *, given: Sequence[str] = ()) -> Path:
    """Write explore.html, the CSV files and figures/.

    Args:
        survey: The measurements.
        folder: Where to.
        given: The overrides that chose the data, repeated in the commands that the page suggests.

    Returns:
        The path of the page.
    """
    exploration_tables.write(survey, folder)
    drawn: dict[str, Html] = {}
    page = build(survey, given, drawn.__setitem__)
    path = folder / "explore.html"
    svg.write_files(drawn, path)
    return page.write(path)


def findings(survey: Survey) -> list[str]:
    """Say in a line each what one should know before training."""
    counts = survey.class_counts
    sizes = {name: len(rows) for name, rows in survey.splits.items() if len(rows)}
    lines = [
        f"{len(survey.index):,} images in {len(survey.index.classes)} classes: "
        + ", ".join(f"{count:,} {SPLITS[name].lower()}" for name, count in sizes.items())
        + (f", {left:,} left out" if (left := int(counts["left out"].sum())) else "")
    ]
    if survey.untaught:
        lines.append(f"no image to train on of {', '.join(survey.untaught[:5])}{', ...' * (len(survey.untaught) > 5)}")
    if survey.unreadable:
        lines.append(f"{_some(len(survey.unreadable), 'file')} cannot be read")
    if survey.index.others:
        lines.append(left_out(survey.index.others))
    many, few = counts["train"].max(), counts["train"].min()
    if many > 2 * few:
        lines.append(f"the largest class has {many / max(few, 1):.1f} times the training images of the smallest")
    if len(survey.shapes.unusual):
        lines.append(f"{_some(len(survey.shapes.unusual), 'image')} of unusual shape")
    if copies := sum(len(group) - 1 for group in survey.exact):
        disputed = sum(map(survey.disputed, survey.exact))
        labels = f"; {_some(disputed, 'picture')} of them in different classes" if disputed else ""
        lines.append(f"{_some(copies, 'image')} equal to another one, byte for byte{labels}")
    if survey.near is not None and len(survey.near.rows):
        across, disputed = (sum(map(each, survey.near.rows)) for each in (survey.across, survey.disputed))
        lines.append(
            f"{_some(len(survey.near.rows), 'pair')} that look alike, {across:,} of them in different splits, "
            f"{disputed:,} in different classes"
        )
    return lines


def build(survey: Survey, given: Sequence[str], keep: Keep) -> Page:
    """Make the page."""
    data = survey.data
    height, width = data.image_size
    page = Page(str(data.name), subtitle=f"{data.root} · used at {width} x {height} px")
    page.section("Summary", tiles(_headline(survey)), *_advice(survey, given))
    page.section("Classes", *_classes(survey, keep))
    page.section("Shapes", *_shapes(survey, keep))
    page.section("Unreadable files", *_unreadable(survey, given))
    page.section("Duplicates", *_duplicates(survey))
    page.section("Colours", *_colours(survey))
    page.section("Samples", *exploration_pictures.samples(survey))
    page.section("Augmented", *exploration_pictures.augmented(survey))
    return page


def _headline(survey: Survey) -> list[Tile]:
    counts = survey.class_counts
    items = [
        Tile("Images", f"{len(survey.index):,}", f"in {len(survey.index.classes):,} classes", strong=True),
        *(
            Tile(SPLITS[name], f"{len(rows):,}", percent(len(rows) / len(survey.index), 1))
            for name, rows in survey.splits.items()
            if len(rows)
        ),
    ]
    if (enlarged := int(survey.data.class_counts.sum())) > len(survey.splits["train"]):
        items.append(Tile("Enlarged train", f"{enlarged:,}", "with the variants of data.expand"))
    if left := int(counts["left out"].sum()):
        items.append(
            Tile("Left out", f"{left:,}", "bad, filtered, a copy in another split, or beyond data.train_fraction")
        )
    few, many = int(counts["train"].min()), int(counts["train"].max())
    items.append(Tile("Images a class", f"{few:,}" if few == many else f"{few:,} to {many:,}", "of the training split"))
    items.append(Tile("Unreadable", f"{len(survey.unreadable):,}", "files"))
    items.append(
        Tile("Unusual shapes", f"{len(survey.shapes.unusual):,}", _some(len(survey.shapes.table), "different size"))
    )
    items.append(Tile("Exact copies", f"{sum(len(group) - 1 for group in survey.exact):,}", "byte for byte"))
    if survey.near is not None:
        items.append(Tile("Near duplicates", f"{len(survey.near.rows):,}", "pairs"))
    return items


def _advice(survey: Survey, given: Sequence[str]) -> Iterator[Html]:
    """Settings that answer to what was found, ready to paste."""
    counts = survey.class_counts["train"]
    data = [
        (setting, f"leaves out {_some(count, 'image')} of unusual shape") for setting, count in survey.shape_filters
    ]
    if survey.unreadable:
        data.append((SKIP, f"trains without {_some(len(survey.unreadable), 'unreadable file')}"))
    others = []
    if counts.max() > 2 * counts.min() and not survey.untaught:
        others.append(("data.sampler=balanced", "shows each class equally often"))
        others.append(("loss=weighted_cross_entropy", "or weighs the rare classes more in the loss"))
    own = survey.colours["train"]
    if max(abs(a - b) for a, b in zip(own.mean, survey.data.mean, strict=True)) > 0.02:
        mean, std = (",".join(f"{value:.4f}" for value in values) for values in (own.mean, own.std))
        others.append((f"data.mean=[{mean}] data.std=[{std}]", "normalises by the colours of this training split"))
    data, others = ([each for each in some if each[0] not in given] for some in (data, others))
    if data or others:
        yield note("Settings that answer to what was found:")
        for setting, what in (*data, *others):
            yield note(join([Html("<code>"), setting, Html("</code> "), what]))
    if data:
        chosen = [text for text in given if text.partition("=")[0] not in ("out", "outputs", "augment")]
        parts = ["python", "-m", "visionlab.train", *chosen, *(setting for setting, _ in data)]
        yield code(" ".join(map(shlex.quote, parts)))


def _some(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _classes(survey: Survey, keep: Keep) -> Iterator[Html]:
    counts, names = survey.class_counts, survey.index.classes
    if survey.untaught:
        yield callout(f"There is no image to train on of {', '.join(survey.untaught)}: training stops at that.")
    order = np.argsort(-counts["all"], kind="stable")

    def chart(which: str) -> Html:
        values = counts[which][order].tolist()
        if len(names) > MANY:  # too many for bars
            curve = Series("images", list(range(1, len(names) + 1)), values)
            along = Axis("class, the most frequent first", whole=True)
            drawing = charts.lines([curve], x=along, y=Axis("images", low=0))
        else:
            ordered, along = [names[i] for i in order], Axis("images", whole=True)
            drawing = charts.bars(ordered, values, axis=along, mean=float(np.mean(values)))
        keep(f"images_per_class_{which}", drawing)
        return figure(drawing)

    present = {"all": "Whole set"} | {name: title for name, title in SPLITS.items() if len(survey.splits[name])}
    drawings = {title: chart(name) for name, title in present.items()}
    keys = [*present, *(["left out"] if counts["left out"].any() else [])]
    heads = ["class", *(SPLITS.get(key, key).lower() for key in keys)]
    rows = [[names[i], *(int(counts[key][i]) for key in keys)] for i in order]
    total = ["all", *(int(counts[key].sum()) for key in keys)]
    body = table(heads, rows, foot=[total], filterable=len(names) > 30, tall=len(names) > 14)
    yield columns(tabs("distribution", drawings), body)


def _shapes(survey: Survey, keep: Keep) -> Iterator[Html]:
    shapes, readable = survey.shapes, len(survey.readable)
    if not shapes.table:
        return
    (width, height), most = shapes.table[0]
    heads: list[Column | str] = ["width", "height", "images", Column("share", form=lambda v: percent(v, 1), bar=True)]
    rows = [[w, h, count, count / readable] for (w, h), count in shapes.table[:200]]
    body = table(heads, rows, tall=len(rows) > 12)
    if len(shapes.table) == 1:
        yield note(f"All images are {width} x {height} px.")
        return
    points = [Point(w, h, "", f"{w} x {h} px: {_some(count, 'image')}") for (w, h), count in shapes.table[:1500]]
    chart = charts.scatter(points, x=Axis("width, px"), y=Axis("height, px"))
    keep("sizes", chart)
    more = f"The {len(rows)} most frequent of {len(shapes.table):,} sizes." if len(rows) < len(shapes.table) else ""
    how = "are padded" if survey.data.transform.resize == "none" else "are enlarged"
    small = int((survey.store.sizes[survey.readable].min(axis=1) < min(survey.data.image_size)).sum())
    remarks = f"{_some(small, 'image')} smaller than what the network gets, which {how}." if small else ""
    yield note(remarks)
    yield columns(join([body, note(more)]), figure(chart))
    if not len(shapes.unusual):
        yield note("No shape stands out.")
        return
    rule = (
        f"Unusual here is each size but the one that {percent(most / readable, 0)} of the images have."
        if readable - most <= RARE * readable
        else f"Unusual here is a shorter side, or an aspect ratio, more than {FENCE} robust deviations from the median."
    )
    more = f" The {SHOWN} most unusual of {len(shapes.unusual):,} follow; unusual.csv has all."
    yield note(rule + (more if len(shapes.unusual) > SHOWN else ""))
    yield exploration_pictures.unusual(survey)


def _unreadable(survey: Survey, given: Sequence[str]) -> Iterator[Html]:
    if survey.index.others:
        yield callout(f"{left_out(survey.index.others)}.")
    if not survey.unreadable:
        yield note("All images can be read.")
        return
    if SKIP not in given:
        yield callout("Training stops at these files unless they are repaired, removed or left out (see above).")
    shown = survey.unreadable[:LISTED]
    if len(shown) < len(survey.unreadable):
        yield note(f"The first {LISTED} of {len(survey.unreadable):,}; unreadable.csv has all.")
    yield table(["file", "what is wrong"], shown, filterable=len(shown) > 20, tall=True)


def _duplicates(survey: Survey) -> Iterator[Html]:
    if survey.exact:
        disputed = sum(map(survey.disputed, survey.exact))
        yield note(
            "Files that are equal byte for byte. Of those on both sides of a split only the ones in validation and "
            "test are used; copies within train are trained on as often as they are there."
        )
        if disputed:
            are = "is" if disputed == 1 else "are"
            yield callout(f"{_some(disputed, 'picture')} {are} in different classes, in red: the labels contradict.")
        yield exploration_pictures.groups(survey, survey.exact)
    else:
        yield note("No two files are equal.")
    if survey.near is None:
        yield note(f"Pictures that look alike are searched for in up to {duplicates.LIMIT:,} images.")
        return
    if not len(survey.near.rows):
        yield note("No two pictures look alike.")
        return
    pairs = survey.near.rows
    across, disputed = (sum(map(each, pairs)) for each in (survey.across, survey.disputed))
    groups = duplicates.groups(pairs)
    rest = "has all" if survey.near.complete else "has these, but later images were not compared"
    yield Html("<h3>Near duplicates</h3>")
    yield note(
        f"{_some(len(pairs), 'pair')} in {_some(len(groups), 'group')} look alike without being equal; {across:,} of "
        f"them in different splits, {disputed:,} in different classes. Found by a perceptual hash (at most "
        f"{duplicates.MOST_BITS} of {duplicates.BITS} bits differ) and the correlation of thumbnails (at least "
        f"{duplicates.LEAST_CORRELATION}). Groups in several splits or classes come first, in red. Nothing is done "
        f"about them; near_duplicates.csv {rest}."
    )
    yield exploration_pictures.groups(survey, groups)


def _colours(survey: Survey) -> Iterator[Html]:
    heads = ["", "images", *(f"{which} {colour}" for which in ("mean", "deviation") for colour in ("r", "g", "b"))]

    def cells(values: Sequence[float]) -> list[str]:
        return [f"{value:.4f}" for value in values]

    names = {"all": "Whole set", **SPLITS}
    rows = [[names[k], c.images, *cells(c.mean), *cells(c.std)] for k, c in survey.colours.items()]
    rows.append(["used to normalise", None, *cells(survey.data.mean), *cells(survey.data.std)])
    yield note("Of the pixels as the network gets them, from 0 (black) to 1; black borders of padding count.")
    yield table([Column(head, numeric=i > 0) for i, head in enumerate(heads)], rows, sort=False)
