"""A multi-layer perceptron on the pixels: the baseline that knows nothing about images."""

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor, nn

from visionlab.models.sizes import check_size, fixed_size


class MLP(nn.Module):
    """Flatten, then fully connected layers with ReLU between them.

    With `image_size=300, hidden=[255], num_classes=3` this is the baseline of the fruit report: 270,000 inputs and
    68,851,023 parameters.

    Args:
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; fixes the number of inputs.
        hidden: Units of each hidden layer; empty for a linear classifier.
        dropout: Probability of dropping a hidden unit.
    """

    head = "classifier"
    min_size = 1

    def __init__(
        self, *, num_classes: int, image_size: int | Sequence[int], hidden: Sequence[int] = (255,), dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.image_size = fixed_size(image_size, self.min_size)
        units = [3 * self.image_size[0] * self.image_size[1], *hidden]
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise(units):
            layers += [nn.Linear(inputs, outputs), nn.ReLU(inplace=True), nn.Dropout(dropout)]
        self.features = nn.Sequential(nn.Flatten(), *layers)
        self.classifier = nn.Linear(units[-1], num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size, exact=self.image_size)
        logits: Tensor = self.classifier(self.features(images))  # [B, K]
        return logits
