"""Grad-CAM points at the thing that makes the class, in networks of every kind."""

import pytest
import torch
from torch import nn

from visionlab.errors import ConfigError
from visionlab.models.gradcam import gradcam


class Colours(nn.Module):
    """Names an image by its reddest (class 0) or greenest (class 1) place: its Grad-CAM is known."""

    def __init__(self, inplace: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 1, bias=False)
        self.relu = nn.ReLU(inplace=inplace)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(2, 2, bias=False)
        with torch.no_grad():
            self.conv.weight.copy_(torch.eye(3)[:2, :, None, None])
            self.fc.weight.copy_(torch.eye(2))

    def forward(self, images):
        return self.fc(self.pool(self.relu(self.conv(images))).flatten(1))


@pytest.fixture
def squares():
    """A red square at the top left and a green one at the bottom right; the same upside down."""
    images = torch.zeros(2, 3, 16, 16)
    images[0, 0, 2:6, 2:6] = 1
    images[0, 1, 10:14, 10:14] = 1
    images[1] = images[0].flip(1)
    return images


@pytest.mark.parametrize("inplace", [False, True])
def test_each_class_is_seen_where_it_is(squares, inplace):
    network = Colours(inplace).eval()
    for asked in ([0, 0], [1, 1], [0, 1]):
        heat = gradcam(network, squares, torch.tensor(asked))
        for i, label in enumerate(asked):
            assert torch.equal(heat[i], squares[i, label])


def test_an_image_does_not_change_the_heat_of_another(squares):
    network = Colours(False).eval()
    alone = gradcam(network, squares[:1], torch.tensor([0]))
    assert torch.equal(alone[0], gradcam(network, squares, torch.tensor([0, 1]))[0])


def test_nothing_that_speaks_for_a_class_is_no_heat_and_no_nan(squares):
    heat = gradcam(Colours(False).eval(), torch.zeros_like(squares), torch.tensor([0, 1]))
    assert torch.equal(heat, torch.zeros(2, 16, 16))


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2", "squeezenet1_1", "convnext_tiny", "densenet121"])
def test_maps_of_any_convolutional_network_have_places(name):
    from torchvision import models

    torch.manual_seed(0)
    network = models.get_model(name, weights=None, num_classes=3).eval()
    images = torch.rand(2, 3, 96, 96)
    heat = gradcam(network, images, torch.tensor([0, 2]))
    assert heat.shape == (2, 96, 96) and torch.isfinite(heat).all()
    assert heat.min() >= 0 and heat.max() <= 1
    assert all(map.max() == 0 or map.min() < map.max() for map in heat)
    assert not any(module._forward_hooks for module in network.modules())


def test_the_residual_sum_is_in_the_maps():
    """The block's output, not that of its last convolution before the sum."""

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(3, 3, 3, padding=1)
            nn.init.zeros_(self.conv.weight)
            nn.init.zeros_(self.conv.bias)

        def forward(self, x):
            return x + self.conv(x)

    network = nn.Sequential(Block(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 3, bias=False)).eval()
    nn.init.eye_(network[3].weight)
    images = torch.zeros(1, 3, 8, 8)
    images[0, 1, 2, 3] = 1  # the convolution gives nothing; only the sum knows the place
    assert gradcam(network, images, torch.tensor([1]))[0].argmax() == 2 * 8 + 3


def test_what_a_pooling_blew_up_again_is_not_taken_for_the_maps(squares):
    """AlexNet averages small maps to 6x6, which may be the size of the convolution before."""
    network = Colours(False).eval()
    network.pool = nn.Sequential(nn.AvgPool2d(8), nn.AdaptiveAvgPool2d(16), nn.AdaptiveAvgPool2d(1))
    assert torch.equal(gradcam(network, squares, torch.tensor([0, 1]))[0], squares[0, 0])


@pytest.mark.parametrize("name", ["mlp", "vit"])
def test_a_network_without_maps_is_refused(name):
    from torchvision.models import VisionTransformer

    network = (
        nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 3))
        if name == "mlp"
        else VisionTransformer(32, 8, num_layers=1, num_heads=2, hidden_dim=8, mlp_dim=8, num_classes=3)
    )
    with pytest.raises(ConfigError, match="no convolution" if name == "mlp" else "patches"):
        gradcam(network.eval(), torch.rand(1, 3, 32, 32), torch.tensor([0]))
