"""What can be known to be wrong with a config before anything is built from it.

Imports neither torch nor lightning, except what a `_target_` of the config names.
"""

import functools
import re
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf

from visionlab import schema
from visionlab.config import choices, conf_root, nearest_path, not_global
from visionlab.errors import ConfigError, nearest

# What Hydra lets one delete, and a run cannot do without.
NEEDED = (
    "data", "augment", "model", "loss", "optimizer", "scheduler", "trainer", "logger",
    "callbacks.checkpoint.every_n_steps", "callbacks.progress.show",
)  # fmt: skip

# Keys of groups that visionlab takes out before the target is called.
OURS = {
    "optimizer": ("layer_decay", "decay_biases_and_norms"),
    "scheduler": ("interval", "warmup_epochs", "monitor"),
}

# Sets that come with a library or are made up.
WITHOUT_FOLDER = {"visionlab.data.digits.Digits", "visionlab.data.synthetic.Synthetic"}


def check(config: Mapping[str, Any]) -> None:
    """Check the types and ranges of a resolved config, what goes together, and every `_target_` against its arguments.

    Raises:
        ConfigError: What is wrong with the first key that is.
    """
    for key in NEEDED:
        node: Any = config
        for part in key.split("."):
            if not isinstance(node, Mapping) or part not in node:
                raise ConfigError(f"there is no {key}", where=key, remedy=f"leave out what removes or empties {key}")
            node = node[part]
    for error in schema.violations(config):
        raise error
    for error in schema.contradictions(config):
        raise error
    _check_targets(config, "")


def check_composed(config: Mapping[str, Any], source: DictConfig) -> None:
    """Check a config that was just composed: as `check`, and that all of it was meant as it is understood.

    Args:
        config: The resolved config.
        source: The same with its interpolations.

    Raises:
        ConfigError: What is wrong with the first key that is.
    """
    if config.get("experiment") is not None:
        raise not_global()
    known = _keys("train.yaml")
    for key in sorted(set(map(str, config)) - known):
        if not re.search(rf"\$\{{[^}}]*\b{re.escape(key)}\b", OmegaConf.to_yaml(source)):
            ours = {one: value for one, value in config.items() if one in known}
            raise ConfigError(f"nothing reads '{key}'", where=key, remedy=nearest_path(key, ours))
    for group in ("data", "augment", "model"):
        node = config.get(group)
        for key in sorted(_keys(f"{group}/_base.yaml") - set(node)) if isinstance(node, Mapping) else ():
            raise ConfigError(
                f"there is no {group}.{key}",
                where=f"{group}.{key}",
                remedy=f"begin a file of your own in {group}/ with the line: defaults: [_base, _self_]",
            )
    data = config.get("data") or {}
    if data.get("_target_") in WITHOUT_FOLDER and data.get("root") != "data":
        raise ConfigError(
            f"data={data['name']} reads no folder, and data.root={data['root']} would not be looked at",
            where="data.root",
            remedy="give data=folder too, or another data set",
        )
    check(config)


def check_words(overrides: Sequence[str]) -> None:
    """Refuse the name of a choice where the choice was meant: it would name one thing and train another.

    Raises:
        ConfigError: The first such override.
    """
    given = dict(word.lstrip("+").partition("=")[::2] for word in overrides)
    for group in ("model", "data"):
        names = given.get(f"{group}.name")
        if names and not {group, "experiment"} & set(given) and set(names.split(",")) & set(choices(group)):
            raise ConfigError(
                f"{group}.name={names} would only call it so",
                where=f"{group}.name",
                remedy=f"give {group}={names}",
            )


def _check_targets(node: Any, path: str) -> None:
    """Find arguments that a target does not take, before a run has spent an hour getting there."""
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        _check_targets(value, f"{path}.{key}".lstrip("."))
    target = node.get("_target_")
    if not target or path == "sweep":  # a sweep is no object: visionlab.sweeps reads its keys
        return
    import inspect
    from importlib.util import find_spec

    from hydra.utils import get_object

    try:
        called = get_object(target)
        parameters = inspect.signature(called).parameters
    except ImportError as error:
        extra = target.startswith("timm.") and find_spec("timm") is None
        raise ConfigError(
            f"{target} does not exist or cannot be imported",
            where=f"{path}._target_",
            remedy="pip install 'visionlab[timm]'" if extra else str(error).splitlines()[-1],
        ) from error
    except (ValueError, TypeError):
        return  # a builtin without a signature
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    for key in node:
        ours = key.startswith("_") or key in OURS.get(path, ())
        if not ours and key not in parameters:
            raise ConfigError(
                f"{target} has no argument '{key}'", where=f"{path}.{key}", remedy=nearest(key, parameters)
            )


@functools.cache
def _keys(file: str) -> set[str]:
    """Return the keys and the groups of a file of `conf/`."""
    content: Any = OmegaConf.to_container(OmegaConf.load(conf_root() / file), resolve=False)
    chosen = (one for one in content.get("defaults", ()) if isinstance(one, dict))
    return {key for one in chosen for key in one if " " not in key} | set(content) - {"defaults"}
