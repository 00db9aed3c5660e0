"""The parameter counts that the reports and papers print, exact."""

import pytest
import torchvision
from networks import NAMES

# config, overrides, classes, image size px, parameters
PRINTED = [
    ("alexnet_light_32", (), 10, 32, 563_050),
    ("alexnet_light_224", (), 10, 224, 51_479_562),
    ("simple_cnn", (), 10, 32, 2_122_186),
    ("simple_cnn_bn", (), 10, 32, 1_070_986),
    ("efficientnet_b0", (), 1000, 224, 5_288_548),
    ("efficientnet_b0", (), 10, 32, 4_020_358),
    ("squeezenet1_1", (), 10, 32, 727_626),
    ("alexnet", (), 101, 224, 57_417_637),
    ("mlp", (), 3, 300, 68_851_023),
    ("tutorial_cnn", (), 3, 300, 9_966_691),
    ("efficientnet_b1", (), 1000, 240, 7_794_184),
    ("efficientnet_b2", (), 1000, 288, 9_109_994),
    ("efficientnet_b3", (), 1000, 300, 12_233_232),
    ("efficientnet_b4", (), 1000, 380, 19_341_616),
    ("efficientnet_b5", (), 1000, 456, 30_389_784),
    ("efficientnet_b6", (), 1000, 528, 43_040_704),
    ("efficientnet_b7", (), 1000, 600, 66_347_960),
    ("mobilenet_v2", (), 1000, 224, 3_504_872),
    ("squeezenet1_0", (), 1000, 224, 1_248_424),
    ("squeezenet1_1", (), 1000, 224, 1_235_496),
    ("resnet18", (), 1000, 224, 11_689_512),
    ("resnet34", (), 1000, 224, 21_797_672),
    ("resnet50", (), 1000, 224, 25_557_032),
    ("resnet20", (), 10, 32, 269_722),
    ("resnet32", (), 10, 32, 464_154),
    ("resnet44", (), 10, 32, 658_586),
    ("resnet56", (), 10, 32, 853_018),
    ("airbench", (), 10, 32, 1_971_352),
    ("vgg11", (), 1000, 224, 132_863_336),
    ("vgg13", (), 1000, 224, 133_047_848),
    ("vgg16", (), 1000, 224, 138_357_544),
    ("vgg19", (), 1000, 224, 143_667_240),
    ("vgg16_bn", (), 1000, 224, 138_365_992),
]


@pytest.mark.parametrize(("name", "overrides", "classes", "size", "printed"), PRINTED)
def test_parameters(build, name, overrides, classes, size, printed):
    network = build(name, *overrides, num_classes=classes, image_size=size, device="meta")
    assert sum(parameter.numel() for parameter in network.parameters()) == printed


@pytest.mark.parametrize("name", [name for name in NAMES if name[:3] in ("eff", "res", "mob", "squ")])
def test_small_images_change_no_parameter_but_the_stem_of_resnet(sketch, name):
    small = sketch(name, 32).state_dict()
    large = sketch(name, 224).state_dict()
    changed = [key for key in large if small[key].shape != large[key].shape]
    assert small.keys() == large.keys()
    assert changed == (["conv1.weight"] if name in ("resnet18", "resnet34", "resnet50") else [])


def test_architecture_arguments_reach_the_network(build):
    wide = build("mobilenet_v2", "model.network.width=1.4", num_classes=1000, device="meta")
    assert sum(parameter.numel() for parameter in wide.parameters()) == sum(
        parameter.numel() for parameter in torchvision.models.mobilenet_v2(width_mult=1.4).parameters()
    )
    found = build(
        "simple_cnn", "model.network.filters=[16,32,64]", "model.network.kernel_sizes=5", "model.network.dense_units=99"
    )
    assert [tuple(p.shape) for p in found.parameters() if p.ndim > 1] == [
        (16, 3, 5, 5), (32, 16, 5, 5), (64, 32, 5, 5), (99, 1024), (10, 99)
    ]  # fmt: skip
