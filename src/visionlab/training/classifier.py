"""The LightningModule of every architecture: a network, a loss, an optimizer, a scheduler and their metrics."""

import functools
import inspect
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from lightning import LightningModule
from torch import Tensor, nn

from visionlab.data.batch import Batch
from visionlab.errors import ConfigError
from visionlab.models import freezing
from visionlab.training import optimizers, schedulers
from visionlab.training.auroc import Auroc
from visionlab.training.seeding import seed_step
from visionlab.training.supply import supply
from visionlab.training.tally import Tally


class ImageClassifier(LightningModule):
    """A network that classifies images, and how it is trained.

    Each file of `conf/model/` composes one, around another network.

    Args:
        name: Name of the architecture, as run directories and tables show it.
        network: Factory of the network; it is given `num_classes` and `image_size` where it asks for them.
        loss: Factory of the loss; it is given `class_counts` and `num_classes` where it asks for them.
        optimizer: Config of the optimizer, see `visionlab.training.optimizers`.
        scheduler: Config of the learning-rate scheduler, see `visionlab.training.schedulers`.
        num_classes: Number of classes K.
        image_size: Side of the images or (height, width), px.
        class_counts: Images of each class in the training split, int64 [K].
        seed: Seed of dropout and the like.
        init_seed: Seed of the initial weights.
        weights: Weights to begin with: null, imagenet, a file or a run directory; loaded by the caller.
        freeze: What is not trained, see `visionlab.models.freezing`.
        frozen_norms: Whether frozen BatchNorm layers keep their running statistics (eval) or not (train).
        channels_last: Whether images and kernels lie in memory channel by channel for each pixel.
        compile: Whether the network goes through torch.compile.
        monitor: The metric that the plateau scheduler follows unless told otherwise.
        mode: Whether larger (max) or smaller (min) values of the monitor are better.
    """

    def __init__(
        self,
        *,
        name: str,
        network: Callable[..., nn.Module],
        loss: Callable[..., nn.Module],
        optimizer: Mapping[str, Any],
        scheduler: Mapping[str, Any],
        num_classes: int,
        image_size: int | tuple[int, int],
        class_counts: Tensor,
        seed: int = 0,
        init_seed: int = 0,
        weights: str | None = None,
        freeze: str = "none",
        frozen_norms: str = "eval",
        channels_last: bool = True,
        compile: bool = False,
        monitor: str = "val/acc",
        mode: str = "max",
    ) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(init_seed)
            self.network = _built(network, num_classes=num_classes, image_size=image_size)
        self.loss = supply(loss, num_classes=num_classes, class_counts=class_counts)
        self.name, self.weights, self.seed, self.num_classes = name, weights, seed, num_classes
        self.optimizer_config, self.scheduler_config = optimizer, scheduler
        self.freeze_policy, self.frozen_norms = freeze, frozen_norms
        self.monitor, self.mode = monitor, mode
        self.memory_format = torch.channels_last if channels_last else torch.contiguous_format
        self.network.to(memory_format=self.memory_format)
        if compile:
            self.network.compile()  # in place: the names of its weights stay
        k = 5 if num_classes > 5 else 0
        by_class = getattr(self.loss, "weight", None)  # as torch's losses call it; one's own may mean something else
        if not isinstance(by_class, Tensor) or by_class.shape != (num_classes,):
            by_class = None
        self.train_tally = Tally(num_classes, class_weight=by_class)
        self.tally = Tally(num_classes, k=k, class_weight=by_class)
        self.auroc = Auroc() if num_classes == 2 else None
        self.rate = 0.0
        # What visionlab.training.build loaded into the network.
        self.loaded: Any = None
        # What the last evaluation of a split left, read by visionlab.training.evaluation.
        self.outcomes: list[tuple[Tensor, ...]] = []
        self.test_figures: dict[str, float] = {}
        self.test_confusion = torch.empty(0)

    def forward(self, images: Tensor) -> Tensor:
        """Map images, float [B, 3, H, W], to logits, float [B, K].

        Raises:
            ConfigError: The network, which may be new, returns something else.
        """
        logits: Tensor = self.network(images.contiguous(memory_format=self.memory_format))
        shape, expected = getattr(logits, "shape", None), (len(images), self.num_classes)
        if shape != expected:
            what = f"a tensor {list(shape)}" if shape is not None else f"a {type(logits).__name__}"
            raise ConfigError(
                f"the network returns {what} for {len(images)} images of {self.num_classes} classes",
                where="model.network",
                remedy=f"let its forward return one logit a class: a tensor {list(expected)}",
            )
        return logits

    # Training ----------------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Build the optimizer over the parameters that are trained, and its schedulers."""
        optimizer = optimizers.build(self.optimizer_config, self.network, fusible=self._fusible())
        per_epoch = -(-self._batches() // self.trainer.accumulate_grad_batches)
        steps = per_epoch * (self.trainer.max_epochs or 1)
        if self.trainer.max_steps >= 0:
            steps = min(steps, self.trainer.max_steps)
        plans = schedulers.configure(
            self.scheduler_config,
            optimizer,
            steps_per_epoch=per_epoch,
            total_steps=steps,
            max_epochs=-(-steps // per_epoch),
            monitor=self.monitor,
            mode=self.mode,
            validated_every=self.trainer.check_val_every_n_epoch or 1,
        )
        return [optimizer], plans

    def _fusible(self) -> bool:
        """Whether the optimizer may be fused: not where Lightning clips gradients that have first to be scaled back."""
        return not (self.trainer.gradient_clip_val and str(self.trainer.precision).endswith("-mixed"))

    def _batches(self) -> int:
        """Count the batches of an epoch, each device's.

        `trainer.estimated_stepping_batches` would set up the loader before a checkpoint has told it where to go on,
        and a resumed epoch would begin anew.
        """
        batches = len(self.trainer.datamodule.train_dataloader())  # type: ignore[attr-defined]
        limit = self.trainer.limit_train_batches
        return max(1, min(limit, batches) if isinstance(limit, int) else int(batches * limit))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Save the sums of all ranks: the one that writes the file has seen only its part of the epoch."""
        if self.trainer.world_size == 1:
            return
        for name in self.train_tally.metric_state:
            whole = self.trainer.strategy.reduce(getattr(self.train_tally, name).clone(), reduce_op="sum")
            checkpoint["state_dict"][f"train_tally.{name}"] = whole
            if "current_model_state" in checkpoint:  # beside averaged weights, what training goes on from
                checkpoint["current_model_state"][f"train_tally.{name}"] = whole

    def on_train_start(self) -> None:
        """Keep frozen norms, and the sums so far on one rank, in an epoch that is resumed in its middle."""
        self.on_train_epoch_start()
        if self.global_rank:
            self.train_tally.reset()

    def on_train_epoch_start(self) -> None:
        """Keep frozen BatchNorm layers as they are; Lightning has put the whole network in training mode."""
        if self.frozen_norms == "eval":
            freezing.hold_norms(self.network)

    def on_train_batch_start(self, batch: Batch, batch_idx: int) -> None:
        """Seed dropout for this step, and note the learning rate that it runs with."""
        self.rate = self.trainer.optimizers[0].param_groups[-1]["lr"]
        seed_step(self.seed, self.current_epoch, batch_idx, self.global_rank)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return the loss of a batch, float []."""
        logits = self(batch.images)
        loss: Tensor = self.loss(logits, batch.labels)
        self.train_tally.update(loss, logits.detach(), batch.labels)
        # Lightning divides by `together` also in the last step of an epoch, which may have fewer batches.
        together, batches = self.trainer.accumulate_grad_batches, int(self.trainer.num_training_batches)
        left = batches % together
        return loss * (together / left) if left and batch_idx >= batches - left else loss

    def on_train_batch_end(self, outputs: Any, batch: Batch, batch_idx: int) -> None:
        """End with a validation also where `max_steps` ends the training within an epoch; Lightning leaves it out."""
        if self.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True

    def on_train_epoch_end(self) -> None:
        """Log the figures of the epoch: loss and accuracy while training, and the learning rate of its last step."""
        figures = self.train_tally.compute()
        self.train_tally.reset()
        self.log_dict({"train/loss": figures["loss"], "train/acc": figures["acc"], "lr": self.rate})

    # Evaluation --------------------------------------------------------------------------------------------------

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch of validation images to the sums."""
        self.evaluate_batch(batch)

    def on_validation_epoch_end(self) -> None:
        """Log the validation metrics of the epoch."""
        figures = self._figures()
        self.tally.reset()
        self.log_dict({f"val/{name}": value for name, value in figures.items()})

    def test_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the sums, and keep what was predicted for each of its images."""
        probabilities = self.evaluate_batch(batch).float().softmax(1)
        confidence, predicted = probabilities.max(1)
        right = probabilities.gather(1, batch.labels.clamp(min=0)[:, None])[:, 0]
        self.outcomes.append(tuple(x.cpu() for x in (batch.rows, batch.labels, predicted, confidence, right)))

    def on_test_epoch_end(self) -> None:
        """Keep the figures of the split."""
        self.test_figures = {name: float(value) for name, value in self._figures().items()}
        with self.tally.sync_context():
            self.test_confusion = self.tally.matrix().cpu().clone()
        self.tally.reset()

    def evaluate_batch(self, batch: Batch) -> Tensor:
        """Add a batch to the sums and return its logits, float [B, K]. Padding rows (label -1) count nowhere."""
        logits: Tensor = self(batch.images)
        if self.trainer.world_size > 1:  # only there do batches hold padding, and looking for it costs a sync
            real = batch.labels >= 0
            loss = self.loss(logits[real], batch.labels[real]) if bool(real.any()) else logits.new_zeros(())
        else:
            loss = self.loss(logits, batch.labels)
        self.tally.update(loss, logits, batch.labels)
        if self.auroc is not None:
            self.auroc.update(logits, batch.labels)
        return logits

    def _figures(self) -> dict[str, Tensor]:
        """Return what all devices' sums come to: of two classes also auc, where there are images of both."""
        figures = self.tally.compute()
        if self.auroc is not None:
            area = self.auroc.compute()
            self.auroc.reset()
            figures |= {} if area is None else {"auc": area.float().to(self.device)}
        return figures


def _built(factory: Callable[..., nn.Module], **offers: Any) -> Any:
    """Build the network; a value that its layers refuse is a mistake in the config.

    Raises:
        ConfigError: They do; it says where in the network's file, which may be new and have the mistake in it.
    """
    try:
        return supply(factory, **offers)
    except (ArithmeticError, LookupError, RuntimeError, TypeError, ValueError) as error:
        file = inspect.getsourcefile(factory.func if isinstance(factory, functools.partial) else factory)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
        said = str(error).strip().splitlines() or [type(error).__name__]
        raise ConfigError(
            f"the network cannot be built: {said[0]}",
            where="model.network" + (f" ({Path(file).name}, line {lines[-1]})" if file and lines else ""),
            remedy="give what the comments of its file in conf/model/ allow",
        ) from error
