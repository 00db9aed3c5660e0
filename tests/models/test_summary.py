import pytest
import torch

from visionlab.models.freezing import freeze
from visionlab.models.summary import summarise


@pytest.mark.parametrize(
    ("name", "input_mb", "passes_mb", "parameters_mb", "total_mb"),
    [("mlp", 8.24, 0.02, 262.65, 270.90), ("tutorial_cnn", 8.24, 70.50, 38.02, 116.76)],
)
def test_memory_is_what_the_fruit_report_prints(build, name, input_mb, passes_mb, parameters_mb, total_mb):
    found = summarise(build(name, num_classes=3, image_size=300, device="meta"), 300, batch_size=8)
    memory = found.input_mb, found.passes_mb, found.parameters_mb, found.total_mb
    assert [round(value, 2) for value in memory] == [input_mb, passes_mb, parameters_mb, total_mb]


def test_rows_are_the_layers_of_the_fruit_report(build):
    found = summarise(build("tutorial_cnn", num_classes=3, image_size=300, device="meta"), 300)
    shown = [(row.type, row.output_shape, row.parameters) for row in found.rows if row.type != "ReLU"]
    assert shown == [
        ("Conv2d", "[B, 6, 296, 296]", 456),
        ("MaxPool2d", "[B, 6, 148, 148]", 0),
        ("Conv2d", "[B, 16, 144, 144]", 2_416),
        ("MaxPool2d", "[B, 16, 72, 72]", 0),
        ("Dropout", "[B, 16, 72, 72]", 0),
        ("Flatten", "[B, 82944]", 0),
        ("Linear", "[B, 120]", 9_953_400),
        ("Linear", "[B, 84]", 10_164),
        ("Dropout", "[B, 84]", 0),
        ("Linear", "[B, 3]", 255),
    ]


@pytest.mark.parametrize(
    ("name", "size", "multiplications"),
    # The papers' and torchvision's counts of multiply-adds, in millions; ours are twice that in operations
    [("efficientnet_b0", 224, 386), ("resnet50", 224, 4089), ("vgg16", 224, 15_470), ("mobilenet_v2", 224, 301)],
)
def test_flops_are_the_published_ones(build, name, size, multiplications):
    found = summarise(build(name, num_classes=1000, image_size=size, device="meta"), size)
    assert found.flops / 2e6 == pytest.approx(multiplications, rel=0.002)


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "efficientnet_cifar", "torchvision"])
def test_rows_sum_to_the_whole_and_the_network_is_left_alone(build, name):
    network = build(name, image_size=32).train()
    free = freeze(network, "backbone")
    before = {key: value.clone() for key, value in network.state_dict().items()}
    found = summarise(network, 32)
    assert sum(row.parameters for row in found.rows) == found.parameters
    assert sum(row.trainable for row in found.rows) == found.trainable
    assert [row.layer for row in found.rows if row.trainable] == free
    assert all(module.training for module in network.modules())
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert f"{found.parameters:,} ({found.trainable:,} trained)" in str(found)


def test_parts_that_are_never_called_are_counted(build):
    network = build("torchvision", "model.name=vit_b_32", image_size=32, device="meta")
    found = summarise(network, 32)
    assert sum(row.parameters for row in found.rows) == found.parameters


@pytest.mark.parametrize(
    ("name", "size"),
    [
        ("alexnet", 224),
        ("alexnet_light_224", 224),
        ("simple_cnn_bn", 64),
        ("airbench", 32),
        ("mlp", 300),
        ("vgg16", 224),
    ],
)
def test_the_table_of_a_network_that_is_trained_whole_fits_a_terminal(build, name, size):
    network = build(name, image_size=size, num_classes=101, device="meta")
    lines = str(summarise(network, size)).splitlines()
    assert max(map(len, lines)) <= 80
    assert "trainable" not in lines[0]
    freeze(network, "backbone")
    assert "trainable" in str(summarise(network, size)).splitlines()[0]
