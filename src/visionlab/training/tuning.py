"""What `visionlab.tune` measures: speed of the settings, the learning-rate range, throughput by batch size."""

import gc
import logging
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig

from visionlab.data.module import ImageDataModule
from visionlab.errors import DataError, DeviceError
from visionlab.training import build, devices, optimizers
from visionlab.training.classifier import ImageClassifier
from visionlab.training.timing import Variant, endless, in_turns, step_of

log = logging.getLogger(__name__)
Rows = list[dict[str, Any]]
WORTH_IT = 1.03  # a smaller gain is noise
KEPT = 0.98  # of Lightning's running mean of the loss, when a loss is added


def speed(config: DictConfig, place: Path) -> tuple[Rows, list[str]]:
    """Time precision and memory format together, then torch.compile on the best of them.

    Returns:
        Rows (setting, images_per_second, times_the_default) and the overrides of the fastest.
    """
    config.model.compile = False  # else it would be in each variant
    data, device = build.data_module(config), _device(config)
    default = Variant(channels_last=bool(config.model.channels_last))
    grid = [Variant(p, c) for p in ("32-true", "bf16-mixed") for c in (False, True)]
    seconds = _time(config, data, device, grid)
    best = min(grid, key=seconds.__getitem__)
    if config.compile and _has_compiler(device):
        compiled = [Variant(best.precision, c, compiled=True) for c in (False, True)]
        later = _time(config, data, device, [best, *compiled])
        # Two sittings are compared through the variant that sat in both.
        seconds |= {variant: later[variant] * seconds[best] / later[best] for variant in compiled}
    order = sorted(seconds, key=seconds.__getitem__)
    images = len(next(iter(data.train_dataloader())).labels)  # of a step: all that there are, where a batch takes more
    rows = [
        {
            "precision": variant.precision,
            "channels_last": variant.channels_last,
            "compiled": variant.compiled,
            "images_per_second": round(images / seconds[variant], 1),
            "times_the_default": round(seconds[default] / seconds[variant], 2),
        }
        for variant in order
    ]
    worth = seconds[default] / seconds[order[0]] > WORTH_IT
    return rows, order[0].overrides() if worth else []


def learning_rate(config: DictConfig, place: Path) -> tuple[Rows, list[str]]:
    """Run Lightning's learning-rate range test (https://arxiv.org/abs/1506.01186) and draw it.

    Returns:
        Rows (lr, running mean of the loss) and the learning rate where the loss falls fastest.
    """
    from lightning.pytorch.tuner.tuning import Tuner
    from matplotlib import pyplot

    if config.optimizer.get("layer_decay", 1.0) != 1:
        log.warning(
            "the test gives all layers one learning rate; optimizer.layer_decay would lower that of the early ones"
        )
    data = build.data_module(config)
    classifier = build.classifier(config, data)
    place.mkdir(parents=True, exist_ok=True)
    trainer = build.trainer(config, folder=place)
    trainer.fit_loop.max_epochs = 1000  # the test counts steps; a small set needs many epochs for a hundred of them
    finder = Tuner(trainer).lr_find(
        classifier, datamodule=data, min_lr=config.min_lr, max_lr=config.max_lr, num_training=100, update_attr=False
    )
    assert finder is not None
    suggested = finder.suggestion()
    # Lightning divides each mean as if it held one loss more, which halves the first and makes the curve rise.
    means = [mean * (1 - KEPT ** (i + 2)) / (1 - KEPT ** (i + 1)) for i, mean in enumerate(finder.results["loss"])]
    rates, finder.results["loss"] = finder.results["lr"], means
    figure = finder.plot()
    assert figure is not None
    if suggested:
        figure.axes[0].plot(suggested, means[rates.index(suggested)], "o", color="red")
    figure.savefig(place / "lr.png", dpi=120)
    pyplot.close(figure)  # Lightning drew it there, which keeps it for good
    rows = [{"lr": rate, "loss": mean} for rate, mean in zip(rates, means, strict=True)]
    return rows, [f"optimizer.lr={suggested:.2g}"] if suggested else []


def batch_size(config: DictConfig, place: Path) -> tuple[Rows, list[str]]:
    """Time doubled batch sizes until memory or the training set ends, or twice the size no longer pays.

    Returns:
        Rows (batch_size, images_per_second, peak_memory_mb on CUDA) and the smallest size within 5 % of the fastest.
    """
    device = _device(config)
    if device.type == "cuda":
        torch.cuda.init()  # the counter of memory does not do it
    rows: Rows = []
    size = 16
    data = build.data_module(config)
    while size <= len(data.splits.train):
        data.batch_size = size
        try:
            if device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(device)
            variant = Variant(str(config.trainer.precision), bool(config.model.channels_last))
            seconds = _time(config, data, device, [variant])[variant]
        except RuntimeError as error:
            if not devices.out_of_memory(error):
                raise
            break
        row: dict[str, Any] = {"batch_size": size, "images_per_second": round(size / seconds, 1)}
        if device.type == "cuda":
            row["peak_memory_mb"] = torch.cuda.max_memory_allocated(device) // 2**20
        rows.append(row)
        if len(rows) > 2 and row["images_per_second"] < 1.03 * max(r["images_per_second"] for r in rows[:-2]):
            break
        size *= 2
        gc.collect()
    if not rows and size > len(data.splits.train):
        raise DataError("the training split has fewer than 16 images", where="data", remedy="use data.batch_size=8")
    if not rows:
        raise DeviceError("out of memory with 16 images", where="tune what=batch_size", remedy="use smaller images")
    fastest = max(row["images_per_second"] for row in rows)
    advised = next(row["batch_size"] for row in rows if row["images_per_second"] > 0.95 * fastest)
    return rows, [f"data.batch_size={advised}"]


def _time(
    config: DictConfig, data: ImageDataModule, device: torch.device, variants: list[Variant]
) -> dict[Variant, float]:
    """Time variants in turns."""
    steps = {}
    for variant in variants:
        classifier: ImageClassifier = build.classifier(config, data, pretrained=False).to(device)
        optimizer = optimizers.build(classifier.optimizer_config, classifier.network)
        batches = endless(data.train_dataloader())
        preprocess = data.preprocess.to(device)
        steps[repr(variant)] = step_of(classifier, optimizer, batches, variant, preprocess)
    seconds = in_turns(steps, int(config.steps), device)
    return {variant: seconds[repr(variant)] for variant in variants}


def _device(config: DictConfig) -> torch.device:
    device: torch.device = build.trainer(config).strategy.root_device
    return device


def _has_compiler(device: torch.device) -> bool:
    """Whether torch.compile can work here: on the CPU it needs a C++ compiler."""
    import shutil

    return device.type == "cuda" or any(shutil.which(name) for name in ("c++", "g++", "clang++", "cl"))
