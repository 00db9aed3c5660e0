"""`small_images` takes out the downsampling that leaves nothing of 32 px."""

import pytest
import torch

from visionlab.errors import ConfigError

FAMILIES = ["efficientnet_b0", "mobilenet_v2", "resnet18", "resnet50", "squeezenet1_0", "squeezenet1_1"]


def side_before_head(network, size):
    """Return height and width of the last features that still have them."""
    sides = []
    for module in network.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    network(torch.empty(2, 3, size, size, device="meta"))
    return min(side for side in sides if side > 1) if max(sides[-4:]) > 1 else 1


@pytest.mark.parametrize("name", FAMILIES)
def test_auto_keeps_four_times_the_side_on_small_images_only(build, name):
    small, papers = (
        side_before_head(build(name, f"model.network.small_images={value}", device="meta"), 32)
        for value in ("auto", "false")
    )
    assert small >= 4 and papers == 1
    at_64 = side_before_head(build(name, image_size=64, device="meta"), 64)
    at_65, at_65_papers = (
        side_before_head(build(name, f"model.network.small_images={value}", image_size=65, device="meta"), 65)
        for value in ("auto", "false")
    )
    assert at_64 >= 8 and at_65 == at_65_papers


@pytest.mark.parametrize("name", FAMILIES)
def test_true_holds_for_any_size(build, name):
    forced = build(name, "model.network.small_images=true", image_size=224, device="meta")
    assert side_before_head(forced, 224) >= 28


def test_anything_else_is_an_error(build):
    with pytest.raises(ConfigError, match="small_images is 'yes'"):
        build("resnet18", "model.network.small_images='yes'")
