"""Calling what a config describes: a factory gets those of the offered values that it names, and its keys are checked.

A factory is what Hydra makes of a node with `_partial_: true`. So `torch.nn.CrossEntropyLoss` is a loss as it stands,
while a loss with an argument `class_counts` receives them.
"""

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, cast

from visionlab.errors import ConfigError, nearest

Factory = Callable[..., Any]


def supply(factory: Factory, *args: Any, **offers: Any) -> Any:
    """Call a factory with the positional arguments and those of the offers that it names.

    A value that the config gives wins over an offer of the same name; `**kwargs` of the factory takes no offer.

    Raises:
        ConfigError: The config gives an argument that the factory does not have, or leaves one out that nobody offers.
    """
    check(factory)
    names = _parameters(factory)
    given = factory.keywords if isinstance(factory, functools.partial) else {}
    offered = {name: value for name, value in offers.items() if name in names and name not in given}
    try:
        inspect.signature(factory).bind(*args, **offered)
    except TypeError as error:
        remedy = f"give the argument in the config; given to a signature that names them are {', '.join(offers)}"
        raise ConfigError(f"{_name(factory)}: {error}", remedy=remedy) from None
    return factory(*args, **offered)


def take(config: Factory | Mapping[str, Any], **defaults: Any) -> tuple[Factory, dict[str, Any]]:
    """Take the keys that are ours and not the target's out of a config.

    Args:
        config: A factory, or the mapping with `_target_` that Hydra would make it of.
        defaults: Our keys with the values that hold where the config has none.

    Returns:
        The factory without these keys, and their values.
    """
    if isinstance(config, Mapping):
        from hydra.utils import instantiate

        config = instantiate({**config, "_partial_": True}, _convert_="all")
    if not isinstance(config, functools.partial):
        return cast(Factory, config), defaults
    kept = {name: value for name, value in config.keywords.items() if name not in defaults}
    return functools.partial(config.func, *config.args, **kept), {
        name: config.keywords.get(name, default) for name, default in defaults.items()
    }


def check(factory: Factory) -> None:
    """Raise a ConfigError that names the nearest argument where a factory was given one that its target lacks."""
    if not isinstance(factory, functools.partial):
        return
    parameters = inspect.signature(factory.func).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return
    names = _parameters(factory.func)
    for name in factory.keywords:
        if name not in names:
            raise ConfigError(f"{_name(factory)} has no argument '{name}'.", remedy=nearest(name, names))


def _parameters(factory: Factory) -> set[str]:
    parameters = inspect.signature(factory).parameters.values()
    return {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _name(factory: Factory) -> str:
    target = factory.func if isinstance(factory, functools.partial) else factory
    return f"{target.__module__}.{getattr(target, '__qualname__', target)}"
