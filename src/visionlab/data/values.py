"""Checks values of the config, which a YAML file or a caller may have given in any type."""

from collections.abc import Sequence
from typing import Any

from visionlab.errors import ConfigError, nearest

Triple = tuple[float, float, float]


def pair(size: int | Sequence[int], name: str = "data.image_size", where: str = "data.image_size") -> tuple[int, int]:
    """Return (H, W) of a side or of two; `name` and `where` are for the error's text.

    Raises:
        ConfigError: It is no size.
    """
    sides = tuple(size) if isinstance(size, Sequence) else (size, size)
    if len(sides) != 2 or any(not isinstance(side, int) or side is True or side < 1 for side in sides):
        raise ConfigError(
            f"{name}={size} is no size", where=where, remedy="give a side in px or [height, width], for example 64"
        )
    return sides[0], sides[1]


def triple(key: str, values: Sequence[float]) -> Triple:
    """Return a number for each channel.

    Raises:
        ConfigError: There are not three, or a deviation is not above 0.
    """
    try:
        numbers = tuple(float(value) for value in values)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != 3 or (key == "std" and min(numbers) <= 0):
        raise ConfigError(
            f"data.{key}={values} is not one number for each of red, green and blue"
            + (", above 0" if key == "std" else ""),
            where=f"data.{key}",
            remedy=f"give for example data.{key}=[0.5,0.5,0.5], or auto",
        )
    return numbers[0], numbers[1], numbers[2]


def choice(key: str, value: Any, choices: Sequence[str]) -> None:
    """Raise a ConfigError unless the value is one of the choices."""
    if value not in choices:
        raise ConfigError(
            f"data.{key}={value} does not exist", where=f"data.{key}", remedy=nearest(str(value), choices)
        )


def share(key: str, value: Any, *, whole: bool) -> None:
    """Raise a ConfigError unless the value is above 0 and below 1, or 1 itself where the `whole` is allowed."""
    if not isinstance(value, int | float) or not (0 < value < 1 or (whole and value == 1)):
        raise ConfigError(
            f"data.{key}={value} is no share above 0 and {'up to' if whole else 'below'} 1",
            where=f"data.{key}",
            remedy=f"give for example data.{key}=0.5",
        )


def at_least_one(key: str, value: Any) -> None:
    """Raise a ConfigError unless the value is a positive whole number."""
    if not isinstance(value, int) or value < 1:
        raise ConfigError(
            f"data.{key}={value} is no number from 1", where=f"data.{key}", remedy=f"give for example data.{key}=32"
        )
