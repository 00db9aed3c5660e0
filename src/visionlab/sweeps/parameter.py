"""A parameter of a search space: a choice or a range, on which other parameters may depend."""

from collections.abc import Mapping
from typing import Any

from hydra.core.override_parser.types import Override

from visionlab import schema
from visionlab.errors import ConfigError, nearest
from visionlab.sweeps import space

SPAN = ("low", "high", "step", "log", "when", "choices")


class Parameter:
    """A parameter of the search space.

    Args:
        key: The override key.
        spec: A list of choices; a mapping with low and high, and, if wanted, step, log and when; or what the command
            line gave.
    """

    def __init__(self, key: str, spec: Any) -> None:
        self.key = key
        self.low: Any = None
        self.high: Any = None
        self.step: Any = None
        self.log = False
        self.values: list[Any] = []
        self.when: dict[str, list[Any]] = {}
        if isinstance(spec, Override):
            spec = _from_override(key, spec)
        if isinstance(spec, Mapping):
            self._read(dict(spec))
        else:
            self.values = space.values(key, spec)

    def _read(self, spec: dict[str, Any]) -> None:
        where = f"sweep.parameters.{self.key}"
        conditions = spec.pop("when", None) or {}
        if not isinstance(conditions, Mapping):
            remedy = "give when: {<key>: <value>}, of a key that stands before it"
            raise ConfigError(f"{self.key} cannot depend on {conditions}", where=where, remedy=remedy)
        self.when = {key: value if isinstance(value, list) else [value] for key, value in conditions.items()}
        if "choices" in spec:
            self.values = space.values(self.key, spec.pop("choices"))
        else:
            try:
                self.low, self.high = spec.pop("low"), spec.pop("high")
            except KeyError as error:
                raise ConfigError(
                    f"the range of {self.key} has no {error.args[0]}",
                    where=where,
                    remedy="give low and high, or choices",
                ) from error
            self.step, self.log = spec.pop("step", None), bool(spec.pop("log", False))
            numbers = all(isinstance(value, int | float) for value in (self.low, self.high))
            if not numbers or self.low > self.high or (self.log and self.low <= 0) or (self.log and self.step):
                raise ConfigError(
                    f"{self.key} cannot range from {self.low} to {self.high}",
                    where=where,
                    remedy="give numbers, low not above high; with log: true above 0 and without step",
                )
            if self.step is not None and not schema.Number(0, open_low=True).admits(self.step):
                what = f"{self.key} cannot go in steps of {self.step}"
                raise ConfigError(what, where=where, remedy="give a number above 0, or leave step out")
        if spec:
            unknown = next(iter(spec))
            raise ConfigError(f"a range has no '{unknown}'", where=where, remedy=nearest(unknown, SPAN))

    def applies(self, values: Mapping[str, Any]) -> bool:
        """Whether the parameters before this one have the values that it depends on."""
        return all(values.get(key) in allowed for key, allowed in self.when.items())

    @property
    def choices(self) -> list[Any]:
        """What the study chooses among: it stores nothing but numbers, texts and truths, so a list becomes its text."""
        return [value if isinstance(value, int | float | str | bool) else space.written(value) for value in self.values]

    def meant(self, stored: Any) -> Any:
        """Return the value that a stored choice stands for."""
        return self.values[self.choices.index(stored)] if stored in self.choices else stored

    def __str__(self) -> str:
        if self.values:
            words = f"one of {', '.join(map(space.written, self.values))}"
        else:
            whole = all(isinstance(value, int) for value in (self.low, self.high, self.step))
            steps = self.step is not None and not (whole and self.step == 1)
            step = f" in steps of {self.step}" if steps else ", log" if self.log else ""
            words = f"{self.low} to {self.high}{step}"
        return words + "".join(f", where {key} is {' or '.join(map(str, of))}" for key, of in self.when.items())

    @property
    def extremes(self) -> list[Any]:
        """All choices, or both ends of a range."""
        return self.values or [self.low, self.high]

    def suggest(self, asked: Any) -> Any:
        """Let a trial of the study choose a value, or say which it has chosen."""
        if self.values:
            return self.meant(asked.suggest_categorical(self.key, self.choices))
        if all(isinstance(value, int) for value in (self.low, self.high, self.step or 1)):
            return asked.suggest_int(self.key, self.low, self.high, step=self.step or 1, log=self.log)
        return asked.suggest_float(self.key, self.low, self.high, step=self.step, log=self.log)


def _from_override(key: str, override: Override) -> Any:
    """Read Hydra's own syntax: interval(a, b), tag(log, interval(a, b)), range(a, b, step); the last is without b."""
    swept: Any = override.value()
    log = "log" in getattr(swept, "tags", ())
    if override.is_interval_sweep():
        return {"low": swept.start, "high": swept.end, "log": log}
    values = space.values(key, override)
    if override.is_range_sweep() and len(values) > 1 and not swept.shuffle:
        step = values[1] - values[0]
        span = {"low": values[0], "high": values[-1], "log": log}
        if log and step == 1:
            return span
        return {**span, "step": step} if step > 0 else values
    return values
