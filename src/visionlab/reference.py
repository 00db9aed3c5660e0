"""What a report printed: the `reference` block of an experiment's config.

    reference:
      test/acc: 0.546
      source: "Report 002, table 1"
      trials: # further rows of that table: the settings that differ, and their figures
        - { optimizer.lr: 0.0001, test/acc: 0.166 }

A figure's key has a slash, as every metric's. In a trial, all other keys are settings, but for a `note`. A note is a
remark on its own row alone; the source stands with all of them.
"""

from collections.abc import Mapping
from typing import Any


def of(config: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what was printed for the trial that a config asks for, without the others; None where nothing was printed.

    Of several trials whose settings all hold the one with the most is taken, and without any the first row. A setting
    that the config does not have does not hold. Other overrides are not looked at: an experiment that was changed still
    stands beside its report.

    Args:
        config: The resolved config as plain containers.
    """
    if not config["reference"]:
        return None
    first = {key: value for key, value in config["reference"].items() if key != "trials"}
    fitting = [
        t for t in config["reference"].get("trials", []) if all(_at(config, k) == v for k, v in settings(t).items())
    ]
    if not fitting:
        return first
    trial = max(fitting, key=lambda one: len(settings(one)))
    asked = settings(trial)
    return {"source": first.get("source", "")} | {key: value for key, value in trial.items() if key not in asked}


def settings(trial: Mapping[str, Any]) -> dict[str, Any]:
    """Return a trial's settings by their dotted keys."""
    return {key: value for key, value in trial.items() if "/" not in key and key != "note"}


def _at(config: Mapping[str, Any], dotted: str) -> Any:
    found: Any = config
    for key in dotted.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found
