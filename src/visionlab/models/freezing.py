"""Freezing: which layers are trained, and BatchNorm in those that are not."""

import re
from fnmatch import fnmatchcase

from torch import nn

from visionlab.errors import ConfigError, nearest
from visionlab.models.layers import layers


def freeze(network: nn.Module, policy: str) -> list[str]:
    """Freeze a part of a network: its parameters get no gradient.

    Args:
        network: For `backbone` and `head` one that names its `head`, the whole classifier part (three layers in AlexNet
            and VGG).
        policy: `none`; `backbone`, all but the head; `head`; `all_but_last_<n>`, all but the last n layers (see
            `visionlab.models.layers`: a block counts as one); or a pattern of parameter or module names in which `*`,
            `?` and `[0-9]` have the meaning that they have in file names, as `features.[0-4]`.

    Returns:
        The names of the layers that are still trained, wholly or in part.

    Raises:
        ConfigError: The policy matches nothing, or leaves nothing to train, or the network names no head.
    """
    names = [name for name, _ in network.named_parameters()]
    frozen = _chosen(network, policy, names)
    if set(frozen) == set(names):
        raise ConfigError(
            f"'{policy}' freezes the whole network.", where="model.freeze", remedy="Leave a layer to train."
        )
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name not in frozen)
    return [layer.name for layer in layers(network) if not frozen.issuperset(layer.parameters)]


def _chosen(network: nn.Module, policy: str, names: list[str]) -> set[str]:
    if policy == "none":
        return set()
    if policy in ("backbone", "head"):
        part = getattr(network, "head", None)
        if not isinstance(part, str | tuple):  # where it is a layer of that name, it says nothing of others beside it
            raise ConfigError(
                f"{type(network).__name__} does not name its head.",
                where=f"model.freeze={policy}",
                remedy="Say in its class which part that is: head = 'classifier'.",
            )
        parts = (part,) if isinstance(part, str) else part
        head = {name for name in names if name.startswith(tuple(f"{one}." for one in parts))}
        return head if policy == "head" else set(names) - head
    if last := re.fullmatch(r"all_but_last_(\d+)", policy):
        order = layers(network)
        free = {name for layer in order[max(0, len(order) - int(last[1])) :] for name in layer.parameters}
        return set(names) - free
    matched = {name for name in names if fnmatchcase(name, policy) or fnmatchcase(name, f"{policy}.*")}
    if not matched:
        known = ["none", "backbone", "head", "all_but_last_2", *(layer.name for layer in layers(network))]
        raise ConfigError(
            f"'{policy}' is no policy, and no parameter has a name like it.",
            where="model.freeze",
            remedy=nearest(policy, known),
        )
    return matched


def hold_norms(network: nn.Module) -> None:
    """Put each BatchNorm whose parameters are all frozen in eval mode, so that its running statistics stay.

    To be called whenever the network has been put in training mode.
    """
    for module in network.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            parameters = list(module.parameters())
            if parameters and not any(parameter.requires_grad for parameter in parameters):
                module.eval()
