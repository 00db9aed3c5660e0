"""What a sweep varies: from YAML and the command line to lists of values, and from values back to overrides."""

import itertools
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, Override, Quote, QuotedString
from hydra.errors import HydraException

from visionlab.config import explain
from visionlab.errors import ConfigError

# What is read back as the same text without quotes; `true`, `null` and `nan` are not.
PLAIN = re.compile(r"(?!(?:true|false|null|nan|inf)$)(?:\.{0,2}/)?[A-Za-z_][\w./@:+-]*", re.IGNORECASE | re.ASCII)


class Reader:
    """Reads overrides and sweep expressions with Hydra's own grammar.

    Args:
        loader: Hydra's config loader, which knows the groups for expressions such as `model=glob(*)`.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._parser = OverridesParser.create(config_loader=loader)

    def reaches_beyond(self, group: str, choice: str) -> bool:
        """Return whether a choice of a group sets keys outside of it: its file belongs to `@package _global_`."""
        found = self._loader.repository.load_config(f"{group}/{choice}")
        return found is not None and found.header.get("package") == "_global_"

    def split(self, arguments: Sequence[str]) -> tuple[list[str], dict[str, Any]]:
        """Split a command line into what is fixed, as it was given, and what is swept.

        Returns:
            The fixed overrides, and for each swept key what is swept there.
        """
        fixed, swept = [], {}
        for override in self._parse(arguments):
            if override.is_sweep_override():
                swept[override.get_key_element()] = override
            else:
                fixed.append(str(override.input_line))
        return fixed, swept

    def values_of(self, texts: Sequence[str]) -> dict[str, Any]:
        """Return the value that each override sets."""
        return {override.get_key_element(): override.value() for override in self._parse(texts)}

    def read(self, key: str, written: Any) -> Any:
        """Return what stands at a key of `sweep.parameters`: a list, a mapping, or a sweep in Hydra's syntax.

        Args:
            key: The swept key.
            written: A list of values, a range as a mapping, one value, or text such as `range(5)` or `glob(res*)`.
        """
        if isinstance(written, list | dict):
            return written
        if not isinstance(written, str):
            return [written]
        (override,) = self._parse([f"{key}={written}"])
        return override if override.is_sweep_override() else [override.value()]

    def _parse(self, arguments: Sequence[str]) -> list[Override]:
        try:
            return self._parser.parse_overrides(list(arguments))
        except HydraException as error:
            raise explain(error) from error


def plain(value: Any) -> Any:
    """Return a parsed value without the marks of its quotes."""
    if isinstance(value, QuotedString):
        return value.text
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in value.items()}
    return value


def written(value: Any) -> str:
    """Return a value as Hydra reads it in an override."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, list | tuple):
        return "[" + ",".join(written(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{written(key)}:{written(item)}" for key, item in value.items()) + "}"
    if isinstance(value, str) and not PLAIN.fullmatch(value):
        return QuotedString(value, Quote.single).with_quotes()
    return str(value)


def overrides(values: Mapping[str, Any]) -> list[str]:
    """Return key=value for each entry."""
    return [f"{key}={written(value)}" for key, value in values.items()]


def product(axes: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination, the last axis varying fastest; one empty combination where there is no axis."""
    for combination in itertools.product(*axes.values()):
        yield dict(zip(axes, combination, strict=True))


def values(key: str, spec: Any) -> list[Any]:
    """Return the values of an axis of which every one is tried.

    Args:
        key: The swept key.
        spec: A list, or what Hydra read from the command line.

    Raises:
        ConfigError: They cannot be counted, or there are none.
    """
    if isinstance(spec, Override) and spec.is_discrete_sweep():
        bases = isinstance(spec.value(), Glob)  # it finds those too, which are no choices
        found = (plain(value) for value in spec.sweep_iterator())
        spec = [value for value in found if not (bases and str(value).startswith("_"))]
    if not isinstance(spec, list):
        raise ConfigError(
            f"{key} is swept over an interval, whose values cannot all be tried",
            where=key,
            remedy="list the values, as 1e-3,1e-2, or search with sweep=optuna",
        )
    if not spec:
        raise ConfigError(f"there is no value to sweep {key} over", where=key, remedy="list one or more")
    return spec
