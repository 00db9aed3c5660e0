"""Gradual unfreezing: train the last layers first, then one more every few epochs."""

from typing import cast

from lightning import Callback, LightningModule, Trainer
from torch import nn

from visionlab.errors import ConfigError
from visionlab.models.layers import layers


class GradualUnfreezing(Callback):
    """Free one more layer, from the logits towards the input, every few epochs.

    From "Universal Language Model Fine-tuning for Text Classification" (https://arxiv.org/abs/1801.06146), section 3.3.
    What is free depends on the epoch alone, so a resumed training goes on as it would have. It replaces `model.freeze`.

    Args:
        first: Layers that are free from the start (see `visionlab.models.layers`: a block counts as one).
        epochs_per_layer: Epochs after which one more is freed.

    Raises:
        ConfigError: One of these is below 1, or the training runs on several devices.
    """

    def __init__(self, *, first: int = 1, epochs_per_layer: int = 1) -> None:
        if min(first, epochs_per_layer) < 1:
            raise ConfigError(
                f"Gradual unfreezing with first={first} and epochs_per_layer={epochs_per_layer}.",
                where="callbacks",
                remedy="Give 1 or more for both.",
            )
        self.first, self.epochs_per_layer = first, epochs_per_layer

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Refuse what would train wrongly: DDP decides at the start which gradients are shared."""
        if trainer.world_size > 1:
            raise ConfigError(
                f"Gradual unfreezing on {trainer.world_size} devices.",
                where="callbacks",
                remedy="Use one device, or model.freeze with one run that goes on from another (model.weights=<run>).",
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Free the layers that are due in an epoch that is resumed in its middle, which has no start."""
        self.on_train_epoch_start(trainer, pl_module)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Free the layers that are due in this epoch; the classifier then holds the frozen BatchNorms."""
        network = cast(nn.Module, pl_module.network)
        order = layers(network)
        free = self.first + trainer.current_epoch // self.epochs_per_layer
        trained = {name for layer in order[max(0, len(order) - free) :] for name in layer.parameters}
        for name, parameter in network.named_parameters():
            parameter.requires_grad_(name in trained)
            if name not in trained:
                parameter.grad = None
        network.train()
