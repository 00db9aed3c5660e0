"""What TensorBoard finds in a run directory."""

import pytest
import torch
from lightning.pytorch.loggers import TensorBoardLogger
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

import visionlab
from quick import QUICK
from visionlab.training import tensorboard


@pytest.fixture
def no_png():
    """TensorBoard shows the figures of the run."""


def test_curves_hyperparameters_with_their_metric_and_pictures(tmp_path):
    run = visionlab.train([*QUICK, "logger=tensorboard"], directory=tmp_path / "run")
    events = EventAccumulator(str(run.dir), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    for name in ("train/loss", "train/acc", "val/loss", "val/acc", "val/top5", "val/f1", "val/balanced_acc", "lr"):
        assert [round(e.value, 6) for e in events.Scalars(name)] == [round(row[name], 6) for row in run.metrics], name
    assert {"confusion", "samples"} <= set(tags["images"])
    (session,) = [
        parsed.session_start_info
        for content in events.summary_metadata.values()
        if content.plugin_data.plugin_name == "hparams"
        and (parsed := HParamsPluginData.FromString(content.plugin_data.content)).HasField("session_start_info")
    ]
    assert session.hparams["optimizer.lr"].number_value == 0.01
    assert session.hparams["model.network.dense_units"].number_value == 32
    assert not any("_target_" in name or "root" in name for name in session.hparams)
    assert abs(events.Scalars("best/val/acc")[0].value - run.result["metrics"]["val/acc"]) < 1e-6
    assert not tags["graph"]


def test_the_graph_of_the_network_on_request(tmp_path):
    run = visionlab.train([*QUICK, "logger=tensorboard", "logger.graph=true"], directory=tmp_path / "run")
    events = EventAccumulator(str(run.dir))
    events.Reload()
    assert events.Tags()["graph"]
    assert any("Conv2d" in node.name for node in events.Graph().node)


def test_a_compiled_network_has_a_graph_too(tmp_path):
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3 * 4 * 4, 2))
    network.compile()
    logger = TensorBoardLogger(tmp_path)
    tensorboard.add_graph([logger], network, (4, 4))
    events = EventAccumulator(logger.log_dir)
    events.Reload()
    assert events.Tags()["graph"]
