"""What a network consists of: its layers with shapes, parameters and FLOPs, and the memory that it needs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from visionlab.models.sizes import height_width

MB = 2**20 / 4  # float32 numbers in a megabyte, as the reports count it


@dataclass(frozen=True)
class Row:
    """A layer: a module without parts, or with parameters of its own.

    Attributes:
        layer: Its name.
        type: Its class.
        output_shape: As `[B, 64, 55, 55]`.
        parameters: Its own, without its parts'.
        trainable: Those of them that are trained.
        flops: Floating-point operations for one image; a multiplication and an addition are two.
    """

    layer: str
    type: str
    output_shape: str
    parameters: int
    trainable: int
    flops: int


@dataclass(frozen=True)
class Summary:
    """The layers of a network and their sums.

    Attributes:
        rows: The layers in the order in which they run.
        parameters: Of the whole network.
        trainable: Those of them that are trained.
        flops: For one image, what runs between the layers included.
        batch_size: Images that the memory is for.
        input_mb: Megabytes of a batch in float32.
        passes_mb: Megabytes of all layers' outputs and their gradients: twice the outputs; in-place layers need none.
        parameters_mb: Megabytes of the parameters in float32.
    """

    rows: list[Row]
    parameters: int
    trainable: int
    flops: int
    batch_size: int
    input_mb: float
    passes_mb: float
    parameters_mb: float

    @property
    def total_mb(self) -> float:
        """Megabytes of input, passes and parameters."""
        return self.input_mb + self.passes_mb + self.parameters_mb

    def __str__(self) -> str:
        """Return the table with the sums under it; the trainable parameters of each layer only where some are not."""
        columns: list[list[str]] = [
            ["layer", *(row.layer for row in self.rows)],
            ["type", *(row.type for row in self.rows)],
            ["output shape", *(row.output_shape for row in self.rows)],
            ["parameters", *(f"{row.parameters:,}" for row in self.rows)],
            ["trainable", *(f"{row.trainable:,}" for row in self.rows)],
            ["FLOPs", *(f"{row.flops:,}" for row in self.rows)],
        ]
        if self.trainable == self.parameters:
            del columns[4]  # with it an AlexNet is wider than a terminal of 80 columns
        for number, column in enumerate(columns):
            width = max(map(len, column))
            columns[number] = [cell.ljust(width) if number < 3 else cell.rjust(width) for cell in column]
        lines = ["  ".join(row) for row in zip(*columns, strict=True)]
        rule = "-" * len(lines[0])
        return "\n".join(
            [
                lines[0].rstrip(),
                rule,
                *(line.rstrip() for line in lines[1:]),
                rule,
                f"parameters  {self.parameters:,} ({self.trainable:,} trained)",
                f"FLOPs       {self.flops:,} for one image",
                f"memory      {self.total_mb:,.2f} MB at batch size {self.batch_size}:",
                f"            input {self.input_mb:,.2f}, forward and backward {self.passes_mb:,.2f}, "
                f"parameters {self.parameters_mb:,.2f}",
            ]
        )


def summarise(network: nn.Module, image_size: int | Sequence[int], *, batch_size: int = 1) -> Summary:
    """Run one image through a network without computing anything and write down what happens.

    Args:
        network: Any; it is left as it was.
        image_size: Side of the images or (height, width), px.
        batch_size: Images that the memory is given for.

    Returns:
        The summary.
    """
    names = {module: name for name, module in network.named_modules()}
    seen: dict[str, tuple[str, int]] = {}  # layer -> shape, numbers that it allocates

    def note(module: nn.Module, _: object, output: object) -> None:
        tensor = output[0] if isinstance(output, tuple) else output
        shape = ["B", *map(str, tensor.shape[1:])] if isinstance(tensor, Tensor) else []
        size = tensor.numel() if isinstance(tensor, Tensor) and _allocates(module) else 0
        seen[names[module]] = (f"[{', '.join(shape)}]", size)

    shown = [m for m in names if not list(m.children()) or list(m.parameters(recurse=False))]
    handles = [module.register_forward_hook(note) for module in shown]
    modes = {module: module.training for module in names}
    device = next(network.parameters()).device
    counter = FlopCounterMode(display=False)
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)  # its kernel is one that the counter does not know
    try:
        network.eval()
        with torch.no_grad(), FakeTensorMode(allow_non_fake_inputs=True), counter:
            network(torch.empty(1, 3, *height_width(image_size), device=device))
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)
        for module, training in modes.items():
            module.training = training
        for handle in handles:
            handle.remove()
    counts = counter.get_flop_counts()
    root = type(network).__name__
    rows = []
    # Parts that another module computes for, as attention's projections, are never called: they come last, shapeless.
    unseen = [names[module] for module in shown if names[module] not in seen and list(module.parameters())]
    for name in [*seen, *unseen]:
        module = network.get_submodule(name)
        own = list(module.parameters(recurse=False))
        rows.append(
            Row(
                layer=name,
                type=type(module).__name__,
                output_shape=seen.get(name, ("", 0))[0],
                parameters=sum(p.numel() for p in own),
                trainable=sum(p.numel() for p in own if p.requires_grad),
                flops=sum(counts.get(f"{root}.{name}", {}).values()),
            )
        )
    parameters = list(network.parameters())
    total = sum(p.numel() for p in parameters)
    return Summary(
        rows=rows,
        parameters=total,
        trainable=sum(p.numel() for p in parameters if p.requires_grad),
        flops=counter.get_total_flops(),
        batch_size=batch_size,
        input_mb=batch_size * 3 * math.prod(height_width(image_size)) / MB,
        passes_mb=2 * batch_size * sum(size for _, size in seen.values()) / MB,
        parameters_mb=total / MB,
    )


def _allocates(module: nn.Module) -> bool:
    """Return whether a layer's output is new memory while training."""
    if isinstance(module, nn.Flatten | nn.Identity) or getattr(module, "inplace", False):
        return False
    return not (isinstance(module, nn.modules.dropout._DropoutNd) and module.p == 0)
