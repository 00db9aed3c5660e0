"""Look at a data set before training on it: `python -m visionlab.explore`, or `visionlab.explore(overrides=[...])`."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from omegaconf import DictConfig

from visionlab import doors
from visionlab.checks import check_composed
from visionlab.config import compose, own_files, resolved
from visionlab.out_folder import data_name, out_folder

if TYPE_CHECKING:
    from visionlab.data.survey import Survey


@dataclass(frozen=True)
class Exploration:
    """What was found, and where it was written.

    Attributes:
        dir: The folder of the page and the CSV files.
        page: The page.
        survey: The measurements.
    """

    dir: Path
    page: Path
    survey: "Survey"


def explore(
    overrides: Sequence[str] = (), *, config: DictConfig | None = None, out: str | Path | None = None
) -> Exploration:
    """Measure a data set and write a page and CSV files about it.

    Args:
        overrides: Hydra overrides, such as `["data=folder", "data.root=photos", "augment=flip_crop"]`.
        config: A composed config instead of overrides.
        out: The folder to write to; `<outputs>/explore/<data.name>` unless given, and for images of one's own
            `<data.name>-<folder>`.

    Raises:
        DataError: The data are missing, or nothing of them can be used.
    """
    asked = config if config is not None else compose(overrides, name="explore")
    plain = resolved(asked)
    configured = plain.pop("out")
    check_composed(plain, asked, overrides)
    from visionlab.data.survey import Survey
    from visionlab.reports import exploration
    from visionlab.training.build import data_module

    survey = Survey(data_module(asked, empty_classes=True))
    folder = out_folder(out or configured or Path(plain["outputs"]) / "explore" / data_name(plain["data"]))
    page = exploration.write(survey, folder, given=list(overrides))
    return Exploration(folder, page, survey)


@hydra.main(version_base="1.3", config_path="pkg://visionlab.conf", config_name="explore")
def job(config: DictConfig) -> None:
    """Explore the data of a command line and say in a few lines what was found."""
    from hydra.core.hydra_config import HydraConfig
    from rich.console import Console

    from visionlab.reports.exploration import findings

    hydra = HydraConfig.get()
    found = explore([*own_files(hydra), *hydra.overrides.task], config=config)
    console = Console(highlight=False, markup=False)
    for line in findings(found.survey):
        console.print(f"- {line}")
    console.print(f"\n{found.page}", soft_wrap=True)


def main() -> None:
    """Enter from the command line."""
    doors.enter(job)


doors.callable_module(__name__)

if __name__ == "__main__":
    main()
