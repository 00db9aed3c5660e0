"""The figures of a report as matplotlib figures, from plain arrays: for PNG files, TensorBoard and notebooks.

`matplotlib.figure.Figure` is used without pyplot, so nothing is global, nothing stays open and no display is needed.
Names of classes and runs are drawn as they are: to matplotlib, two dollar signs would enclose a formula.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from numpy.typing import NDArray

from visionlab.reports.statistics import calibration

HUES = ("#2d6cdf", "#d9660f", "#0f8a7a", "#b3368f", "#7355d4", "#8f7200", "#5f6b7c", "#c23a3a")
_HEAT = LinearSegmentedColormap.from_list("visionlab", ["#ffffff", "#8fb1ee", "#1f56c4", "#0d2a66"])
DPI = 110


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    drawing = Figure(figsize=(width, height), dpi=DPI)
    return drawing, drawing.subplots()


def _plain(axes: Axes, *, grid: str = "both") -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("#9aa3b0")
    axes.tick_params(colors="#5b6472", labelsize=9)
    axes.grid(axis=grid, color="#e9ecf1", linewidth=0.8)  # type: ignore[arg-type]
    axes.set_axisbelow(True)


def curves(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    *,
    y: str,
    x: str = "epoch",
    best: float | None = None,
    log: bool = False,
) -> Figure:
    """Draw lines over epochs.

    Args:
        series: Of each name, xs `[E]` and ys `[E]`; a NaN, as of an epoch without validation, is left out.
        y: What is measured.
        x: Over what.
        best: The x that is marked as the best.
        log: Whether y is logarithmic.
    """
    drawing, axes = _figure(5.6, 3.5)
    for i, (name, (xs, ys)) in enumerate(series.items()):
        points = [(at, value) for at, value in zip(xs, ys, strict=True) if math.isfinite(value)]
        marker = "o" if len(points) < 2 else None
        color = HUES[i % len(HUES)]
        axes.plot(*zip(*points, strict=True) if points else ((), ()), label=name, color=color, linewidth=1.8,
                  marker=marker, markersize=5)  # fmt: skip
    if best is not None and math.isfinite(best):
        axes.axvline(best, color="#5b6472", linewidth=1, linestyle=":", label=f"best epoch ({best:g})")
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    if log:
        axes.set_yscale("log")
        axes.minorticks_off()  # they cost more than all else on the figure
    _plain(axes)
    if len(series) > 1 or best is not None:
        for text in axes.legend(frameon=False, fontsize=9).get_texts():
            text.set_parse_math(False)
    return _fit(drawing)


def _fit(drawing: Figure) -> Figure:
    drawing.subplots_adjust(left=0.13, right=0.97, top=0.92, bottom=0.15)
    return drawing


def confusion_matrix(counts: NDArray[np.int64], names: Sequence[str], *, normalise: bool = False) -> Figure:
    """Draw a confusion matrix.

    Args:
        counts: int64 `[K, K]`, a row a true class, a column a predicted class.
        names: `[K]`; of more than there is room for, every other, every third and so on is written.
        normalise: Show each row's shares (in per cent) rather than counts.
    """
    k = len(names)
    size = min(16.0, max(4.2, 2.0 + (0.52 if k <= 15 else 0.3 if k <= 40 else 0.135) * k))
    drawing, axes = _figure(size, size)
    totals = counts.sum(1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    values = 100 * shares if normalise else counts
    axes.imshow(np.sqrt(values), cmap=_HEAT, vmin=0, interpolation="nearest")
    text = 9 if k <= 15 else 7.5 if k <= 40 else 5
    short = [name if len(name) <= 20 else name[:19] + "…" for name in names]
    longest = min(20, max(len(name) for name in names))
    edge = (longest * text * 0.62 / 72 + 0.45) / size
    named = slice(None, None, math.ceil(k * text / 72 / (size * (0.98 - edge))))  # a line of text each, or they blacken
    axes.set_xticks(range(k)[named], short[named], rotation=90, fontsize=text, parse_math=False)
    axes.set_yticks(range(k)[named], short[named], fontsize=text, parse_math=False)
    axes.tick_params(length=0)
    axes.spines[:].set_color("#dfe3e9")
    axes.set_xlabel("predicted class")
    axes.set_ylabel("true class")
    if k <= 15:
        dark = np.sqrt(values) > 0.62 * math.sqrt(max(1, values.max()))
        for r, c in np.argwhere(counts > 0):
            axes.text(
                c,
                r,
                f"{values[r, c]:.0f}",
                ha="center",
                va="center",
                fontsize=8,
                color="white" if dark[r, c] else "#171a21",
            )
    drawing.subplots_adjust(left=edge, bottom=edge, right=0.98, top=0.98)
    return drawing


def class_bars(names: Sequence[str], values: Sequence[float], *, mean: float) -> Figure:
    """Draw one horizontal bar a class, in the order given.

    Args:
        names: `[K]`.
        values: `[K]`, shares from 0 to 1, NaN of a class without images.
        mean: Accuracy on all images, drawn as a dashed line.
    """
    k = len(names)
    height = max(2.4, 0.9 + (0.3 if k <= 40 else 0.16) * k)
    drawing, axes = _figure(6.0, height)
    axes.barh(range(k), values, color=HUES[0], height=0.74)
    axes.set_yticks(range(k), [name if len(name) <= 24 else name[:23] + "…" for name in names], parse_math=False)
    axes.set_ylim(k - 0.4, -0.6)
    axes.set_xlim(0, 1)
    axes.set_xlabel("accuracy on the class (dashed: on all images)")
    _plain(axes, grid="x")
    axes.tick_params(axis="y", length=0, labelsize=9 if k <= 40 else 7)
    axes.axvline(mean, color="#171a21", linewidth=1, linestyle="--")
    longest = min(24, max(len(name) for name in names))
    drawing.subplots_adjust(
        left=min(0.42, 0.04 + 0.0145 * longest), right=0.96, top=1 - 0.12 / height, bottom=0.55 / height
    )
    return drawing


def sample_grid(
    images: NDArray[np.uint8], captions: Sequence[str], correct: Sequence[bool | None], *, across: int = 6
) -> Figure:
    """Draw images in a grid, with captions green where right and red where wrong.

    Args:
        images: uint8 `[N, H, W, 3]`.
        captions: `[N]`; a line break makes a second line.
        correct: `[N]`; None leaves a caption black.
        across: Images in a row.

    All images are one mosaic in one axes: an axes each costs ten times as much.
    """
    n, h, w = images.shape[:3]
    across = min(across, max(1, n))
    down = max(1, math.ceil(n / across))
    gap, below = round(w * 0.08), 0.36 * w
    tall = h + below
    board = np.full((round(tall * down), (w + gap) * across - gap, 3), 255, np.uint8)
    for i, image in enumerate(images):
        r, c = divmod(i, across)
        top = round(r * tall)
        board[top : top + h, c * (w + gap) : c * (w + gap) + w] = image
    scale = 1.35 / w  # inches a pixel
    drawing = Figure(figsize=(board.shape[1] * scale, board.shape[0] * scale), dpi=DPI)
    axes = drawing.add_axes((0, 0, 1, 1))
    axes.imshow(board, interpolation="nearest")
    axes.set_axis_off()
    look = {True: "#0b7a4b", False: "#c02b20", None: "#171a21"}
    for i, (caption, right) in enumerate(zip(captions, correct, strict=True)):
        r, c = divmod(i, across)
        axes.text(
            c * (w + gap), r * tall + h + 0.03 * w, caption, fontsize=7.5, va="top", color=look[right], parse_math=False
        )  # fmt: skip
    return drawing


def reliability(confidence: NDArray[np.float64], correct: NDArray[np.bool_], *, bins: int = 15) -> Figure:
    """Draw accuracy per bin of confidence, with the expected calibration error.

    Args:
        confidence: float `[N]`, the probability of the predicted class.
        correct: bool `[N]`.
        bins: Number of bins of equal width.
    """
    found = calibration(confidence, correct, bins)
    drawing, axes = _figure(4.4, 4.2)
    axes.bar(
        found.edges[:-1], np.nan_to_num(found.accuracy), width=1 / bins, align="edge", color=HUES[0], edgecolor="white"
    )
    axes.plot([0, 1], [0, 1], color="#171a21", linestyle="--", linewidth=1)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.set_xlabel("confidence of the prediction")
    axes.set_ylabel("accuracy")
    axes.set_title(f"expected calibration error {100 * found.ece:.2f} % ({bins} bins)", fontsize=9, loc="left")
    _plain(axes)
    return _fit(drawing)
