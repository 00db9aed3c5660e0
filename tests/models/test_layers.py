import pytest
import torch
from networks import NAMES
from torch import nn

from visionlab.models.layers import layers


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_is_in_one_layer(sketch, name):
    network = sketch(name, 64)
    found = [parameter for layer in layers(network) for parameter in layer.parameters]
    assert sorted(found) == sorted(key for key, _ in network.named_parameters())


@pytest.mark.parametrize(
    ("name", "count", "last"),
    [
        ("alexnet", 8, ["classifier.4", "classifier.6"]),
        ("vgg16_bn", 16, ["classifier.3", "classifier.6"]),
        ("resnet50", 18, ["layer4.2", "fc"]),  # stem, 16 blocks, classifier
        ("resnet20", 11, ["layer3.2", "fc"]),
        ("efficientnet_b0", 19, ["features.8", "classifier.1"]),  # stem, 16 blocks, last convolution, classifier
        ("squeezenet1_1", 10, ["features.12", "classifier.1"]),
        ("mobilenet_v2", 20, ["features.18", "classifier.1"]),
        ("mlp", 2, ["features.1", "classifier"]),
    ],
)
def test_layers_are_what_the_papers_call_layers_or_blocks(sketch, name, count, last):
    found = [layer.name for layer in layers(sketch(name, 64))]
    assert len(found) == count
    assert found[-2:] == last


def test_norms_and_loose_parameters_belong_to_a_layer():
    class Odd(nn.Module):
        def __init__(self):
            super().__init__()
            self.token = nn.Parameter(torch.zeros(1))
            self.first_norm = nn.LayerNorm(3)
            self.one = nn.Linear(3, 3)
            self.norm = nn.LayerNorm(3)
            self.two = nn.Linear(3, 3)

    found = {layer.name: set(layer.parameters) for layer in layers(Odd())}
    assert found == {
        "one": {"token", "first_norm.weight", "first_norm.bias", "one.weight", "one.bias", "norm.weight", "norm.bias"},
        "two": {"two.weight", "two.bias"},
    }
