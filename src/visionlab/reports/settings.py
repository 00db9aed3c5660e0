"""Which settings of several runs differ, what to call each run by, and which runs repeat one experiment."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from visionlab.runs import LATER, NOT_IDENTITY, with_unit

_REPLICATES = ("seed", "init_seed", "fold")
_ALWAYS_SHOWN = {"data.name", "model.name"}  # in columns of their own
Flat = dict[str, object]


class ClassPath(str):
    """Where a class is imported from: told apart by all of it, written as its name."""

    def __str__(self) -> str:
        """Return its name."""
        return self.rpartition(".")[2]


def flatten(config: Mapping[str, Any]) -> Flat:
    """Return the settings that can change a run's outcome by their dotted keys; a list is one setting.

    The class that a group builds stands under the group's own name: `optimizer: Adam` for `optimizer._target_`.
    """
    flat: Flat = {}

    def walk(node: Mapping[str, Any], prefix: str) -> None:
        for key, value in node.items():
            dotted = f"{prefix}{key}"
            if dotted in NOT_IDENTITY or key == "_partial_" or (dotted in LATER and value == LATER[dotted]):
                continue
            if isinstance(value, Mapping):
                walk(value, f"{dotted}.")
            elif key == "_target_":
                flat[prefix.rstrip(".")] = ClassPath(value)
            else:
                flat[dotted] = json.dumps(value) if isinstance(value, list) else with_unit(dotted, value)

    walk(config, "")
    if (config.get("data") or {}).get("published"):
        flat.pop("data.root", None)
    elif flat.get("data.root"):
        flat["data.root"] = str(Path(str(flat["data.root"])).expanduser().resolve())
    return flat


def repeats(key: str) -> bool:
    """Whether a key only repeats an experiment: a seed of the training or the fold of a cross-validation.

    `split_seed` is none of them: it decides which images are held back.
    """
    return key.rpartition(".")[2] in _REPLICATES


def differing(settings: Sequence[Flat]) -> list[str]:
    """Return the keys whose values differ, without names, seeds and folds."""
    keys = list(dict.fromkeys(key for flat in settings for key in flat))
    return [
        key
        for key in keys
        if key not in _ALWAYS_SHOWN and not repeats(key) and len({_canonical(flat.get(key)) for flat in settings}) > 1
    ]


def telling(settings: Sequence[Flat], keys: Sequence[str]) -> list[str]:
    """Return those of the differing keys that say more than the model's and the data's names already do.

    A key of the model that has one value for each model belongs to the choice of the model; so with the data. A key of
    another group that some runs lack tells something only if it differs among those that have it.
    """
    kept = []
    for key in keys:
        group = key.partition(".")[0]
        name = f"{group}.name"
        if name in _ALWAYS_SHOWN:
            values: dict[object, set[str]] = {}
            for flat in settings:
                values.setdefault(flat.get(name), set()).add(_canonical(flat.get(key)))
            if all(len(found) == 1 for found in values.values()):
                continue
        elif len({_canonical(flat[key]) for flat in settings if key in flat}) == 1:
            continue
        kept.append(key)
    return kept


def experiment(flat: Flat) -> str:
    """Return what runs that only repeat one experiment, with other seeds or folds, have in common."""
    return json.dumps(sorted((key, _canonical(value)) for key, value in flat.items() if not repeats(key)))


def short_names(keys: Sequence[str]) -> dict[str, str]:
    """Return the shortest ending of each key that no other key ends in: lr for optimizer.lr or +optimizer.lr."""
    names, known = {}, [key.lstrip("+") for key in keys]
    for key in keys:
        parts = key.lstrip("+").split(".")
        for size in range(1, len(parts) + 1):
            name = ".".join(parts[-size:])
            if sum(f".{other}".endswith(f".{name}") for other in known) == 1:
                break
        names[key] = name
    return names


def plain(value: object) -> object:
    """Return a setting as a row of a table for other programs has it, a class by its name."""
    return str(value) if isinstance(value, ClassPath) else value


def written(value: object) -> str:
    """Write a setting as one would type it: 0.001, true, null."""
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _canonical(value: object) -> str:
    """Equal numbers look equal: 1.0 is 1."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return json.dumps(value, default=str)
