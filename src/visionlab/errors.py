"""The errors that a user can cause.

Each says what is wrong, where, and what to do. At the command line they become a few lines without a traceback and
exit code 2; from Python they are ordinary exceptions. `assert` and the built-in exceptions are for our own mistakes.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class UserError(Exception):
    """Something that the person who runs visionlab can put right.

    Args:
        what: What is wrong, with the value that was found, in one sentence.
        where: The file or the config key that it stands in.
        remedy: What to do about it.
    """

    def __init__(self, what: str, *, where: str | None = None, remedy: str | None = None) -> None:
        self.what, self.where, self.remedy = what, where, remedy
        lines = [what, f"  in: {where}" if where else None, f"  do: {remedy}" if remedy else None]
        super().__init__("\n".join(line for line in lines if line))


class ConfigError(UserError):
    """A key, a choice or a value of the config that does not exist, has the wrong type or is out of range."""


class DataError(UserError):
    """A data set that is missing, empty, unreadable or unfit for the task."""


class DeviceError(UserError):
    """An accelerator, a number of devices or a precision that this machine does not have."""


class WeightsError(UserError):
    """Weights that are missing or do not fit the network."""


class RunError(UserError):
    """A run directory that is missing, locked, unwritable or not what it is taken for."""


class CheckpointError(RunError):
    """A checkpoint that is truncated, tampered with or missing."""


class CheckpointUnwritable(CheckpointError):
    """A checkpoint that cannot be written; the run goes on from the one before once there is room."""

    run_status = "interrupted"


def nearest(name: str, choices: Iterable[str], below: str = "") -> str:
    """Return "did you mean X?" for the nearest of the choices, or the list of them when none is near.

    Args:
        name: What was given.
        choices: What there is.
        below: Where keys stand that are chosen from: the nearest is named in full, as it would be typed.
    """
    known = sorted(choices)
    by_letters = {choice.lower(): choice for choice in known}  # adamW is adamw rather than adam
    close = get_close_matches(name.lower(), by_letters, n=1, cutoff=0.6)
    return (
        f"did you mean '{below}{'.' if below else ''}{by_letters[close[0]]}'?"
        if close
        else f"choose one of: {', '.join(known)}"
    )
