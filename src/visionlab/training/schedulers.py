"""Learning-rate schedules: torch's own, with a linear warm-up beside them, as Lightning takes them."""

import functools
import math
from collections.abc import Mapping
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LinearLR, OneCycleLR, ReduceLROnPlateau

from visionlab.errors import ConfigError
from visionlab.training.supply import Factory, supply, take


def configure(
    config: Factory | Mapping[str, Any],
    optimizer: Optimizer,
    *,
    steps_per_epoch: int,
    total_steps: int,
    max_epochs: int,
    monitor: str,
    mode: str,
    validated_every: int = 1,
) -> list[dict[str, Any]]:
    """Build the schedulers of a config.

    The warm-up is a second scheduler that multiplies the learning rate by 1/n, 2/n, ... 1 in its n steps. The main one
    runs from the first step on and only ever multiplies too, so that the learning rate is the product of both, and each
    has a state of its own to resume from. (Cosine adds as well where its `eta_min` is above 0: with it the learning
    rate ends a warm-up above the product, by less than `eta_min`.) OneCycleLR sets the learning rate itself: there
    `warmup_epochs` is its rising part.

    Args:
        config: Node of `conf/scheduler/`: torch's arguments and `interval` (epoch or step), `warmup_epochs` and, for
            the plateau, `monitor`. The scheduler is offered `total_steps`, `steps_per_epoch`, `max_epochs`, `T_max`
            (the length of the training in its interval), `max_lr` (of each group) and, for the plateau, `mode`.
        optimizer: With its groups.
        steps_per_epoch: Optimizer steps an epoch.
        total_steps: Optimizer steps of the whole training.
        max_epochs: Epochs of the whole training, the last of which may be a part.
        monitor: The run's metric, as val/acc.
        mode: max or min, the direction in which it improves.
        validated_every: Epochs from one validation to the next, in which a plateau is looked for.

    Returns:
        Lightning's `lr_scheduler` dicts.

    Raises:
        ConfigError: An argument does not exist or is out of range.
    """
    factory, ours = take(config, interval="epoch", warmup_epochs=0, monitor=None)
    target = factory.func if isinstance(factory, functools.partial) else factory
    interval, warmup = ours["interval"], ours["warmup_epochs"]
    if interval not in ("epoch", "step") or (interval == "step" and target is ReduceLROnPlateau):
        raise ConfigError(
            f"interval is '{interval}'.",
            where="scheduler.interval",
            remedy="Use epoch, or step where it is no plateau.",
        )
    if target is OneCycleLR and interval != "step":
        raise ConfigError(
            f"interval is '{interval}', but one cycle is a curve over all steps.",
            where="scheduler.interval",
            remedy="Use step.",
        )
    if not 0 <= warmup <= max_epochs:
        raise ConfigError(
            f"{warmup} epochs of warm-up in a training of {max_epochs}.",
            where="scheduler.warmup_epochs",
            remedy=f"Give a number from 0 to {max_epochs}.",
        )
    offers: dict[str, Any] = {
        "total_steps": total_steps,
        "steps_per_epoch": steps_per_epoch,
        "max_epochs": max_epochs,
        "T_max": total_steps if interval == "step" else max_epochs,
        "max_lr": [group["lr"] for group in optimizer.param_groups],
    }
    watched = ours["monitor"] or monitor
    if target is ReduceLROnPlateau:
        offers["mode"] = mode if watched == monitor else ("min" if "loss" in watched else "max")
    if target is OneCycleLR and warmup:
        rise, warmup = warmup / (total_steps / steps_per_epoch), 0
        if rise >= 1:  # torch would divide by zero at the last step; pct_start is looked at with the config
            raise ConfigError(
                "The learning rate would rise until the end, and never fall.",
                where="scheduler.warmup_epochs",
                remedy="Give fewer epochs than the training has.",
            )
        factory = functools.partial(factory, pct_start=rise)
    rates = {group["lr"] for group in optimizer.param_groups if any(one.requires_grad for one in group["params"])}
    smallest = min(rates, default=math.inf)  # of what learns from the start
    if isinstance(factory, functools.partial) and (factory.keywords.get("eta_min") or 0) > smallest:
        raise ConfigError(
            f"eta_min={factory.keywords['eta_min']:g} is above the learning rate, which is {smallest:.2g}"
            f"{' for the first layers' if len(rates) > 1 else ''}, and would raise it.",
            where="scheduler.eta_min",
            remedy="Give less, such as 0.",
        )
    try:
        main = supply(factory, optimizer, **offers)
    except ZeroDivisionError as error:  # OneCycleLR's
        what = f"Of {total_steps} steps the learning rate would rise in one alone."
        raise ConfigError(what, where="scheduler", remedy="Give a longer rise or training.") from error
    except (ValueError, TypeError) as error:
        raise ConfigError(f"The scheduler cannot be built: {error}", where="scheduler") from error
    described: dict[str, Any] = {"scheduler": main, "interval": interval, "frequency": 1, "name": "main"}
    if target is ReduceLROnPlateau:
        described |= {"monitor": watched, "reduce_on_plateau": True, "strict": True, "frequency": validated_every}
    steps = round(warmup * steps_per_epoch)
    if steps < 2:  # a warm-up of one step has the full learning rate in it
        return [described]
    ramp = LinearLR(optimizer, start_factor=1 / steps, total_iters=steps - 1)
    return [described, {"scheduler": ramp, "interval": "step", "frequency": 1, "name": "warmup"}]
