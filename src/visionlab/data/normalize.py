"""From the bytes of an image to what a network expects."""

import torch
from torch import Tensor, nn


class Normalize(nn.Module):
    """uint8 [B, 3, H, W] in 0 to 255 (or float in 0 to 1) to float32 of mean 0 and deviation 1 on the data set.

    Args:
        mean: Per channel, of pixels in 0 to 1.
        std: Per channel, of pixels in 0 to 1.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Normalise: [B, 3, H, W] to float32 [B, 3, H, W]."""
        if not images.is_floating_point():
            images = unit(images)
        return (images - self.mean) / self.std


def unit(images: Tensor) -> Tensor:
    """uint8 [B, 3, H, W] to float32 in 0 to 1."""
    return images.to(torch.float32).div_(255)
