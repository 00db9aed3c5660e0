"""The first layer of airbench whitens patches, its biases learn as the paper says, and training fits the layer."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import visionlab
from visionlab.models.airbench import BiasNorm


def test_the_stem_decorrelates_the_patches_it_was_fitted_to(build):
    torch.manual_seed(0)
    images = 4 * functional.avg_pool2d(torch.randn(400, 3, 34, 34), 3, 1)  # neighbours alike, as in photographs
    network = build("airbench")

    def correlation():
        with torch.no_grad():
            features = network.whitening(images)[:, :12, ::2, ::2]  # [N, 12, 16, 16]
        columns = features.permute(1, 0, 2, 3).flatten(1)
        return columns @ columns.T / columns.shape[1]

    before = correlation()
    assert (before - before.diag().diag()).abs().max() > 0.05
    network.fit_stem(images.split(150))
    assert torch.allclose(correlation(), torch.eye(12), atol=0.02)
    features = network.whitening(images)
    assert torch.allclose(features[:, :12], -features[:, 12:], atol=1e-5)


def test_biases_learn_64_times_as_fast_with_the_same_decay():
    norm, plain = BiasNorm(4), nn.BatchNorm2d(4, momentum=0.4, eps=1e-12)
    images, direction = torch.randn(8, 4, 5, 5), torch.randn(8, 4, 5, 5)
    nn.init.constant_(norm.bias, 0.125), nn.init.constant_(plain.bias, 1.0)
    rate, decay = 0.01, 0.1
    ours = torch.optim.SGD(norm.parameters(), rate, momentum=0.85, weight_decay=decay, nesterov=True)
    # as in the paper's code: 64 times the rate, and the decay over 64
    theirs = torch.optim.SGD([plain.bias], 64 * rate, momentum=0.85, weight_decay=decay / 64, nesterov=True)
    for _ in range(3):
        for layer, optimizer in ((norm, ours), (plain, theirs)):
            optimizer.zero_grad()
            (layer(images) * direction).sum().backward()
            optimizer.step()
    assert torch.allclose(norm.bias * norm.speed, plain.bias, rtol=1e-4)
    assert torch.allclose(norm.eval()(images), plain.eval()(images), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("convolutions", [1, 2, 3])
def test_any_number_of_convolutions_begins_near_the_identity(build, convolutions):
    network = build("airbench", f"model.network.convolutions={convolutions}", "model.network.widths=[32,32]")
    weights = [layer.weight for group in network.groups for layer in group.convolutions]
    assert len(weights) == 2 * convolutions
    assert torch.equal(weights[-1][5, 5], torch.eye(3)[1].outer(torch.eye(3)[1]))
    assert network(torch.randn(2, 3, 32, 32)).shape == (2, 10)


def test_training_fits_the_stem_and_a_loaded_run_keeps_it(tmp_path):
    run = visionlab.train(
        ["model=airbench", "model.network.widths=[8,8]", "trainer.max_epochs=1", "trainer.accelerator=cpu",
         "logger=none", "callbacks.progress.show=false"], directory=tmp_path / "run",
    )  # fmt: skip
    kernels = visionlab.load(run).network.whitening.kernels
    lengths = kernels.flatten(1).norm(dim=1)
    assert lengths.max() > 2 * lengths.min(), "the kernels are still orthogonal directions of one length"
