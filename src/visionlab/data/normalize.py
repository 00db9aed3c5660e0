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
        if images.is_floating_point():
            return (images - self.mean).div_(self.std)
        # One product and one difference, in place, instead of three operations: memory is what this costs.
        return images.to(torch.float32).mul_(1 / (255 * self.std)).sub_(self.mean / self.std)
