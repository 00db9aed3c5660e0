"""The depthwise convolution of MobileNetV2 and EfficientNet."""

import torch
from torch import Tensor, nn


class DepthwiseConv2d(nn.Conv2d):
    """Convolution of each channel by a kernel of its own, without bias, padded to keep the size at a stride of 1.

    On a CPU it computes in float32, also where `trainer.precision=bf16-mixed` computes all else in bfloat16: oneDNN has
    no fast bfloat16 gradient of a stride of 2, nor of kernels other than 3x3 (4 to 300 times as slow as in float32).

    Args:
        channels: Channels in and out.
        kernel: Side of the kernels, odd, px.
        stride: Distance of neighbouring outputs, px.
    """

    def __init__(self, channels: int, kernel: int, stride: int = 1) -> None:
        super().__init__(channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Map features `[B, C, H, W]` to `[B, C, H / stride, W / stride]`."""
        if features.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            with torch.autocast("cpu", enabled=False):
                return super().forward(features.float())
        return super().forward(features)
