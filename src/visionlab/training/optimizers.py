"""Optimizers of torch and timm, with parameter groups for layer-wise learning rates and selective weight decay."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from visionlab.errors import ConfigError
from visionlab.models.layers import layers
from visionlab.training.supply import Factory, check, take


def build(
    config: Factory | Mapping[str, Any],
    network: nn.Module,
    *,
    fusible: bool = True,
) -> torch.optim.Optimizer:
    """Build the optimizer of a config for all parameters of a network, frozen ones included.

    A frozen parameter has no gradient, so the optimizer leaves it alone; it is there for the day it is unfrozen.

    Args:
        config: Node of `conf/optimizer/`: torch's arguments and `layer_decay`, `decay_biases_and_norms`, `fused` (auto:
            where it is right and fast, if `fusible`). The network must be on its device already.
        network: The network.
        fusible: Whether nothing stands against a fused kernel.

    Raises:
        ConfigError: An argument does not exist or is out of range.
    """
    factory, ours = take(config, layer_decay=1.0, decay_biases_and_norms=True, fused=None)
    check(factory)
    given = inspect.signature(factory).parameters  # what the config gives, else torch's own defaults
    lr, weight_decay = (given[name].default if name in given else 0.0 for name in ("lr", "weight_decay"))
    if not isinstance(lr, int | float):
        raise ConfigError("The optimizer has no learning rate.", where="optimizer.lr", remedy="Give a number above 0.")
    groups = parameter_groups(
        network,
        lr=lr,
        weight_decay=weight_decay,
        layer_decay=ours["layer_decay"],
        decay_biases_and_norms=ours["decay_biases_and_norms"],
    )
    extra = {}
    if ours["fused"] is not None:  # optimizers without a fused kernel have no such key in their config
        auto = fusible and all(map(_fusible, network.parameters()))
        extra["fused"] = auto if ours["fused"] == "auto" else ours["fused"]
    try:
        optimizer: torch.optim.Optimizer = factory(groups, **extra)
    except (ValueError, TypeError, RuntimeError, IndexError) as error:
        raise ConfigError(f"The optimizer cannot be built: {error}", where="optimizer") from error
    return optimizer


def _fusible(parameter: Tensor) -> bool:
    """Whether torch has a fused kernel that is right for a parameter.

    That of the CPU pairs parameter, gradient and momentum by their places in memory, whatever their strides. Autograd
    gives a gradient the strides of its parameter if that fills its memory, as those here do.
    """
    if parameter.device.type == "cpu":
        formats = [torch.contiguous_format, *([torch.channels_last] if parameter.ndim == 4 else [])]
        return any(parameter.is_contiguous(memory_format=each) for each in formats)
    return parameter.device.type == "cuda"


def parameter_groups(
    network: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    layer_decay: float = 1.0,
    decay_biases_and_norms: bool = True,
) -> list[dict[str, Any]]:
    """Sort the parameters of a network into groups of equal learning rate and weight decay.

    Args:
        network: The network.
        lr: Learning rate of the last layer.
        weight_decay: Weight decay of the parameters that have it.
        layer_decay: Learning rate of a layer over that of the next one (https://arxiv.org/abs/2106.08254, A.2).
        decay_biases_and_norms: Whether biases and norms, all parameters of one dimension, have weight decay too.

    Returns:
        Dicts with `params`, `lr`, `weight_decay` and `name`, from the input to the logits.

    Raises:
        ConfigError: `layer_decay` is not above 0 and at most 1.
    """
    if not 0 < layer_decay <= 1:
        raise ConfigError(
            f"layer_decay is {layer_decay}.", where="optimizer.layer_decay", remedy="Give a number above 0, at most 1."
        )
    order = layers(network)
    depth = {name: index for index, layer in enumerate(order) for name in layer.parameters}
    groups: dict[tuple[float, float], dict[str, Any]] = {}
    for name, parameter in network.named_parameters():
        rate = lr * layer_decay ** (len(order) - 1 - depth[name])
        decay = weight_decay if decay_biases_and_norms or parameter.ndim > 1 else 0.0
        layer = "all" if layer_decay == 1 else order[depth[name]].name
        group = {"params": [], "lr": rate, "weight_decay": decay, "name": f"{layer}, weight decay {decay:g}"}
        groups.setdefault((rate, decay), group)["params"].append(parameter)
    return list(groups.values())
