"""Convolution blocks and one hidden fully connected layer: the simple CNNs of the CIFAR-10 report."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from visionlab.errors import ConfigError
from visionlab.models.sizes import check_size, fixed_size


class SimpleCNN(nn.Module):
    """One block for each entry of `filters`: convolution, ReLU, optionally BatchNorm, 2x2 max-pooling.

    The defaults are the vanilla network at 32 px: 2,122,186 parameters with 10 classes. With BatchNorm, 256 dense units
    and dropout 0.5 (`conf/model/simple_cnn_bn.yaml`) it is the custom one: 1,070,986. All sizes are arguments, so that
    a search can move them.

    Args:
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; fixes the number of features that are flattened.
        filters: Output channels of each block.
        kernel_sizes: Side of each block's kernel, px; odd, so that the padding keeps the size. One number serves all.
        dense_units: Units of the hidden fully connected layer.
        dropout: Probability of dropping a flattened feature or a dense unit.
        batch_norm: Normalise after each ReLU, the order of the report.

    Raises:
        ConfigError: `filters` and `kernel_sizes` differ in length, or a kernel is even.
    """

    head = "classifier"

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int | Sequence[int],
        filters: Sequence[int] = (32, 64),
        kernel_sizes: int | Sequence[int] = (3, 3),
        dense_units: int = 512,
        dropout: float = 0.0,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        kernels = [kernel_sizes] * len(filters) if isinstance(kernel_sizes, int) else list(kernel_sizes)
        if len(kernels) != len(filters) or any(kernel % 2 == 0 for kernel in kernels):
            raise ConfigError(
                f"{len(filters)} filters with the kernel sizes {kernels}.",
                where="model.network",
                remedy="Give one odd number, or one for each entry of filters.",
            )
        self.min_size = 2 ** len(filters)
        self.image_size = fixed_size(image_size, self.min_size)
        blocks: list[nn.Module] = []
        channels = 3
        for outputs, kernel in zip(filters, kernels, strict=True):
            block = [nn.Conv2d(channels, outputs, kernel, padding=kernel // 2), nn.ReLU(inplace=True)]
            blocks += [*block, *([nn.BatchNorm2d(outputs)] if batch_norm else []), nn.MaxPool2d(2)]
            channels = outputs
        self.features = nn.Sequential(*blocks)
        height, width = (side // self.min_size for side in self.image_size)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(channels * height * width, dense_units),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense_units, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size, exact=self.image_size)
        features = self.features(images)  # [B, filters[-1], H / 2^n, W / 2^n]
        logits: Tensor = self.classifier(torch.flatten(features, 1))  # [B, K]
        return logits
