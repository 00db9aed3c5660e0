"""SqueezeNet: AlexNet's accuracy with a fiftieth of its parameters."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from visionlab.errors import ConfigError, nearest
from visionlab.models.sizes import check_size, is_small

# Fire modules as (squeeze, expand) channels, "pool" between them; the expand channels are split over 1x1 and 3x3
FIRES: dict[str, list[tuple[int, int] | str]] = {
    "1.0": [
        "pool",
        (16, 128),
        (16, 128),
        (32, 256),
        "pool",
        (32, 256),
        (48, 384),
        (48, 384),
        (64, 512),
        "pool",
        (64, 512),
    ],
    "1.1": [
        "pool",
        (16, 128),
        (16, 128),
        "pool",
        (32, 256),
        (32, 256),
        "pool",
        (48, 384),
        (48, 384),
        (64, 512),
        (64, 512),
    ],
}


class Fire(nn.Module):
    """Squeeze the channels with 1x1 convolutions, then expand them with 1x1 and 3x3 ones side by side."""

    def __init__(self, inputs: int, squeezed: int, outputs: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(inputs, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, outputs // 2, 1)
        self.expand3x3 = nn.Conv2d(squeezed, outputs // 2, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, inputs, H, W]` to `[B, outputs, H, W]`."""
        squeezed = torch.relu(self.squeeze(features))
        return torch.relu(torch.cat([self.expand1x1(squeezed), self.expand3x3(squeezed)], dim=1))


class SqueezeNet(nn.Module):
    """SqueezeNet 1.0 or 1.1.

    Paper: "SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model size"
    (https://arxiv.org/abs/1602.07360). 1.1 is the authors' later one, with 2.4 times less computation
    (https://github.com/forresti/SqueezeNet): a 3x3 stem with 64 filters in place of 7x7 with 96, and earlier pooling.
    As in torchvision, whose names and initialisation these are, there is no padding in the stem, and a ReLU follows the
    last convolution. 1.1 has 727,626 parameters with 10 classes.

    On small images the stem keeps the size (stride 1, padded) and the pooling after it is left out, so that 32 px reach
    the classifier as 8x8. No parameter changes shape.

    Args:
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; only `small_images: auto` looks at it.
        version: "1.0" or "1.1".
        dropout: Probability of dropping a value before the last convolution.
        small_images: True, False or "auto" (images of at most 64 px).

    Raises:
        ConfigError: The version does not exist.
    """

    head = "classifier"

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int | Sequence[int] = 224,
        version: str = "1.1",
        dropout: float = 0.5,
        small_images: bool | str = "auto",
    ) -> None:
        super().__init__()
        if str(version) not in FIRES:
            raise ConfigError(
                f"SqueezeNet has no version {version}.", where="model.network.version", remedy=nearest(version, FIRES)
            )
        small = is_small(small_images, image_size)
        channels, kernel = (96, 7) if str(version) == "1.0" else (64, 3)
        # The smallest image of which every pooling still sees a whole window
        self.min_size = 4 if small else {"1.0": 21, "1.1": 17}[str(version)]
        stem = nn.Conv2d(3, channels, kernel, stride=1 if small else 2, padding=kernel // 2 if small else 0)
        features: list[nn.Module] = [stem, nn.ReLU(inplace=True)]
        for place, fire in enumerate(FIRES[str(version)]):
            if isinstance(fire, tuple):
                features.append(Fire(channels, *fire))
                channels = fire[1]
            elif small and place == 0:
                features.append(nn.Identity())  # holds the place, so that the names stay
            else:
                features.append(nn.MaxPool2d(kernel_size=3, stride=2, ceil_mode=True))
        self.features = nn.Sequential(*features)
        last = nn.Conv2d(channels, num_classes, 1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), last, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                if module is last:
                    nn.init.normal_(module.weight, std=0.01)
                else:
                    nn.init.kaiming_uniform_(module.weight)
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size)
        scores = self.classifier(self.features(images))  # [B, K, 1, 1]
        return torch.flatten(scores, 1)
