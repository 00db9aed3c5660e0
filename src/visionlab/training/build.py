"""From a config to the objects of a run: data module, classifier, trainer."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from hydra.errors import InstantiationException
from hydra.utils import instantiate
from lightning import Callback, Trainer
from lightning.fabric.utilities.exceptions import MisconfigurationException
from lightning.pytorch.loggers import Logger
from lightning.pytorch.plugins.io import AsyncCheckpointIO
from omegaconf import DictConfig, OmegaConf

from visionlab.data.module import ImageDataModule
from visionlab.errors import ConfigError, UserError
from visionlab.models import freezing, weights
from visionlab.models.sizes import is_small, one_or_two
from visionlab.runs import Run
from visionlab.training import devices
from visionlab.training.allocator import keep_freed_memory
from visionlab.training.checkpoint_io import WholeCheckpointIO
from visionlab.training.classifier import ImageClassifier

log = logging.getLogger(__name__)
# Training images that a network with `fit_stem` derives its first layer from, at most.
STEM_IMAGES = 5000
STEM_BATCH = 250  # of them at a time: 150 MB at 224 px


def for_evaluation(config: DictConfig, run: Run, accelerator: str | None = None) -> DictConfig:
    """Return the config of a completed run as an evaluation needs it, whatever the run was trained on.

    On one device: further ranks would each ask for the run anew, and wait for the lock of the first. Without the
    weights that the run began with, which may be gone since: what they asked of its images is in its result. In float32
    where a CPU has not the run's precision.

    Args:
        config: The run's.
        run: The run.
        accelerator: Where to compute; as the run was trained unless given.
    """
    config, data = config.copy(), run.result["data"]
    config.trainer.update({"devices": 1, "num_nodes": 1, "strategy": "auto"})
    config.trainer.accelerator = accelerator or config.trainer.accelerator
    if config.trainer.precision == "16-mixed" and devices.chosen(config.trainer.accelerator) == "cpu":
        config.trainer.precision = "32-true"
    config.data.update({key: data[key] for key in ("image_size", "mean", "std")})
    config.model.weights = None
    return config


def data_module(config: DictConfig, *, divided: bool = True, empty_classes: bool = False) -> ImageDataModule:
    """Build and set up the data module of a run.

    Args:
        config: The composed config.
        divided: Whether the images are divided; False: all of them are the training split.
        empty_classes: Whether classes may have no images that can be used, as for one who only looks.

    Raises:
        DataError: The data are missing or unfit.
        ConfigError: The trainer's limits leave nothing of them, or a step of augmentation is not possible.
    """
    keep_freed_memory()
    try:
        augment = instantiate(config.augment, _convert_="all")
    except InstantiationException as error:  # Hydra's wrapping, whose text is the repr of our error
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from None
        raise
    expects = weights.expected(config.model.weights, config.model.name, config.model.network._target_)
    data: ImageDataModule = instantiate(
        config.data, _partial_=True, _convert_="all"
    )(augment=augment, seed=config.seed, expects=expects)  # fmt: skip
    limits = [config.get("trainer", {}).get(f"limit_{split}_batches", 1.0) for split in ("val", "test")]
    data.sampled = any(isinstance(limit, int) or limit < 1 for limit in limits)  # int 1 is one batch, 1.0 all
    data.divided, data.empty_classes = divided, empty_classes
    data.prepare_data()
    data.setup()
    for split in ("train", "val", "test"):
        limit = config.get("trainer", {}).get(f"limit_{split}_batches", 1.0)
        batches = -(-len(getattr(data.splits, split)) // data.batch_size)
        if isinstance(limit, float) and batches and int(limit * batches) == 0:
            raise ConfigError(
                f"{limit:g} of {batches} batches is less than one",
                where=f"trainer.limit_{split}_batches",
                remedy=f"give an integer, the number of batches, or a share of at least {1 / batches:.2g}",
            )
    return data


def classifier(
    config: DictConfig, data: ImageDataModule, *, pretrained: bool = True, run: Run | None = None
) -> ImageClassifier:
    """Build the classifier of a run for the classes of its data.

    Args:
        config: The composed config.
        data: The data module, set up.
        pretrained: Whether to load the weights that the config names, and to fit a first layer that is derived from
            the training images; not where a checkpoint follows.
        run: The completed run whose network and loss it is to have, whatever the size of the images and the counts of
            the classes in `data`: by the one a network chooses its strides, by the other a loss weighs them.

    Raises:
        ConfigError: The network cannot be built so.
        WeightsError: The weights are missing or do not fit.
    """
    then: dict[str, Any] = run.result["data"] if run else {}
    build = instantiate(config.model, _partial_=True, _convert_="all")
    made: ImageClassifier = build(
        loss=instantiate(config.loss, _partial_=True, _convert_="all"),
        optimizer=OmegaConf.to_container(config.optimizer, resolve=True),
        scheduler=OmegaConf.to_container(config.scheduler, resolve=True),
        num_classes=data.num_classes,
        image_size=one_or_two(then.get("image_size", data.image_size)),
        class_counts=torch.as_tensor(then.get("class_counts", data.class_counts)),
        seed=config.seed,
        init_seed=config.init_seed,
        monitor=config.monitor,
        mode=config.mode,
    )
    if pretrained and hasattr(made.network, "fit_stem"):
        train = data.splits.train
        sample = torch.as_tensor(train[:: -(-len(train) // STEM_IMAGES)])
        made.network.fit_stem(data.preprocess(data.pixels(rows)) for rows in sample.split(STEM_BATCH))
    if pretrained and made.weights:
        _tell_other_strides(config, data)
        made.loaded = weights.load(made.network, made.weights, made.name, classes=data.classes)
    freezing.freeze(made.network, made.freeze_policy)
    return made


def _tell_other_strides(config: DictConfig, data: ImageDataModule) -> None:
    """Say where weights, which fit all the same, are of a network that strides otherwise than for these images."""
    expects = weights.expected(config.model.weights, config.model.name, config.model.network._target_)
    if not expects or config.model.network.get("small_images") != "auto":
        return
    run = None if config.model.weights == "imagenet" else weights.run_of(config.model.weights)
    kept = run is not None and (run / "config.yaml").is_file()
    chosen = Run(run).config["model"]["network"].get("small_images", "auto") if run and kept else "auto"
    theirs, ours = is_small(chosen, expects.image_size), is_small("auto", data.image_size)
    if theirs != ours:
        log.warning(
            "the weights are of a network for images of %dx%d px with small_images=%s, and at %dx%d px this one "
            "strides otherwise; model.network.small_images=%s strides as theirs",
            *expects.image_size, chosen, *data.image_size, str(theirs).lower(),
        )  # fmt: skip


def trainer(
    config: DictConfig,
    *,
    callbacks: Sequence[Callback] = (),
    loggers: Sequence[Logger] = (),
    folder: Path | None = None,
) -> Trainer:
    """Build the trainer of a run, which leaves progress, checkpoints and shards to us.

    Args:
        config: The composed config.
        callbacks: What accompanies the training; none for an evaluation.
        loggers: Where metrics go besides metrics.csv.
        folder: What Lightning may write to of its own accord; the working directory unless given.

    Raises:
        ConfigError: Lightning refuses an argument.
    """
    # Lightning's own chatter stays off the terminal; what a person must know, we say ourselves.
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Deprecations of their own; sums that we reduce ourselves; advice for clusters, where the door starts the ranks.
    for message in (".*LeafSpec.*", ".*sync_dist=True.*", ".*srun.*command is available.*"):
        warnings.filterwarnings("ignore", message=message)
    build = instantiate(config.trainer, _partial_=True, _convert_="all")
    limit = config.trainer.max_time
    try:
        made: Trainer = build(
            max_time={"seconds": limit} if isinstance(limit, int | float) else limit,
            callbacks=list(callbacks),
            logger=list(loggers),
            # The learning-rate test, without callbacks, reads what it has just written.
            plugins=[AsyncCheckpointIO(WholeCheckpointIO()) if callbacks else WholeCheckpointIO()],
            enable_checkpointing=bool(callbacks),
            default_root_dir=folder,
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
            log_every_n_steps=1,  # nothing is logged by step; the default warns about epochs of fewer than 50 batches
        )
    except (ValueError, TypeError, RuntimeError, MisconfigurationException) as error:
        raise ConfigError(f"the trainer cannot be built: {str(error).splitlines()[0]}", where="trainer") from error
    return made
