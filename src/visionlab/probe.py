"""Linear probe and nearest neighbours on the frozen features of a network: `python -m visionlab.probe`.

The baselines of transfer learning: what a network's features say about new images before a weight of it is trained.
"""

import json
from collections.abc import Sequence
from pathlib import Path

import hydra
from omegaconf import DictConfig

from visionlab import doors, runs
from visionlab.checks import check_composed
from visionlab.config import compose, resolved
from visionlab.errors import ConfigError


def probe(
    overrides: Sequence[str] = (), *, config: DictConfig | None = None, directory: str | Path | None = None
) -> dict[str, float]:
    """Classify by a network's features, by a linear layer and by the nearest training images.

    Args:
        overrides: As for `visionlab.train` (data, model, model.weights), and `k=<neighbours>`.
        config: A composed config instead of overrides.
        directory: Where probe.json is written; nowhere unless given.

    Returns:
        Accuracies `val/linear`, `val/knn` and, where there is a test split, `test/linear`, `test/knn`.

    Raises:
        UserError: What the user can put right.
    """
    asked = config if config is not None else compose(overrides, name="probe")
    plain = resolved(asked)
    if not isinstance(plain["k"], int) or plain["k"] < 1:
        raise ConfigError(f"k={plain['k']} neighbours cannot vote", where="k", remedy="give an integer at least 1")
    check_composed({key: value for key, value in plain.items() if key != "k"}, asked, overrides)
    import torch

    from visionlab.models import features
    from visionlab.training import build, devices

    devices.check(plain["trainer"])
    data = build.data_module(asked)
    device = build.trainer(asked).strategy.root_device
    network = build.classifier(asked, data).network.to(device).eval()
    preprocess = data.preprocess.to(device)
    loaders = {"train": data.train_eval_dataloader(), "val": data.val_dataloader()}
    if data.has_test:
        loaders["test"] = data.test_dataloader()
    found, labels = {}, {}
    with torch.no_grad(), devices.enough_memory(plain["data"]["batch_size"], key="data.batch_size"):
        for split, loader in loaders.items():
            batches = [(features.features(network, preprocess(b.images.to(device))).cpu(), b.labels) for b in loader]
            found[split] = torch.cat([batch[0] for batch in batches])
            labels[split] = torch.cat([batch[1] for batch in batches])
    figures = {}
    for split in list(loaders)[1:]:
        scores = {
            "linear": features.linear_probe(found["train"], labels["train"], found[split]),
            "knn": features.nearest_neighbours(found["train"], labels["train"], found[split], k=plain["k"]),
        }
        for name, score in scores.items():
            figures[f"{split}/{name}"] = float((score.argmax(1) == labels[split]).float().mean())
    if directory is not None:
        content = {"weights": plain["model"]["weights"], "k": plain["k"], "data": data.summary(), "accuracy": figures}
        runs.write_atomically(Path(directory) / "probe.json", json.dumps(content, indent=1, default=str) + "\n")
    return figures


@hydra.main(version_base="1.3", config_path="pkg://visionlab.conf", config_name="probe")
def job(config: DictConfig) -> None:
    """Probe from the command line and print the accuracies."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    directory = hydra.runtime.output_dir
    for name, value in probe(hydra.overrides.task, config=config, directory=directory).items():
        print(f"{name:<12} {100 * value:6.2f} %")
    print(f"written: {directory}/probe.json")


def main() -> None:
    """Enter from the command line."""
    doors.enter(job)


doors.callable_module(__name__)

if __name__ == "__main__":
    main()
