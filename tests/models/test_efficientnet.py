import pytest
import torch

from visionlab.models.efficientnet import EfficientNet, MBConv


def test_stochastic_depth_drops_branches_of_single_images_and_keeps_the_mean():
    torch.manual_seed(0)
    block = MBConv(8, 8, expansion=2, kernel=3, stride=1, drop=0.25).eval()
    images = torch.randn(1, 8, 4, 4).expand(4000, -1, -1, -1)
    with torch.no_grad():
        residual = block(images[:1]) - images[:1]
        block.training = True  # of the block alone: its BatchNorms stay as they are
        found = block(images) - images
    dropped = (found == 0).flatten(1).all(1)
    assert dropped.float().mean() == pytest.approx(0.25, abs=0.03)
    assert torch.allclose(found[~dropped], (residual / 0.75).expand_as(found[~dropped]), atol=1e-5)


def test_later_blocks_are_dropped_more_often():
    with torch.device("meta"):
        network = EfficientNet(num_classes=10, stochastic_depth=0.2)
    drops = [module.drop for module in network.modules() if isinstance(module, MBConv)]
    assert drops == pytest.approx([0.2 * place / 16 for place in range(16)])
