"""MobileNetV2: inverted residuals with linear bottlenecks."""

from collections.abc import Sequence

from torch import Tensor, nn

from visionlab.models.depthwise import DepthwiseConv2d
from visionlab.models.sizes import check_size, is_small

# (expansion, output channels, blocks, stride) of the seven stages: table 2 of the paper
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


def scale_width(channels: int, width: float) -> int:
    """Multiply channels by the width multiplier, rounded to a multiple of 8 and never below 90 % of the product."""
    product = channels * width
    rounded = max(8, int(product + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * product else rounded + 8


class ConvNormReLU6(nn.Sequential):
    """Convolution without bias, padded to keep the size, BatchNorm and ReLU6."""

    def __init__(self, inputs: int, outputs: int, kernel: int, *, stride: int = 1, depthwise: bool = False) -> None:
        super().__init__(
            DepthwiseConv2d(inputs, kernel, stride)
            if depthwise
            else nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU6(inplace=True),
        )


class InvertedResidual(nn.Module):
    """Expand 1x1, depthwise 3x3, project 1x1 without activation, with a shortcut where it fits."""

    def __init__(self, inputs: int, outputs: int, *, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [ConvNormReLU6(inputs, hidden, 1)] if expansion > 1 else []
        self.conv = nn.Sequential(
            *expand,
            ConvNormReLU6(hidden, hidden, 3, stride=stride, depthwise=True),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, inputs, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        residual: Tensor = self.conv(features)
        return features + residual if self.shortcut else residual


class MobileNetV2(nn.Module):
    """MobileNetV2 of any width.

    Paper: "MobileNetV2: Inverted Residuals and Linear Bottlenecks" (https://arxiv.org/abs/1801.04381). As in
    torchvision, whose names and initialisation these are, there is dropout before the classifier. With 1,000 classes it
    has 3,504,872 parameters.

    On small images the stem and the second stage keep the size (stride 1 in place of 2): 32 px then reach the head as
    4x4, not as 1x1. No parameter changes shape.

    Args:
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; only `small_images: auto` looks at it.
        width: Multiplier of all channels; the last 1,280 are only ever multiplied by more than 1.
        dropout: Probability of dropping a feature before the classifier.
        small_images: True, False or "auto" (images of at most 64 px).
    """

    head = "classifier"
    min_size = 1

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int | Sequence[int] = 224,
        width: float = 1.0,
        dropout: float = 0.2,
        small_images: bool | str = "auto",
    ) -> None:
        super().__init__()
        small = is_small(small_images, image_size)
        channels = scale_width(32, width)
        features: list[nn.Module] = [ConvNormReLU6(3, channels, 3, stride=1 if small else 2)]
        for index, (expansion, outputs, blocks, stride) in enumerate(STAGES):
            for block in range(blocks):
                step = 1 if block > 0 or (small and index == 1) else stride
                features.append(
                    InvertedResidual(channels, scale_width(outputs, width), stride=step, expansion=expansion)
                )
                channels = scale_width(outputs, width)
        last = scale_width(1280, max(1.0, width))
        features.append(ConvNormReLU6(channels, last, 1))
        self.features = nn.Sequential(*features)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last, num_classes))
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=0.01)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size)
        features = self.features(images).mean((2, 3))  # [B, 1280]
        logits: Tensor = self.classifier(features)  # [B, K]
        return logits
