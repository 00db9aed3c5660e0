"""Networks that no other library has give the logits of their tables, written out here layer by layer.

Counts of parameters do not show a missing ReLU, another order of layers or a shortcut that leads elsewhere.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional


def conv(inputs, outputs, kernel=3, padding=1):
    return [nn.Conv2d(inputs, outputs, kernel, padding=padding), nn.ReLU()]


def pooled(*layers):
    return [*layers, nn.MaxPool2d(2)]


TABLES = {  # at 32 px, with 10 classes
    "simple_cnn": [
        *pooled(*conv(3, 32)),
        *pooled(*conv(32, 64)),
        nn.Flatten(),
        nn.Linear(4096, 512),
        nn.ReLU(),
        nn.Linear(512, 10),
    ],
    "simple_cnn_bn": [
        *pooled(*conv(3, 32), nn.BatchNorm2d(32)),
        *pooled(*conv(32, 64), nn.BatchNorm2d(64)),
        nn.Flatten(),
        nn.Dropout(0.5),
        nn.Linear(4096, 256),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(256, 10),
    ],
    "alexnet_light_32": [
        *pooled(*conv(3, 16), nn.BatchNorm2d(16)),
        *pooled(*conv(16, 32), nn.BatchNorm2d(32)),
        *conv(32, 32),
        nn.BatchNorm2d(32),
        *pooled(*conv(32, 64), nn.BatchNorm2d(64)),
        nn.Flatten(),
        nn.Linear(1024, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 10),
    ],
    "alexnet_light_224": [
        *pooled(*conv(3, 32), nn.BatchNorm2d(32)),
        nn.Dropout2d(0.2),
        *pooled(*conv(32, 64), nn.BatchNorm2d(64)),
        nn.Dropout2d(0.2),
        *pooled(*conv(64, 128), nn.BatchNorm2d(128)),
        nn.Flatten(),
        nn.Linear(2048, 512),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(512, 10),
    ],
    "mlp": [nn.Flatten(), nn.Linear(3072, 255), nn.ReLU(), nn.Linear(255, 10)],
    "tutorial_cnn": [
        *pooled(*conv(3, 6, 5, 0)),
        *pooled(*conv(6, 16, 5, 0)),
        nn.Dropout(0.5),
        nn.Flatten(),
        nn.Linear(400, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Dropout(0.5),
        nn.Linear(84, 10),
    ],
}


def blurred(network):
    """Give all weights, also those that begin as zeros or ones, values that show."""
    with torch.no_grad():
        for weight in network.parameters():
            weight += 0.05 * torch.randn(weight.shape)
        for name, buffer in network.named_buffers():
            if buffer.is_floating_point() and "kernels" not in name:
                noise = torch.rand(buffer.shape)
                buffer.copy_(noise / 5 if name.endswith("mean") else noise + 0.5)
    return network


def same(found, expected):
    """Compare logits, float [B, K], which must differ from image to image: dead features are all the same."""
    assert expected.std(0).min() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("training", [False, True])
def test_logits_are_those_of_the_table(build, name, training):
    torch.manual_seed(0)
    ours, theirs = blurred(build(name)).train(training), nn.Sequential(*TABLES[name]).train(training)
    theirs.load_state_dict(dict(zip(theirs.state_dict(), ours.state_dict().values(), strict=True)))
    images, logits = torch.randn(4, 3, 32, 32), []
    for network in (ours, theirs):
        torch.manual_seed(1)  # the same units are dropped
        logits.append(network(images))
    same(*logits)


def test_a_cifar_resnet_takes_every_second_pixel_and_pads_channels_with_zeros(build):
    torch.manual_seed(0)
    network = blurred(build("resnet20")).eval()

    def normed(features, conv, norm, stride=1):
        features = functional.conv2d(features, conv.weight, stride=stride, padding=1)
        return functional.batch_norm(features, norm.running_mean, norm.running_var, norm.weight, norm.bias)

    images = torch.randn(4, 3, 32, 32)
    features = normed(images, network.conv1, network.bn1).relu()
    for stage, channels in ((network.layer1, 16), (network.layer2, 32), (network.layer3, 64)):
        for number, block in enumerate(stage):
            stride = 2 if number == 0 and channels > 16 else 1
            inner = normed(features, block.conv1, block.bn1, stride).relu()
            shortcut = torch.zeros(4, channels, *inner.shape[2:])
            first = (channels - features.shape[1]) // 2
            shortcut[:, first : first + features.shape[1]] = features[:, :, ::stride, ::stride]
            features = (normed(inner, block.conv2, block.bn2) + shortcut).relu()
    expected = features.mean((2, 3)) @ network.fc.weight.T + network.fc.bias
    same(network(images), expected)


@pytest.mark.parametrize("convolutions", [2, 3])
def test_an_airbench_group_pools_first_and_adds_its_start_to_its_third_convolution(build, convolutions):
    torch.manual_seed(0)
    network = blurred(build("airbench", f"model.network.convolutions={convolutions}")).eval()

    def normed(features, norm):
        mean, var = norm.running_mean, norm.running_var
        return functional.batch_norm(features, mean, var, None, 8 * norm.bias, eps=1e-12)

    def convolved(features, conv):
        return functional.conv2d(features, conv.weight, padding=1)

    images = torch.randn(4, 3, 32, 32)
    features = functional.gelu(functional.conv2d(images, network.whitening.kernels, network.whitening.bias))
    for group in network.groups:
        (first, *more), (norm, *norms) = group.convolutions, group.norms
        features = start = functional.gelu(normed(functional.max_pool2d(convolved(features, first), 2), norm))
        for number, (conv, norm) in enumerate(zip(more, norms, strict=True), start=2):
            features = functional.gelu(normed(convolved(features, conv), norm) + (start if number == 3 else 0))
    same(network(images), features.amax((2, 3)) @ network.classifier.weight.T / 9)
