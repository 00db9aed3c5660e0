import copy

import pytest
import torch
from networks import NAMES
from torch import nn

from visionlab.models.depthwise import DepthwiseConv2d


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (3, 2), (5, 1), (5, 2)])
def test_it_is_torchs_convolution_and_stays_so_beside_bfloat16(kernel, stride):
    torch.manual_seed(0)
    ours = DepthwiseConv2d(6, kernel, stride)
    torchs = nn.Conv2d(6, 6, kernel, stride, kernel // 2, groups=6, bias=False)
    torchs.load_state_dict(ours.state_dict())
    mixed = copy.deepcopy(ours)
    images = torch.randn(2, 6, 9, 9)
    expected = torchs(images)
    expected.square().sum().backward()
    ours(images).square().sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        found = mixed(images)
    found.square().sum().backward()
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)
    assert torch.equal(ours.weight.grad, torchs.weight.grad)
    assert torch.equal(mixed.weight.grad, torchs.weight.grad)


def test_every_depthwise_convolution_of_our_networks_is_one(sketch):
    depthwise = [
        (name, module)
        for name in NAMES
        if name not in {"timm", "torchvision"}
        for module in sketch(name, 64).modules()
        if isinstance(module, nn.Conv2d) and module.groups > 1
    ]
    assert {"efficientnet_b0", "mobilenet_v2"} <= {name for name, _ in depthwise}
    assert [name for name, module in depthwise if not isinstance(module, DepthwiseConv2d)] == []
