"""Test-time augmentation: an image and its mirror image are averaged."""

import math

import torch
from torch import Tensor, nn


class Mirrored(nn.Module):
    """A network whose probabilities are the mean of those of an image and of its mirror image (left for right).

    Args:
        network: Maps images, float [B, C, H, W], to logits, float [B, K].
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Return the logarithm of the mean probabilities, float [B, K], which are logits of them too."""
        both = [self.network(views).float().log_softmax(1) for views in (images, images.flip(3))]
        return torch.stack(both).logsumexp(0) - math.log(2)
