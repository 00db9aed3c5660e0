"""The confusion matrix as inline SVG."""

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from rich.cells import cell_len

from visionlab.reports.page import Html, escape
from visionlab.reports.svg import px, shortened, svg, text_at

_SHADES = 16


def heatmap(counts: NDArray[np.int64], names: Sequence[str], *, normalise: bool, label: str = "") -> Html:
    """Draw a confusion matrix: a row a true class, a column a predicted one; the darker, the more.

    Cells of one shade are one path and empty cells are none, so that 101 classes stay small. Up to 15 classes have
    their numbers written in the cells; beyond that the pointer tells them.

    Args:
        counts: int64 `[K, K]`.
        names: `[K]`, in the order of the rows.
        normalise: Show each row's shares (in per cent) rather than counts.
        label: The chart in words.
    """
    k = len(names)
    cell = 64.0 if k <= 6 else 42.0 if k <= 15 else 20.0 if k <= 40 else 11.0
    size = 12.5 if k <= 15 else 11.0 if k <= 40 else 9.0
    texts = [shortened(name, 22) for name in names]
    room = max(map(cell_len, texts)) * size * 0.56 + 8
    left, top = room + 20, 8.0
    width, height = left + cell * k + 8, top + cell * k + room + 20
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    shade = shares if normalise else counts / max(1, int(counts.max()))
    levels = np.ceil(np.sqrt(shade) * _SHADES).astype(int)  # the root lets rare mistakes be seen beside the diagonal
    box = f'width="{px(cell * k)}" height="{px(cell * k)}"'
    body = [f'<rect x="{px(left)}" y="{px(top)}" {box} fill="none" stroke="var(--line)"/>']
    for level in range(1, _SHADES + 1):
        where = np.argwhere(levels == level)
        if len(where):
            square = f"h{px(cell)}v{px(cell)}h-{px(cell)}z"
            path = "".join(f"M{px(left + c * cell)} {px(top + r * cell)}{square}" for r, c in where)
            body.append(f'<path d="{path}" fill="var(--heat)" fill-opacity="{(level / _SHADES) ** 1.35:.3f}"/>')
    if k <= 15:
        for r, c in np.argwhere(counts > 0):
            text = f"{100 * shares[r, c]:.0f}" if normalise else f"{counts[r, c]}"
            hue = "var(--ground)" if levels[r, c] > 10 else "var(--text)"
            place = f'x="{px(left + (c + 0.5) * cell)}" y="{px(top + (r + 0.5) * cell + 4.5)}" text-anchor="middle"'
            body.append(f'<text {place} font-size="{12.5 if len(text) < 5 else 10}" fill="{hue}">{text}</text>')
    for i, text in enumerate(texts):
        middle = (i + 0.5) * cell + size * 0.35
        body.append(text_at(left - 6, top + middle, text, "end", size))
        x, y = left + middle, top + cell * k + 6
        body.append(text_at(x, y, text, "end", size, f' transform="rotate(-90 {px(x)} {px(y)})"'))
    middle = top + cell * k / 2
    body.append(text_at(11, middle, "true class", more=f' transform="rotate(-90 11 {px(middle)})"'))
    body.append(text_at(left + cell * k / 2, height - 3, "predicted class"))
    sparse: dict[int, dict[int, int]] = {}
    for r, c in np.argwhere(counts > 0):
        sparse.setdefault(int(r), {})[int(c)] = int(counts[r, c])
    data = {"x": round(left, 2), "y": top, "size": cell, "names": list(names), "counts": sparse}
    pointer = f' data-heat="{escape(json.dumps(data, separators=(",", ":")))}"'
    drawing = svg(width, height, label, "".join(body), pointer)
    # Never larger than drawn (small matrices would fill the page), never so small that names cannot be read.
    least = 0.75 * width if k <= 15 else min(width, 620 if k <= 40 else 1060)
    return Html(f'<div class="wide"><div style="max-width:{px(width)}px;min-width:{px(least)}px">{drawing}</div></div>')
