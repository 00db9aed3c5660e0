import io
from pathlib import Path

import hydra
import pytest
import torch
import visionlab.conf
from hydra.core.global_hydra import GlobalHydra

from visionlab.errors import ConfigError
from visionlab.models.freezing import freeze
from visionlab.models.resnet import CifarResNet
from visionlab.training.optimizers import build, parameter_groups

CONF = Path(next(iter(visionlab.conf.__path__)))
NAMES = sorted(path.stem for path in (CONF / "optimizer").glob("[!_]*.yaml"))


@pytest.fixture
def network():
    torch.manual_seed(0)
    return CifarResNet(num_classes=10, depth=8)


def config(name, *overrides):
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
        return hydra.compose(overrides=[f"+optimizer={name}", *overrides]).optimizer


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_lowers_the_loss(network, name):
    images, labels = torch.randn(8, 3, 8, 8), torch.arange(8)
    optimizer = build(config(name), network)
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(network(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_arguments_come_from_the_config(network):
    optimizer = build(
        config("adam", "optimizer.lr=0.02", "optimizer.amsgrad=true", "optimizer.betas=[0.8,0.9]"), network
    )
    (group,) = optimizer.param_groups
    assert (group["lr"], group["amsgrad"], list(group["betas"])) == (0.02, True, [0.8, 0.9])
    assert group["fused"]  # auto
    assert not build(config("sgd", "optimizer.fused=false"), network).param_groups[0]["fused"]
    assert not build(config("sgd"), network, fusible=False).param_groups[0]["fused"]


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_fused_step_is_the_plain_one(name, layout):
    """In any memory format of kernels, and from a state that was saved and loaded."""
    found = []
    for fused in ("auto", False):
        torch.manual_seed(0)
        network = CifarResNet(num_classes=10, depth=8).to(memory_format=layout)
        settings = config(name, f"optimizer.fused={fused}", "optimizer.weight_decay=0.01")
        optimizer = build(settings, network)
        for step in range(4):
            loss = torch.nn.functional.cross_entropy(network(torch.randn(8, 3, 8, 8)), torch.arange(8))
            optimizer.zero_grad()
            loss.backward()
            if step == 2:
                buffer = io.BytesIO()
                torch.save(optimizer.state_dict(), buffer)
                optimizer = build(settings, network)
                optimizer.load_state_dict(torch.load(io.BytesIO(buffer.getvalue())))
            optimizer.step()
        found.append([parameter.detach().clone() for parameter in network.parameters()])
    for ours, plain in zip(*found, strict=True):
        torch.testing.assert_close(ours, plain, rtol=1e-4, atol=2e-5)


def test_no_fused_step_on_weights_with_gaps(network):
    """Their gradients have other strides, which torch's kernel for the CPU does not look at."""
    network.fc.weight = torch.nn.Parameter(torch.randn(64, 10).T)
    assert not build(config("sgd"), network).param_groups[0]["fused"]


def test_muon_steps_as_far_in_every_direction_of_a_kernel(network):
    """By 0.2 of the learning rate a weight in the mean, as AdamW; depthwise kernels, biases and norms are AdamW's."""
    pytest.importorskip("timm")
    network.conv1 = torch.nn.Conv2d(16, 16, 3, groups=16)
    optimizer = build(config("muon", "optimizer.lr=0.01", "optimizer.weight_decay=0.0"), network)
    before = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
        if parameter.ndim > 1:
            parameter.grad[0] *= 100  # a direction far longer than the others
    optimizer.step()
    for name, parameter in network.named_parameters():
        step = parameter.detach() - before[name]
        if parameter.ndim > 1 and parameter.shape[1] > 1:
            lengths = torch.linalg.svdvals(step.flatten(1))
            assert lengths.max() < 3 * lengths.median()
            assert step.square().mean().sqrt() == pytest.approx(0.002, rel=0.3)
        else:
            assert step.abs().min() > 0.005


def test_layers_learn_the_slower_the_earlier_they_are(network):
    optimizer = build(config("sgd", "optimizer.lr=0.1", "optimizer.layer_decay=0.5"), network)
    rate = {id(p): group["lr"] for group in optimizer.param_groups for p in group["params"]}
    # stem, three blocks, classifier
    expected = {"conv1.": 0.00625, "bn1.": 0.00625, "layer1.0": 0.0125, "layer2.0": 0.025, "layer3.0": 0.05, "fc.": 0.1}
    for key, parameter in network.named_parameters():
        assert rate[id(parameter)] == pytest.approx(next(v for k, v in expected.items() if key.startswith(k)))
    assert optimizer.param_groups[-1]["lr"] == 0.1  # the one that is logged


def test_biases_and_norms_can_go_without_weight_decay(network):
    groups = parameter_groups(network, lr=0.1, weight_decay=0.01, decay_biases_and_norms=False)
    decay = {id(p): group["weight_decay"] for group in groups for p in group["params"]}
    for key, parameter in network.named_parameters():
        assert decay[id(parameter)] == (0.01 if "conv" in key or key == "fc.weight" else 0.0)
    (group,) = parameter_groups(network, lr=0.1, weight_decay=0.01)
    assert group["weight_decay"] == 0.01


@pytest.mark.parametrize("layer_decay", [1.0, 0.7])
@pytest.mark.parametrize("decayed", [True, False])
def test_each_parameter_is_in_one_group_frozen_or_not(network, layer_decay, decayed):
    freeze(network, "backbone")
    groups = parameter_groups(
        network, lr=0.1, weight_decay=0.01, layer_decay=layer_decay, decay_biases_and_norms=decayed
    )
    found = [id(p) for group in groups for p in group["params"]]
    assert sorted(found) == sorted(id(p) for p in network.parameters())


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("optimizer.layer_decay=1.5", "above 0, at most 1"),
        ("+optimizer.wd=3", "has no argument 'wd'"),
        ("optimizer.lr=-1", "Invalid learning rate"),
        ("+optimizer.momentun=0.9", "did you mean 'momentum'"),
    ],
)
def test_a_wrong_value_is_an_error_of_the_config(network, override, says):
    with pytest.raises(ConfigError, match=says):
        build(config("sgd", override), network)


def test_whatever_torch_refuses_is_an_error_of_the_config(network):
    with pytest.raises(ConfigError, match="optimizer cannot be built"):
        build(config("adam", "optimizer.betas=[0.9]"), network)


@pytest.mark.parametrize(
    ("name", "lr", "decay"), [("Adadelta", 1.0, 0.0), ("NAdam", 0.002, 0.0), ("AdamW", 0.001, 0.01)]
)
def test_what_the_config_leaves_out_is_as_in_torch(network, name, lr, decay):
    (group,) = build({"_target_": f"torch.optim.{name}"}, network).param_groups
    assert (group["lr"], group["weight_decay"]) == (lr, decay)
