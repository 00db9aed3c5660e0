"""With torchvision's state, our networks give torchvision's logits; with its seed, they begin as it begins."""

import pytest
import torch
import torchvision

SHARED = ["alexnet", "squeezenet1_0", "squeezenet1_1", "mobilenet_v2", "resnet18", "resnet34", "resnet50"]
SHARED += [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]
SHARED += [f"efficientnet_b{number}" for number in range(8)]
# Of each family some are always compared, the others with -m slow
SISTERS = {"resnet34", "vgg11", "vgg13", "vgg13_bn", "vgg16", "vgg16_bn", "vgg19", "vgg19_bn"} | {
    f"efficientnet_b{n}" for n in range(1, 7)
}


def random_state(network):
    """Return values for all parameters and buffers; one short list of numbers over and over, which is fast."""
    numbers = torch.randn(99_991, generator=torch.Generator().manual_seed(0))
    state = {}
    for key, like in network.state_dict().items():
        values = numbers.repeat(like.numel() // len(numbers) + 1)[: like.numel()].reshape(like.shape)
        fan = like[0].numel() if like.ndim > 1 else 1
        state[key] = values * (2 / fan) ** 0.5  # keeps the scale of what passes, so that no logit is tiny or huge
        if key.endswith("running_var"):
            state[key] = values.abs() + 0.5
        elif like.ndim == 1 and key.endswith("weight"):
            state[key] = 1 + values / 10
        elif key.endswith(("bias", "running_mean")):
            state[key] = values / 10
    return state


@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.slow) if n in SISTERS else n for n in SHARED])
def test_same_state_gives_the_same_logits(build, name):
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None, num_classes=10).eval()
    ours = build(name, image_size=224, device="meta").eval()
    state = random_state(theirs)
    theirs.load_state_dict(state, assign=True)
    ours.load_state_dict(state, assign=True)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected, found = theirs(images), ours(images)
    assert expected.std() > 1e-3
    assert (found - expected).abs().max() < 1e-5


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_0", "mobilenet_v2", "resnet18", "efficientnet_b0"])
def test_same_seed_gives_the_same_initial_state(build, name):
    torch.manual_seed(0)
    expected = torchvision.models.get_model(name, weights=None, num_classes=10).state_dict()
    torch.manual_seed(0)
    found = build(name, image_size=224).state_dict()
    assert list(found) == list(expected)
    own = {"classifier.1.weight"} if name == "efficientnet_b0" else set()  # see its docstring
    assert all(torch.equal(found[key], expected[key]) for key in set(expected) - own)
    for key in own:  # 1 over the root of the 1,280 features, not of the 10 classes
        assert torch.allclose(found[key], expected[key] * (10 / 1280) ** 0.5, atol=1e-7)


@pytest.mark.parametrize("name", ["alexnet", "squeezenet1_0", "mobilenet_v2", "resnet18"])
def test_the_same_is_dropped_and_normalised_in_training(build, name):
    torch.manual_seed(0)
    theirs, ours = torchvision.models.get_model(name, weights=None, num_classes=10), build(name, image_size=224)
    ours.load_state_dict(theirs.state_dict())
    images, logits = torch.randn(4, 3, 64, 64), []
    for network in (theirs, ours):
        torch.manual_seed(1)
        logits.append(network.train()(images))
    assert logits[0].std(0).min() > 1e-3
    torch.testing.assert_close(*logits)
    for name, buffer in theirs.named_buffers():
        torch.testing.assert_close(dict(ours.named_buffers())[name], buffer)
