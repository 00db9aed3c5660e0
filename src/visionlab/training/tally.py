"""What an epoch adds up to: loss, accuracy, F1, summed on the device and read once."""

import torch
from torch import Tensor
from torchmetrics import Metric


class Tally(Metric):
    """Loss and confusion matrix of an epoch, summed on the device without a sync per step.

    A Metric of torchmetrics for the sake of its reduction over devices and its place in checkpoints (the states are
    persistent: a run resumed in mid-epoch must not lose the first half of its sums).

    Args:
        num_classes: Number of classes K.
        k: Also count the labels that are among the k largest logits; 0 for not.
        class_weight: Weights that the loss's mean over a batch is taken with, float [K]; None where all are 1. Batches
            of images in the order of their classes would otherwise lose them.
    """

    full_state_update = False

    confusion: Tensor
    loss_sum: Tensor
    images: Tensor
    top_k: Tensor
    class_weight: Tensor | None

    def __init__(self, num_classes: int, *, k: int = 0, class_weight: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("class_weight", class_weight, persistent=False)
        self.num_classes, self.k = num_classes, k
        # One cell more than the matrix has: rows that only pad a batch are counted there and dropped.
        self.add_state("confusion", torch.zeros(num_classes**2 + 1, dtype=torch.long), "sum", persistent=True)
        self.add_state("loss_sum", torch.zeros(()), "sum", persistent=True)
        self.add_state("images", torch.zeros((), dtype=torch.long), "sum", persistent=True)
        self.add_state("top_k", torch.zeros((), dtype=torch.long), "sum", persistent=True)

    def update(self, loss: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Add a batch.

        Args:
            loss: Mean loss of the images of the batch that are no padding, by `class_weight`, float [].
            logits: Float [B, K].
            labels: Int64 [B], -1 for padding; or float [B, K] (mixup), whose largest entry counts as the label.
        """
        if labels.ndim == 2:
            labels = labels.argmax(1)
        real = labels >= 0
        cells = torch.where(real, labels * self.num_classes + logits.argmax(1), self.num_classes**2)
        self.confusion.scatter_add_(0, cells, torch.ones_like(cells))
        images = real.sum()
        self.images += images
        weight = images if self.class_weight is None else (self.class_weight[labels.clamp(min=0)] * real).sum()
        self.loss_sum += loss.detach().float() * weight
        if self.k:
            hits = (logits.topk(self.k, 1).indices == labels[:, None]).any(1)  # padding, -1, is never among them
            self.top_k += hits.sum()

    def matrix(self) -> Tensor:
        """Return the confusion matrix, int64 [K, K]: row = label, column = prediction."""
        return self.confusion[:-1].view(self.num_classes, self.num_classes)

    def compute(self) -> dict[str, Tensor]:
        """Return loss, acc, f1 (macro), balanced_acc and, where asked for, top5, each float [] in 0..1 but the loss.

        A class without images does not count in balanced_acc; in f1 it counts as 0 unless it was never predicted
        either, as in scikit-learn.
        """
        counts = self.matrix().double() if self.confusion.device.type != "mps" else self.matrix().float()
        hits, labels, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
        images = self.images.clamp(min=1)
        weight = images if self.class_weight is None else (labels * self.class_weight).sum().clamp(min=1e-9)
        seen, met = labels > 0, labels + predicted > 0
        recall = hits / labels.clamp(min=1)
        f1 = 2 * hits / (labels + predicted).clamp(min=1)
        figures = {
            "loss": self.loss_sum / weight,
            "acc": hits.sum() / images,
            "f1": f1.sum() / met.sum().clamp(min=1),
            "balanced_acc": recall.sum() / seen.sum().clamp(min=1),
        }
        if self.k:
            figures[f"top{self.k}"] = self.top_k / images
        return {name: value.float() for name, value in figures.items()}
