"""Rollback by itself, on epochs whose figures are given."""

import math
from types import SimpleNamespace

import pytest
import torch

from visionlab.training.rollback import Rollback

VALUES = (0.5, 0.7, 0.6, 0.65, 0.8)  # of each epoch: the third and fourth are not better than the second


class Training:
    """A training of which only one weight is real: it grows by about 1 in each epoch."""

    def __init__(self, sign):
        self.network = torch.nn.Linear(1, 1, bias=False)
        torch.nn.init.zeros_(self.network.weight)
        self.optimizer = torch.optim.SGD(self.network.parameters(), lr=1.0, momentum=0.5)
        self.sign, self.module = sign, SimpleNamespace(network=self.network)

    def epoch(self, rollback, number, values=VALUES):
        trainer = SimpleNamespace(
            callback_metrics={"val/x": torch.tensor(self.sign * values[number])}, optimizers=[self.optimizer],
            current_epoch=number, is_global_zero=False,
        )  # fmt: skip
        rollback.on_train_epoch_start(trainer, self.module)
        self.optimizer.zero_grad()
        (-self.network.weight.sum()).backward()
        self.optimizer.step()
        rollback.on_validation_end(trainer, self.module)
        rollback.on_train_epoch_end(trainer, self.module)
        return self.network.weight.item()


@pytest.mark.parametrize(("mode", "sign"), [("max", 1), ("min", -1)])
@pytest.mark.parametrize("resumed", [False, True])
def test_the_best_weights_come_back_without_the_optimizers_memory(mode, sign, resumed):
    def make():
        return Rollback(patience=2, lr_factor=0.1, monitor="val/x", mode=mode)

    training, rollback = Training(sign), make()
    before = [training.epoch(rollback, number) for number in range(3)]
    assert before == [1, 2.5, 4.25]  # with momentum, and not rolled back: patience is 2
    if resumed:
        state, rollback = rollback.state_dict(), make()
        rollback.load_state_dict(state)
    assert training.epoch(rollback, 3) == 2.5, "the weights are not those of the best epoch"
    assert training.optimizer.param_groups[0]["lr"] == pytest.approx(0.1)
    assert training.epoch(rollback, 4) == pytest.approx(2.6), "a step with the momentum of the path that was left"


def test_a_first_epoch_without_a_number_is_not_the_best():
    training, rollback = Training(1), Rollback(patience=2, lr_factor=1.0, monitor="val/x", mode="max")
    for number in range(2):
        training.epoch(rollback, number, (math.nan, 0.5))
    assert rollback.best == 0.5 and rollback.waited == 0
