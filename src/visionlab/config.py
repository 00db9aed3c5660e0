"""From YAML files and overrides to one checked config.

Imports neither torch nor lightning: `--help`, `--cfg job` and tab completion must be quick.
"""

import importlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from difflib import get_close_matches
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.singleton import Singleton
from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, InterpolationResolutionError, MissingMandatoryValue, OmegaConfBaseException

from visionlab import runs
from visionlab.errors import ConfigError, UserError, nearest
from visionlab.out_folder import data_name
from visionlab.words import argument, of_a_path, unreadable

PACKAGE = "visionlab.conf"
NO_CHOICE = "Config group override"  # Hydra's ValueError where a group is set to null or a mapping


def compose(overrides: Sequence[str] = (), *, name: str = "train") -> DictConfig:
    """Compose a config from `conf/` as the command line does.

    Args:
        overrides: Hydra overrides, such as `["model=alexnet", "optimizer.lr=1e-3"]`. A folder of one's own joins with
            `hydra.searchpath=[file:///folder]`.
        name: The base, a file of `conf/`.

    Raises:
        ConfigError: A key, choice or value does not exist.
    """
    from hydra import compose as hydra_compose

    with own_hydra(name):
        return hydra_compose(name, overrides=list(overrides))


@contextmanager
def own_hydra(name: str) -> Iterator[Hydra]:
    """Give the body a Hydra that reads `conf/`, and explain its errors.

    Args:
        name: What it calls the job.

    Raises:
        ConfigError: A key, choice or value does not exist.
    """
    from hydra import initialize_config_module

    # Inside a Hydra job (a sweep, a rank) Hydra already has a state, and initialising it anew would raise.
    outer = Singleton._instances.pop(GlobalHydra, None)
    try:
        with initialize_config_module(PACKAGE, version_base="1.3", job_name=name):
            hydra = GlobalHydra.instance().hydra
            assert hydra is not None
            yield hydra
    except HydraException as error:
        raise explain(error, name) from error
    except ValueError as error:
        if NO_CHOICE not in str(error):
            raise
        raise explain(error) from error
    finally:
        Singleton._instances.pop(GlobalHydra, None)
        if outer is not None:
            Singleton._instances[GlobalHydra] = outer


def resolved(config: DictConfig) -> dict[str, Any]:
    """Return a config as plain containers with interpolations resolved, without Hydra's own node.

    Raises:
        ConfigError: A key that must be given (`???`) is not, or an interpolation leads nowhere.
    """
    plain = OmegaConf.masked_copy(config, [str(key) for key in config if key != "hydra"])
    try:
        content: dict[str, Any] = OmegaConf.to_container(plain, resolve=True, throw_on_missing=True)  # type: ignore[assignment]
    except MissingMandatoryValue as error:
        key = str(error.full_key)
        raise ConfigError(f"{key} must be given", where=key, remedy=f"add {key}=<value>") from error
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0], where=str(error.full_key or "")) from error
    return content


def explain(error: BaseException, base: str = "train", words: Sequence[str] = ()) -> UserError:
    """Turn an error of Hydra's composition into one that names the nearest key or choice.

    Args:
        error: The error.
        base: The file of `conf/` that was composed.
        words: The command line, where there was one.
    """
    if isinstance(error, ValueError):
        return ConfigError(str(error).splitlines()[0], remedy="give one of the group's choices; --help lists them")
    if isinstance(error, MissingConfigException):
        group, choice = _group_and_choice(str(error.missing_cfg_file or ""))
        options = [option for option in (error.options or ()) if not option.startswith("_")]
        if group:
            remedy = nearest(choice, options)
            if remedy.startswith("did"):
                remedy += f"\n      known: {', '.join(options)}"
            remedy = of_a_path(group, choice) or of_a_library(group, choice) or remedy
            return ConfigError(f"there is no {group} named '{choice}'", where=f"{group}={choice}", remedy=remedy)
        return ConfigError(str(error).splitlines()[0], remedy="see --help for the groups and their choices")
    if isinstance(error, OverrideParseException):
        return unreadable(str(error.override), base, words)
    cause = error.__cause__
    if isinstance(error, ConfigCompositionException) and isinstance(cause, OmegaConfBaseException):
        if isinstance(cause.parent_node, DictConfig) and cause.key is not None:
            parent = cause.parent_node
            prefix = parent._get_full_key("") or ""
            full = f"{prefix}.{cause.key}".lstrip(".")
            known = [str(key) for key in parent if not str(key).startswith("_")]
            if not known:
                remedy = f"'{prefix}' has no keys yet; give it as a whole: '{prefix}={{{cause.key}: ...}}'"
                return ConfigError(f"there is no key '{full}'", where=full, remedy=remedy)
            if not prefix:
                config: Any = OmegaConf.to_container(parent, resolve=False)
                return ConfigError(f"there is no key '{full}'", where=full, remedy=nearest_path(full, config))
            return ConfigError(
                f"there is no key '{full}'",
                where=full,
                remedy=nearest(str(cause.key), known, prefix) + f"  (a new key is added with +{full}=...)",
            )
        return ConfigError(str(cause).splitlines()[0], where=str(cause.full_key or ""))
    text = str(error).splitlines()
    if match := re.match("Ambiguous value for argument '(.+)'$", text[0] if text else ""):
        key, _, value = match[1].partition("=")
        remedy = f"to sweep over them add -m; a list is written '{key}=[{value}]', a text {argument(key, value)}"
        return ConfigError(f"{key} is given several values, which only a sweep takes", where=key, remedy=remedy)
    if text and re.search(r"Could not override '[\w/]+@experiment\b", text[0]):
        return not_global()
    match = re.match(r"Could not override '([^']+)'\. No match in the defaults list", text[0]) if text else None
    if match:
        return ConfigError(f"there is no group '{match[1]}'", where=match[1], remedy=nearest(match[1], groups()))
    return ConfigError(" ".join(text[:2]) or type(error).__name__)


def _group_and_choice(file: str) -> tuple[str, str]:
    """Divide the name of a config file; where the choice is a path, Hydra takes all of it but its end for the group."""
    group, _, choice = file.rpartition("/")
    top, _, rest = file.partition("/")
    a_path = not choice or "//" in file or not (conf_root() / group).is_dir()
    return (top, rest) if top in groups() and a_path else (group, choice)


def of_a_library(group: str, choice: str) -> str | None:
    """Return what chooses a network or a data set that has no file here, where a library has one of this name."""
    if group == "data":
        from visionlab.data.torchvision_sets import sets

        names = [name for name in sets() if name.lower() == choice.lower()]
        return f"give data=torchvision data.name={names[0]}" if names else None
    if group == "model":
        from torchvision import models

        if choice in models.list_models(module=models):
            return f"give model=torchvision model.name={choice}"
        if find_spec("timm") is not None and importlib.import_module("timm").is_model(choice):
            return f"give model=timm model.name={choice}"
    return None


def not_global() -> ConfigError:
    """Return the error of an experiment's file whose keys Hydra puts below the key `experiment`."""
    return ConfigError(
        "what the experiment's file says is said of the key 'experiment' and would change nothing",
        where="experiment",
        remedy="begin the file with the line: # @package _global_",
    )


def nearest_path(key: str, config: Mapping[str, Any]) -> str:
    """Return the question whether a key at the top was meant for one below it: `lr` for `optimizer.lr`."""
    paths: dict[str, list[str]] = {str(name): [str(name)] for name in config if name != "hydra"}
    for group in list(paths):
        node = config[group]
        for name in node if isinstance(node, Mapping) else ():
            paths.setdefault(str(name), []).append(f"{group}.{name}")
    close = get_close_matches(key, paths, n=1, cutoff=0.6)
    if not close:
        return nearest(key, (str(name) for name in config if name != "hydra"))
    meant = [f"'{path}'" for path in paths[close[0]]]
    return f"did you mean {' or '.join(meant)}?"


def conf_root() -> Path:
    """Return the folder of the YAML files, wherever the package is installed."""
    import visionlab.conf

    return Path(visionlab.conf.__path__[0])


def groups() -> list[str]:
    """Return the names of the groups."""
    return sorted(path.name for path in conf_root().iterdir() if path.is_dir() and not path.name.startswith("_"))


def choices(group: str) -> list[str]:
    """Return the names that a group can take; those that begin with an underscore are bases."""
    return sorted(file.stem for file in (conf_root() / group).glob("*.yaml") if not file.name.startswith("_"))


def words_to_hydra(hydra: Any) -> list[str]:
    """Return the overrides of Hydra's own keys as they were given: they may refer to keys of the config.

    Args:
        hydra: Hydra's own node of a config.
    """
    words: Any = OmegaConf.to_container(hydra.overrides.hydra, resolve=False)
    return [str(word) for word in words]


def own_files(hydra: Any) -> list[str]:
    """Return what a command needs before its overrides so that it finds the YAML files that are not ours.

    Args:
        hydra: Hydra's own node of a config.
    """
    folders = [source.path for source in hydra.runtime.config_sources if source.provider == "command-line"]
    paths = [text for text in words_to_hydra(hydra) if text.startswith("hydra.searchpath=")]
    return [*(word for folder in folders for word in ("--config-dir", folder)), *paths]


def _list_choices() -> str:
    """List every group with its choices, 78 columns wide, for --help."""
    import textwrap

    groups = sorted(path.name for path in conf_root().iterdir() if path.is_dir() and path.name.isidentifier())
    lines = []
    for group in groups:
        if group not in {"hydra", "__pycache__"} and choices(group):
            text = ", ".join(choices(group))
            lines.append(textwrap.fill(text, 78, initial_indent=f"  {group:<11}", subsequent_indent=" " * 13))
    return "\n".join(lines)


def _explained(name: str) -> str:
    """Return the keys of a base with the comments that explain them, for --help; without what is Hydra's."""
    text = (conf_root() / f"{name}.yaml").read_text(encoding="utf-8")
    return re.sub(r"^(defaults|hydra):\n(?:[ ].*\n?|\n)*", "\n", text, flags=re.MULTILINE).strip()


def _run_name(*, _root_: DictConfig) -> str:
    """Name the run directory from inside the config: the hash of everything around this interpolation."""
    plain = OmegaConf.masked_copy(_root_, [str(key) for key in _root_ if key != "hydra"])
    try:
        content: Any = OmegaConf.to_container(plain, resolve=True, throw_on_missing=False)
        return runs.name(content)
    except (ConfigKeyError, InterpolationResolutionError, KeyError):
        return "unresolved"  # the door says why, a moment later


def _data_name(*, _root_: DictConfig) -> str:
    """Name the data from inside the config."""
    data = _root_.get("data")
    return data_name(data) if isinstance(data, DictConfig) else "unresolved"  # the door says why, a moment later


OmegaConf.register_new_resolver("visionlab.data_name", _data_name, replace=True)
OmegaConf.register_new_resolver("visionlab.run_name", _run_name, replace=True)
OmegaConf.register_new_resolver("visionlab.hydra_folder", lambda resume: None if resume else ".hydra", replace=True)
OmegaConf.register_new_resolver("visionlab.choices", _list_choices, replace=True)
OmegaConf.register_new_resolver("visionlab.explained", _explained, replace=True)
