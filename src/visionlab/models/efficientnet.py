"""EfficientNet: inverted bottlenecks with squeeze-and-excitation, scaled in width and depth together."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from visionlab.models.depthwise import DepthwiseConv2d
from visionlab.models.mobilenet_v2 import scale_width
from visionlab.models.sizes import check_size, is_small

# (expansion, kernel, stride, output channels, blocks) of the seven stages of B0: table 1 of the paper
STAGES = (
    (1, 3, 1, 16, 1),
    (6, 3, 2, 24, 2),
    (6, 5, 2, 40, 2),
    (6, 3, 2, 80, 3),
    (6, 5, 1, 112, 3),
    (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)


class ConvNormAct(nn.Sequential):
    """Convolution without bias, padded to keep the size, BatchNorm and, unless told otherwise, SiLU."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, depthwise: bool = False, act: bool = True
    ) -> None:
        convolution = (
            DepthwiseConv2d(inputs, kernel, stride)
            if depthwise
            else nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        )
        super().__init__(convolution, nn.BatchNorm2d(outputs), *([nn.SiLU(inplace=True)] if act else []))


class SqueezeExcitation(nn.Module):
    """Weigh each channel by what the whole image says about it (https://arxiv.org/abs/1709.01507, figure 1)."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, C, H, W]` to the same, weighed by channel."""
        mean = features.mean((2, 3), keepdim=True)  # [B, C, 1, 1]
        return features * torch.sigmoid(self.fc2(nn.functional.silu(self.fc1(mean))))


class MBConv(nn.Module):
    """Inverted bottleneck: expand 1x1, depthwise, squeeze-and-excitation, project 1x1, with a shortcut where it fits.

    Args:
        inputs: Channels in.
        outputs: Channels out.
        expansion: Factor by which the channels are expanded in between.
        kernel: Side of the depthwise kernel, px.
        stride: Of the depthwise convolution.
        drop: Probability that the residual branch of an image is dropped in training: stochastic depth
            (https://arxiv.org/abs/1603.09382).
    """

    def __init__(self, inputs: int, outputs: int, *, expansion: int, kernel: int, stride: int, drop: float) -> None:
        super().__init__()
        hidden = inputs * expansion
        expand = [ConvNormAct(inputs, hidden)] if expansion > 1 else []
        self.block = nn.Sequential(
            *expand,
            ConvNormAct(hidden, hidden, kernel, stride=stride, depthwise=True),
            SqueezeExcitation(hidden, max(1, inputs // 4)),
            ConvNormAct(hidden, outputs, act=False),
        )
        self.shortcut = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, inputs, H, W]` to `[B, outputs, H / stride, W / stride]`."""
        residual: Tensor = self.block(features)
        if not self.shortcut:
            return residual
        if self.training and self.drop > 0:
            keep = 1 - self.drop
            mask = residual.new_empty(len(residual), 1, 1, 1).bernoulli_(keep)
            residual = residual * (mask / keep)  # divided by keep, so that the mean stays
        return features + residual


class EfficientNet(nn.Module):
    """EfficientNet of any width and depth; B0 to B7 are configs.

    Paper: "EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks"
    (https://arxiv.org/abs/1905.11946). The compound coefficients (width, depth, image size px, dropout) are B0 (1.0,
    1.0, 224, 0.2), B1 (1.0, 1.1, 240, 0.2), B2 (1.1, 1.2, 260, 0.3), B3 (1.2, 1.4, 300, 0.3), B4 (1.4, 1.8, 380, 0.4),
    B5 (1.6, 2.2, 456, 0.4), B6 (1.8, 2.6, 528, 0.5) and B7 (2.0, 3.1, 600, 0.5). Names and initialisation are
    torchvision's, so its weights fit. B0 has 5,288,548 parameters with 1,000 classes.

    Only the last layer begins otherwise: torchvision divides its weights by the root of the number of classes, so that
    10 classes begin with logits ten times those of 1,000 and a loss of 3.4, where chance is 2.3. Ours divides by the
    root of its features, which with 1,000 classes is nearly the same.

    On small images the stem and the second stage keep the size (stride 1 in place of 2): 32 px then reach the head as
    4x4, not as 1x1. No parameter changes shape.

    Args:
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; only `small_images: auto` looks at it.
        width: Coefficient that multiplies all channels.
        depth: Coefficient that multiplies the blocks of each stage, rounded up.
        dropout: Probability of dropping a feature before the classifier.
        stochastic_depth: Probability of dropping the last residual branch; it grows linearly from 0 at the first.
        norm_eps: Added to the variance in each BatchNorm.
        norm_momentum: Weight of a batch in BatchNorm's running statistics.
        stem: Channels of the first convolution before scaling.
        stages: (expansion, kernel, stride, output channels, blocks) of each stage before scaling.
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
        depth: float = 1.0,
        dropout: float = 0.2,
        stochastic_depth: float = 0.2,
        norm_eps: float = 1e-5,
        norm_momentum: float = 0.1,
        stem: int = 32,
        stages: Sequence[Sequence[int]] = STAGES,
        small_images: bool | str = "auto",
    ) -> None:
        super().__init__()
        small = is_small(small_images, image_size)
        channels = scale_width(stem, width)
        features: list[nn.Module] = [ConvNormAct(3, channels, 3, stride=1 if small else 2)]
        counts = [math.ceil(blocks * depth) for *_, blocks in stages]
        place = 0
        for index, (expansion, kernel, stride, outputs, _) in enumerate(stages):
            blocks: list[nn.Module] = []
            for number in range(counts[index]):
                first = number == 0
                blocks.append(
                    MBConv(
                        channels,
                        scale_width(outputs, width),
                        expansion=expansion,
                        kernel=kernel,
                        stride=(1 if small and index == 1 else stride) if first else 1,
                        drop=stochastic_depth * place / sum(counts),
                    )
                )
                channels = scale_width(outputs, width)
                place += 1
            features.append(nn.Sequential(*blocks))
        features.append(ConvNormAct(channels, 4 * channels))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(4 * channels, num_classes))
        self._initialise(norm_eps, norm_momentum)

    def _initialise(self, norm_eps: float, norm_momentum: float) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm2d):
                module.eps, module.momentum = norm_eps, norm_momentum
            elif isinstance(module, nn.Linear):
                bound = 1 / math.sqrt(module.in_features)
                nn.init.uniform_(module.weight, -bound, bound)
                nn.init.zeros_(module.bias)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size)
        features = self.avgpool(self.features(images))  # [B, 4 * channels, 1, 1]
        logits: Tensor = self.classifier(torch.flatten(features, 1))  # [B, K]
        return logits
