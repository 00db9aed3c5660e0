"""The guard against a loss that is no number names where that began."""

import math
from types import SimpleNamespace

import pytest
import torch

from visionlab.training.guard import Diverged, NanGuard


@pytest.fixture
def step():
    """Return a function that ends a batch of the third epoch with a loss, and the guard, its trainer and its module."""
    guard, trainer = NanGuard(), SimpleNamespace(current_epoch=2, is_last_batch=False, world_size=1)
    module = SimpleNamespace(device=torch.device("cpu"), rate=0.0, optimizer_config={"lr": 2.0})
    guard.on_train_start(trainer, module)

    def end(batch, loss, rate):
        module.rate = rate
        guard.on_train_batch_end(trainer, module, {"loss": torch.tensor(loss)}, None, batch)

    return end, guard, trainer, module


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_the_first_bad_step_is_named_also_where_the_device_is_asked_later(step, monkeypatch, loss):
    end, guard, trainer, module = step
    with monkeypatch.context() as patch:
        patch.setattr(guard, "_look", lambda *_: None)  # as an accelerator, which is asked only now and then
        for batch, (value, rate) in enumerate([(1.0, 0.5), (loss, 0.25), (math.nan, 0.125), (1.0, 0.0625)]):
            end(batch, value, rate)
    with pytest.raises(Diverged, match=r"in epoch 3, batch 2, at learning rate 0\.25") as error:
        guard.on_train_end(trainer, module)
    assert "optimizer.lr=0.2," in error.value.remedy, "a tenth of what was asked for, not of the schedule's"


def test_a_cpu_stops_at_once_and_no_number_is_too_large(step):
    end, *_ = step
    end(0, 1e38, 0.1)
    with pytest.raises(Diverged, match="batch 2, "):
        end(1, math.inf, 0.1)


def test_a_device_is_asked_now_and_then_and_at_the_end_of_an_epoch(monkeypatch):
    """`meta` is no CPU; it would have to be waited for."""
    guard, asked = NanGuard(every_n_steps=3), []
    trainer, module = SimpleNamespace(world_size=1), SimpleNamespace(device="meta", rate=0.1, optimizer_config={})
    guard.on_train_start(trainer, module)
    monkeypatch.setattr(guard, "_look", lambda *_: asked.append(batch))
    for batch in range(8):
        trainer.is_last_batch = batch == 7
        guard.on_train_batch_end(trainer, module, {"loss": torch.zeros((), device="meta")}, None, batch)
    assert asked == [2, 5, 7]
