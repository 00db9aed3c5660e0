"""Stops a run whose loss is no longer a number, and says where that began."""

from typing import Any, cast

import torch
from lightning import Callback, LightningModule, Trainer

from visionlab.errors import UserError


class Diverged(UserError):
    """The loss became NaN or infinite."""


class NanGuard(Callback):
    """Stops on a NaN or infinite loss, naming the step and the learning rate.

    The device remembers the first such step by itself; it is asked only now and then, since each question waits for it.
    Of several devices all are asked, and stop together: one that stopped alone would leave the others in a reduction,
    which the run would take for a lost connection and go on from.

    Args:
        every_n_steps: Batches between two looks.
    """

    def __init__(self, every_n_steps: int = 50) -> None:
        self.every_n_steps = every_n_steps
        self._first = self._rate = torch.empty(0)
        self._asked: float | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with no bad step; a run that is resumed in mid-epoch sees no start of that epoch."""
        # The rate of a step in a warm-up, or at the end of a schedule, is far from the one that was asked for.
        self._asked = cast(Any, pl_module).optimizer_config.get("lr")
        self._first = torch.full((), -1, dtype=torch.long, device=pl_module.device)
        self._rate = torch.zeros((), device=pl_module.device)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Remember the first bad step and its learning rate on the device."""
        here = (self._first < 0) & ~torch.isfinite(outputs["loss"].detach())
        self._first = torch.where(here, batch_idx, self._first)
        self._rate = torch.where(here, cast(float, pl_module.rate), self._rate)
        at_once = self._first.device.type == "cpu" and trainer.world_size == 1
        if at_once or (batch_idx + 1) % self.every_n_steps == 0 or trainer.is_last_batch:
            self._look(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Look at a last part of an epoch too."""
        self._look(trainer, pl_module)

    def _look(self, trainer: Trainer, pl_module: LightningModule) -> None:
        found = torch.stack([self._first.float(), self._rate])
        if trainer.world_size > 1:
            found = cast(torch.Tensor, pl_module.all_gather(found))
        bad = [(first, rate) for first, rate in found.view(-1, 2).tolist() if first >= 0]
        if bad:
            first, rate = min(bad)
            raise Diverged(
                f"the loss became NaN or infinite in epoch {trainer.current_epoch + 1}, batch {int(first) + 1}, "
                f"at learning rate {rate:g}",
                where="optimizer.lr",
                remedy=f"try optimizer.lr={(self._asked or rate) / 10:g}, or trainer.gradient_clip_val=1",
            )
