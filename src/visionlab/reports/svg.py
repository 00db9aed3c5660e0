"""What charts are made of: axes and their scales, text, colours, and the step from a page to a file of its own."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len

from visionlab.reports.numbers import percent
from visionlab.reports.page import Html, escape
from visionlab.runs import write_atomically

Keep = Callable[[str, Html], None]  # takes the name and the markup of a chart, for a file of its own

COLOURS = tuple(f"var(--s{i})" for i in range(1, 9))
_DECLARATION = '<?xml version="1.0" encoding="UTF-8"?>\n'
# The style sheet's light colours, for files that stand alone.
_LIGHT = {
    "ground": "#ffffff", "text": "#171a21", "muted": "#5b6472", "line": "#dfe3e9", "grid": "#e9ecf1", "heat": "#1f56c4",
    "s1": "#2d6cdf", "s2": "#d9660f", "s3": "#0f8a7a", "s4": "#b3368f",
    "s5": "#7355d4", "s6": "#8f7200", "s7": "#5f6b7c", "s8": "#c23a3a",
}  # fmt: skip


def colour(place: int) -> str:
    """The colour of the series at this place; they repeat after eight."""
    return COLOURS[place % len(COLOURS)]


def standalone(chart: Html) -> str:
    """Return a chart as the text of an SVG file that needs no style sheet."""
    text = re.sub(r' data-\w+="[^"]*"', "", chart[chart.index("<svg") : chart.rindex("</svg>") + 6])
    text = re.sub(r"var\(--(\w+)\)", lambda match: _LIGHT.get(match[1], "#171a21"), text)
    head = '<svg xmlns="http://www.w3.org/2000/svg" font-family="Helvetica, Arial, sans-serif"'
    # Without a size, and a style sheet that limits it, it would fill the width of a notebook.
    text = re.sub(r'viewBox="0 0 (\S+) (\S+)"', r'\g<0> width="\1" height="\2"', text, count=1)
    ground = '><rect x="-8" y="-8" width="110%" height="110%" fill="#ffffff"/>'
    return _DECLARATION + text.replace("<svg", head, 1).replace(">", ground, 1)


def with_legend(chart: Html, entries: Sequence[tuple[str, str]]) -> Html:
    """Return a chart with a legend in rows below it, (name, colour) of each: a file lacks the one of the page."""
    found = re.search(r'viewBox="0 0 ([\d.]+) ([\d.]+)"', chart)
    if not entries or found is None:
        return chart
    width, height = map(float, found.groups())
    body, x, y = [], 12.0, height + 16
    for name, hue in entries:
        wide = 26 + 6.6 * cell_len(name)
        if x > 12 and x + wide > width:
            x, y = 12.0, y + 18
        body.append(f'<path d="M{px(x)} {px(y - 4)}h18" stroke="{hue}" stroke-width="2.5"/>')
        body.append(text_at(x + 24, y, name, "start"))
        x += wide + 18
    taller = chart.replace(found[0], f'viewBox="0 0 {px(width)} {px(y + 6)}"', 1)
    drawing, end, after = taller.rpartition("</svg>")
    return Html("".join((drawing, *body, end, after)))


def write_files(charts: Mapping[str, Html], page: Path) -> None:
    """Write the charts of a page as `figures/<name>.svg` beside it, and remove those that it had before and has not."""
    folder = page.parent / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    head = f"{_DECLARATION}<!-- of {page.name} -->\n"
    for file in folder.glob("*.svg"):
        with suppress(FileNotFoundError):  # another process that writes this page has removed it
            if file.stem not in charts and file.read_bytes().startswith(head.encode()):
                file.unlink()
    for name, chart in charts.items():
        write_atomically(folder / f"{name}.svg", standalone(chart).replace(_DECLARATION, head, 1))


def shortened(text: str, most: int) -> str:
    """Cut a text that is wider than so many letters, of which a Chinese, Japanese or Korean one is two."""
    if cell_len(text) <= most:
        return text
    while cell_len(text) >= most:
        text = text[:-1]
    return f"{text}…"


def px(value: float) -> str:
    """Write a coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def text_at(x: float, y: float, text: object, anchor: str = "middle", size: float = 12, more: str = "") -> str:
    """Write a text at a place; `anchor` is start, middle or end, `more` further attributes."""
    place = f'x="{px(x)}" y="{px(y)}" text-anchor="{anchor}" font-size="{size:g}"'
    return f'<text {place} fill="var(--muted)"{more}>{escape(text)}</text>'


def svg(width: float, height: float, label: str, body: str, more: str = "") -> Html:
    """Wrap a drawing; `label` says what it shows to those who cannot see it, `more` are further attributes."""
    # Little larger than drawn, or the text of a chart would outgrow the text of the page.
    size = f'viewBox="0 0 {px(width)} {px(height)}" style="max-width:{px(1.2 * width)}px"'
    return Html(f'<svg class="chart" {size} role="img" aria-label="{escape(label)}"{more}>{body}</svg>')


@dataclass(frozen=True)
class Axis:
    """What an axis shows.

    Args:
        label: What is measured, with its unit.
        low: Where the axis begins, and
        high: where it ends; None takes them from the values.
        log: A logarithmic scale (values at or below 0 are left out).
        share: Values from 0 to 1, written as percentages.
        whole: Ticks at whole numbers only, such as epochs.
    """

    label: str = ""
    low: float | None = None
    high: float | None = None
    log: bool = False
    share: bool = False
    whole: bool = False


@dataclass(frozen=True)
class Scale:
    """An axis in its place: calling it turns a value into a pixel. With `log`, `low` and `high` are logarithms."""

    ticks: list[tuple[float, str]]
    low: float
    high: float
    start: float
    end: float
    log: bool

    def __call__(self, value: float) -> float:
        """Return the pixel of a value, NaN for what the scale cannot show."""
        if not math.isfinite(value) or (self.log and value <= 0):
            return math.nan
        value = math.log10(value) if self.log else value
        share = (value - self.low) / (self.high - self.low) if self.high > self.low else 0.5
        return self.start + share * (self.end - self.start)


def nice_ticks(low: float, high: float, about: int = 5, *, whole: bool = False) -> list[float]:
    """Return round numbers that cover low to high, some `about` of them; with `whole`, no fractions."""
    if high <= low:
        pad = max(abs(low) * 0.1, 0.5 if whole else 1e-9) or 1.0
        low, high = low - pad, high + pad
    raw = (high - low) / about
    size = 10.0 ** math.floor(math.log10(raw))
    step = next(size * m for m in (1, 2, 2.5, 5, 10) if size * m >= raw * 0.999)
    if whole:
        step = max(1.0, math.ceil(step))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, last + 1)]


def decades(values: Sequence[float]) -> bool:
    """Whether numbers are better shown on a logarithmic scale: they span more than one decade, evenly."""
    if len(values) < 2 or min(values) <= 0 or max(values) / min(values) < 15:
        return False
    ordered = sorted(values)
    low, middle, high = ordered[0], ordered[len(ordered) // 2], ordered[-1]
    plain = (middle - low) / (high - low)
    return abs(math.log(middle / low) / math.log(high / low) - 0.5) < abs(plain - 0.5)


def place(axis: Axis, values: Sequence[float], start: float, end: float, about: int = 5) -> Scale:
    """Fit an axis to values, from pixel `start` to pixel `end`, with some `about` of ticks."""
    known = [v for v in values if math.isfinite(v) and (v > 0 or not axis.log)]
    low = axis.low if axis.low is not None else min(known, default=0.1 if axis.log else 0.0)
    high = axis.high if axis.high is not None else max(known, default=1.0)
    if axis.log:
        return _place_log(math.log10(low), math.log10(high), start, end)
    ticks = nice_ticks(low, high, about, whole=axis.whole)
    if axis.whole and known:  # epochs begin and end the axis
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
    else:
        low = axis.low if axis.low is not None else ticks[0]
        high = axis.high if axis.high is not None and axis.high > low else ticks[-1]
    ticks = [t for t in ticks if low - 1e-12 <= t <= high + 1e-12]
    if axis.share:
        exact = (digits for digits in range(3) if all(abs(100 * t - round(100 * t, digits)) < 1e-6 for t in ticks))
        digits = next(exact, 3)
        texts = [percent(t, digits) for t in ticks]
    else:
        texts = [tick_text(t) for t in ticks]
    return Scale(list(zip(ticks, texts, strict=True)), low, high, start, end, False)


def _place_log(low: float, high: float, start: float, end: float) -> Scale:
    if high - low < 0.05:
        low, high = low - 0.5, high + 0.5
    pad = 0.06 * (high - low)
    low, high = low - pad, high + pad
    steps = (1,) if high - low > 2 else (1, 2, 5)
    marks = [m * 10.0**e for e in range(math.floor(low), math.ceil(high) + 1) for m in steps]
    ticks = [v for v in marks if low <= math.log10(v) <= high]
    ticks = ticks[:: math.ceil(len(ticks) / 7)] if ticks else [10**low, 10**high]
    return Scale([(v, tick_text(float(f"{v:.3g}"))) for v in ticks], low, high, start, end, True)


def tick_text(value: float) -> str:
    """Write a tick: 20 k, 1e-5, 0.25."""
    size = abs(value)
    if size >= 1e4:
        for unit, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
            if size >= unit:
                return f"{value / unit:g}\u00a0{letter}"
    if size and size < 1e-3:
        mantissa, exponent = f"{value:.2e}".split("e")
        return f"{float(mantissa):g}e{int(exponent)}"
    return f"{value:g}"


def frame(x: Scale, y: Scale, x_label: str, y_label: str) -> str:
    """Draw the grid, the ticks and the labels of two axes."""
    parts = []
    for value, text in y.ticks:
        at = y(value)
        parts.append(f'<path d="M{px(x.start)} {px(at)}H{px(x.end)}" stroke="var(--grid)"/>')
        parts.append(text_at(x.start - 7, at + 4, text, "end"))
    parts += [text_at(x(value), y.start + 17, text) for value, text in x.ticks]
    parts.append(f'<path d="M{px(x.start)} {px(y.start)}H{px(x.end)}" stroke="var(--line)"/>')
    parts.append(text_at((x.start + x.end) / 2, y.start + 35, x_label))
    parts.append(text_at(0, 12, y_label, "start", more=' font-weight="600"'))
    return "".join(parts)
