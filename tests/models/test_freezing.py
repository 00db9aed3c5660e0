import pytest
import torch
from torch import nn

from visionlab.errors import ConfigError
from visionlab.models.freezing import freeze, hold_norms


def trained(network):
    return sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)


@pytest.mark.parametrize(("policy", "count"), [("none", 57_417_637), ("backbone", 54_947_941), ("head", 2_469_696)])
def test_alexnet_trains_as_many_parameters_as_the_caltech_report_says(build, policy, count):
    network = build("alexnet", num_classes=101, image_size=224, device="meta")
    freeze(network, policy)
    assert trained(network) == count


@pytest.mark.parametrize(
    ("name", "free"),
    [
        ("vgg16", ["classifier.3", "classifier.6"]),
        ("resnet50", ["layer4.2", "fc"]),
        ("efficientnet_b2", ["features.8", "classifier.1"]),
        ("torchvision", ["model.layer4.1", "model.fc"]),
    ],
)
def test_last_two_layers_are_named_and_alone_trained(build, name, free):
    network = build(name, image_size=224, device="meta")
    assert freeze(network, "all_but_last_2") == free
    for key, parameter in network.named_parameters():
        assert parameter.requires_grad == key.startswith(tuple(f"{layer}." for layer in free))


def test_a_pattern_freezes_what_it_matches(build):
    network = build("alexnet", image_size=64, device="meta")
    assert freeze(network, "features.[0-3]") == [
        "features.6", "features.8", "features.10", "classifier.1", "classifier.4", "classifier.6",
    ]  # fmt: skip
    freeze(network, "*.bias")
    assert {key for key, p in network.named_parameters() if p.requires_grad} == {
        key for key, _ in network.named_parameters() if not key.endswith("bias")
    }


def test_a_policy_replaces_the_one_before(build):
    network = build("alexnet", image_size=64, device="meta")
    freeze(network, "head")
    freeze(network, "none")
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(("policy", "says"), [("backbon", "did you mean 'backbone'"), ("*", "whole network")])
def test_what_matches_nothing_or_everything_is_an_error(build, policy, says):
    with pytest.raises(ConfigError, match=says):
        freeze(build("alexnet", image_size=64, device="meta"), policy)


def test_frozen_batchnorm_keeps_its_statistics_and_free_ones_do_not(build):
    network = build("resnet20")
    freeze(network, "all_but_last_2")
    network.train()
    hold_norms(network)
    before = {key: value.clone() for key, value in network.named_buffers()}
    network(torch.randn(4, 3, 32, 32))
    changed = {key for key, value in network.named_buffers() if not torch.equal(value, before[key])}
    assert changed and all(key.startswith("layer3.2.") for key in changed)
    assert isinstance(network.bn1, nn.BatchNorm2d) and not network.bn1.training


def test_frozen_parameters_stay_and_free_ones_move(build):
    network = build("simple_cnn")
    free = freeze(network, "backbone")
    before = {key: value.clone() for key, value in network.named_parameters()}
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, weight_decay=0.1)
    network(torch.randn(4, 3, 32, 32)).square().sum().backward()
    optimizer.step()
    moved = {key for key, value in network.named_parameters() if not torch.equal(value, before[key])}
    assert moved == {key for key in before if key.startswith(tuple(free))}


def test_a_network_that_names_no_head_is_trained_whole_or_by_names():
    """As one that somebody brings along; `head` may also be a layer of it."""
    for network in (nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), nn.ModuleDict({"head": nn.Linear(3, 2)})):
        assert len(freeze(network, "none")) == len(network)
        for policy in ("backbone", "head"):
            with pytest.raises(ConfigError, match="does not name its head"):
                freeze(network, policy)
    assert freeze(nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2)), "0") == ["1"]
