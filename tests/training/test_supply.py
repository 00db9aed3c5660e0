import functools

import pytest
import torch

from visionlab.errors import ConfigError
from visionlab.training.supply import supply, take


def make(first, *, classes, size=3, **rest):
    return first, classes, size, rest


def test_a_factory_gets_what_it_names_and_nothing_else():
    assert supply(make, 1, classes=2, size=4, other=5) == (1, 2, 4, {})


def test_what_the_config_gives_wins_over_an_offer():
    assert supply(functools.partial(make, size=7), 1, classes=2, size=4) == (1, 2, 7, {})


def test_partials_of_partials_are_looked_through():
    assert supply(functools.partial(functools.partial(make, size=7), extra=8), 1, classes=2) == (1, 2, 7, {"extra": 8})


def test_torch_classes_are_factories_as_they_stand():
    loss = supply(functools.partial(torch.nn.CrossEntropyLoss, label_smoothing=0.1), class_counts=torch.ones(3))
    assert loss.label_smoothing == 0.1 and loss.weight is None


def test_a_wrong_argument_gets_the_nearest_name():
    with pytest.raises(ConfigError, match=r"StepLR has no argument 'step_sise'(.|\n)*did you mean 'step_size'"):
        supply(functools.partial(torch.optim.lr_scheduler.StepLR, step_sise=3), None)


def test_a_missing_argument_is_an_error_that_names_it():
    with pytest.raises(ConfigError, match="'classes'"):
        supply(make, 1)


@pytest.mark.parametrize("kind", ["partial", "mapping"])
def test_our_keys_are_taken_out_of_a_config(kind):
    config = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1, "layer_decay": 0.5}
    if kind == "partial":
        config = functools.partial(torch.optim.SGD, lr=0.1, layer_decay=0.5)
    factory, ours = take(config, layer_decay=1.0, other=2)
    assert ours == {"layer_decay": 0.5, "other": 2}
    assert factory.func is torch.optim.SGD and factory.keywords == {"lr": 0.1}
