"""What every network of conf/model/ must do, found by walking the folder. Where numbers do not matter, on "meta"."""

import copy
import io
import math

import pytest
import torch
from networks import NAMES
from torch import nn

from visionlab.errors import ConfigError, DataError
from visionlab.models.layers import layers
from visionlab.models.sizes import one_or_two

# Computed with real numbers only with -m slow: a second and more each, and each has a small sister that always is
HEAVY = [name for name in NAMES if name.startswith("vgg") or (name[:-1] == "efficientnet_b" and name[-1] != "0")]
# Run on "meta" by default: all but those between the smallest and the largest EfficientNet
SKETCHED = {name for name in NAMES if name not in {f"efficientnet_b{number}" for number in range(1, 7)}}
# Exported by default: one of each class, the others with -m slow
EXPORTED = {"alexnet", "alexnet_light_32", "efficientnet_cifar", "mlp", "mobilenet_v2", "resnet18", "resnet20"}
EXPORTED |= {"simple_cnn_bn", "squeezenet1_1", "tutorial_cnn", "vgg11"}


def slow_unless(chosen):
    return [pytest.param(name, marks=[] if name in chosen else pytest.mark.slow) for name in NAMES]


def smallest(sketch, name):
    """Return a size that the network takes: 32 px, or its smallest where that is more."""
    return max(32, sketch(name, 64).min_size)


def test_every_config_is_found():
    assert {"alexnet", "efficientnet_b7", "mlp", "resnet56", "timm", "vgg19_bn"} <= set(NAMES)


@pytest.mark.parametrize("size", [32, 224])  # and 64 in the next test
@pytest.mark.parametrize("name", slow_unless(SKETCHED))
def test_logits_have_a_column_for_each_class_at_every_size(sketch, name, size):
    if name == "alexnet" and size == 32:
        pytest.skip("its smallest input is 63 px")
    network = sketch(name, size)
    assert network.min_size <= size
    assert network(torch.empty(2, 3, size, size, device="meta")).shape == (2, 7)


@pytest.mark.parametrize("name", slow_unless(SKETCHED))
def test_every_parameter_gets_a_gradient(sketch, name):
    network = copy.deepcopy(sketch(name, 64))
    logits = network(torch.empty(2, 3, 64, 64, device="meta"))
    assert logits.shape == (2, 7)
    logits.sum().backward()
    assert [key for key, parameter in network.named_parameters() if parameter.grad is None] == []


@pytest.mark.parametrize("name", NAMES)
def test_head_is_the_part_that_ends_in_the_logits(sketch, name):
    network = sketch(name, 64)
    last = layers(network)[-1]
    assert all(key.startswith(f"{network.head}.") for key in last.parameters)
    assert {network.get_parameter(key).shape[0] for key in last.parameters} == {7}
    assert len([key for key, _ in network.named_parameters() if not key.startswith(f"{network.head}.")]) > 0


@pytest.mark.parametrize("name", slow_unless(set(NAMES) - set(HEAVY)))
def test_same_seed_gives_the_same_network_and_its_state_comes_back(build, sketch, name):
    size = smallest(sketch, name)
    torch.manual_seed(0)
    first = build(name, image_size=size)
    torch.manual_seed(0)
    again = build(name, image_size=size)
    assert all(torch.equal(a, b) for a, b in zip(first.state_dict().values(), again.state_dict().values(), strict=True))
    other = build(name, image_size=size)
    assert any(not torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True))
    saved = io.BytesIO()
    torch.save(first.state_dict(), saved)
    saved.seek(0)
    other.load_state_dict(torch.load(saved, weights_only=True))
    images = torch.randn(2, 3, size, size)
    with torch.no_grad():
        assert torch.equal(first.eval()(images), other.eval()(images))


@pytest.mark.parametrize("name", slow_unless(set(NAMES) - set(HEAVY)))
def test_a_new_network_only_guesses(build, sketch, name):
    """Logits that are large from the start cost the first epochs: the network unlearns before it learns."""
    size = smallest(sketch, name)
    torch.manual_seed(0)
    network = build(name, image_size=size).train()
    with torch.no_grad():
        logits = network(torch.randn(20, 3, size, size))
    # ResNet-56, as published, is the highest with 3.2
    assert nn.functional.cross_entropy(logits, torch.arange(20) % 10) < math.log(10) + 1


@pytest.mark.parametrize("name", slow_unless(set(NAMES) - set(HEAVY)))
def test_no_nan_in_bfloat16(build, sketch, name):
    size = smallest(sketch, name)
    torch.manual_seed(0)
    network = build(name, image_size=size)
    with torch.autocast("cpu", torch.bfloat16):
        loss = network(torch.randn(2, 3, size, size)).float().logsumexp(1).sum()
    loss.backward()
    assert loss.isfinite()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())


@pytest.mark.parametrize("name", slow_unless(EXPORTED))
def test_exports_with_any_batch_size(build, sketch, name):
    size = smallest(sketch, name)
    network = build(name, image_size=size, device="meta").eval()
    images = torch.empty(2, 3, size, size, device="meta")
    program = torch.export.export(network, (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch")}})
    assert program.module()(torch.empty(5, 3, size, size, device="meta")).shape == (5, 10)


@pytest.mark.parametrize("name", NAMES)
def test_wrong_size_is_an_error_that_names_the_smallest(sketch, name):
    network = sketch(name, 64)
    if network.min_size == 1 and name != "mlp":
        pytest.skip("any image will do")
    size = max(1, network.min_size - 1) if name != "mlp" else 32
    with pytest.raises(DataError, match=rf"{size}x{size} px.* {network.min_size}x{network.min_size} px"):
        network(torch.empty(1, 3, size, size, device="meta"))


@pytest.mark.parametrize(("name", "size"), [("simple_cnn", 3), ("tutorial_cnn", 15), ("alexnet_light_32", 7)])
def test_network_of_one_size_refuses_to_be_built_for_too_small_images(build, name, size):
    with pytest.raises(DataError, match=f"takes is {size + 1}x{size + 1} px"):
        build(name, image_size=size, device="meta")
    build(name, image_size=size + 1, device="meta")


@pytest.mark.parametrize(
    "name", ["mlp", "simple_cnn", "tutorial_cnn", "alexnet_light_32", "resnet18", "efficientnet_b0"]
)
def test_images_need_not_be_square(build, name):
    network = build(name, image_size=one_or_two((48, 64)), device="meta")
    assert network(torch.empty(2, 3, 48, 64, device="meta")).shape == (2, 10)


@pytest.mark.parametrize("pooled", ["[1,2,4]", "[0]"])
def test_blocks_that_are_not_there_cannot_be_pooled(build, pooled):
    with pytest.raises(ConfigError, match="Give numbers from 1 to 3"):
        build("alexnet_light_32", "model.network.filters=[16,32,64]", f"model.network.pooled={pooled}", image_size=32)
