"""Charts as inline SVG: small, sharp at any size, in the colours of the page, legible on a telephone.

A chart is drawn here by hand rather than by matplotlib because it then follows light and dark, answers to the pointer
and costs a millisecond instead of a hundred. `standalone` turns one into an SVG file for a report.
"""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from visionlab.reports.numbers import percent, significant
from visionlab.reports.page import Html, escape

COLOURS = tuple(f"var(--s{i})" for i in range(1, 9))
# The style sheet's light colours, for files that stand alone.
_LIGHT = {
    "ground": "#ffffff", "text": "#171a21", "muted": "#5b6472", "line": "#dfe3e9", "grid": "#e9ecf1", "heat": "#1f56c4",
    "good": "#0b7a4b", "bad": "#c02b20", "accent": "#2457c5",
    "s1": "#2d6cdf", "s2": "#d9660f", "s3": "#0f8a7a", "s4": "#b3368f", "s5": "#7355d4", "s6": "#8f7200", "s7": "#5f6b7c",
    "s8": "#c23a3a",
}  # fmt: skip


def colour(place: int) -> str:
    """The colour of the series at this place; they repeat after eight."""
    return COLOURS[place % len(COLOURS)]


def standalone(chart: Html) -> str:
    """Return a chart as the text of an SVG file that needs no style sheet."""
    text = re.sub(r' data-\w+="[^"]*"', "", chart[chart.index("<svg") : chart.rindex("</svg>") + 6])
    text = re.sub(r"var\(--(\w+)\)", lambda match: _LIGHT.get(match[1], "#171a21"), text)
    head = '<svg xmlns="http://www.w3.org/2000/svg" font-family="Helvetica, Arial, sans-serif"'
    ground = '><rect x="-8" y="-8" width="110%" height="110%" fill="#ffffff"/>'
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + text.replace("<svg", head, 1).replace(">", ground, 1)


def nice_ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers that cover low to high, some `about` of them."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return [0.0, 1.0]
    if high <= low:
        pad = abs(low) * 0.1 or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def _text(x: float, y: float, text: object, anchor: str = "middle", size: float = 12, more: str = "") -> str:
    return (
        f'<text x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" font-size="{size:g}" fill="var(--muted)"{more}>'
        f"{escape(text)}</text>"
    )


def _svg(width: float, height: float, label: str, body: str, more: str = "") -> Html:
    return Html(
        f'<svg class="chart" viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{escape(label)}"{more}>{body}</svg>'
    )


@dataclass(frozen=True)
class Axis:
    """A scale between values and pixels, and its label.

    Args:
        label: What is measured, with its unit.
        low: Where the axis begins, and
        high: where it ends; None takes them from the values.
        log: A logarithmic scale (values at or below 0 are left out).
        share: Values from 0 to 1, written as percentages.
    """

    label: str = ""
    low: float | None = None
    high: float | None = None
    log: bool = False
    share: bool = False


@dataclass(frozen=True)
class Scale:
    """An axis placed on the page: `ticks` with their texts, and calling it gives pixels."""

    ticks: list[tuple[float, str]]
    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, NaN for what the scale cannot show."""
        if self.log:
            if value <= 0:
                return math.nan
            value = math.log10(value)
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)


def _scale(axis: Axis, values: Sequence[float], start: float, end: float, about: int) -> Scale:
    known = [v for v in values if math.isfinite(v) and (v > 0 or not axis.log)]
    low = axis.low if axis.low is not None else min(known, default=0.0 if not axis.log else 0.1)
    high = axis.high if axis.high is not None else max(known, default=1.0)
    if axis.log:
        low, high = math.log10(low), math.log10(high)
        if high - low < 0.05:
            low, high = low - 0.5, high + 0.5
        pad = 0.05 * (high - low)
        low, high = low - pad, high + pad
        steps = (1,) if high - low > 1.3 else (1, 2, 5)
        marks = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in steps]
        ticks = [v for v in marks if low <= math.log10(v) <= high]
        ticks = ticks[:: math.ceil(len(ticks) / 8)] if ticks else [10**low, 10**high]
    else:
        ticks = nice_ticks(low, high, about)
        low = axis.low if axis.low is not None else ticks[0]
        high = axis.high if axis.high is not None else ticks[-1]
        if high <= low:
            low, high = ticks[0], ticks[-1]
        ticks = [t for t in ticks if low - 1e-12 <= t <= high + 1e-12]
    texts = [percent(t, 0) if axis.share else _tick(t) for t in ticks]
    if axis.share and len(set(texts)) < len(texts):
        texts = [percent(t, 1) for t in ticks]
    return Scale(list(zip(ticks, texts, strict=True)), low, high, start, end, axis.log)


def _tick(value: float) -> str:
    size = abs(value)
    if size and (size >= 1e4 or size < 1e-3):
        for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if size >= unit:
                return f"{value / unit:g}\u00a0{letter}"
        return f"{value:.0e}".replace("e-0", "e-")
    return f"{value:g}"


def _frame(x: Scale, y: Scale, x_label: str, y_label: str, width: float) -> str:
    parts = []
    for value, text in y.ticks:
        at = y(value)
        parts.append(f'<path d="M{_n(x.start)} {_n(at)}H{_n(x.end)}" stroke="var(--grid)"/>')
        parts.append(_text(x.start - 7, at + 4, text, "end"))
    parts += [_text(x(value), y.start + 17, text) for value, text in x.ticks]
    parts.append(f'<path d="M{_n(x.start)} {_n(y.start)}H{_n(x.end)}" stroke="var(--line)"/>')
    parts.append(_text((x.start + x.end) / 2, y.start + 35, x_label))
    parts.append(_text(0, 12, y_label, "start", more=' font-weight="600"'))
    return "".join(parts)


@dataclass(frozen=True)
class Series:
    """A line: its name, where it goes, and its look. A NaN interrupts it."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    colour: str = "var(--s1)"
    dashed: bool = False
    faint: bool = False


@dataclass(frozen=True)
class Mark:
    """A point worth noticing on a chart of lines."""

    x: float
    y: float
    text: str
    colour: str = "var(--text)"


def legend(entries: Sequence[tuple[str, str, bool]]) -> Html:
    """The names of series: (name, colour, dashed) of each."""
    items = "".join(
        f'<li><i style="border-color:{hue};border-top-style:{"dashed" if dashed else "solid"}"></i>{escape(name)}</li>'
        for name, hue, dashed in entries
    )
    return Html(f'<ul class="legend">{items}</ul>')


def lines(
    series: Sequence[Series],
    *,
    x: Axis,
    y: Axis,
    marks: Sequence[Mark] = (),
    height: float = 285,
    width: float = 480,
    label: str = "",
    key: bool = True,
) -> Html:
    """Draw lines over a common axis; a line of one point is a dot. With `key`, the names stand above the chart."""
    xs = [v for s in series for v in s.xs]
    ys = [v for s in series for v in s.ys]
    across = _scale(x, xs, 54, width - 12, 6)
    up = _scale(y, ys, height - 42, 38, 5)
    body = [_frame(across, up, x.label, y.label, width)]
    inside = key and 1 < len(series) <= 4
    if inside:
        right = width - 12
        for s in reversed(series):
            body.append(_text(right, 12, s.name, "end"))
            right -= 6.6 * len(s.name) + 8
            dash = ' stroke-dasharray="5 4"' if s.dashed else ""
            body.append(f'<path d="M{_n(right - 18)} 8h18" stroke="{s.colour}" stroke-width="2.5"{dash}/>')
            right -= 34
    for s in series:
        points = [
            (across(a), up(b)) if math.isfinite(b) else (math.nan, math.nan) for a, b in zip(s.xs, s.ys, strict=True)
        ]
        pieces, pen = [], False
        for a, b in points:
            if not (math.isfinite(a) and math.isfinite(b)):
                pen = False
                continue
            pieces.append(f"{'L' if pen else 'M'}{_n(a)} {_n(b)}")
            pen = True
        look = ' stroke-dasharray="5 4"' if s.dashed else ""
        look += ' stroke-opacity=".35" stroke-width="1.3"' if s.faint else ' stroke-width="2"'
        body.append(
            f'<path d="{"".join(pieces)}" fill="none" stroke="{s.colour}" stroke-linejoin="round"{look} '
            f'data-name="{escape(s.name)}"/>'
        )
        alone = [p for i, p in enumerate(points) if _alone(points, i)]
        body += [f'<circle cx="{_n(a)}" cy="{_n(b)}" r="3.5" fill="{s.colour}"/>' for a, b in alone]
    for mark in marks:
        a, b = across(mark.x), up(mark.y)
        if not (math.isfinite(a) and math.isfinite(b)):
            continue
        anchor = "end" if a > width * 0.6 else "start"
        body.append(
            f'<path d="M{_n(a)} {_n(up.end)}V{_n(up.start)}" stroke="var(--muted)" stroke-dasharray="2 3"/>'
            f'<circle cx="{_n(a)}" cy="{_n(b)}" r="4.5" fill="{mark.colour}" stroke="var(--ground)" stroke-width="1.5"/>'
        )
        body.append(_text(a + (-6 if anchor == "end" else 6), up.end - 4, mark.text, anchor, 11.5))
    data = {
        "left": across.start, "right": across.end, "low": across.low, "high": across.high, "log": x.log, "share": y.share,
        "x": x.label,
        "series": [
            {"name": s.name, "xs": [_plain(v) for v in s.xs], "ys": [_plain(v) for v in s.ys]} for s in series
        ],
    }  # fmt: skip
    drawing = _svg(width, height, label or y.label, "".join(body), f' data-lines="{escape(json.dumps(data))}"')
    names = legend([(s.name, s.colour, s.dashed) for s in series if not s.faint])
    return Html((names if key and len(series) > 4 else "") + drawing)


def _plain(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _alone(points: Sequence[tuple[float, float]], i: int) -> bool:
    def there(j: int) -> bool:
        return 0 <= j < len(points) and math.isfinite(points[j][0]) and math.isfinite(points[j][1])

    return there(i) and not there(i - 1) and not there(i + 1)


def bars(
    names: Sequence[str],
    values: Sequence[float],
    *,
    axis: Axis,
    tips: Sequence[str] = (),
    mean: float | None = None,
    hue: str = "var(--s1)",
    form: str = "",
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
        form: How the value at a bar's end is written (a format specification); empty writes shares as percentages.
        label: The chart in words, for those who cannot see it.
    """
    crowded = len(names) > 30
    pitch, size = (15.0, 10.5) if crowded else (24.0, 12.5)
    width = 520.0
    room = min(0.42 * width, max((len(str(name)) for name in names), default=1) * size * 0.56 + 12)
    top, height = 8.0, 8.0 + pitch * len(names) + 40
    known = [v for v in values if math.isfinite(v)]
    scale = _scale(Axis(axis.label, axis.low or 0.0, axis.high, False, axis.share), [0.0, *known], room, width - 46, 5)
    body = []
    bottom = top + pitch * len(names)
    for value, text in scale.ticks:
        at = _n(scale(value))
        body.append(f'<path d="M{at} {_n(top)}V{_n(bottom)}" stroke="var(--grid)"/>')
        body.append(_text(scale(value), bottom + 15, text, size=11))
    for i, (name, value) in enumerate(zip(names, values, strict=True)):
        y = top + i * pitch
        tip = f' data-tip="{escape(tips[i])}"' if tips else ""
        text = name if len(name) <= 28 else name[:27] + "…"
        body.append(_text(room - 7, y + pitch / 2 + size * 0.35, text, "end", size))
        if not math.isfinite(value):
            continue
        body.append(
            f'<rect x="{_n(room)}" y="{_n(y + pitch * 0.14)}" width="{_n(max(0.8, scale(value) - room))}" '
            f'height="{_n(pitch * 0.72)}" rx="2" fill="{hue}"{tip}/>'
        )
        written = format(value, form) if form else percent(value, 1) if axis.share else significant(value, 3)
        body.append(_text(scale(value) + 5, y + pitch / 2 + size * 0.35, written, "start", size - 1))
    if mean is not None and math.isfinite(mean):
        at = _n(scale(mean))
        body.append(f'<path d="M{at} {_n(top - 4)}V{_n(bottom)}" stroke="var(--text)" stroke-dasharray="3 3"/>')
    body.append(_text((room + width - 46) / 2, bottom + 33, axis.label))
    return _svg(width, height, label or axis.label, "".join(body))


@dataclass(frozen=True)
class Point:
    """A dot on a scatter chart."""

    x: float
    y: float
    name: str
    tip: str = ""
    colour: str = "var(--s1)"
    spread: tuple[float, float] | None = None  # an interval of y


def scatter(
    points: Sequence[Point], *, x: Axis, y: Axis, label: str = "", height: float = 300, width: float = 480
) -> Html:
    """Draw named dots; names are written beside them while there are no more than 12."""
    known = [p for p in points if math.isfinite(p.x) and math.isfinite(p.y)]
    ys = [v for p in known for v in (p.y, *(p.spread or ()))]
    across, up = _scale(x, [p.x for p in known], 54, width - 16, 5), _scale(y, ys, height - 42, 26, 5)
    body = [_frame(across, up, x.label, y.label, width)]
    for p in known:
        a, b = across(p.x), up(p.y)
        if not math.isfinite(a):
            continue
        if p.spread:
            low, high = (up(v) for v in p.spread)
            body.append(
                f'<path d="M{_n(a)} {_n(low)}V{_n(high)}" stroke="{p.colour}" stroke-opacity=".5" stroke-width="1.5"/>'
            )
        body.append(
            f'<circle cx="{_n(a)}" cy="{_n(b)}" r="5.5" fill="{p.colour}" stroke="var(--ground)" data-name="{escape(p.name)}" '
            f'data-tip="{escape(p.tip or p.name)}"/>'
        )
        if len(known) <= 12:
            anchor = "end" if a > width * 0.62 else "start"
            body.append(_text(a + (-9 if anchor == "end" else 9), b - 7, p.name[:26], anchor, 11))
    return _svg(width, height, label or f"{y.label} against {x.label}", "".join(body))


def heatmap(counts: NDArray[np.int64], names: Sequence[str], *, normalise: bool, label: str = "") -> Html:
    """Draw a confusion matrix: a row a true class, a column a predicted one; the darker, the more.

    Args:
        counts: int64 `[K, K]`.
        names: `[K]`, in the order of the rows.
        normalise: Show each row's shares rather than counts.
        label: The chart in words.

    Cells of one shade are one path and empty cells are none, so that 101 classes stay small. Up to 15 classes have their
    numbers written in the cells.
    """
    k = len(names)
    cell = 58.0 if k <= 6 else 40.0 if k <= 15 else 20.0 if k <= 40 else 11.0
    size = 12.5 if k <= 15 else 11.0 if k <= 40 else 9.0
    longest = max(len(name) for name in names)
    room = min(longest, 22) * size * 0.58 + 22
    texts = [name if len(name) <= 22 else name[:21] + "…" for name in names]
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    shade = shares if normalise else counts / max(1, int(counts.max()))
    left, top = room + 14, 8.0
    width, height = left + cell * k + 8, top + cell * k + room + 18
    body = [
        f'<rect x="{_n(left)}" y="{_n(top)}" width="{_n(cell * k)}" height="{_n(cell * k)}" fill="none" stroke="var(--line)"/>'
    ]
    levels = np.ceil(np.sqrt(shade) * 16).astype(int)  # the root lets rare mistakes be seen beside the diagonal
    for level in range(1, 17):
        where = np.argwhere(levels == level)
        if len(where):
            path = "".join(
                f"M{_n(left + c * cell)} {_n(top + r * cell)}h{_n(cell)}v{_n(cell)}h-{_n(cell)}z" for r, c in where
            )
            body.append(f'<path d="{path}" fill="var(--heat)" fill-opacity="{(level / 16) ** 1.35:.3f}"/>')
    if k <= 15:
        for r, c in np.argwhere(counts > 0):
            text = f"{100 * shares[r, c]:.0f}" if normalise else f"{counts[r, c]}"
            hue = "var(--ground)" if levels[r, c] > 10 else "var(--text)"
            body.append(
                f'<text x="{_n(left + (c + 0.5) * cell)}" y="{_n(top + (r + 0.5) * cell + 4.5)}" text-anchor="middle" '
                f'font-size="{12.5 if len(text) < 5 else 10}" fill="{hue}">{text}</text>'
            )
    for i, text in enumerate(texts):
        middle = (i + 0.5) * cell
        body.append(_text(left - 6, top + middle + size * 0.35, text, "end", size))
        x, y = left + middle + size * 0.35, top + cell * k + 6
        body.append(_text(x, y, text, "end", size, f' transform="rotate(-90 {_n(x)} {_n(y)})"'))
    body.append(
        _text(
            11, top + cell * k / 2, "true class", size=12, more=f' transform="rotate(-90 11 {_n(top + cell * k / 2)})"'
        )
    )
    body.append(_text(left + cell * k / 2, height - 4, "predicted class", size=12))
    sparse: dict[int, dict[int, int]] = {}
    for r, c in np.argwhere(counts > 0):
        sparse.setdefault(int(r), {})[int(c)] = int(counts[r, c])
    data = {"x": round(left, 2), "y": top, "size": cell, "names": list(names), "counts": sparse}
    drawing = _svg(width, height, label, "".join(body), f' data-heat="{escape(json.dumps(data))}"')
    limit = f"max-width:{_n(max(width * 1.15, 340))}px"
    return Html(
        f'<div class="wide" style="--least:{_n(min(width, 900) * (0.8 if k <= 15 else 1))}px"><div style="{limit};min-width:min(var(--least),100%)">{drawing}</div></div>'
    )


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
    width, height, fold = 480.0, 340.0, 250.0
    across = _scale(Axis("confidence", 0, 1, share=True), [], 54, width - 12, 5)
    up = _scale(Axis("accuracy", 0, 1, share=True), [], fold, 26, 5)
    body = []
    for value, text in up.ticks:
        body.append(f'<path d="M54 {_n(up(value))}H{_n(width - 12)}" stroke="var(--grid)"/>')
        body.append(_text(47, up(value) + 4, text, "end"))
    most = max(1, int(counts.max()))
    for i, n in enumerate(counts):
        if not n:
            continue
        x0, x1 = across(edges[i]) + 1, across(edges[i + 1]) - 1
        tip = f"confidence {edges[i]:.2f} to {edges[i + 1]:.2f}\naccuracy {percent(accuracy[i], 1)}\n{n:,} images"
        tall = 46 * n / most
        body.append(
            f'<g data-tip="{escape(tip)}"><rect x="{_n(x0)}" y="{_n(up(accuracy[i]))}" width="{_n(x1 - x0)}" '
            f'height="{_n(max(0.8, fold - up(accuracy[i])))}" rx="2" fill="var(--s1)" fill-opacity=".8"/>'
            f'<rect x="{_n(x0)}" y="{_n(height - 32 - tall)}" width="{_n(x1 - x0)}" height="{_n(max(0.8, tall))}" fill="var(--s7)" '
            f'fill-opacity=".7"/></g>'
        )
    body.append(
        f'<path d="M54 {_n(fold)}L{_n(width - 12)} 26" stroke="var(--text)" stroke-dasharray="4 4" stroke-opacity=".7"/>'
    )
    body.append(
        f'<path d="M54 {_n(fold)}H{_n(width - 12)}M54 {_n(height - 32)}H{_n(width - 12)}" stroke="var(--line)"/>'
    )
    body += [_text(across(value), height - 17, text) for value, text in across.ticks]
    body.append(_text((54 + width - 12) / 2, height - 1, "confidence of the prediction"))
    body.append(_text(0, 12, "accuracy", "start", more=' font-weight="600"'))
    body.append(_text(47, height - 60, "images", "end", 11))
    return _svg(width, height, label, "".join(body))
