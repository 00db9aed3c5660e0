"""How long optimizer steps take with one setting and another, measured in turns."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median

import torch
from torch import nn

from visionlab.data.batch import Batch
from visionlab.training.classifier import ImageClassifier

Step = Callable[[], None]
MIXED = {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}


@dataclass(frozen=True)
class Variant:
    """A setting under test.

    Attributes:
        precision: 32-true, bf16-mixed or 16-mixed, as the Trainer calls them.
        channels_last: Memory format of images and kernels.
        compiled: Whether the network goes through torch.compile.
    """

    precision: str = "32-true"
    channels_last: bool = False
    compiled: bool = False

    def overrides(self) -> list[str]:
        """Return what to paste behind `python -m visionlab.train`."""
        found = [f"trainer.precision={self.precision}", f"model.channels_last={str(self.channels_last).lower()}"]
        if self.compiled:
            found.append("model.compile=true")
        return found


def step_of(
    classifier: ImageClassifier,
    optimizer: torch.optim.Optimizer,
    batches: Iterator[Batch],
    variant: Variant,
    preprocess: nn.Module,
) -> Step:
    """Return a function that makes one training step with a variant's settings.

    Args:
        classifier: On its device; its network is brought into the variant's memory format.
        optimizer: Of the classifier's parameters.
        batches: Endless batches, uint8.
        variant: The settings.
        preprocess: Maps uint8 images to what the network takes.
    """
    classifier.train()
    device = classifier.device
    layout = torch.channels_last if variant.channels_last else torch.contiguous_format
    classifier.network.to(memory_format=layout)
    network: Callable[..., torch.Tensor] = classifier.network
    if variant.compiled:
        network = torch.compile(classifier.network)

    def step() -> None:
        batch = next(batches)
        images = preprocess(batch.images.to(device)).contiguous(memory_format=layout)
        labels = batch.labels.to(device)
        with torch.autocast(device.type, MIXED.get(variant.precision), enabled=variant.precision in MIXED):
            loss = classifier.loss(network(images), labels)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()

    return step


def in_turns(steps: dict[str, Step], rounds: int, device: torch.device) -> dict[str, float]:
    """Time steps in turns, so that what else the machine does falls on all of them alike.

    Args:
        steps: By name.
        rounds: Timed steps of each, after two that are not.
        device: Waited for before the clock is read.

    Returns:
        The median seconds of each.
    """
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step(), step()
    for _ in range(rounds):
        for name, step in steps.items():
            _wait(device)
            began = time.perf_counter()
            step()
            _wait(device)
            seconds[name].append(time.perf_counter() - began)
    return {name: median(values) for name, values in seconds.items()}


def endless(loader: Iterable[Batch]) -> Iterator[Batch]:
    """Repeat the first few whole batches of a loader for ever: reading them is not what is timed."""
    first = list(islice(loader, 4))
    return cycle([batch for batch in first if len(batch.labels) == len(first[0].labels)])


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
