"""A split, image by image: metrics, confusion matrix and predictions of a trained classifier."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from lightning import LightningDataModule, Trainer
from torch import Tensor, nn

from visionlab.data.batch import Batch
from visionlab.training.classifier import ImageClassifier

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What came out for the N images of a split, in the order of their rows.

    Attributes:
        split: train, val or test.
        metrics: loss, acc, f1, balanced_acc; above 5 classes top5; of 2 classes auc, where both have images.
        confusion: Int64 [K, K], row = label, column = prediction.
        rows: Int64 [N], row of each image in the data module's index.
        labels: Int64 [N].
        predicted: Int64 [N].
        confidence: Float [N], probability of the predicted class.
        label_probability: Float [N], probability of the right class.
    """

    split: str
    metrics: dict[str, float]
    confusion: Tensor
    rows: Tensor
    labels: Tensor
    predicted: Tensor
    confidence: Tensor
    label_probability: Tensor


class _Split(LightningDataModule):
    """One split of a data module as the test split, whichever it is: Lightning's test loop asks no more."""

    def __init__(self, loader: Iterable[Batch], preprocess: nn.Module) -> None:
        super().__init__()
        self.loader, self.preprocess = loader, preprocess

    def test_dataloader(self) -> Iterable[Batch]:
        return self.loader

    def on_after_batch_transfer(self, batch: Batch, dataloader_idx: int) -> Batch:
        return batch._replace(images=self.preprocess.to(batch.images.device)(batch.images))


def evaluate(
    trainer: Trainer, classifier: ImageClassifier, loader: Iterable[Batch], split: str, preprocess: nn.Module
) -> Evaluation:
    """Evaluate a split as far as the trainer's limit for it goes, counting each image once, on however many devices.

    Args:
        trainer: Says on which devices and with which precision.
        classifier: With the weights that are to be evaluated.
        loader: Batches of the split, uint8.
        split: Its name.
        preprocess: Maps uint8 images [B, 3, H, W] to what the network takes.
    """
    classifier.outcomes.clear()
    limits = {"val": trainer.limit_val_batches, "test": trainer.limit_test_batches}
    trainer.limit_test_batches = limits.get(split, 1.0)  # of which alone Lightning's test loop knows
    try:
        trainer.test(classifier, datamodule=_Split(loader, preprocess), verbose=False)
    finally:
        trainer.limit_test_batches = limits["test"]
    parts = [torch.cat(column) for column in zip(*classifier.outcomes, strict=True)]
    if trainer.world_size > 1:
        gathered: list[list[Tensor]] = [[]] * trainer.world_size
        torch.distributed.all_gather_object(gathered, parts)
        parts = [torch.cat(column) for column in zip(*gathered, strict=True)]
    order = parts[0].argsort()
    keep = order[parts[1][order] >= 0]
    rows, labels, predicted, confidence, right = (part[keep] for part in parts)
    if classifier.auroc is not None and "auc" not in classifier.test_figures and trainer.is_global_zero:
        log.warning("all %s images are of one class, and have no area under the ROC curve (%s/auc)", split, split)
    return Evaluation(
        split, classifier.test_figures, classifier.test_confusion, rows, labels, predicted, confidence, right
    )
