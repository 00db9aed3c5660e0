"""What chance decides is a function of the seeds and of where a run stands."""

from types import SimpleNamespace

import pytest
import torch

from visionlab.config import compose
from visionlab.training import build


@pytest.fixture(scope="module")
def classifier():
    """Return a function that builds the classifier of a config in which these seeds are set."""
    config = compose(["data=synthetic", "data.kinds=3", "data.image_size=8", "model=mlp"])
    data = build.data_module(config)

    def make(**seeds):
        changed = config.copy()
        changed.update(seeds)
        return build.classifier(changed, data)

    return make


def test_the_initial_weights_have_a_seed_of_their_own(classifier):
    def weights(**seeds):
        return torch.cat([parameter.flatten() for parameter in classifier(**seeds).network.parameters()])

    first = weights(seed=1, init_seed=5)
    assert torch.equal(weights(seed=2, init_seed=5), first)
    assert torch.equal(weights(seed=5), first), "init_seed is that of the run unless told otherwise"
    assert not torch.equal(weights(seed=1, init_seed=6), first)


def test_each_step_drops_other_units_and_the_same_step_the_same_ones(classifier):
    made = classifier()

    def dropped(*, seed=0, epoch=0, batch=0, rank=0):
        groups = [{"lr": 0.05}, {"lr": 0.1}]  # layer by layer, the last one last
        made.seed = seed
        made._trainer = SimpleNamespace(
            current_epoch=epoch, global_rank=rank, optimizers=[SimpleNamespace(param_groups=groups)]
        )
        made.on_train_batch_start(None, batch)
        assert made.rate == 0.1
        return tuple(torch.nn.functional.dropout(torch.ones(64)).tolist())

    first = dropped()
    torch.rand(3)  # whatever was drawn in between
    assert dropped() == first
    places = [
        {},
        {"seed": 1},
        {"epoch": 1},
        {"batch": 1},
        {"rank": 1},
        {"epoch": 2, "batch": 1},
        {"epoch": 1, "batch": 2},
    ]
    assert len({dropped(**place) for place in places}) == len(places)
