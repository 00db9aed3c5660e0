"""How numbers are written, the same on every page and in every terminal table."""

import math
from collections.abc import Mapping, Sequence
from numbers import Real

MISSING = "–"  # noqa: RUF001 (an en dash is what stands for nothing in a table)


def percent(value: float | None, digits: int = 2) -> str:
    """Write a share from 0 to 1 as a percentage: `71.23 %`, with a space that does not break."""
    return MISSING if value is None or not math.isfinite(value) else f"{100 * value:.{digits}f}\u00a0%"


def is_share(metric: str) -> bool:
    """Whether a metric of this name is written in per cent: not a loss, the area under a curve, or a time."""
    return "/" in metric and not metric.endswith(("/loss", "/auc"))


def of_metric(metric: str, value: float | None) -> str:
    """Write a metric as its name asks for: a share in per cent, else with four digits."""
    return percent(value) if is_share(metric) else significant(value)


def spread(metric: str, deviation: float | None) -> str:
    """Write the standard deviation of a metric, that of a share in percentage points."""
    if deviation is None:
        return MISSING
    return f"± {100 * deviation:.2f}" if is_share(metric) else f"± {significant(deviation, 3)}"


def count(value: float | None) -> str:
    """Write an integer with commas."""
    return MISSING if value is None or not math.isfinite(value) else f"{round(value):,}"


def short(value: float | None) -> str:
    """Write a large number with three digits and its order: `2.12 M`."""
    if value is None or not math.isfinite(value):
        return MISSING
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if float(f"{abs(value):.3g}") >= size:  # 999,700 is 1 M, as three digits have it
            return f"{value / size:.3g}\u00a0{letter}"
    return f"{value:.3g}"


def significant(value: float | None, digits: int = 4) -> str:
    """Write a number with so many significant digits, a NaN as `NaN`."""
    if value is None:
        return MISSING
    if math.isnan(value):
        return "NaN"
    return f"{value:#.{digits}g}".rstrip(".") if 1e-3 <= abs(value) < 1e5 else f"{value:.{digits}g}"


def duration(seconds: float | None) -> str:
    """Write a time as `850 ms`, `12.3 s`, `3 min 20 s` or `2 h 05 min`."""
    if seconds is None or not math.isfinite(seconds):
        return MISSING
    if seconds < 1:
        return f"{1000 * seconds:.0f}\u00a0ms"
    if seconds < 60:
        return f"{seconds:.1f}\u00a0s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes}\u00a0min {rest:02d}\u00a0s"
    return f"{minutes // 60}\u00a0h {minutes % 60:02d}\u00a0min"


def show(value: object) -> str:
    """Write any plain value: numbers short, lists and mappings on one line, nothing as a dash."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, Real):
        return f"{float(value):.6g}"
    if isinstance(value, Mapping):
        return ", ".join(f"{k} {show(v)}" for k, v in value.items()) or MISSING
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(show(v) for v in value) or MISSING
    return str(value)
