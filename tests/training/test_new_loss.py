"""The loss and the scheduler of CONTRIBUTING.md are complete: no other file, no key that is not there."""

import re
import sys
from pathlib import Path

import pytest
import torch

import visionlab
from quick import QUICK


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """Write the files of CONTRIBUTING.md where Python and Hydra find them; return how the config group is found."""
    text = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    section = text.split("## Add an augmentation, loss")[1].split("\n## ")[0]
    blocks = [
        (kind, body.replace("\n   ", "\n")) for kind, body in re.findall(r"```(\w+)\n(.*?)```", section, re.DOTALL)
    ]
    (tmp_path / "mine.py").write_text(
        "\n".join(body.replace("   ", "", 1) for kind, body in blocks if kind == "python")
    )
    configs = [body.replace("   ", "", 1) for kind, body in blocks if kind == "yaml"]
    for group, name, body in (("loss", "brier", configs[0]), ("scheduler", "poly", configs[1])):
        (tmp_path / "my_conf" / group).mkdir(parents=True)
        (tmp_path / "my_conf" / group / f"{name}.yaml").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    yield [f"hydra.searchpath=[file://{tmp_path / 'my_conf'}]", "loss=brier", "scheduler=poly", "trainer.max_epochs=3"]
    sys.modules.pop("mine", None)


@pytest.mark.parametrize("mixed", [(), ("augment.mixup=0.5",)])
def test_the_loss_and_the_scheduler_of_the_guide_train(mine, tmp_path, mixed):
    run = visionlab.train([*QUICK, *mine, *mixed], directory=tmp_path / "run")
    assert run.config["loss"] == {"_target_": "mine.Brier", "weight": 2.0}
    rates = [row["lr"] for row in run.metrics]
    first, last = run.config["optimizer"]["lr"], rates[-1]
    assert first > rates[0] > rates[1] > last > 0, "a length that is that of the training"
    assert last < 0.1 * first
    losses = [row["train/loss"] for row in run.metrics]
    assert losses == sorted(losses, reverse=True)


def test_a_weight_that_is_no_class_weight_is_the_losss_own(mine, tmp_path):
    """As a factor that is learnt: a tensor, but not one number a class."""
    with (tmp_path / "mine.py").open("a") as file:
        file.write("\n\nimport torch\n\n\nclass Scaled(Brier):\n    def __init__(self, num_classes):\n")
        file.write("        super().__init__(num_classes)\n        self.weight = torch.tensor(2.0)\n")
    (tmp_path / "my_conf/loss/brier.yaml").write_text("_target_: mine.Scaled\n")
    run = visionlab.train([*QUICK, *mine, "trainer.max_epochs=1"], directory=tmp_path / "run")
    assert 0 < run.result["metrics"]["val/loss"] < 4


def test_the_loss_of_the_guide_is_what_it_says(mine):
    """By hand: probabilities 3/4 and 1/4; of the first class 2 * (1/16 + 1/16), of shares of one half the same."""
    from mine import Brier

    logits = torch.tensor([[3.0, 1.0]]).log()
    assert Brier(2, weight=2.0)(logits, torch.tensor([0])).item() == pytest.approx(0.25)
    assert Brier(2, weight=2.0)(logits, torch.tensor([[0.5, 0.5]])).item() == pytest.approx(0.25)
