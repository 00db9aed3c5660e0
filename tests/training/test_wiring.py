"""What the config says arrives where it acts: each part is tested for itself elsewhere, its connection here."""

import csv
import json
import math
import os
import pickle
import shutil
from collections import Counter
from types import SimpleNamespace

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

import visionlab
from quick import QUICK
from visionlab.config import compose
from visionlab.errors import CheckpointError
from visionlab.models.airbench import Whitening
from visionlab.runs import Run
from visionlab.sweeps.ranking import ranking
from visionlab.training import build, optimizers


def data_of(*overrides):
    """The data module of a quick run."""
    return build.data_module(compose([*QUICK, *overrides]))


def first_rows(*overrides):
    """The images of the first training batch."""
    return data_of(*overrides).image_names(next(iter(data_of(*overrides).train_dataloader())).rows)


def test_mixed_images_have_mixed_labels():
    data = data_of("augment.mixup=1")
    batch = next(iter(data.train_dataloader()))
    data.trainer = SimpleNamespace(training=True, current_epoch=0, world_size=1)
    mixed = data.on_after_batch_transfer(batch, 0).labels
    assert mixed.shape == (128, 10) and mixed.is_floating_point()
    assert ((mixed > 0) & (mixed < 1)).any()


def test_another_seed_shows_the_images_in_another_order():
    assert first_rows("seed=1") == first_rows("seed=1") != first_rows("seed=2")


def test_a_balanced_sampler_shows_each_class_equally_often(tmp_path):
    from PIL import Image

    for name, count in (("cat", 40), ("dog", 8)):
        (tmp_path / name).mkdir()
        for number in range(count):
            Image.new("RGB", (8, 8), (number, count, 0)).save(tmp_path / name / f"{number}.png")
    given = ["data=folder", f"data.root={tmp_path}", "data.batch_size=8"]
    shares = []
    for sampler in ("shuffle", "balanced"):
        seen = Counter(
            label
            for batch in data_of(*given, f"data.sampler={sampler}").train_dataloader()
            for label in batch.labels.tolist()
        )
        shares.append(seen[1] / seen.total())
    assert shares[0] < 0.25 and 0.35 < shares[1] < 0.65


def test_rare_classes_weigh_more_in_the_loss_and_in_its_mean():
    config = compose([*QUICK, "loss=weighted_cross_entropy"])
    data = build.data_module(config)
    made = build.classifier(config, data)
    expected = data.class_counts.sum() / (10 * data.class_counts)
    torch.testing.assert_close(made.loss.weight, expected.float())
    torch.testing.assert_close(made.tally.class_weight, made.loss.weight)


@pytest.fixture(scope="module")
def adopted(quick_run, tmp_path_factory):
    """A run that began from weights whose run had other means and deviations than its data."""
    folder = tmp_path_factory.mktemp("adopted")
    shutil.copytree(quick_run.dir, folder / "source")
    source = Run(folder / "source")
    source.update(data=source.result["data"] | {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]})
    given = [*QUICK, f"model.weights={source.dir}", "trainer.max_epochs=1"]
    return visionlab.train(given, directory=folder / "run")


def test_weights_bring_the_normalisation_that_they_were_trained_with(adopted):
    assert adopted.result["data"]["mean"] == [0.1, 0.2, 0.3] and adopted.result["data"]["std"] == [0.4, 0.5, 0.6]


def test_a_later_evaluation_normalises_as_the_training_did(adopted):
    loss = visionlab.evaluate(adopted, "val").metrics["loss"]
    assert loss == pytest.approx(adopted.result["metrics"]["val/loss"], rel=1e-6)


def test_a_loss_that_falls_neither_stops_the_training_nor_lowers_the_rate(tmp_path):
    sought = ["monitor=val/loss", "mode=min", "callbacks.early_stopping.patience=1"]
    plateau = ["scheduler=plateau", "scheduler.patience=0", "optimizer.lr=1e-3", "trainer.max_epochs=4"]
    run = visionlab.train([*QUICK, *sought, *plateau], directory=tmp_path / "run")
    losses = [row["val/loss"] for row in run.metrics]
    assert len(losses) == 4 and losses == sorted(losses, reverse=True)
    assert [row["lr"] for row in run.metrics] == pytest.approx([1e-3] * 4)


def test_the_plateau_is_one_of_what_is_monitored():
    config = compose([*QUICK, "monitor=val/loss", "mode=min", "scheduler=plateau"])
    made = build.classifier(config, build.data_module(config))
    assert (made.monitor, made.mode) == ("val/loss", "min")


@pytest.mark.parametrize("limit", ["accumulate_grad_batches=2", "limit_train_batches=4", "limit_train_batches=0.5"])
def test_a_schedule_by_steps_ends_with_the_training(tmp_path, limit):
    run = visionlab.train([*QUICK, "scheduler=cosine", f"trainer.{limit}"], directory=tmp_path / "run")
    steps = run.metrics[-1]["step"]
    expected = 0.01 * (1 + math.cos(math.pi * (steps - 1) / steps)) / 2
    assert run.metrics[-1]["lr"] == pytest.approx(expected, rel=1e-3)


def test_each_epoch_of_training_is_counted_for_itself(tmp_path, monkeypatch):
    from visionlab.training.classifier import ImageClassifier

    counted, really = [], ImageClassifier.log_dict

    def log_dict(self, figures, **options):
        if "train/loss" in figures:
            counted.append(int(self.train_tally.confusion.sum()))
        return really(self, figures, **options)

    monkeypatch.setattr(ImageClassifier, "log_dict", log_dict)
    visionlab.train(QUICK, directory=tmp_path / "run")
    assert len(counted) == 2 and counted[0] == counted[1]


def test_the_files_of_a_run_agree(quick_run):
    lines = [line for line in quick_run.predictions if line["split"] == "test"]
    with (quick_run.dir / "confusion.csv").open(newline="") as file:
        head, *body = csv.reader(file)
    counted = Counter((line["target"], line["predicted"]) for line in lines)
    written = {(row[0], name): int(n) for row in body for name, n in zip(head[1:], row[1:], strict=True) if int(n)}
    assert written == counted and any(counted[a, b] != counted[b, a] for a, b in counted)
    for line in lines:
        right, sure = float(line["target_probability"]), float(line["confidence"])
        assert right < sure if line["correct"] == "0" else right == sure


@pytest.mark.parametrize("all_of_them", [True, False])
def test_biases_and_norms_have_the_weight_decay_that_the_config_says(all_of_them):
    given = ["model=simple_cnn_bn", "optimizer.weight_decay=0.1", f"optimizer.decay_biases_and_norms={all_of_them}"]
    config = compose([*QUICK, *given])
    network = build.classifier(config, build.data_module(config)).network
    made = optimizers.build(OmegaConf.to_container(config.optimizer), network)
    decays = {parameter: group["weight_decay"] for group in made.param_groups for parameter in group["params"]}
    assert {decays[parameter] for parameter in network.parameters() if parameter.ndim > 1} == {0.1}
    assert {decays[parameter] for parameter in network.parameters() if parameter.ndim == 1} == {0.1 * all_of_them}


def test_unfreezing_begins_with_as_many_layers_as_the_config_says():
    config = compose([*QUICK, "callbacks.unfreezing.first=2", "callbacks.unfreezing.epochs_per_layer=3"])
    network = build.classifier(config, build.data_module(config)).network
    instantiate(config.callbacks.unfreezing).on_train_epoch_start(
        SimpleNamespace(current_epoch=0), SimpleNamespace(network=network)
    )
    free = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    assert free == {"classifier.1.weight", "classifier.1.bias", "classifier.4.weight", "classifier.4.bias"}


def test_a_run_trains_what_the_config_leaves_free():
    config = compose([*QUICK, "model.freeze=backbone"])
    network = build.classifier(config, build.data_module(config)).network
    assert all(weight.requires_grad == name.startswith("classifier") for name, weight in network.named_parameters())


def test_a_first_layer_is_fitted_to_images_as_the_network_sees_them():
    config = compose(["model=airbench", "data.image_size=8", "data.mean=[0.1,0.2,0.3]", "data.std=[0.4,0.5,0.6]"])
    data = build.data_module(config)
    found = build.classifier(config, data).network.whitening
    expected = Whitening(patch=2, stride=1)
    expected.fit([data.preprocess(data.pixels(data.splits.train))])
    # Grey images have directions without any deviation, whose basis is a matter of the last digits; this is not.
    whitened, wanted = (kernels.T @ kernels for kernels in (part.kernels.flatten(1) for part in (found, expected)))
    torch.testing.assert_close(whitened, wanted, rtol=1e-3, atol=1e-3 * float(wanted.abs().max()))


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, folder):
        self.folder = str(folder)

    def __reduce__(self):
        return os.mkdir, (self.folder,)


def test_a_checkpoint_cannot_run_code(quick_run, tmp_path):
    shutil.copytree(quick_run.dir, tmp_path / "run")
    torch.save({"state_dict": Bomb(tmp_path / "harm")}, Run(tmp_path / "run").checkpoint("best"), pickle_module=pickle)
    with pytest.raises(CheckpointError):
        visionlab.load(tmp_path / "run")
    assert not (tmp_path / "harm").exists()


def test_a_sweep_shows_test_figures_only_of_runs_that_it_tested(tmp_path):
    entries = []
    for name, value in (("0", 0.9), ("1", 0.8)):
        (tmp_path / name).mkdir()
        content = {"status": "completed", "metrics": {"val/acc": value, "test/acc": 0.5}}
        (tmp_path / name / "result.json").write_text(json.dumps(content))
        entries.append({"dir": name, "status": "completed", "overrides": {"optimizer.lr": value}, "trial": int(name)})
    found = ranking(entries, tmp_path, {"val/acc": "max"}, {}, {"1"})
    assert [row.tested for row in found] == [{}, {"test/acc": 0.5}]
    assert [row.tested_deviations for row in found] == [{}, {}], "of a single run"
