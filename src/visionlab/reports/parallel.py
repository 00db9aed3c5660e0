"""Parallel coordinates: a line a trial across its hyperparameters to its result."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from visionlab.reports.page import ABSENT, Html, escape
from visionlab.reports.settings import written
from visionlab.reports.svg import decades, px, svg, text_at, tick_text

LONGEST = 24  # letters of a value of the first axis


def parallel(
    trials: Sequence[tuple[str, Mapping[str, Any], float]],
    names: Mapping[str, str],
    *,
    metric: str,
    text: Callable[[float], str],
    best: str = "",
    largest: bool = True,
) -> Html:
    """Draw the trials of a sweep; dragging along an axis keeps those that pass there.

    Args:
        trials: Of each its key, its hyperparameters and its result; a NaN is left out.
        names: The hyperparameters and what each axis is called.
        metric: What the last axis is called.
        text: Writes a result.
        best: The key of the best trial, which is drawn above the others.
        largest: Whether a larger result is better.
    """
    known = [trial for trial in trials if math.isfinite(trial[2])]
    if len(known) < 2 or not names:
        return Html("")
    columns = [[values.get(key, ABSENT) for _, values, _ in known] for key in names]
    width, top = max(1000.0, 120.0 * (len(names) + 1)), 44.0
    bottom = top + max(256.0, *(15.0 * _words(column) for column in columns))  # a line of text each
    # Left of the first axis there is room for whole words, between two axes there is not.
    room = max(len(written(value)) for value in columns[0]) if _words(columns[0]) else 0
    left, right = max(70.0, 14 + 6.2 * min(LONGEST, room)), width - 70
    step = (right - left) / len(names)
    axes = [_Axis(column, top, bottom) for column in columns]
    results = [result for *_, result in known]
    last = _Axis(results, top, bottom, even=False)
    low, high = min(results), max(results)
    body = []
    for key, values, result in sorted(known, key=lambda trial: (trial[0] == best, trial[2])):
        ys = [axis(values.get(name, ABSENT)) for axis, name in zip(axes, names, strict=True)] + [last(result)]
        path = "M" + "L".join(f"{px(left + i * step)} {px(y)}" for i, y in enumerate(ys))
        strength = (result - low) / (high - low) if high > low else 1.0
        strength = strength if largest else 1 - strength
        hue, thick = ("var(--s2)", 2.6) if key == best else ("var(--s1)", 1.5)
        opacity = 1.0 if key == best else 0.12 + 0.7 * strength**2
        tip = "\n".join([f"{metric} {text(result)}", *(f"{names[k]} {written(values.get(k, ABSENT))}" for k in names)])
        body.append(
            f'<path class="trial" d="{path}" fill="none" stroke="{hue}" stroke-width="{thick}" '
            f'stroke-opacity="{opacity:.2f}" data-key="{escape(key)}" data-tip="{escape(tip)}" '
            f'data-at="{",".join(px(y) for y in ys)}"/>'
        )
    titles = [*names.values(), metric]
    for i, (axis, title) in enumerate(zip([*axes, last], titles, strict=True)):
        x = left + i * step
        body.append(f'<path d="M{px(x)} {px(top)}V{px(bottom)}" stroke="var(--muted)"/>')
        body.append(text_at(x, 14, title if len(title) <= 20 else "…" + title[-19:], more=' font-weight="600"'))
        for y, label in axis.labels(text if i == len(names) else None):
            halo = ' paint-order="stroke" stroke="var(--ground)" stroke-width="4"'
            anchor, shift = ("start", 7) if i == len(names) else ("end", -7)
            most = 14 if i else LONGEST
            label = label if len(label) <= most else label[: most - 1] + "…"
            body.append(text_at(x + shift, y + 4, label, anchor, 11, halo))
        band = f'x="{px(x - 12)}" y="{px(top - 8)}" width="24" height="{px(bottom - top + 16)}"'
        body.append(f'<rect class="brush" {band} fill="transparent" data-axis="{i}"/>')
    drawing = svg(
        width, bottom + 14, f"{len(known)} trials, hyperparameters against {metric}", "".join(body), ' data-parallel=""'
    )
    return Html(f'<div class="wide"><div style="min-width:{px(max(560, 0.7 * width))}px">{drawing}</div></div>')


def _words(values: Sequence[Any]) -> int:
    """Count the words on an axis; 0 where it has numbers."""
    return 0 if all(map(_is_number, values)) else len(set(map(written, values)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class _Axis:
    """A vertical axis for numbers (logarithmic where they span decades) or for words."""

    def __init__(self, values: Sequence[Any], top: float, bottom: float, *, even: bool = True) -> None:
        self.top, self.bottom = top, bottom
        self.words = _words(values) > 0
        # Numbers in their order, before words and what a conditional hyperparameter has where it plays no part.
        ordered = sorted(values, key=lambda value: (0, value, "") if _is_number(value) else (1, 0, written(value)))
        places = list(dict.fromkeys(map(written, ordered)))
        # A few numbers, as on a grid, stand at equal distances, where their lines do not crowd.
        if self.words or (even and len(places) <= min(6, len(values) - 1)):
            self.places = {text: (i + 0.5) / len(places) for i, text in enumerate(places)}
            return
        self.places = {}
        self.low, self.high = float(min(values)), float(max(values))
        self.log = decades([float(v) for v in values])

    def __call__(self, value: Any) -> float:
        """Return the pixel of a value."""
        return self.bottom - self._part(value) * (self.bottom - self.top)

    def _part(self, value: Any) -> float:
        if self.places:
            return self.places[written(value)]
        low, high, at = self.low, self.high, float(value)
        if high <= low:
            return 0.5
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return (at - low) / (high - low)

    def labels(self, form: Callable[[float], str] | None) -> list[tuple[float, str]]:
        """Return pixels and texts: each place of words, else both ends and three between."""
        if self.places:
            return [(self.bottom - part * (self.bottom - self.top), text) for text, part in self.places.items()]
        found = []
        for part in (0, 0.25, 0.5, 0.75, 1) if self.high > self.low else (0.5,):
            value = self.low + part * (self.high - self.low)
            if self.log:
                value = self.low * (self.high / self.low) ** part
            text = form(value) if form else tick_text(float(f"{value:.3g}"))
            found.append((self.bottom - part * (self.bottom - self.top), text))
        return found
