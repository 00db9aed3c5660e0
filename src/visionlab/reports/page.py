"""The one component that every page is made of: sections of text, tables, figures and pictures in a single HTML file.

A page needs nothing beside itself: style sheet, script, charts (inline SVG) and pictures (data URIs) are inside. It
follows the reader's light or dark setting and prints. What is not `Html` is escaped wherever it enters a page, so a
class that is named `<script>` stays a name.

    page = Page("Flowers", subtitle="3,670 images in 5 classes")
    page.section("Classes", note("Taken from the names of the folders."), table([Column("class"), ...], rows))
    page.write(Path("explore.html"))
"""

import base64
import html
import io
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from visionlab.reports.numbers import MISSING, show
from visionlab.runs import write_atomically


class Html(str):
    """Markup that is already safe: it enters a page as it is, while any other string is escaped."""

    __slots__ = ()


def escape(value: object) -> Html:
    """Return the value as markup: unchanged if it is `Html`, else its text with `<`, `>`, `&` and quotes escaped."""
    return value if isinstance(value, Html) else Html(html.escape(str(value)))


def join(parts: Iterable[object], separator: str = "") -> Html:
    """Join parts, each escaped unless it is `Html`."""
    return Html(separator.join(escape(part) for part in parts))


def note(text: object) -> Html:
    """A paragraph that says how to read what stands beside it."""
    return Html(f'<p class="note">{escape(text)}</p>' if text else "")


def callout(text: object, *, kind: str = "warn") -> Html:
    """A remark that must not be overlooked; `kind` is `info`, `warn` or `bad`."""
    return Html(f'<div class="callout {kind}" role="note">{escape(text)}</div>')


def code(text: str) -> Html:
    """A command or a listing, with a button that copies it."""
    return Html(
        f'<div class="code"><pre tabindex="0"><code>{escape(text)}</code></pre>'
        '<button type="button" class="copy">Copy</button></div>'
    )


def details(summary: object, *parts: object) -> Html:
    """Parts that are folded away until the reader opens them."""
    return Html(f"<details><summary>{escape(summary)}</summary>{join(parts)}</details>")


def columns(*parts: object, least: int = 400) -> Html:
    """Parts side by side where each has `least` pixels, else one below the other."""
    inside = "".join(f"<div>{escape(part)}</div>" for part in parts)
    return Html(f'<div class="columns" style="--least:{least}px">{inside}</div>')


def figure(chart: object, caption: object = "") -> Html:
    """A chart with its caption."""
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    return Html(f"<figure>{escape(chart)}{below}</figure>")


def tabs(name: str, choices: Mapping[str, object]) -> Html:
    """Parts of which one is seen at a time (works without script; all are printed). `name` is unique on the page."""
    assert len(choices) <= 4, "the style sheet knows four tabs"
    buttons, panels = [], []
    for i, (title, part) in enumerate(choices.items()):
        checked = " checked" if i == 0 else ""
        buttons.append(
            f'<input type="radio" name="{escape(name)}" id="{escape(name)}-{i}"{checked}>'
            f'<label for="{escape(name)}-{i}">{escape(title)}</label>'
        )
        panels.append(f'<div class="panel">{escape(part)}</div>')
    return Html(f'<div class="tabs">{"".join(buttons)}<div class="panels">{"".join(panels)}</div></div>')


@dataclass(frozen=True)
class Tile:
    """One headline number: what it is, the number, and a line that qualifies it."""

    label: str
    value: object
    below: object = ""
    strong: bool = False


def tiles(items: Iterable[Tile]) -> Html:
    """Headline numbers in a row that wraps."""
    cells = "".join(
        f'<div class="tile{" strong" if tile.strong else ""}"><dt>{escape(tile.label)}</dt>'
        f'<dd class="value">{escape(tile.value)}</dd><dd class="below">{escape(tile.below)}</dd></div>'
        for tile in items
    )
    return Html(f'<dl class="tiles">{cells}</dl>')


def pairs(items: Mapping[str, object]) -> Html:
    """Keys with their values, such as settings or an environment."""
    rows = "".join(f"<div><dt>{escape(k)}</dt><dd>{escape(show(v))}</dd></div>" for k, v in items.items())
    return Html(f'<dl class="pairs">{rows}</dl>')


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        title: What stands in the head.
        form: Makes a cell's text of its value; `show` by default.
        numeric: Aligned right and sorted as a number; None decides by the values.
        bar: Draws a bar behind values from 0 to 1.
        hint: Shown when the pointer rests on the head.
    """

    title: str
    form: Callable[[Any], object] = show
    numeric: bool | None = None
    bar: bool = False
    hint: str = ""


# What a row has no value for; None may be one, as null is of a setting.
ABSENT = Html(MISSING)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)


def table(
    heads: Sequence[Column | str],
    rows: Iterable[Sequence[object]],
    *,
    foot: Iterable[Sequence[object]] = (),
    sort: bool = True,
    filterable: bool = False,
    tall: bool = False,
    keys: Sequence[str] = (),
    ident: str = "",
) -> Html:
    """A table whose heads sort it and, if asked, with a field that filters its rows.

    Args:
        heads: The columns; a string is a column with nothing special.
        rows: One sequence of values a row. A cell may be `Html`.
        foot: Rows that stay below when the others are sorted, such as averages.
        sort: Whether the heads are buttons.
        filterable: Whether a field above the table filters it.
        tall: Whether a long table scrolls inside its own frame.
        keys: Of each row, what ties it to lines and dots with the same key: pointing at one lights up all.
        ident: The element's id.
    """
    cols = [Column(head) if isinstance(head, str) else head for head in heads]
    body = [list(row) for row in rows]
    numeric = [
        col.numeric
        if col.numeric is not None
        else any(_is_number(row[i]) for row in body)
        and all(_is_number(row[i]) or row[i] in (None, ABSENT) for row in body)
        for i, col in enumerate(cols)
    ]

    def cell(i: int, value: object) -> str:
        col = cols[i]
        text = value if isinstance(value, Html) else col.form(value)
        long = not isinstance(value, Html) and len(str(text)) > 36
        attributes = ' class="number"' if numeric[i] else ' class="long"' if long else ""
        if numeric[i] and _is_number(value):
            attributes += f' data-value="{float(value):.10g}"'  # type: ignore[arg-type]
            if col.bar and 0 <= float(value) <= 1:  # type: ignore[arg-type]
                attributes += f' style="--bar:{float(value):.4f}"'  # type: ignore[arg-type]
                attributes = attributes.replace('class="number"', 'class="number bar"')
        return f"<td{attributes}>{escape(text)}</td>"

    def line(row: Sequence[object], key: str = "") -> str:
        return (
            (f'<tr data-key="{escape(key)}">' if key else "<tr>")
            + "".join(cell(i, value) for i, value in enumerate(row))
            + "</tr>"
        )

    def top(i: int, col: Column) -> str:
        attributes = (' class="number"' if numeric[i] else "") + (f' title="{escape(col.hint)}"' if col.hint else "")
        title = f'<button type="button">{escape(col.title)}</button>' if sort else escape(col.title)
        return f'<th scope="col"{attributes}>{title}</th>'

    head = "".join(top(i, col) for i, col in enumerate(cols))
    below = "".join(line(row) for row in foot)
    field = (
        '<div class="filter"><input type="search" placeholder="Filter rows" aria-label="Filter rows">'
        '<span class="count" role="status"></span></div>'
        if filterable
        else ""
    )
    frame = f'<div class="table{" tall" if tall else ""}"' + (f' id="{escape(ident)}"' if ident else "")
    lines = "".join(line(row, key) for row, key in zip(body, keys or [""] * len(body), strict=True))
    return Html(
        f'{frame}>{field}<div class="scroll" tabindex="0"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody>'
        + (f"<tfoot>{below}</tfoot>" if below else "")
        + "</table></div></div>"
    )


def picture(image: NDArray[np.uint8], *, alt: str = "", largest: int = 192) -> Html:
    """An image as an `<img>` with the bytes inside.

    Args:
        image: uint8 `[H, W, 3]`. Up to 64 px it is kept exactly (PNG); a larger one becomes a JPEG.
        alt: What the image shows, for those who cannot see it.
        largest: An image is scaled down until its longer side has this many pixels.
    """
    from PIL import Image

    made = Image.fromarray(image)
    kind, look = ("png", ' class="pixels"') if max(made.size) <= 64 else ("jpeg", "")
    made.thumbnail((largest, largest))
    buffer = io.BytesIO()
    made.save(buffer, kind, quality=82, compress_level=1)  # each format takes what concerns it
    data = base64.b64encode(buffer.getvalue()).decode()
    return Html(f'<img src="data:image/{kind};base64,{data}" alt="{escape(alt)}"{look}>')


def gallery(items: Iterable[tuple[Html, object, bool | None, object]]) -> Html:
    """Pictures in a grid: (picture, caption, whether it is right, second line).

    A caption is green with a tick where the third value is true, red with a cross where it is false.
    """
    look = {True: ("right", "✓ "), False: ("wrong", "✗ "), None: ("plain", "")}
    cells = "".join(
        f'<figure class="{look[right][0]}">{image}<figcaption>{look[right][1]}{escape(caption)}'
        f"{f'<br>{escape(second)}' if second else ''}</figcaption></figure>"
        for image, caption, right, second in items
    )
    return Html(f'<div class="gallery">{cells}</div>')


@cache
def _asset(name: str) -> str:
    return resources.files("visionlab.reports").joinpath(name).read_text(encoding="utf-8")


class Page:
    """A page under construction.

    Args:
        title: The largest heading and the window's title.
        subtitle: A line below it.
        badge: A short word beside the title, such as a run's status.
        badge_kind: `good`, `warn`, `bad` or empty.
    """

    def __init__(self, title: str, *, subtitle: object = "", badge: str = "", badge_kind: str = "") -> None:
        self.title, self.subtitle, self.badge, self.badge_kind = title, subtitle, badge, badge_kind
        self._sections: list[tuple[str, str, Html]] = []

    def section(self, title: str, *parts: object) -> None:
        """Add a section; empty parts are left out, and so is a section without parts. An empty title has no heading."""
        filled = [part for part in parts if part]
        if filled:
            ident = re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")
            self._sections.append((ident, title, join(filled)))

    def render(self) -> str:
        """Return the whole page."""
        links = "".join(f'<a href="#{ident}">{escape(title)}</a>' for ident, title, _ in self._sections if title)
        sections = "".join(
            f'<section id="{ident}"><h2>{escape(title)}</h2>{body}</section>' if title else f"<section>{body}</section>"
            for ident, title, body in self._sections
        )
        badge = f'<span class="badge {self.badge_kind}">{escape(self.badge)}</span>' if self.badge else ""
        return (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            '<meta name="color-scheme" content="light dark"><link rel="icon" href="data:,">'
            f"<title>{escape(self.title)}</title><style>{_asset('page.css')}</style></head><body>"
            f"<header><h1>{escape(self.title)}{badge}</h1><p>{escape(self.subtitle)}</p></header>"
            f'<nav aria-label="Sections">{links}</nav><main>{sections}</main>'
            f"<script>{_asset('page.js')}</script></body></html>\n"
        )

    def write(self, path: Path) -> Path:
        """Write the page to `path`, replacing an older one in one step, and return the path."""
        write_atomically(path, self.render())
        return path
