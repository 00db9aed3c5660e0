"""The network of PyTorch's CIFAR-10 tutorial, on images of any size."""

from collections.abc import Sequence

from torch import Tensor, nn

from visionlab.models.sizes import check_size, fixed_size


class TutorialCNN(nn.Module):
    """Two convolutions and three fully connected layers: LeNet's shape.

    From https://pytorch.org/tutorials/beginner/blitz/cifar10_tutorial.html, as the fruit report uses it on 300 px with
    3 classes: 9,966,691 parameters. The report's deviation from the tutorial is dropout, once before and once after the
    first two fully connected layers; its probability is not given, so it is torch's default.

    Args:
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; fixes the number of features that are flattened.
        dropout: Probability of dropping a value in both places; 0 is the report's variant without dropout.
    """

    head = "classifier"
    min_size = 16

    def __init__(self, *, num_classes: int, image_size: int | Sequence[int], dropout: float = 0.5) -> None:
        super().__init__()
        self.image_size = fixed_size(image_size, self.min_size)
        self.features = nn.Sequential(
            nn.Conv2d(3, 6, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
            nn.Conv2d(6, 16, 5),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(2),
        )
        height, width = (((side - 4) // 2 - 4) // 2 for side in self.image_size)
        self.classifier = nn.Sequential(
            nn.Dropout(dropout),
            nn.Flatten(),
            nn.Linear(16 * height * width, 120),
            nn.ReLU(inplace=True),
            nn.Linear(120, 84),
            nn.ReLU(inplace=True),
            nn.Dropout(dropout),
            nn.Linear(84, num_classes),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size, exact=self.image_size)
        logits: Tensor = self.classifier(self.features(images))  # [B, K]
        return logits
