"""What a sweep's trial does at the end of an epoch: it reports the monitor, and is ended or paused by its sweep."""

from collections.abc import Mapping
from typing import Any

from lightning import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from visionlab.training.checkpoints import Checkpoints


class Pruned(Exception):
    """The trial is hopeless beside the others; its run ends here."""

    run_status = "pruned"


class Paused(Exception):
    """The trial has used the epochs that it was given; it goes on if it is among the best."""

    run_status = "interrupted"


class Pruning(Checkpoint):
    """Reports the monitor of each epoch to the trial of a study, and ends the run where the study's pruner says so.

    A Checkpoint in Lightning's eyes, because only those are called once the metrics of the epoch are known.

    Args:
        trial: `id`, `study` and `storage` of the trial.
        settings: The config's sweep, which names the pruner.
        monitor: The metric that is reported.
    """

    def __init__(self, trial: Mapping[str, Any], settings: Mapping[str, Any], monitor: str) -> None:
        self.trial, self.settings, self.monitor = trial, settings, monitor
        self._asked: Any = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the trial in its study."""
        if not trainer.is_global_zero:
            return
        from visionlab.sweeps import studies

        storage = studies.storage(self.trial["storage"])
        import optuna

        pruner = studies.pruner(self.settings, trainer.max_epochs or 1)
        study = optuna.load_study(study_name=self.trial["study"], storage=storage, pruner=pruner)
        self._asked = optuna.trial.Trial(study, self.trial["id"])

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report, ask, and end the run where it is hopeless, on all devices at once.

        Raises:
            Pruned: It is.
        """
        hopeless = False
        if self._asked is not None and self.monitor in trainer.callback_metrics:
            value, epoch = float(trainer.callback_metrics[self.monitor]), trainer.current_epoch
            reported = self._asked.storage.get_trial(self.trial["id"]).intermediate_values
            if epoch not in reported:  # a resumed epoch was reported before
                self._asked.report(value, epoch)
            hopeless = self._asked.should_prune()
        if trainer.strategy.broadcast(hopeless):
            raise Pruned(f"pruned after epoch {trainer.current_epoch + 1}")


class Pause(Checkpoint):
    """Ends the run after a number of epochs, with a checkpoint to go on from.

    A Checkpoint in Lightning's eyes, because those are called last: after the one that writes it.

    Args:
        epochs: How many.
    """

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Pause after the first step of the epoch that is one too many, whose checkpoint holds all before it.

        Raises:
            Paused: The epochs are used up.
        """
        if trainer.current_epoch < self.epochs:
            return
        self._pause(trainer)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Pause before that epoch where it has one step alone.

        Raises:
            Paused: The epochs are used up.
        """
        if trainer.current_epoch >= self.epochs:
            self._pause(trainer)

    def _pause(self, trainer: Trainer) -> None:
        saved = next(one.saved_step for one in trainer.checkpoint_callbacks if isinstance(one, Checkpoints))
        if saved == trainer.global_step:
            raise Paused(f"paused after {self.epochs} epochs by its sweep")


def callback(trial: Mapping[str, Any] | None, settings: Mapping[str, Any], monitor: str) -> Callback | None:
    """Make what the trial of a sweep needs; nothing for any other run."""
    if trial and trial.get("pause_after") is not None:
        return Pause(trial["pause_after"])
    return Pruning(trial, settings, monitor) if trial and trial.get("study") else None
