"""AlexNet Light: the two small networks of the report on everyday objects."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor, nn

from visionlab.errors import ConfigError
from visionlab.models.sizes import check_size, fixed_size


class AlexNetLight(nn.Module):
    """Blocks of convolution 3x3, ReLU and BatchNorm, some with 2x2 max-pooling, and two fully connected layers.

    Light 32 has the filters 16, 32, 32, 64 and pools after blocks 1, 2 and 4: 563,050 parameters with 10 classes at
    32 px (the report's text says 43 thousand, which its own table contradicts). Light 224 has the filters 32, 64, 128,
    pools after each block and drops whole channels after blocks 1 and 2: 51,479,562 parameters at 224 px. It is AlexNet
    (https://papers.nips.cc/paper/4824) in name and in its two dropout-regularised fully connected layers only.

    Args:
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; fixes the number of features that are flattened.
        filters: Output channels of each block.
        pooled: Numbers of the blocks, from 1, that end with max-pooling.
        channel_dropout: Probability of dropping a channel after each block but the last.
        dense_units: Units of the hidden fully connected layer.
        dropout: Probability of dropping one of these units.
    """

    head = "classifier"

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int | Sequence[int],
        filters: Sequence[int] = (16, 32, 32, 64),
        pooled: Collection[int] = (1, 2, 4),
        channel_dropout: float = 0.0,
        dense_units: int = 512,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        if not {*pooled} <= {*range(1, len(filters) + 1)}:
            raise ConfigError(
                f"There are {len(filters)} blocks of filters, and the blocks {sorted(pooled)} are to be pooled.",
                where="model.network.pooled",
                remedy=f"Give numbers from 1 to {len(filters)}.",
            )
        pooled = {*pooled}
        self.min_size = 2 ** len(pooled)
        self.image_size = fixed_size(image_size, self.min_size)
        blocks: list[nn.Module] = []
        channels = 3
        for number, outputs in enumerate(filters, start=1):
            blocks += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True), nn.BatchNorm2d(outputs)]
            blocks += [nn.MaxPool2d(2)] if number in pooled else []
            blocks += [nn.Dropout2d(channel_dropout)] if channel_dropout and number < len(filters) else []
            channels = outputs
        self.features = nn.Sequential(*blocks)
        height, width = (side // self.min_size for side in self.image_size)
        self.classifier = nn.Sequential(
            nn.Linear(channels * height * width, dense_units),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(dense_units, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size, exact=self.image_size)
        features = self.features(images)  # [B, filters[-1], H / 2^p, W / 2^p] with p pooled blocks
        logits: Tensor = self.classifier(torch.flatten(features, 1))  # [B, K]
        return logits
