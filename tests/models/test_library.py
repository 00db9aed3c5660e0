import sys

import pytest
import torch

from visionlab.errors import ConfigError, DataError
from visionlab.models.freezing import freeze


@pytest.mark.parametrize(
    ("name", "size", "head", "last_two"),
    [
        ("convnext_tiny", 64, "model.classifier", ["model.features.7.2", "model.classifier.2"]),
        ("densenet121", 64, "model.classifier", ["model.features.denseblock4", "model.classifier"]),
        ("googlenet", 64, "model.fc", ["model.inception5b", "model.fc"]),
        ("swin_t", 64, "model.head", ["model.features.7.1", "model.head"]),
        ("vit_b_32", 64, "model.heads", ["model.encoder.layers.encoder_layer_11", "model.heads.head"]),
        ("mobilenet_v3_small", 32, "model.classifier", ["model.classifier.0", "model.classifier.3"]),
    ],
)
def test_torchvision_head_fits_the_classes_whatever_it_is_called(build, name, size, head, last_two):
    network = build("torchvision", f"model.name={name}", num_classes=7, image_size=size, device="meta")
    assert network(torch.empty(2, 3, size, size, device="meta")).shape == (2, 7)
    assert network.head == head
    assert freeze(network, "all_but_last_2") == last_two


@pytest.mark.parametrize(
    ("name", "size", "head"),
    [("convnext_atto", 64, "model.head"), ("mobilenetv3_small_050", 64, "model.classifier"),
     ("vit_tiny_patch16_224", 64, "model.head")],
)  # fmt: skip
def test_timm_head_fits_the_classes_whatever_it_is_called(build, name, size, head):
    pytest.importorskip("timm")
    network = build("timm", f"model.name={name}", num_classes=7, image_size=size).eval()
    assert network(torch.zeros(2, 3, size, size)).shape == (2, 7)
    assert network.head == head
    assert freeze(network, "backbone")[-1].startswith(head)


@pytest.mark.parametrize(
    ("library", "name", "says"),
    [("torchvision", "convnext_tinyy", "Did you mean convnext_tiny"), ("timm", "resnet_18", "Did you mean resnet18"),
     ("torchvision", "zzzz", "list_models")],
)  # fmt: skip
def test_unknown_name_gets_the_nearest(build, library, name, says):
    pytest.importorskip(library)
    with pytest.raises(ConfigError, match=rf"no network '{name}'(.|\n)*{says}"):
        build(library, f"model.name={name}")


def test_missing_timm_names_the_extra(build, monkeypatch):
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(ConfigError, match=r"visionlab\[timm\]"):
        build("timm", "model.name=resnet18")


def test_network_of_one_size_names_it(build):
    network = build("torchvision", "model.name=vit_b_32", image_size=64, device="meta")
    with pytest.raises(DataError, match="built for 64x64 px"):
        network(torch.empty(2, 3, 96, 96, device="meta"))
    with pytest.raises(ConfigError, match="60 px"):
        build("torchvision", "model.name=maxvit_t", image_size=60, device="meta")


def test_timms_networks_say_that_images_are_too_small_for_them(build):
    pytest.importorskip("timm")
    with pytest.raises(ConfigError, match=r"convnext_atto cannot .* 16x16 px(.|\n)*Use 224 px"):
        build("timm", "model.name=convnext_atto", image_size=16)
    assert all(module.training for module in build("timm", "model.name=convnext_atto", image_size=32).modules())


def test_a_network_of_timm_with_one_size_need_not_be_square(build):
    pytest.importorskip("timm")
    network = build("timm", "model.name=vit_tiny_patch16_224", num_classes=7, image_size=(32, 48)).eval()
    assert network(torch.zeros(1, 3, 32, 48)).shape == (1, 7)
    with pytest.raises(DataError, match="built for 32x48 px"):
        network(torch.zeros(1, 3, 48, 32))


def test_a_size_that_patches_do_not_fill_is_told(build):
    with pytest.raises(ConfigError, match=r"(.|\n)*Use a multiple of 32 px"):
        build("torchvision", "model.name=vit_b_32", image_size=100, device="meta")


def test_googlenet_turns_the_normalisation_into_that_of_its_weights(build):
    assert build("torchvision", "model.name=googlenet", image_size=64, device="meta").model.transform_input
