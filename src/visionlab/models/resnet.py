"""ResNet: blocks that learn what to add to their input. For ImageNet (18, 34, 50) and for CIFAR (20, 32, 44, 56)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from visionlab.errors import ConfigError, nearest
from visionlab.models.sizes import check_size, is_small


def convolution(inputs: int, outputs: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    """Make a convolution without bias (a norm follows it) that keeps the size but for its stride."""
    return nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, `downsample`, with a 1x1 convolution where the shape changes."""

    expansion = 1

    def __init__(self, inputs: int, filters: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, filters, 3, stride)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = convolution(filters, filters, 3)
        self.bn2 = nn.BatchNorm2d(filters)
        self.downsample = downsample

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, inputs, H, W]` to `[B, filters, H / stride, W / stride]`."""
        residual = torch.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        shortcut = features if self.downsample is None else self.downsample(features)
        return torch.relu(shortcut + residual)


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolutions, four times as many channels out as within, and a shortcut.

    Deviation, as in torchvision: the stride is in the 3x3 convolution, not in the first 1x1 (ResNet v1.5).
    """

    expansion = 4

    def __init__(self, inputs: int, filters: int, stride: int = 1, downsample: nn.Module | None = None) -> None:
        super().__init__()
        self.conv1 = convolution(inputs, filters, 1)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = convolution(filters, filters, 3, stride)
        self.bn2 = nn.BatchNorm2d(filters)
        self.conv3 = convolution(filters, filters * self.expansion, 1)
        self.bn3 = nn.BatchNorm2d(filters * self.expansion)
        self.downsample = downsample

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, inputs, H, W]` to `[B, 4 * filters, H / stride, W / stride]`."""
        residual = torch.relu(self.bn1(self.conv1(features)))
        residual = torch.relu(self.bn2(self.conv2(residual)))
        residual = self.bn3(self.conv3(residual))
        shortcut = features if self.downsample is None else self.downsample(features)
        return torch.relu(shortcut + residual)


BLOCKS: dict[str, type[BasicBlock | Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(nn.Module):
    """ResNet for ImageNet's 224 px: four stages with 64, 128, 256 and 512 filters.

    Paper: "Deep Residual Learning for Image Recognition" (https://arxiv.org/abs/1512.03385), table 1. ResNet-18 is
    basic blocks [2, 2, 2, 2], 34 basic [3, 4, 6, 3], 50 bottlenecks [3, 4, 6, 3]. Names and initialisation are
    torchvision's, so its weights fit. ResNet-50 has 25,557,032 parameters with 1,000 classes.

    On small images the stem is a 3x3 convolution with stride 1 (in place of 7x7 with stride 2) without the max-pooling
    after it: 32 px then reach the head as 4x4, not as 1x1. ImageNet's weights do not fit this stem.

    Args:
        num_classes: K, the number of logits.
        image_size: Side of the images or (height, width), px; only `small_images: auto` looks at it.
        block: "basic" or "bottleneck".
        blocks: Blocks of each of the four stages.
        small_images: True, False or "auto" (images of at most 64 px).

    Raises:
        ConfigError: The block does not exist.
    """

    head = "fc"
    min_size = 1

    def __init__(
        self,
        *,
        num_classes: int,
        image_size: int | Sequence[int] = 224,
        block: str = "basic",
        blocks: Sequence[int] = (2, 2, 2, 2),
        small_images: bool | str = "auto",
    ) -> None:
        super().__init__()
        if block not in BLOCKS:
            raise ConfigError(
                f"There is no block '{block}'.", where="model.network.block", remedy=nearest(block, BLOCKS)
            )
        small = is_small(small_images, image_size)
        self.conv1 = convolution(3, 64, 3) if small else convolution(3, 64, 7, stride=2)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.Identity() if small else nn.MaxPool2d(kernel_size=3, stride=2, padding=1)
        kind = BLOCKS[block]
        one, two, three, four = blocks
        self.layer1 = self._stage(kind, 64, 64, one, stride=1)
        self.layer2 = self._stage(kind, 64 * kind.expansion, 128, two, stride=2)
        self.layer3 = self._stage(kind, 128 * kind.expansion, 256, three, stride=2)
        self.layer4 = self._stage(kind, 256 * kind.expansion, 512, four, stride=2)
        self.fc = nn.Linear(512 * kind.expansion, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    @staticmethod
    def _stage(
        kind: type[BasicBlock | Bottleneck], inputs: int, filters: int, blocks: int, *, stride: int
    ) -> nn.Sequential:
        outputs = filters * kind.expansion
        downsample = None
        if stride != 1 or inputs != outputs:
            downsample = nn.Sequential(convolution(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))
        rest = [kind(outputs, filters) for _ in range(blocks - 1)]
        return nn.Sequential(kind(inputs, filters, stride, downsample), *rest)

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size)
        features = self.maxpool(torch.relu(self.bn1(self.conv1(images))))  # [B, 64, H / 4, W / 4]
        features = self.layer4(self.layer3(self.layer2(self.layer1(features))))  # [B, 512 * expansion, H / 32, W / 32]
        logits: Tensor = self.fc(features.mean((2, 3)))  # [B, K]
        return logits


class CifarBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut without parameters: option A of the paper.

    Where the shape changes, the shortcut takes every second pixel and fills the new channels with zeros.
    """

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == filters else 2
        self.conv1 = convolution(inputs, filters, 3, self.stride)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = convolution(filters, filters, 3)
        self.bn2 = nn.BatchNorm2d(filters)
        self.added = (filters - inputs) // 2  # channels of zeros on either side

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, inputs, H, W]` to `[B, filters, H / stride, W / stride]`."""
        residual = torch.relu(self.bn1(self.conv1(features)))
        residual = self.bn2(self.conv2(residual))
        if self.stride == 2:
            features = nn.functional.pad(features[:, :, ::2, ::2], (0, 0, 0, 0, self.added, self.added))
        return torch.relu(features + residual)


class CifarResNet(nn.Module):
    """ResNet for CIFAR's 32 px: three stages with 16, 32 and 64 filters and 2n layers each, 6n + 2 in all.

    Paper: "Deep Residual Learning for Image Recognition" (https://arxiv.org/abs/1512.03385), section 4.2, with its
    parameter-free shortcuts. ResNet-20 has 269,722 parameters with 10 classes, 32 has 464,154, 44 has 658,586 and 56
    has 853,018.

    Args:
        num_classes: K, the number of logits.
        depth: Layers with weights: 6n + 2, as 20, 32, 44 or 56.

    Raises:
        ConfigError: The depth is not 6n + 2.
    """

    head = "fc"
    min_size = 1

    def __init__(self, *, num_classes: int, depth: int = 20) -> None:
        super().__init__()
        if depth < 8 or depth % 6 != 2:
            raise ConfigError(
                f"A CIFAR ResNet with {depth} layers.",
                where="model.network.depth",
                remedy="Use 6n + 2: 20, 32, 44, 56, ...",
            )
        n = (depth - 2) // 6
        self.conv1 = convolution(3, 16, 3)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(*[CifarBlock(16, 16) for _ in range(n)])
        self.layer2 = nn.Sequential(CifarBlock(16, 32), *[CifarBlock(32, 32) for _ in range(n - 1)])
        self.layer3 = nn.Sequential(CifarBlock(32, 64), *[CifarBlock(64, 64) for _ in range(n - 1)])
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, images: Tensor) -> Tensor:
        """Map images `[B, 3, H, W]` to logits `[B, K]`."""
        check_size(images, self.min_size)
        features = torch.relu(self.bn1(self.conv1(images)))  # [B, 16, H, W]
        features = self.layer3(self.layer2(self.layer1(features)))  # [B, 64, H / 4, W / 4]
        logits: Tensor = self.fc(features.mean((2, 3)))  # [B, K]
        return logits
