"""Measure what a run should use on this machine: `python -m visionlab.tune what=speed|lr|batch_size`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from visionlab import doors, runs
from visionlab.checks import check_composed
from visionlab.config import compose, resolved
from visionlab.errors import ConfigError, nearest
from visionlab.out_folder import data_name
from visionlab.schema import COUNT, YES_NO, Number, Rule, violations

WHAT = ("speed", "lr", "batch_size")
NOTHING = {
    "speed": "nothing is better than the defaults",
    "lr": "nothing, as the loss diverged at once: try a smaller min_lr",
}
RULES: dict[str, Rule] = {
    "steps": COUNT,
    "compile": YES_NO,
    "min_lr": Number(0, open_low=True),
    "max_lr": Number(0, open_low=True),
}


def tune(
    overrides: Sequence[str] = (), *, config: DictConfig | None = None, directory: str | Path | None = None
) -> list[dict[str, Any]]:
    """Measure and return the rows of the table; the overrides to paste lie in `advice.yaml`.

    Args:
        overrides: As for `visionlab.train`, and `what=speed|lr|batch_size`.
        config: A composed config instead of overrides.
        directory: Where table, advice and plot are written; `<outputs>/tune/<what>-<data>-<model>` unless given.

    Raises:
        UserError: What the user can put right.
    """
    asked = config if config is not None else compose(overrides, name="tune")
    plain = resolved(asked)
    what = plain["what"]
    if what not in WHAT:
        raise ConfigError(f"what={what} cannot be tuned", where="what", remedy=nearest(str(what), WHAT))
    for error in violations(plain, RULES):
        raise error
    if plain["min_lr"] >= plain["max_lr"]:
        wrong = f"min_lr={plain['min_lr']:g} is not below max_lr={plain['max_lr']:g}"
        raise ConfigError(wrong, where="min_lr", remedy="give the smallest and the largest learning rate to try")
    training_config = {key: value for key, value in plain.items() if key != "what" and key not in RULES}
    check_composed(training_config, asked, overrides)
    from visionlab.training import devices, tuning

    devices.check(plain["trainer"])
    place = Path(directory or f"{plain['outputs']}/tune/{what}-{data_name(plain['data'])}-{plain['model']['name']}")
    measure = {"speed": tuning.speed, "lr": tuning.learning_rate, "batch_size": tuning.batch_size}[what]
    with devices.enough_memory(plain["data"]["batch_size"], key="data.batch_size"):
        rows, advice = measure(asked, place)
    runs.write_csv(place / f"{what}.csv", rows)
    # A folder that --config-dir can name: `--config-dir <place> +advice=<what>`.
    body = OmegaConf.to_yaml(OmegaConf.from_dotlist(advice)) if advice else "{}\n"
    text = f"# @package _global_\n# Measured on this machine by `python -m visionlab.tune what={what}`.\n{body}"
    runs.write_atomically(place / "advice" / f"{what}.yaml", text)
    _show(what, rows, advice, place)
    return rows


def _show(what: str, rows: list[dict[str, Any]], advice: list[str], place: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, markup=False)
    table = Table(title=f"tune what={what}", title_justify="left", box=None, pad_edge=False)
    shown = rows if len(rows) <= 24 else rows[:: len(rows) // 24]
    for column in rows[0]:
        table.add_column(column.replace("_", " "), justify="right")
    for row in shown:
        table.add_row(*(f"{value:,.4g}" if isinstance(value, float) else str(value) for value in row.values()))
    console.print(table)
    console.print("to paste:", " ".join(advice) or NOTHING[what], style="bold", soft_wrap=True)
    console.print(f"written: {place}", soft_wrap=True)


@hydra.main(version_base="1.3", config_path="pkg://visionlab.conf", config_name="tune")
def job(config: DictConfig) -> None:
    """Tune from the command line."""
    from hydra.core.hydra_config import HydraConfig

    hydra = HydraConfig.get()
    tune(hydra.overrides.task, config=config, directory=hydra.runtime.output_dir)


def main() -> None:
    """Enter from the command line."""
    doors.enter(job)


doors.callable_module(__name__)

if __name__ == "__main__":
    main()
