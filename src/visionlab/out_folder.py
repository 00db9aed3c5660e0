"""The folder that a person names for what a door writes: `out=`."""

from pathlib import Path

from visionlab.errors import ConfigError


def out_folder(out: str | Path) -> Path:
    """Return the folder that is named: no run's own, whose record some of the files would replace.

    Args:
        out: As it was given; it may begin with ~, and Hydra makes numbers of digits.

    Raises:
        ConfigError: It is a run's.
    """
    folder = Path(str(out)).expanduser()
    if (folder / "result.json").exists():
        raise ConfigError(
            "a run lies there, whose own predictions would be replaced",
            where=f"out={out}",
            remedy=f"give a folder of its own, such as out={folder / 'predictions'}",
        )
    return folder
