"""Refuses to follow a figure that the validation of a run will not have."""

from omegaconf import DictConfig, OmegaConf

from visionlab.data.module import ImageDataModule
from visionlab.errors import ConfigError

FOLLOWED = ("monitor", "scheduler.monitor", "callbacks.early_stopping.monitor", "callbacks.rollback.monitor")


def check(config: DictConfig, data: ImageDataModule) -> None:
    """Look at all keys that name a figure of validation.

    Args:
        config: The composed config of a run that is about to train.
        data: Its data module, set up.

    Raises:
        ConfigError: There is no such figure of so many classes, or of these validation images.
    """
    named = [(key, OmegaConf.select(config, key)) for key in FOLLOWED]
    named += [("sweep.objectives", name) for name in OmegaConf.select(config, "sweep.objectives") or ()]
    for key, name in named:
        remedy = f"give {key}={'{val/acc: max}' if key == 'sweep.objectives' else 'val/acc'}"
        if name == "val/top5" and data.num_classes <= 5:
            raise ConfigError(f"there is no top-5 accuracy of {data.num_classes} classes", where=key, remedy=remedy)
        if name != "val/auc":
            continue
        if data.num_classes != 2:
            what = f"there is no area under the ROC curve (val/auc) of {data.num_classes} classes, only of two"
            raise ConfigError(what, where=key, remedy=remedy)
        loader = data.val_dataloader()
        limit = OmegaConf.select(config, "trainer.limit_val_batches", default=1.0)
        batches = limit if isinstance(limit, int) else int(limit * len(loader))
        present = loader.labels[: batches * data.batch_size].unique().tolist()
        if len(present) < 2:
            name_of = data.classes[present[0]] if present else "no class"
            what = f"all validation images are of one class, {name_of}, and have no area under the ROC curve (val/auc)"
            raise ConfigError(what, where=key, remedy=f"{remedy}, or validate on images of both classes")
