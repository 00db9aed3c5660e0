"""Losses that torch does not have as they are needed here.

Each maps logits `[B, K]` and labels to a scalar. Labels are int64 `[B]`, or float `[B, K]` (the share of each class,
rows summing to 1), which mixup and cutmix make of them.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from visionlab.errors import ConfigError


class WeightedCrossEntropy(nn.Module):
    """Cross-entropy in which each class counts the same, however many training images it has.

    The weight of a class is N / (K * count), scikit-learn's "balanced"; the mean is taken over the weights, so that the
    loss has the scale of the plain one. A class without a training image has the weight of a class with one.

    Args:
        class_counts: int64 `[K]`, images of each class in the training split.
        label_smoothing: Share of the target spread over all classes, 0 to 1.
        weights: `[K]`, weights of one's own instead, in the order of the classes' names; each at least 0, one above.

    Raises:
        ConfigError: They are not one a class, or not possible.
    """

    weight: Tensor

    def __init__(
        self, *, class_counts: Tensor, label_smoothing: float = 0.0, weights: Sequence[float] | None = None
    ) -> None:
        super().__init__()
        counts = class_counts.clamp(min=1).float()
        balanced = class_counts.sum() / (len(counts) * counts)
        # Not persistent: it comes from the data, so that a checkpoint fits a network with other classes.
        self.register_buffer("weight", balanced if weights is None else _own(weights, len(counts)), persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the weighted mean loss of logits `[B, K]` and labels `[B]` or `[B, K]`."""
        logits, weight = logits.float(), self.weight  # in half precision the weights would be rounded
        total = functional.cross_entropy(logits, labels, weight, label_smoothing=self.label_smoothing, reduction="sum")
        shares = (labels @ weight.to(labels.dtype)) if labels.is_floating_point() else weight[labels]
        return total / shares.sum().clamp(min=torch.finfo(shares.dtype).tiny)  # all of weight 0: a loss of 0


def _own(weights: Sequence[float], classes: int) -> Tensor:
    fit = isinstance(weights, Sequence) and all(isinstance(one, int | float) for one in weights)
    if not fit or len(weights) != classes or not all(0 <= one < math.inf for one in weights) or not any(weights):
        what = f"{weights} is no weight for each of {classes} classes"
        raise ConfigError(what, where="loss.weights", remedy="give a list of numbers, at least 0 and not all 0")
    return torch.tensor(list(weights), dtype=torch.float32)


class NegativeLogLikelihood(nn.Module):
    """Negative log-likelihood of the log-softmax of the logits: the same function as plain cross-entropy."""

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of logits `[B, K]` and labels `[B]` or `[B, K]`."""
        log_probabilities = torch.log_softmax(logits, dim=1)
        if labels.is_floating_point():
            return -(labels * log_probabilities).sum(1).mean()
        return functional.nll_loss(log_probabilities, labels)


class Focal(nn.Module):
    """Focal loss: cross-entropy that pays less attention to what is already right.

    Paper: "Focal Loss for Dense Object Detection" (https://arxiv.org/abs/1708.02002), equation 4, with softmax in place
    of the sigmoid. With labels `[B, K]` each class's term is weighted by its share.

    Args:
        gamma: Exponent of 1 - p; 0 is plain cross-entropy.
    """

    def __init__(self, *, gamma: float = 2.0) -> None:
        super().__init__()
        self.gamma = gamma

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Return the mean loss of logits `[B, K]` and labels `[B]` or `[B, K]`."""
        if not labels.is_floating_point():
            labels = functional.one_hot(labels, logits.shape[1]).to(logits.dtype)
        log_probabilities = torch.log_softmax(logits, dim=1)
        # Where p is 1 to the last digit, the slope of 0 ** gamma is infinite for a gamma below 1.
        rest = (1 - log_probabilities.exp()).clamp(min=torch.finfo(log_probabilities.dtype).eps)
        terms = rest**self.gamma * log_probabilities
        return -(labels * terms).sum(1).mean()
