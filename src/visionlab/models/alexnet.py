"""AlexNet: five convolutions and three fully connected layers."""

import torch
from torch import Tensor, nn

from visionlab.models.sizes import check_size


class AlexNet(nn.Module):
    """AlexNet, as Krizhevsky simplified it for one GPU and torchvision has it.

    Paper: "One weird trick for parallelizing convolutional neural networks" (https://arxiv.org/abs/1404.5997), after
    "ImageNet Classification with Deep Convolutional Neural Networks" (2012). Deviations: the filters are 64, 192, 384,
    256, 256 (the second paper's are 96, 256, 384, 384, 256), no local response normalisation, and the features are
    averaged to 6x6, so that any image from 63 px on will do. Names and initialisation are torchvision's, so its weights
    fit.

    Args:
        num_classes: K, the number of logits.
        dropout: Probability of dropping an input of the first two fully connected layers.
    """

    head = "classifier"
    min_size = 63

    def __init__(self, *, num_classes: int, dropout: float = 0.5) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 64, kernel_size=11, stride=4, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),  # windows overlap: 3 wide, 2 apart
            nn.Conv2d(64, 192, kernel_size=5, padding=2),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
            nn.Conv2d(192, 384, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(384, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.Conv2d(256, 256, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(kernel_size=3, stride=2),
        )
        self.avgpool = nn.AdaptiveAvgPool2d((6, 6))
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Linear(256 * 6 * 6, 4096),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(4096, 4096),
            nn.ReLU(inplace=True),
            nn.Linear(4096, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size)
        features = self.avgpool(self.features(images))  # [B, 256, 6, 6]
        logits: Tensor = self.classifier(torch.flatten(features, 1))  # [B, K]
        return logits
