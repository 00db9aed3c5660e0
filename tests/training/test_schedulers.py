"""The learning rate over a training, against the formula; stepped as Lightning steps it."""

import copy
import math
from pathlib import Path

import hydra
import pytest
import torch
import visionlab.conf
from hydra.core.global_hydra import GlobalHydra

from visionlab.errors import ConfigError
from visionlab.training.schedulers import configure

CONF = Path(next(iter(visionlab.conf.__path__)))
NAMES = sorted(path.stem for path in (CONF / "scheduler").glob("[!_]*.yaml"))
STEPS, EPOCHS = 5, 8  # steps an epoch, epochs
METRIC = [0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.4]  # val/acc of each epoch


class Training:
    """A training of which only the learning rate is real."""

    def __init__(self, name, *overrides, rates=(0.1,), monitor="val/acc", mode="max", steps=STEPS * EPOCHS, frozen=0):
        GlobalHydra.instance().clear()
        with hydra.initialize_config_dir(str(CONF), version_base="1.3"):
            config = hydra.compose(overrides=[f"+scheduler={name}", *overrides]).scheduler
        learnt = [place >= frozen for place in range(len(rates))]
        weights = [torch.nn.Parameter(torch.zeros(1), requires_grad=each) for each in learnt]
        groups = [{"params": [weight], "lr": rate} for weight, rate in zip(weights, rates, strict=True)]
        self.optimizer = torch.optim.SGD(groups, momentum=0.9)
        self.plans = configure(
            config, self.optimizer, steps_per_epoch=STEPS, total_steps=steps, max_epochs=-(-steps // STEPS),
            monitor=monitor, mode=mode,
        )  # fmt: skip

    def steps(self, first=0, last=STEPS * EPOCHS):
        """Return the learning rate of the first group in each of these steps."""
        found = []
        for step in range(first, last):
            found.append(self.optimizer.param_groups[0]["lr"])
            self.optimizer.step()
            self._update("step", None)
            if (step + 1) % STEPS == 0:
                self._update("epoch", METRIC[step // STEPS])
        return found

    def _update(self, interval, metric):
        for plan in self.plans:
            if plan["interval"] == interval:
                plan["scheduler"].step(*([metric] if "monitor" in plan else []))

    def state(self):
        return copy.deepcopy([self.optimizer.state_dict(), *(plan["scheduler"].state_dict() for plan in self.plans)])

    def load(self, state):
        self.optimizer.load_state_dict(state[0])
        for plan, saved in zip(self.plans, state[1:], strict=True):
            plan["scheduler"].load_state_dict(saved)


def plateau(epoch):
    """Patience 1 on METRIC: the third to sixth epochs bring nothing, so it drops after the fifth and the seventh."""
    return 0.1 ** sum(epoch > drop for drop in (4, 6))


FORMULAS = {
    "none": ((), lambda step, epoch: 1.0),
    "step": (("scheduler.step_size=3",), lambda step, epoch: 0.1 ** (epoch // 3)),
    "multistep": (("scheduler.milestones=[2,3]",), lambda step, epoch: 0.1 ** ((epoch >= 2) + (epoch >= 3))),
    "exponential": ((), lambda step, epoch: 0.95**epoch),
    "plateau": (("scheduler.patience=1",), lambda step, epoch: plateau(epoch)),
    "cosine": ((), lambda step, epoch: (1 + math.cos(math.pi * step / (STEPS * EPOCHS))) / 2),
}


@pytest.mark.parametrize("warmup", [0, 1, 2.4])
@pytest.mark.parametrize("name", FORMULAS)
def test_rate_is_the_formula_times_the_warm_up(name, warmup):
    overrides, formula = FORMULAS[name]
    found = Training(name, *overrides, f"scheduler.warmup_epochs={warmup}").steps()
    ramp = warmup * STEPS
    for step, rate in enumerate(found):
        share = min(1.0, (step + 1) / ramp) if ramp else 1.0
        assert rate == pytest.approx(0.1 * share * formula(step, step // STEPS), rel=1e-6), f"step {step}"


def test_cosine_goes_to_its_end_by_epoch_too():
    found = Training("cosine", "scheduler.interval=epoch", "scheduler.eta_min=0.01").steps()
    for step, rate in enumerate(found):
        assert rate == pytest.approx(0.01 + 0.09 * (1 + math.cos(math.pi * (step // STEPS) / EPOCHS)) / 2)


def test_step_counts_steps_when_told_so():
    found = Training("step", "scheduler.interval=step", "scheduler.step_size=7").steps()
    assert found == pytest.approx([0.1 * 0.1 ** (step // 7) for step in range(len(found))])


def test_one_cycle_rises_to_the_optimizers_rate_and_falls():
    found = Training("onecycle", "scheduler.warmup_epochs=2").steps()
    peak = found.index(max(found))
    assert found[0] == pytest.approx(0.1 / 25)
    assert peak in (2 * STEPS - 1, 2 * STEPS) and max(found) == pytest.approx(0.1, rel=0.01)
    assert found == sorted(found[: peak + 1]) + sorted(found[peak + 1 :], reverse=True)
    assert found[-1] < 1e-6


def test_the_last_epoch_may_be_a_part():
    training = Training("onecycle", "scheduler.warmup_epochs=1.2", steps=3 * STEPS + 2)
    found = training.steps(last=3 * STEPS + 2)
    assert found.index(max(found)) in (5, 6) and found[-1] < 1e-6


def test_a_rise_of_one_step_is_an_error_of_the_config():
    with pytest.raises(ConfigError, match="rise in one alone"):
        Training("onecycle", "scheduler.pct_start=0.5", steps=2)


def test_one_cycle_keeps_the_ratio_of_the_groups():
    training = Training("onecycle", rates=(0.1, 0.02))
    for step in range(10):
        first, second = (group["lr"] for group in training.optimizer.param_groups)
        assert second == pytest.approx(first / 5)
        training.steps(step, step + 1)


@pytest.mark.parametrize("warmup", [0, 2])
@pytest.mark.parametrize("name", NAMES)
def test_resumed_anywhere_the_rates_are_the_same_to_the_bit(name, warmup):
    override = f"scheduler.warmup_epochs={warmup}"
    whole = Training(name, override).steps()
    for cut in (1, STEPS - 1, STEPS, 2 * STEPS, 3 * STEPS + 2):
        first, second = Training(name, override), Training(name, override)
        before = first.steps(0, cut)
        second.load(first.state())
        assert before + second.steps(cut) == whole


def test_plateau_follows_the_runs_monitor_unless_told_otherwise():
    (plan,) = Training("plateau", monitor="val/f1").plans
    assert (plan["monitor"], plan["scheduler"].mode) == ("val/f1", "max")
    (plan,) = Training("plateau", "scheduler.monitor=val/loss").plans
    assert (plan["monitor"], plan["scheduler"].mode) == ("val/loss", "min")
    (plan,) = Training("plateau", "scheduler.monitor=val/acc", monitor="val/loss", mode="min").plans
    assert (plan["monitor"], plan["scheduler"].mode) == ("val/acc", "max")


@pytest.mark.parametrize(
    ("name", "override", "says"),
    [
        ("step", "scheduler.interval=batch", "interval is 'batch'"),
        ("plateau", "scheduler.interval=step", "interval is 'step'"),
        ("onecycle", "scheduler.interval=epoch", "Use step"),
        ("step", "scheduler.warmup_epochs=9", "9 epochs of warm-up in a training of 8"),
        ("step", "+scheduler.gama=0.3", "did you mean 'gamma'"),
        ("plateau", "scheduler.factor=2", "Factor should be < 1.0"),
    ],
)
def test_a_wrong_value_is_an_error_of_the_config(name, override, says):
    with pytest.raises(ConfigError, match=says):
        Training(name, override)


def test_one_cycle_has_to_fall():
    """Torch would divide by zero at the last step."""
    with pytest.raises(ConfigError, match=r"rise until the end(.|\n)*Give fewer epochs than the training has"):
        Training("onecycle", f"scheduler.warmup_epochs={EPOCHS}")
    Training("onecycle", "scheduler.warmup_epochs=7.8").steps()


def test_a_cosine_does_not_raise_the_rate_of_early_layers():
    with pytest.raises(ConfigError, match=r"which is 0\.001 for the first layers"):
        Training("cosine", "scheduler.eta_min=0.01", rates=(0.001, 0.1))
    with pytest.raises(ConfigError, match=r"eta_min=0\.2 is above the learning rate, which is 0\.1, and"):
        Training("cosine", "scheduler.eta_min=0.2")
    Training("cosine", "scheduler.eta_min=0.001", rates=(0.001, 0.1))
    Training("cosine", "scheduler.eta_min=0.01", rates=(0.001, 0.1), frozen=1)
    with pytest.raises(ConfigError, match=r"eta_min=0\.2 is above the learning rate, which is 0\.1, and"):
        Training("cosine", "scheduler.eta_min=0.2", rates=(0.1, 0.1))  # one with weight decay and one without
