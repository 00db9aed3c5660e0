"""What can be known to be wrong with a config before anything is built from it.

Imports neither torch nor lightning, except what a `_target_` of the config names.
"""

import functools
import re
import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from types import FunctionType
from typing import Any

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from visionlab import schema
from visionlab.config import choices, conf_root, nearest_path, not_global, of_a_library
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


def check_data(config: Mapping[str, Any]) -> None:
    """Check the data of a run's config that were replaced; the rest was checked by the rules of when it was trained.

    Raises:
        ConfigError: What is wrong with the first key that is.
    """
    for error in (*schema.violations(config), *schema.contradictions(config)):
        if str(error.where).startswith("data."):
            raise error
    _check_targets(config["data"], "data")


def check_keys(config: Mapping[str, Any], name: str) -> None:
    """Refuse keys that were added to those of a door's own file: nothing would read them.

    Args:
        config: The resolved config.
        name: The door's file in `conf/`.

    Raises:
        ConfigError: There is such a key.
    """
    known = _keys(f"{name}.yaml") - {"hydra"}
    for key in config:
        if key not in known:
            raise ConfigError(f"there is no key '{key}'", where=key, remedy=nearest(key, known))


def check_composed(config: Mapping[str, Any], source: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Check a config that was just composed: as `check`, and that all of it was meant as it is understood.

    Args:
        config: The resolved config.
        source: The same with its interpolations.
        overrides: What was said on the command line.

    Raises:
        ConfigError: What is wrong with the first key that is.
    """
    if config.get("experiment") is not None:
        raise not_global()
    if config.get("resume"):
        what = f"resume={config['resume']} is for one run of visionlab.train, and would not be heeded here"
        raise ConfigError(what, where="resume", remedy="leave it out; a sweep continues by its own command")
    _refuse_unread(config, source)
    for group in ("data", "augment", "model"):
        node, base = config.get(group), _keys(f"{group}/_base.yaml")
        if isinstance(node, Mapping) and (missing := sorted(base - set(node))):
            key = f"{group}.{missing[0]}"
            own = f"begin your own file in {group}/ with the line: defaults: [_base, _self_]"
            remedy = own if len(missing) > len(base) / 2 else f"leave out what removes it: ~{key}"
            raise ConfigError(f"there is no {key}", where=key, remedy=remedy)
    if not isinstance(network := (config.get("model") or {}).get("network", {}), Mapping):
        raise ConfigError(f"model.network={network} is no network", where="model.network", remedy="give model=<choice>")
    expand = (config.get("data") or {}).get("expand")
    if expand is not None and "_target_" not in (expand if isinstance(expand, Mapping) else ()):
        remedy = " or ".join(f"data/expand={choice}" for choice in choices("data/expand"))
        raise ConfigError(f"data.expand={expand} enlarges nothing", where="data.expand", remedy=f"give {remedy}")
    check_folder(config.get("data") or {}, "give data=folder too, or another data set")
    check(config)
    _refuse_names(config, overrides)


def check_folder(data: Mapping[str, Any], remedy: str) -> None:
    """Refuse a folder for data that come with a library or are made up.

    Raises:
        ConfigError: One is given.
    """
    if data.get("_target_") in WITHOUT_FOLDER and Path(str(data.get("root"))) != Path("data"):
        name = str(data["_target_"]).rpartition(".")[2].lower()
        what = f"data={name} reads no folder, and data.root={data['root']} would not be looked at"
        raise ConfigError(what, where="data.root", remedy=remedy)


def _refuse_unread(config: Mapping[str, Any], source: DictConfig) -> None:
    """Refuse keys that nothing reads: at the top, and below the groups whose keys are names."""
    known = _keys("train.yaml")
    for key in sorted(set(map(str, config)) - known):
        # As the first part of a path: ${key}, ${key.more}, ${oc.select:key,3}; not ${other.key} or ${..key}.
        if not re.search(rf"\$\{{(?:[^}}]*[:,\s{{])?\[?{re.escape(key)}(?=[\].\[}},\s])", _texts(config, source)):
            ours = {
                str(one): None for one in source if one not in config and one != "hydra"
            }  # a door's own, as of tune
            remedy = nearest_path(key, ours | {one: value for one, value in config.items() if one in known})
            if isinstance(config[key], Mapping):
                remedy = "leave it out; a file of your own that says it begins with the line: # @package _global_"
            raise ConfigError(f"nothing reads '{key}'", where=key, remedy=remedy)
    callbacks, usual = config.get("callbacks") or {}, _keys("callbacks/default.yaml")
    for key, node in callbacks.items():
        own = isinstance(node, Mapping) and "_target_" in node
        if key not in usual and not own:
            remedy = f"{nearest(key, usual, 'callbacks')}  (one of your own has a _target_)"
            raise ConfigError(f"there is no callback '{key}'", where=f"callbacks.{key}", remedy=remedy)
        if isinstance(node, Mapping) and not own and (more := sorted(set(node) - _keys("callbacks/default.yaml", key))):
            remedy = nearest(more[0], _keys("callbacks/default.yaml", key), f"callbacks.{key}")
            raise ConfigError(f"nothing reads '{more[0]}'", where=f"callbacks.{key}.{more[0]}", remedy=remedy)
    logger = config.get("logger") or {}
    if logger.get("_target_") is None and (rest := sorted(set(logger) - {"_target_"})):
        what = f"there is no logger that would read '{rest[0]}'"
        raise ConfigError(what, where=f"logger.{rest[0]}", remedy="choose one too: logger=tensorboard")
    sweep = config.get("sweep") or {}
    if str(sweep.get("strategy")).startswith("visionlab.") and (further := set(sweep) - _keys("sweep/_base.yaml")):
        known = set().union(*(_keys(f"sweep/{choice}.yaml") for choice in ("_base", *choices("sweep"))))
        for key in sorted(further - known):
            raise ConfigError(f"no sweep reads '{key}'", where=f"sweep.{key}", remedy=nearest(key, known, "sweep"))


def _texts(config: Mapping[str, Any], source: DictConfig) -> str:
    """Return all that may refer to a key; a job's config comes without Hydra's own node."""
    nodes: list[Any] = [OmegaConf.masked_copy(source, [str(key) for key in source if key in config])]
    if "hydra" in source or HydraConfig.initialized():
        nodes.append(source.hydra if "hydra" in source else HydraConfig.get())
    return "".join(map(OmegaConf.to_yaml, nodes))


def _refuse_names(config: Mapping[str, Any], overrides: Sequence[str]) -> None:
    """Refuse the name of a choice where the choice was meant: it would name one thing and train another."""
    given = dict(word.lstrip("+").partition("=")[::2] for word in overrides)
    free = {
        "model": "name" in config["model"]["network"],  # a library's, which it chooses
        "data": not config["data"].get("published") or "options" in config["data"],  # one's own, or torchvision's
    }
    for group, chosen in free.items():
        name = given.get(f"{group}.name", "").strip("'\"")
        if name and not chosen and group not in given:
            meant = f"give {group}={name}" if name in choices(group) else of_a_library(group, name)
            if meant:
                raise ConfigError(f"{group}.name={name} would only call it so", where=f"{group}.name", remedy=meant)


def _check_targets(node: Any, path: str) -> None:
    """Find arguments that a target does not take, before a run has spent an hour getting there."""
    if not isinstance(node, Mapping):
        return
    for key, value in node.items():
        _check_targets(value, f"{path}.{key}".lstrip("."))
    target = node.get("_target_")
    if not target or path == "sweep":  # a sweep is no object: visionlab.sweeps reads its keys
        return
    from hydra.utils import get_object

    try:
        called = get_object(target)
        names = _arguments(called)
    except ImportError as error:
        extra = target.startswith("timm.") and find_spec("timm") is None
        raise ConfigError(
            f"{target} does not exist or cannot be imported",
            where=f"{path}._target_",
            remedy="pip install 'visionlab[timm]'" if extra else not_imported(target, error),
        ) from error
    except (ValueError, TypeError):
        return  # a builtin without a signature
    for key in node:
        ours = key.startswith("_") or key in OURS.get(path, ())
        if names is not None and not ours and key not in names:
            remedy = nearest(key, names, path)
            raise ConfigError(f"{target} has no argument '{key}'", where=f"{path}.{key}", remedy=remedy)
    if target.startswith("torch.nn.") and isinstance(node.get("weight"), Sequence):
        remedy = "give loss=weighted_cross_entropy '+loss.weights=[...]', one a class in the order of their names"
        raise ConfigError(f"{target} takes a tensor as its weight, not a list", where=f"{path}.weight", remedy=remedy)


def _arguments(called: Any) -> set[str] | None:
    """Return the names of what a target takes; None where it takes any.

    Raises:
        ValueError: It is a builtin without a signature.
        TypeError: It cannot be called.
    """
    import inspect

    names: set[str] = set()
    # Our data sets hand what they do not know on to their base; what another's class does with it is not known.
    ours = isinstance(called, type) and called.__module__.startswith("visionlab.data.")
    for one in called.__mro__ if ours else (called,):
        parameters = inspect.signature(one).parameters.values()
        names |= {each.name for each in parameters if each.kind in (each.POSITIONAL_OR_KEYWORD, each.KEYWORD_ONLY)}
        if not any(each.kind is each.VAR_KEYWORD for each in parameters):
            return names
    return None


def not_imported(target: str, error: ImportError) -> str:
    """Return what to do about a class that Hydra cannot import."""
    package, (module, _, name) = target.partition(".")[0], target.rpartition(".")
    if not importable(package):
        return f"install {package}, or start in the folder that it lies in, or put that into PYTHONPATH"
    if package == "__main__":
        return f"define {name} before, or put it into a module of its own"
    there = [key for key, value in vars(sys.modules.get(module, object)).items() if _is_of(value, package, key)]
    if module in sys.modules and there:  # it is the name that is wrong, and not what its module needs
        return nearest(name, there)
    told = [line for line in str(error).splitlines()[1:] if not line.startswith("Are you sure")]
    return told[0] if told else str(error)


def importable(package: str) -> bool:
    """Whether a package can be imported from here; what began the process always is, and has no spec."""
    return package in sys.modules or find_spec(package) is not None


def _is_of(value: object, package: str, name: str) -> bool:
    """Whether a name of a module is a class or function of its package, which may have been defined elsewhere in it."""
    home = str(getattr(value, "__module__", None)).partition(".")[0]
    return isinstance(value, type | FunctionType) and home == package and not name.startswith("_")


@functools.cache
def _keys(file: str, *below: str) -> set[str]:
    """Return the keys and the groups of a file of `conf/`, or those below some key of it."""
    content: Any = OmegaConf.to_container(OmegaConf.load(conf_root() / file), resolve=False)
    for key in below:
        content = content[key]
    chosen = (one for one in content.get("defaults", ()) if isinstance(one, dict))
    return {key for one in chosen for key in one if " " not in key} | set(content) - {"defaults"}
