"""`small_images` takes out the downsampling that leaves nothing of 32 px."""

import pytest
import torch

from visionlab.errors import ConfigError

# config, side of the last features of 32 px images: with small_images, without
FAMILIES = [
    ("efficientnet_b0", 4, 1),
    ("mobilenet_v2", 4, 1),
    ("resnet18", 4, 1),
    ("resnet50", 4, 1),
    ("squeezenet1_0", 8, 1),
    ("squeezenet1_1", 8, 1),
]


def side(network, size):
    """Return the side of the last features that have one, px."""
    sides = []
    part = network.features if hasattr(network, "features") else network.layer4
    part.register_forward_hook(lambda _, __, output: sides.append(output.shape[-1]))
    network(torch.empty(2, 3, size, size, device="meta"))
    return sides[0]


@pytest.mark.parametrize(("name", "small", "papers"), FAMILIES)
def test_features_of_small_images_keep_their_extent(build, name, small, papers):
    assert side(build(name, image_size=32, device="meta"), 32) == small
    assert side(build(name, "model.network.small_images=false", image_size=32, device="meta"), 32) == papers


@pytest.mark.parametrize(("name", "small", "papers"), FAMILIES)
def test_auto_means_up_to_64_px(build, name, small, papers):
    for size, like in ((64, "true"), (65, "false")):
        as_told = build(name, f"model.network.small_images={like}", image_size=size, device="meta")
        assert side(build(name, image_size=size, device="meta"), size) == side(as_told, size)


def test_the_larger_side_decides(build):
    assert side(build("resnet18", image_size=(32, 65), device="meta"), 64) == 2


def test_anything_else_is_an_error(build):
    with pytest.raises(ConfigError, match="small_images is 'yes'"):
        build("resnet18", "model.network.small_images='yes'")
