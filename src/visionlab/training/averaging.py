"""Averages of the weights along the path of training, which often generalise better than its end."""

import math
from typing import Any

from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import EMAWeightAveraging, WeightAveraging


class _BesideTheNetwork(WeightAveraging):
    """Keeps the average on the device of the network.

    Lightning makes it before the network is moved there, and would fetch all weights to the CPU at each step.
    """

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Move the average."""
        super().on_fit_start(trainer, pl_module)
        assert self._average_model is not None
        self._average_model.to(pl_module.device)


class ExponentialMovingAverage(_BesideTheNetwork, EMAWeightAveraging):
    """The weights of all steps, each counting less by a factor with every later one.

    Args:
        decay: The factor.
    """


class StochasticWeightAveraging(_BesideTheNetwork):
    """The mean of the weights at the ends of the last epochs (https://arxiv.org/abs/1803.05407).

    From `start` on, each epoch is validated with the mean so far, so the best epoch and its checkpoint are about the
    mean. BatchNorm's statistics are averaged as the weights are, instead of the paper's further pass over the training
    set; the learning rate is the scheduler's, a constant one being the paper's choice.

    Args:
        start: The share of the epochs, 0 to 1, after which averaging starts.
    """

    def __init__(self, start: float) -> None:
        super().__init__(use_buffers=True)
        self.start = start
        self._epochs = 0

    @property
    def _begun(self) -> bool:
        return self._average_model is not None and int(self._average_model.n_averaged) > 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Count the epochs that there will be, the last of which may be a part."""
        super().on_train_start(trainer, pl_module)
        self._epochs = trainer.max_epochs or 1
        if trainer.max_steps >= 0:
            steps = math.ceil(trainer.num_training_batches / trainer.accumulate_grad_batches)
            self._epochs = min(self._epochs, math.ceil(trainer.max_steps / steps))

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """Leave it to on_train_batch_end: Lightning's own moments lie after the validation of an epoch."""
        return False

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Let an epoch join the mean at its last step, before its validation."""
        ends = trainer.is_last_batch or trainer.global_step == trainer.max_steps
        if ends and trainer.current_epoch + 1 >= self.start * self._epochs:
            assert self._average_model is not None
            self._average_model.update_parameters(pl_module)

    # Before the first epoch of the mean there is nothing to show instead of the weights themselves.

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the mean in place of the weights."""
        if self._begun:
            super().on_validation_epoch_start(trainer, pl_module)

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Put the weights back."""
        if self._begun:
            super().on_validation_epoch_end(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the mean as the result."""
        if self._begun:
            super().on_train_end(trainer, pl_module)

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Save the mean as the network of the checkpoint."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if not self._begun and "current_model_state" in checkpoint:
            checkpoint["state_dict"] = checkpoint["current_model_state"]
