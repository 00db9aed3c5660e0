"""The layers of a network in order: what "the last two layers" and "an earlier layer" mean for any architecture."""

from collections import Counter
from dataclasses import dataclass

from torch import nn

NORMS = (
    nn.modules.batchnorm._BatchNorm,
    nn.modules.instancenorm._InstanceNorm,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.LocalResponseNorm,
    nn.RMSNorm,
)


@dataclass(frozen=True)
class Layer:
    """A layer with parameters: one convolution or fully connected layer with its norm, or one block.

    Attributes:
        name: The module's name, as `features.4` or `layer3.0`.
        parameters: Names of all its parameters.
    """

    name: str
    parameters: tuple[str, ...]


def layers(network: nn.Module) -> list[Layer]:
    """Return the layers that have parameters, from the input to the logits.

    A block that occurs more than once, as a residual block, is one layer. What occurs once is structure, and its parts
    are the layers. A norm belongs to the layer before it. Parameters that stand directly in the structure (as a class
    token) belong to the layer that follows them.
    """
    kinds = Counter(type(module) for module in network.modules())
    found: list[tuple[str, list[str]]] = []
    waiting: list[str] = []  # parameters, or norms before the first layer, that belong to the next layer

    def visit(name: str, module: nn.Module) -> None:
        children = list(module.named_children())
        sequence = type(module) in (nn.Sequential, nn.ModuleList, nn.ModuleDict)
        if children and (sequence or kinds[type(module)] == 1):
            waiting.extend(_join(name, own) for own, _ in module.named_parameters(recurse=False))
            for child, part in children:
                visit(_join(name, child), part)
            return
        names = [_join(name, own) for own, _ in module.named_parameters()]
        if not names:
            return
        if isinstance(module, NORMS) and found:
            found[-1][1].extend(names)
        elif isinstance(module, NORMS):
            waiting.extend(names)
        else:
            found.append((name, [*waiting, *names]))
            waiting.clear()

    visit("", network)
    if waiting and found:
        found[-1][1].extend(waiting)
    return [Layer(name, tuple(names)) for name, names in found]


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name
