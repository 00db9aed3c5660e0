"""A run from its config to its result: build, train, evaluate the best epoch, record."""

import logging
import shlex
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from statistics import median
from typing import Any

import lightning
import torch
from hydra.utils import instantiate
from lightning import Callback
from lightning.pytorch.callbacks import Timer
from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from visionlab import reference, runs
from visionlab.config import own_files, resolved
from visionlab.data.module import ImageDataModule
from visionlab.errors import ConfigError, DataError, UserError
from visionlab.models.layers import layers as network_layers
from visionlab.models.summary import Summary, summarise
from visionlab.reports import run_page
from visionlab.runs import Run
from visionlab.training import (
    build,
    checkpoint_io,
    continuation,
    devices,
    environment,
    evaluation,
    loggers,
    monitors,
    outcome,
    ranks,
    tensorboard,
)
from visionlab.training.checkpoints import Checkpoints
from visionlab.training.classifier import ImageClassifier
from visionlab.training.interruption import Interrupted, Interruption
from visionlab.training.progress import EpochProgress
from visionlab.training.records import Records

log = logging.getLogger(__name__)

SMALLER = (
    "halve it and double trainer.accumulate_grad_batches, for steps of as many images; trainer.precision=bf16-mixed "
    "needs less; python -m visionlab.tune what=batch_size measures what fits"
)


def fit(config: DictConfig, run: Run, overrides: list[str], resume_from: str | None = None) -> None:
    """Train a run, evaluate its best epoch and write its page. Every rank of a run on several devices calls it.

    Args:
        config: The composed config.
        run: The run directory, whose lock is held.
        overrides: What was asked beyond the defaults, for the record.
        resume_from: The checkpoint to continue from; None to begin.

    Raises:
        UserError: What the user can put right; before training wherever it can be known.
        Interrupted: A signal came; the same call continues the run.
    """
    began = time.perf_counter()
    plain = resolved(config)
    devices.check(plain["trainer"])
    lightning.seed_everything(config.seed, verbose=False)
    data = build.data_module(config)
    if resume_from is not None:
        _refuse_other_images(run, data)
    monitors.check(config, data)
    classifier = build.classifier(config, data)
    layers = summarise(classifier.network, data.image_size)
    records = Records(run)
    keep = {key: plain["callbacks"]["checkpoint"][key] for key in ("every_n_steps", "every_minutes")}
    checkpoints = Checkpoints(run, monitor=config.monitor, mode=config.mode, **keep)
    interruption = Interruption(checkpoints)
    callbacks: list[Callback] = [records, checkpoints, *_chosen(config), interruption]
    if plain["callbacks"]["progress"]["show"]:
        callbacks.insert(1, EpochProgress(records, monitor=config.monitor))
    trackers = loggers.make(config, run)
    trainer = build.trainer(config, callbacks=callbacks, loggers=trackers, folder=run.dir)

    adopted = resume_from is not None and "command" not in run.result  # see visionlab.training.continuation
    if trainer.is_global_zero:
        _begin(run, plain, overrides, data, classifier, layers, trainer.strategy.root_device)
    memory = devices.enough_memory(config.data.batch_size, key="data.batch_size", remedy=SMALLER)
    state = _state_of(run, recorded=trainer.is_global_zero)
    tracking = loggers.open_for(trackers, plain)
    with state, memory, _enough_to_normalise(config.data.batch_size), interruption.watching(), tracking:
        if adopted:
            loggers.repeat(trackers, run.metrics[:-1])  # the last epoch of the shorter run is trained again
        fit_began = time.perf_counter()
        trainer.fit(classifier, datamodule=data, ckpt_path=resume_from, weights_only=True)
        interruption.stop_if_asked()
        _tell_cut_short(trainer, plain)
        fit_seconds = time.perf_counter() - fit_began
        trainer.strategy.barrier()  # until the rank that writes the checkpoints has written them
        if checkpoints.best is not None:
            checkpoint_io.load_network(classifier.network, run.checkpoint("best"))
        splits = ["val", "test"] if plain["test"] and data.has_test else ["val"]
        evaluations = [_evaluate(trainer, classifier, data, split) for split in splits]
        ranks.leave_at_exit()
        if not trainer.is_global_zero:
            return
        outcome.write(run, evaluations, data)
        metrics = {f"{e.split}/{name}": value for e in evaluations for name, value in e.metrics.items()}
        best = checkpoints.best_epoch if checkpoints.best_epoch is not None else trainer.current_epoch - 1
        rows = records.rows
        all_fits = sum(row["seconds"] for row in rows)
        # A run that was killed could not record its time, but its epochs did.
        earlier = max(run.result["seconds"]["before"], all_fits - fit_seconds)
        metrics |= {name: rows[best][name] for name in ("train/loss", "train/acc") if rows and name in rows[best]}
        run.update(
            status="completed",
            error=None,
            seconds={
                "fit": round(all_fits, 3),
                "total": round(earlier + time.perf_counter() - began, 3),
                "last_fit": round(fit_seconds, 3),
            },
            best_epoch=best,
            epochs=len(rows),
            metrics=metrics,
            evaluated=splits,
            evaluated_images={e.split: len(e.rows) for e in evaluations},
            images_per_second=median(row["images_per_second"] for row in rows) if rows else None,
            model=run.result["model"] | (_trained(classifier) if trainer.world_size == 1 else {}),
        )
        # The result stands, whatever becomes of its page; a signal that came meanwhile is answered at the end.
        checkpoint_io.forget_previous(run.checkpoint("last").parent)
        run_page.write(run.dir)
        loggers.finish(trackers, run, plain)
        if plain["logger"] and plain["logger"].get("graph"):
            tensorboard.add_graph(trackers, classifier.network, data.image_size)


def _tell_cut_short(trainer: Any, plain: dict[str, Any]) -> None:
    """Say where trainer.max_time ended a training that was planned to its end."""
    timers = [callback for callback in trainer.callbacks if isinstance(callback, Timer)]
    if not any((left := timer.time_remaining()) is not None and left <= 0 for timer in timers):
        return
    planned = [key for key, follows in continuation.planned(plain).items() if follows]
    if planned and trainer.is_global_zero:
        log.warning(
            "trainer.max_time ended the training after %d of %d epochs; what was planned to its end was cut off: %s",
            trainer.current_epoch, trainer.max_epochs, " and ".join(planned),
        )  # fmt: skip


def test(config: DictConfig, run: Run) -> None:
    """Evaluate the test split of a completed run that was trained without it, and add it to the result.

    On one device, also where the run was trained on several: their ranks are gone.
    """
    config = build.for_evaluation(config, run)
    devices.check(resolved(config)["trainer"])
    data = build.data_module(config)
    _refuse_other_images(run, data)
    if not data.has_test:
        return
    classifier = build.classifier(config, data, pretrained=False)
    checkpoint_io.load_network(classifier.network, run.checkpoint("best"))
    trainer = build.trainer(config)
    evaluations = [_evaluate(trainer, classifier, data, split) for split in ("val", "test")]
    outcome.write(run, evaluations, data)
    figures = {f"test/{name}": value for name, value in evaluations[-1].metrics.items()}
    images = {e.split: len(e.rows) for e in evaluations}
    run.update(metrics=run.result["metrics"] | figures, evaluated=list(images), evaluated_images=images)
    run_page.write(run.dir)
    loggers.add_test(config, run)


def _refuse_other_images(run: Run, data: ImageDataModule) -> None:
    """Go on only with the images that the run began with: new ones divide anew, and learnt ones might be tested on.

    Raises:
        DataError: They, their classes or their splits have changed.
    """
    then, now = run.result["data"], data.summary()
    if any(then[key] != now[key] for key in ("split_hash", "fingerprint")):
        counts = (" + ".join(f"{part[split]:,}" for split in ("train", "val", "test")) for part in (then, now))
        raise DataError(
            f"the images, their classes or their splits have changed since the run began ({' are now '.join(counts)})",
            where=str(run.dir),
            remedy="put them back as they were, or train anew with force=true",
        )


def _chosen(config: DictConfig) -> Iterator[Callback]:
    """Build the callbacks that the config switches on."""
    for node in config.callbacks.values():
        if node is not None and "_target_" in node and (made := instantiate(node, _convert_="all")) is not None:
            yield made


def _begin(
    run: Run,
    plain: dict[str, Any],
    overrides: list[str],
    data: ImageDataModule,
    classifier: ImageClassifier,
    layers: Summary,
    device: torch.device,
) -> None:
    """Record what is about to be trained, and from now on that it runs."""
    before = run.result
    runs.write_atomically(run.dir / "config.yaml", OmegaConf.to_yaml(OmegaConf.create(plain), sort_keys=False))
    runs.write_atomically(run.dir / "model.txt", f"{layers}\n")
    runs.write_csv(run.dir / "layers.csv", [asdict(row) for row in layers.rows])
    if plain["callbacks"]["progress"]["show"]:
        _introduce(data, classifier, layers)
    for slow, fast in devices.slowly_computed(plain):
        log.warning("this CPU has no bfloat16 arithmetic: %s is many times slower on it than %s", slow, fast)
    summary = data.summary()
    hydra = run.dir / ".hydra" / "hydra.yaml"  # what the door left: ranks and resume=<run> are commands of their own
    own = own_files(OmegaConf.load(hydra).hydra) if hydra.exists() else []
    run.update(
        status="running",
        error=None,
        command=shlex.join(["python", "-m", "visionlab.train", *own, *overrides]),
        overrides=overrides,
        config_hash=runs.identity(plain),
        apart_from_length=continuation.shared(plain),
        seed=plain["seed"],
        monitor=plain["monitor"],
        mode=plain["mode"],
        started=before.get("started") or datetime.now(UTC).isoformat(timespec="seconds"),
        seconds={"before": before.get("seconds", {}).get("so_far", 0.0)},
        data=summary | {
            "classes": data.classes,
            "class_counts": data.class_counts.tolist(),
            "image_size": list(data.image_size),
            "mean": list(data.mean),
            "std": list(data.std),
        },
        model={
            "name": classifier.name,
            "parameters": layers.parameters,
            "flops": layers.flops,
            "weights": classifier.weights,
            "weights_digest": environment.digest_of_weights(classifier.weights),
            **_trained(classifier),
        },
        reference=reference.of(plain),
        environment=environment.describe(device, plain),
    )  # fmt: skip


def _trained(classifier: ImageClassifier) -> dict[str, Any]:
    """Return how much of the network is trained at this moment: gradual unfreezing trains more of it later."""
    parameters = dict(classifier.network.named_parameters())
    free = {name for name, parameter in parameters.items() if parameter.requires_grad}
    whole = [layer.name for layer in network_layers(classifier.network) if not free.isdisjoint(layer.parameters)]
    return {
        "trainable_parameters": sum(parameters[name].numel() for name in free),
        "trained_layers": "all" if len(free) == len(parameters) else whole,
    }


def _introduce(data: ImageDataModule, classifier: ImageClassifier, layers: Summary) -> None:
    """Print what is about to be trained on what; of a long network only the sums."""
    console = Console(highlight=False, markup=False)  # names may hold brackets
    counts = data.summary()
    height, width = data.image_size
    if len(layers.rows) <= 24:
        console.print(str(layers))
    if classifier.loaded is not None:
        console.print(str(classifier.loaded))
    console.print(
        f"{classifier.name}: {layers.parameters:,} parameters, {layers.trainable:,} trained, "
        f"{layers.flops / 1e6:,.1f} MFLOP an image"
    )
    groups = {name: number for name, number in counts.get("groups", {}).items() if number}
    of = {name: f" of {number:,} group{'s' * (number > 1)}" for name, number in groups.items()}
    console.print(
        f"{data.name}: {data.num_classes} classes, {width}x{height} px; "
        f"{counts['train']:,} images{of.get('train', '')} to train, "
        f"{counts['val']:,}{of.get('val', '')} to validate, {counts['test']:,}{of.get('test', '')} to test"
    )


@contextmanager
def _enough_to_normalise(batch_size: int) -> Iterator[None]:
    """Say what to do where BatchNorm got a single number of each channel, which has no variance."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise ConfigError(
            "the network normalises over the batch, and a batch has one image with features of one place",
            where=f"data.batch_size={batch_size}",
            remedy="use two images or more for each device, or a larger data.image_size",
        ) from error


@contextmanager
def _state_of(run: Run, *, recorded: bool) -> Iterator[None]:
    """Record how a run ended that did not complete."""
    began = time.perf_counter()

    def record(status: runs.Status, error: BaseException) -> None:
        if not recorded or run.status == "completed":
            return
        seconds = run.result["seconds"]
        so_far = seconds.get("before", 0.0) + time.perf_counter() - began
        run.update(status=status, error=str(error) or type(error).__name__, seconds=seconds | {"so_far": so_far})
        if status == "failed" and not isinstance(error, UserError):
            run.update(traceback=traceback.format_exc())
        if run.metrics:
            run_page.write(run.dir)  # what it learnt until then

    try:
        yield
    except (Interrupted, KeyboardInterrupt) as error:
        record("interrupted", error)
        raise
    except Exception as error:
        # A sweep prunes a hopeless trial, or pauses it; a disk that is full or a rank that is gone only interrupts.
        passing = isinstance(error, OSError) or ranks.lost(error)
        record(getattr(error, "run_status", "interrupted" if passing else "failed"), error)
        raise


def _evaluate(trainer: Any, classifier: ImageClassifier, data: ImageDataModule, split: str) -> evaluation.Evaluation:
    loader = data.val_dataloader() if split == "val" else data.test_dataloader()
    return evaluation.evaluate(trainer, classifier, loader, split, data.preprocess)
