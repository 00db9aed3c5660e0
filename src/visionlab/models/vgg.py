"""VGG: nothing but 3x3 convolutions, pooling and three fully connected layers."""

import torch
from torch import Tensor, nn

from visionlab.errors import ConfigError
from visionlab.models.sizes import check_size

# Convolutions of each of the five stages, by number of layers with weights: configurations A, B, D and E of the paper
CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
FILTERS = (64, 128, 256, 512, 512)


class VGG(nn.Module):
    """VGG-11, 13, 16 or 19, with or without BatchNorm.

    Paper: "Very Deep Convolutional Networks for Large-Scale Image Recognition" (https://arxiv.org/abs/1409.1556).
    Deviations: BatchNorm, which is younger than the paper, and averaging the features to 7x7, so that any image from
    32 px on will do. Names and initialisation are torchvision's, so its weights fit. VGG-16 has 138,357,544 parameters
    with 1,000 classes.

    Args:
        num_classes: K, the number of logits.
        depth: Layers with weights: 11, 13, 16 or 19.
        batch_norm: Normalise after each convolution.
        dropout: Probability of dropping a unit of the two hidden fully connected layers.

    Raises:
        ConfigError: There is no VGG of this depth.
    """

    head = "classifier"
    min_size = 32

    def __init__(self, *, num_classes: int, depth: int = 16, batch_norm: bool = False, dropout: float = 0.5) -> None:
        super().__init__()
        if depth not in CONVOLUTIONS:
            raise ConfigError(
                f"There is no VGG-{depth}.", where="model.network.depth", remedy=f"Use one of {sorted(CONVOLUTIONS)}."
            )
        features: list[nn.Module] = []
        channels = 3
        for convolutions, filters in zip(CONVOLUTIONS[depth], FILTERS, strict=True):
            for _ in range(convolutions):
                features.append(nn.Conv2d(channels, filters, kernel_size=3, padding=1))
                features += [nn.BatchNorm2d(filters)] if batch_norm else []
                features.append(nn.ReLU(inplace=True))
                channels = filters
            features.append(nn.MaxPool2d(2))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, num_classes),
        )
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size)
        features = self.avgpool(self.features(images))  # [B, 512, 7, 7]
        logits: Tensor = self.classifier(torch.flatten(features, 1))  # [B, K]
        return logits
