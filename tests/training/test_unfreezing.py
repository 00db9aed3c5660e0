import hydra
import lightning
import pytest
import torch
import visionlab.conf
from hydra.core.global_hydra import GlobalHydra
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from visionlab.errors import ConfigError
from visionlab.models.freezing import hold_norms
from visionlab.training.unfreezing import GradualUnfreezing


class Classifier(lightning.LightningModule):
    """Three layers with BatchNorm, and what was trained in each step."""

    def __init__(self):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)
        )
        self.trained = []

    def training_step(self, batch, batch_idx):
        self.trained.append((self.current_epoch, [int(p.requires_grad) for p in self.network.parameters()][::4]))
        return self.network(batch[0]).square().mean()

    def on_train_start(self):
        hold_norms(self.network)

    def on_train_epoch_start(self):
        hold_norms(self.network)

    def configure_optimizers(self):
        return torch.optim.SGD(self.network.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)


class Keep(lightning.Callback):
    """Save a checkpoint after a step, and stop there if told so."""

    def __init__(self, path, step):
        self.path, self.step = path, step

    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == self.step:
            trainer.save_checkpoint(self.path)


def fit(callbacks, *, epochs=3, resume=None):
    torch.manual_seed(0)
    module = Classifier()
    # Three times the same batch, so that it does not matter that a plain loader begins anew when resumed
    batch = torch.randn(4, 4, generator=torch.Generator().manual_seed(1))
    images = DataLoader(TensorDataset(batch.repeat(3, 1)), batch_size=4)
    trainer = lightning.Trainer(
        max_epochs=epochs, callbacks=callbacks, accelerator="cpu", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    start = {key: value.clone() for key, value in module.network.state_dict().items()}
    trainer.fit(module, images, ckpt_path=resume)
    return module, start


def test_one_more_layer_is_trained_every_few_epochs():
    module, _ = fit([GradualUnfreezing(first=1, epochs_per_layer=2)], epochs=5)
    per_epoch = dict(module.trained)
    assert per_epoch == {0: [0, 0, 1], 1: [0, 0, 1], 2: [0, 1, 1], 3: [0, 1, 1], 4: [1, 1, 1]}


def test_frozen_layers_stay_as_they_are_norms_included():
    module, start = fit([GradualUnfreezing(first=2)], epochs=1)
    moved = {key for key, value in module.network.state_dict().items() if not torch.equal(value, start[key])}
    assert moved and all(key.startswith(("2.", "3.", "4.")) for key in moved)


@pytest.mark.parametrize("step", [1, 4, 5])
def test_resumed_in_any_epoch_it_ends_the_same(tmp_path, step):
    whole, _ = fit([GradualUnfreezing(), Keep(tmp_path / "x.ckpt", step)])
    resumed, _ = fit([GradualUnfreezing()], resume=tmp_path / "x.ckpt")
    assert resumed.trained == whole.trained[step:]
    expected = whole.network.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in resumed.network.state_dict().items())


@pytest.mark.parametrize("wrong", [{"first": 0}, {"epochs_per_layer": 0}])
def test_less_than_one_is_an_error(wrong):
    with pytest.raises(ConfigError, match="1 or more"):
        GradualUnfreezing(**wrong)


def test_config_switches_it_on():
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(next(iter(visionlab.conf.__path__)), version_base="1.3"):
        config = hydra.compose("train", overrides=["callbacks.unfreezing.epochs_per_layer=3"])
    made = hydra.utils.instantiate(config.callbacks.unfreezing)
    assert isinstance(made, GradualUnfreezing) and made.epochs_per_layer == 3
