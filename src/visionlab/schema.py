"""Types and ranges of the keys that every run has: the root, the data, the trainer and the common optimizer keys.

What is below a key with a `_target_` of its own is checked against that target's signature (visionlab.checks.check).
"""

import itertools
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from visionlab.errors import ConfigError


@dataclass(frozen=True)
class Number:
    """A number in a range; `whole` ones are ints, and `open_low`/`open_high` leave the bound itself out.

    `others` are single numbers outside of the range.
    """

    low: float | None = None
    high: float | None = None
    whole: bool = False
    open_low: bool = False
    open_high: bool = False
    or_null: bool = False
    words: tuple[str, ...] = ()
    others: tuple[int, ...] = ()

    def __str__(self) -> str:
        kind = "an integer" if self.whole else "a number"
        low = f"{'above' if self.open_low else 'at least'} {self.low}" if self.low is not None else ""
        high = f"{'below' if self.open_high else 'at most'} {self.high}" if self.high is not None else ""
        bounds = " and ".join(part for part in (low, high) if part)
        return " or ".join(
            [f"{kind} {bounds}".strip(), *map(str, self.others), *self.words, *(["null"] if self.or_null else [])]
        )

    def admits(self, value: Any) -> bool:
        """Whether a value is of this kind and in this range."""
        if value is None:
            return self.or_null
        if isinstance(value, str):
            return value in self.words
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        if value in self.others:
            return True
        if self.low is not None and (value <= self.low if self.open_low else value < self.low):
            return False
        return not (self.high is not None and (value >= self.high if self.open_high else value > self.high))


@dataclass(frozen=True)
class Batches:
    """How much of an epoch is used."""

    def __str__(self) -> str:
        return "an integer from 1 (batches) or a number above 0 and at most 1.0 (a share)"

    def admits(self, value: Any) -> bool:
        """Whether a value is a count of batches or a share of them."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return value >= 1 if isinstance(value, int) else 0 < value <= 1


@dataclass(frozen=True)
class Duration:
    """A time limit."""

    def __str__(self) -> str:
        return 'a number of seconds above 0, "DD:HH:MM:SS" or null'

    def admits(self, value: Any) -> bool:
        """Whether a value is a time that Lightning can read."""
        if isinstance(value, str):
            return re.fullmatch(r"\d+:\d\d:\d\d:\d\d", value) is not None
        return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and value > 0)


@dataclass(frozen=True)
class Rising:
    """Epochs or steps at which something happens."""

    def __str__(self) -> str:
        return "a list of rising integers from 1, such as [30,60]"

    def admits(self, value: Any) -> bool:
        """Whether a value is such a list."""
        if not isinstance(value, list) or not all(isinstance(item, int) and item is not True for item in value):
            return False
        return all(low < high for low, high in itertools.pairwise([0, *value]))


@dataclass(frozen=True)
class Choice:
    """One of a few values."""

    values: tuple[Any, ...]

    def __str__(self) -> str:
        return "one of: " + ", ".join("null" if value is None else str(value).lower() for value in self.values)

    def admits(self, value: Any) -> bool:
        """Whether a value is one of them; 1 does not pass for true."""
        return any(value == known and type(value) is type(known) for known in self.values)


@dataclass(frozen=True)
class Text:
    """A string."""

    or_null: bool = False

    def __str__(self) -> str:
        return "text or null" if self.or_null else "text"

    def admits(self, value: Any) -> bool:
        """Whether a value is a string that is not empty."""
        return self.or_null if value is None else isinstance(value, str) and bool(value)


@dataclass(frozen=True)
class Keys:
    """Something for each of some keys, or nothing; `or_several` such mappings."""

    or_several: bool = False

    def __str__(self) -> str:
        return "{<key>: <value>, ...}, a list of such or null" if self.or_several else "{<key>: <value>, ...} or null"

    def admits(self, value: Any) -> bool:
        """Whether a value is a mapping, a list of them or null."""
        several = value if self.or_several and isinstance(value, list) else [value]
        return value is None or all(isinstance(one, Mapping) for one in several)


YES_NO = Choice((True, False))
SEED = Number(0, 2**32 - 1, whole=True)
COUNT = Number(1, whole=True)
FRACTION = Number(0, 1, open_low=True, open_high=True, or_null=True)

MONITOR = Choice(
    ("val/acc", "val/loss", "val/f1", "val/balanced_acc", "val/auc", "val/top5", "train/acc", "train/loss")
)  # columns of metrics.csv

Rule = Number | Batches | Duration | Rising | Choice | Text | Keys
RULES: dict[str, Rule] = {
    "seed": SEED,
    "init_seed": SEED,
    "monitor": MONITOR,
    "mode": Choice(("max", "min")),
    "test": YES_NO,
    "force": YES_NO,
    "outputs": Text(),
    "resume": Text(or_null=True),
    "data.root": Text(),
    "data.batch_size": COUNT,
    "data.val_fraction": FRACTION,
    "data.test_fraction": FRACTION,
    "data.train_fraction": Number(0, 1, open_low=True),
    "data.folds": Number(2, whole=True, or_null=True),
    "data.fold": Number(0, whole=True),
    "data.split_seed": SEED,
    "data.sampler": Choice(("shuffle", "balanced")),
    "data.drop_last": YES_NO,
    "data.on_bad_image": Choice(("error", "skip")),
    "data.resize": Choice(("stretch", "crop", "pad", "none")),
    "data.crop_ratio": Number(0, 1, open_low=True),
    "data.cache_dir": Text(or_null=True),
    "data.download": YES_NO,
    "data.workers": Number(1, whole=True, or_null=True),
    "data.options": Keys(),
    "data.min_side": Number(1, whole=True, or_null=True),
    "data.max_aspect": Number(1, or_null=True),
    "augment.mixup": Number(0),
    "augment.cutmix": Number(0),
    "augment.erasing": Number(0, 1),
    "model.channels_last": YES_NO,
    "model.compile": YES_NO,
    "model.weights": Text(or_null=True),
    "model.freeze": Text(),
    "model.frozen_norms": Choice(("eval", "train")),
    "optimizer.lr": Number(0, open_low=True),
    "optimizer.weight_decay": Number(0),
    "optimizer.momentum": Number(0, 1, open_high=True),
    "optimizer.layer_decay": Number(0, 1, open_low=True),
    "optimizer.decay_biases_and_norms": YES_NO,
    "optimizer.fused": Choice((True, False, "auto")),
    "optimizer.nesterov": YES_NO,
    "optimizer.amsgrad": YES_NO,
    "optimizer.centered": YES_NO,
    "scheduler.warmup_epochs": Number(0),
    "scheduler.monitor": Choice((*MONITOR.values, None)),
    "scheduler.pct_start": Number(0, 1, open_high=True),
    "scheduler.patience": Number(0, whole=True),
    "scheduler.cooldown": Number(0, whole=True),
    "scheduler.milestones": Rising(),
    "scheduler.cycle_momentum": YES_NO,
    "scheduler.gamma": Number(0, open_low=True),
    "scheduler.step_size": COUNT,
    "loss.label_smoothing": Number(0, 1),
    "callbacks.progress.show": YES_NO,
    "callbacks.nan_guard.every_n_steps": COUNT,
    "callbacks.early_stopping.monitor": MONITOR,
    "callbacks.early_stopping.mode": Choice(("max", "min")),
    "callbacks.early_stopping.patience": Number(1, whole=True, or_null=True),
    "callbacks.early_stopping.min_delta": Number(0),
    "callbacks.rollback.monitor": MONITOR,
    "callbacks.rollback.mode": Choice(("max", "min")),
    "callbacks.rollback.patience": Number(1, whole=True, or_null=True),
    "callbacks.rollback.lr_factor": Number(0, 1, open_low=True),
    "callbacks.ema.decay": Number(0, 1, open_low=True, open_high=True, or_null=True),
    "callbacks.swa.start": Number(0, 1, open_high=True, or_null=True),
    "callbacks.unfreezing.epochs_per_layer": Number(1, whole=True, or_null=True),
    "callbacks.unfreezing.first": COUNT,
    "callbacks.checkpoint.every_n_steps": Number(1, whole=True, or_null=True),
    "callbacks.checkpoint.every_minutes": Number(0, open_low=True, or_null=True),
    "trainer.accelerator": Choice(("auto", "cpu", "gpu", "mps", "cuda")),
    "trainer.devices": Number(1, whole=True, words=("auto",)),
    "trainer.num_nodes": COUNT,
    "trainer.max_epochs": COUNT,
    "trainer.max_steps": Number(1, whole=True, others=(-1,)),
    "trainer.max_time": Duration(),
    "trainer.limit_train_batches": Batches(),
    "trainer.limit_val_batches": Batches(),
    "trainer.limit_test_batches": Batches(),
    "trainer.gradient_clip_val": Number(0, or_null=True, open_low=True),
    "trainer.accumulate_grad_batches": COUNT,
    "trainer.precision": Choice(("32-true", "bf16-mixed", "16-mixed")),
    "trainer.deterministic": Choice((True, False, "warn")),
    "trainer.benchmark": Choice((True, False, None)),
}


def violations(config: Mapping[str, Any], rules: Mapping[str, Rule] = RULES) -> Iterator[ConfigError]:
    """Yield an error for each key of a resolved config whose value has the wrong type or is out of range.

    A key that a choice does not have (another data set's, say) is not missed here.
    """
    for key, rule in rules.items():
        node: Any = config
        for part in key.split("."):
            node = node.get(part, _ABSENT) if isinstance(node, Mapping) else _ABSENT
        if node is not _ABSENT and not rule.admits(node):
            yield ConfigError(f"{key}={node} is not possible", where=key, remedy=f"give {rule}")


def contradictions(config: Mapping[str, Any]) -> Iterator[ConfigError]:
    """Yield an error for each pair of settings of a resolved run config that cannot go together."""
    callbacks = config.get("callbacks") or {}
    for key in ("", "callbacks.early_stopping.", "callbacks.rollback."):
        node = callbacks.get(key.split(".")[1]) or {} if key else config
        monitor, mode = node.get("monitor"), node.get("mode")
        if monitor and mode and (mode == "min") != str(monitor).endswith("/loss"):
            right = "min" if mode == "max" else "max"
            yield ConfigError(
                f"{key}monitor={monitor} with {key}mode={mode} would keep the worst epoch",
                where=f"{key}mode",
                remedy=f"give {key}mode={right}",
            )
    averages = {key: (callbacks.get(key) or {}).get(value) for key, value in (("ema", "decay"), ("swa", "start"))}
    if None not in averages.values():
        yield ConfigError(
            "callbacks.ema and callbacks.swa would each put their own average in place of the weights",
            where="callbacks",
            remedy="give one of callbacks.ema.decay and callbacks.swa.start",
        )
    averaged = [key for key, value in averages.items() if value is not None]
    if averaged and (callbacks.get("rollback") or {}).get("patience") is not None:
        yield ConfigError(
            f"callbacks.rollback would put back other weights than those that callbacks.{averaged[0]} averaged",
            where="callbacks.rollback",
            remedy=f"leave out callbacks.rollback.patience or callbacks.{averaged[0]}",
        )
    scheduler = config.get("scheduler") or {}
    if str(scheduler.get("_target_")).endswith(".ConstantLR") and scheduler.get("factor", 1) != 1:
        yield ConfigError(
            f"scheduler.factor={scheduler['factor']} would end after five epochs, as torch's ConstantLR does",
            where="scheduler.factor",
            remedy="leave it at 1 and give optimizer.lr",
        )
    # These set the learning rate anew at each step, whatever it was multiplied by.
    lowered = (callbacks.get("rollback") or {}).get("patience") and callbacks["rollback"].get("lr_factor", 1) != 1
    if lowered and str(scheduler.get("_target_")).endswith(
        (".OneCycleLR", ".CosineAnnealingWarmRestarts", ".LambdaLR")
    ):
        yield ConfigError(
            "this scheduler would undo callbacks.rollback.lr_factor at the next step",
            where="callbacks.rollback.lr_factor",
            remedy="leave it at 1, or choose another scheduler",
        )
    data = config.get("data") or {}
    if data.get("fold") and data.get("folds", 0) is None:
        yield ConfigError(
            f"data.fold={data['fold']} of a set that is not divided into folds",
            where="data.fold",
            remedy="give data.folds=5 too, or -m sweep=cross_validation",
        )
    trainer, optimizer = config.get("trainer") or {}, config.get("optimizer") or {}
    every, epochs = trainer.get("check_val_every_n_epoch") or 1, trainer.get("max_epochs") or 1
    if isinstance(every, int) and every > epochs:
        yield ConfigError(
            f"trainer.check_val_every_n_epoch={every} of {epochs} epochs: none would be validated or the best",
            where="trainer.check_val_every_n_epoch",
            remedy=f"give at most {epochs}",
        )
    within = trainer.get("val_check_interval")
    if within is not None and not (isinstance(within, float) and within == 1):  # the whole epoch; 1 is each batch
        yield ConfigError(
            "trainer.val_check_interval would validate within epochs, by which weights are kept and patience counts",
            where="trainer.val_check_interval",
            remedy="leave it out; trainer.limit_train_batches makes epochs shorter",
        )
    if trainer.get("overfit_batches"):
        yield ConfigError(
            "trainer.overfit_batches would take other batches in each epoch, which overfits nothing",
            where="trainer.overfit_batches",
            remedy="give data.train_fraction=0.01, the same few images in each epoch",
        )
    mixed = str(trainer.get("precision")).endswith("-mixed")
    if optimizer.get("fused") is True and trainer.get("gradient_clip_val") and mixed:
        yield ConfigError(
            "a fused optimizer scales mixed-precision gradients back itself, after they would have been clipped",
            where="optimizer.fused",
            remedy="give optimizer.fused=false, or leave out trainer.gradient_clip_val",
        )
    if str(trainer.get("strategy")).startswith("fsdp"):
        yield ConfigError(
            "FSDP leaves each device flat pieces of the weights, which the best epoch's whole ones do not fit",
            where="trainer.strategy",
            remedy="give trainer=ddp",
        )
    network = (config.get("model") or {}).get("network") or {}
    if trainer.get("sync_batchnorm") and str(network.get("_target_")).endswith(".Airbench"):
        yield ConfigError(
            "trainer.sync_batchnorm would replace the norms of airbench, which scale their biases, by plain ones",
            where="trainer.sync_batchnorm",
            remedy="leave it out",
        )


_ABSENT = object()
