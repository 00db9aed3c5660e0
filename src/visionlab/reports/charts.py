"""Charts as inline SVG: small, sharp at any size, in the colours of the page, legible on a telephone.

A chart is drawn here by hand rather than by matplotlib because it then follows light and dark, answers to the pointer
and costs a millisecond instead of a hundred. `svg.standalone` turns one into an SVG file for a report.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from visionlab.reports.numbers import percent, significant
from visionlab.reports.page import Html, escape
from visionlab.reports.svg import Axis, Scale, frame, place, px, shortened, svg, text_at


@dataclass(frozen=True)
class Series:
    """A line: its name, where it goes, and its look. A NaN interrupts it.

    `key` ties it to the table rows, dots and lines with the same key: pointing at one lights up all.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: str = "var(--s1)"
    dashed: bool = False
    faint: bool = False
    key: str = ""


@dataclass(frozen=True)
class Mark:
    """A point worth noticing on a chart of lines."""

    x: float
    y: float
    text: str
    colour: str = "var(--text)"


@dataclass(frozen=True)
class Point:
    """A dot on a scatter chart; `spread` is an interval of y, `key` as in `Series`."""

    x: float
    y: float
    name: str
    tip: str = ""
    colour: str = "var(--s1)"
    spread: tuple[float, float] | None = None
    key: str = ""


def legend(entries: Sequence[tuple[str, str]]) -> Html:
    """The names of series above a chart: (name, colour) of each; nothing where there are none."""
    items = "".join(f'<li><i style="border-color:{hue}"></i>{escape(name)}</li>' for name, hue in entries)
    return Html(f'<ul class="legend">{items}</ul>' if entries else "")


def lines(
    series: Sequence[Series],
    *,
    x: Axis,
    y: Axis,
    marks: Sequence[Mark] = (),
    names: bool = True,
    label: str = "",
    height: float = 285,
    width: float = 480,
) -> Html:
    """Draw lines over common axes; a point without neighbours is a dot.

    Args:
        series: The lines, drawn in this order.
        x: The horizontal axis.
        y: The vertical axis.
        marks: Points worth noticing.
        names: Whether up to four names stand above the chart.
        label: The chart in words.
        height: In units of the drawing, as is
        width: the width; text is 12 units high.
    """
    across = place(x, [v for s in series for v in s.xs], 54, width - 12, 6)
    up = place(y, [v for s in series for v in s.ys], height - 42, 38, 5)
    body = [frame(across, up, x.label, y.label)]
    if names and 1 < len(series) <= 4:
        body.append(_names(series, width - 12))
    body += [_line(s, across, up) for s in series]
    for mark in marks:
        a, b = across(mark.x), up(mark.y)
        if math.isfinite(a) and math.isfinite(b):
            anchor, shift = ("end", -6) if a > width * 0.6 else ("start", 6)
            body.append(
                f'<path d="M{px(a)} {px(up.end)}V{px(up.start)}" stroke="var(--muted)" stroke-dasharray="2 3"/>'
                f'<circle cx="{px(a)}" cy="{px(b)}" r="4.5" fill="{mark.colour}" stroke="var(--ground)"/>'
            )
            body.append(text_at(a + shift, up.end - 5, mark.text, anchor, 11.5))
    return svg(
        width,
        height,
        label or f"{y.label} by {x.label}",
        "".join(body),
        _for_pointer(series, across, up, x.label, y.share),
    )


def _names(series: Sequence[Series], right: float) -> str:
    """Names with a stroke of their colour, from the right edge leftwards."""
    body = []
    for s in reversed(series):
        body.append(text_at(right, 12, s.name, "end"))
        right -= 7 * len(s.name) + 6
        dash = ' stroke-dasharray="5 4"' if s.dashed else ""
        body.append(f'<path d="M{px(right - 18)} 8h18" stroke="{s.colour}" stroke-width="2.5"{dash}/>')
        right -= 32
    return "".join(body)


def _line(s: Series, across: Scale, up: Scale) -> str:
    points = [(across(a), up(b)) for a, b in zip(s.xs, s.ys, strict=True)]
    there = [math.isfinite(a) and math.isfinite(b) for a, b in points]
    pieces, dots = [], []
    for i, (a, b) in enumerate(points):
        if there[i]:
            joined = i > 0 and there[i - 1]
            pieces.append(f"{'L' if joined else 'M'}{px(a)} {px(b)}")
            if not joined and not (i + 1 < len(points) and there[i + 1]):
                dots.append(f'<circle cx="{px(a)}" cy="{px(b)}" r="3.5" fill="{s.colour}"/>')
    look = ' stroke-opacity=".45" stroke-width="1.3"' if s.faint else ' stroke-width="2"'
    look += ' stroke-dasharray="5 4"' if s.dashed else ""
    path = f'<path d="{"".join(pieces)}" fill="none" stroke="{s.colour}" stroke-linejoin="round"{look}/>'
    return f'<g data-key="{escape(s.key)}">{path}{"".join(dots)}</g>' if s.key else path + "".join(dots)


def _for_pointer(series: Sequence[Series], across: Scale, up: Scale, x_label: str, share: bool) -> str:
    """What the script needs to say which value lies under the pointer."""

    def plain(values: Sequence[float]) -> list[float | None]:
        return [float(f"{v:.5g}") if math.isfinite(v) else None for v in values]

    data = {
        "x": [across.start, across.end, across.low, across.high, across.log],
        "y": [up.start, up.end, up.low, up.high, up.log],
        "label": x_label,
        "share": share,
        "series": [{"name": s.name, "key": s.key, "xs": plain(s.xs), "ys": plain(s.ys)} for s in series],
    }
    return f' data-lines="{escape(json.dumps(data, separators=(",", ":")))}"'


_HALO = ' paint-order="stroke" stroke="var(--ground)" stroke-width="3"'  # keeps text legible across a line


def bars(
    names: Sequence[str],
    values: Sequence[float],
    *,
    axis: Axis,
    tips: Sequence[str] = (),
    mean: float | None = None,
    hue: str = "var(--s1)",
    label: str = "",
) -> Html:
    """Draw horizontal bars, one a name, in the order given.

    Args:
        names: What each bar stands for.
        values: Its length; NaN draws none.
        axis: The scale, from `axis.low` or 0.
        tips: What the pointer shows on each bar.
        mean: Draws a line across all bars.
        hue: Their colour.
        label: The chart in words.
    """
    pitch, size = (15.0, 10.5) if len(names) > 30 else (24.0, 12.5)
    width, top = 430.0, 8.0
    room = min(0.42 * width, min(28, max(map(cell_len, names), default=1)) * size * 0.56 + 12)
    bottom = top + pitch * len(names)
    along = place(Axis(low=axis.low or 0.0, high=axis.high, share=axis.share), [0.0, *values], room, width - 46)
    body = []
    for value, text in along.ticks:
        body.append(f'<path d="M{px(along(value))} {px(top)}V{px(bottom)}" stroke="var(--grid)"/>')
        body.append(text_at(along(value), bottom + 15, text, size=11))
    texts = []
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        y, line = top + i * pitch, top + (i + 0.5) * pitch + size * 0.35
        body.append(text_at(room - 7, line, shortened(name, 28), "end", size))
        if not math.isfinite(value):
            continue
        tip = f' data-tip="{escape(tips[i])}"' if tips else ""
        box = f'width="{px(max(0.8, along(value) - room))}" height="{px(pitch * 0.72)}" rx="2"'
        body.append(f'<rect x="{px(room)}" y="{px(y + pitch * 0.14)}" {box} fill="{hue}"{tip}/>')
        written = percent(value, 1) if axis.share else f"{value:,.0f}" if axis.whole else significant(value, 3)
        texts.append(text_at(along(value) + 5, line, written, "start", size - 1, _HALO))
    if mean is not None and math.isfinite(mean):
        at = f"M{px(along(mean))} {px(top - 4)}V{px(bottom)}"
        body.append(f'<path d="{at}" stroke="var(--text)" stroke-dasharray="3 3"/>')
    body += texts
    body.append(text_at((room + width - 46) / 2, bottom + 33, axis.label))
    return svg(width, bottom + 40, label or axis.label, "".join(body))


def scatter(
    points: Sequence[Point], *, x: Axis, y: Axis, label: str = "", height: float = 300, width: float = 480
) -> Html:
    """Draw named dots.

    A name that is short is written once, beside its first dot and where there is room; of more than 12 names only the
    first. The pointer tells the rest.
    """
    known = [p for p in points if math.isfinite(p.x) and math.isfinite(p.y) and (p.x > 0 or not x.log)]
    across = place(x, [p.x for p in known], 54, width - 16)
    up = place(y, [v for p in known for v in (p.y, *(p.spread or ()))], height - 42, 26)
    body = [frame(across, up, x.label, y.label)]
    spots = [(across(p.x), up(p.y)) for p in known]
    taken = [(a - 6, b - 6, a + 6, b + 6) for a, b in spots]
    named: set[str] = set()
    few = len({p.name for p in known}) <= 12
    for p, (a, b) in zip(known, spots, strict=True):
        parts = []
        if p.spread:
            line = f"M{px(a)} {px(up(p.spread[0]))}V{px(up(p.spread[1]))}"
            parts.append(f'<path d="{line}" stroke="{p.colour}" stroke-opacity=".5" stroke-width="1.5"/>')
        parts.append(f'<circle cx="{px(a)}" cy="{px(b)}" r="5.5" fill="{p.colour}" stroke="var(--ground)"/>')
        if p.name not in named and len(p.name) <= 26 and (few or not named):
            text = _name(p.name, a, b, width, taken)
            named |= {p.name} if text else set()
            parts.append(text)
        tied = f' data-key="{escape(p.key)}"' if p.key else ""
        body.append(f'<g data-tip="{escape(p.tip or p.name)}"{tied}>{"".join(parts)}</g>')
    return svg(width, height, label or f"{y.label} against {x.label}", "".join(body), ' data-plot=""')


_Box = tuple[float, float, float, float]  # left, top, right, bottom


def _name(name: str, a: float, b: float, width: float, taken: list[_Box]) -> str:
    """Write a dot's name on a side that is free, and note the room it takes; empty where no side is."""
    wide = 6.3 * cell_len(name)
    for anchor, shift, rise in (("start", 9, -6), ("end", -9, -6), ("start", 9, 14), ("end", -9, 14)):
        left = a + shift - (wide if anchor == "end" else 0)
        box = (left, b + rise - 10, left + wide, b + rise + 3)
        if left >= 54 and box[2] <= width and not any(_overlap(box, other) for other in taken):
            taken.append(box)
            return text_at(a + shift, b + rise, name, anchor, 11)
    return ""


def _overlap(a: _Box, b: _Box) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def reliability(
    edges: NDArray[np.float64], accuracy: NDArray[np.float64], counts: NDArray[np.int64], *, label: str = ""
) -> Html:
    """Draw accuracy per bin of confidence against the diagonal, with the number of images of each bin below.

    Args:
        edges: float `[bins + 1]`.
        accuracy: float `[bins]`, NaN where a bin is empty.
        counts: int64 `[bins]`.
        label: The chart in words.
    """
    width, height, fold, floor = 400.0, 320.0, 230.0, 288.0
    left, right = 54.0, width - 12
    across = place(Axis(low=0, high=1, share=True), [], left, right)
    up = place(Axis(low=0, high=1, share=True), [], fold, 26)
    body = []
    for value, text in up.ticks:
        body.append(f'<path d="M{px(left)} {px(up(value))}H{px(right)}" stroke="var(--grid)"/>')
        body.append(text_at(left - 7, up(value) + 4, text, "end"))
    most = max(1, int(counts.max()))
    for i, images in enumerate(counts):
        if not images:
            continue
        x0, x1 = across(edges[i]) + 1, across(edges[i + 1]) - 1
        tip = f"confidence {edges[i]:.2f} to {edges[i + 1]:.2f}\naccuracy {percent(accuracy[i], 1)}\n{images:,} images"
        wide, tall, few = px(x1 - x0), fold - up(accuracy[i]), 40 * images / most
        body.append(
            f'<g data-tip="{escape(tip)}"><rect x="{px(x0)}" y="{px(fold - max(0.8, tall))}" width="{wide}" '
            f'height="{px(max(0.8, tall))}" rx="2" fill="var(--s1)" fill-opacity=".8"/><rect x="{px(x0)}" '
            f'y="{px(floor - max(0.8, few))}" width="{wide}" height="{px(max(0.8, few))}" fill="var(--s7)" '
            'fill-opacity=".7"/></g>'
        )
    diagonal = f"M{px(left)} {px(fold)}L{px(right)} 26"
    floors = f"M{px(left)} {px(fold)}H{px(right)}M{px(left)} {px(floor)}H{px(right)}"
    body.append(f'<path d="{diagonal}" stroke="var(--text)" stroke-dasharray="4 4" stroke-opacity=".7"/>')
    body.append(f'<path d="{floors}" stroke="var(--line)"/>')
    body += [text_at(across(value), floor + 15, text) for value, text in across.ticks]
    body.append(text_at((left + right) / 2, height - 1, "confidence of the prediction"))
    body.append(text_at(0, 12, "accuracy", "start", more=' font-weight="600"'))
    body.append(text_at(left - 7, floor - 16, "images", "end", 11))
    return svg(width, height, label, "".join(body))
