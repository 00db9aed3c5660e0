"""What all doors have in common: the way from the command line to a function, and from an error to an exit code."""

import errno
import inspect
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from hydra._internal.hydra import Hydra
from hydra.errors import HydraException

from hydra_plugins import visionlab_sweepers
from visionlab.config import NO_CHOICE, explain
from visionlab.errors import ConfigError, RunError, UserError

# What a disk or its owner refuses; any other OSError is our own mistake.
REFUSALS = {
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT, errno.ENOTDIR, errno.ENOENT, errno.EEXIST
}  # fmt: skip


def enter(door: Callable[[], Any]) -> None:
    """Run a door's command and leave the process with the exit code that its end calls for.

    0 for success; 2, with a few lines and no traceback, for what the user can put right; 128 + n after signal n; and
    the usual traceback for what is our own mistake.
    """
    # Without it Hydra prints its own short version of an error and exits before we see which error it was.
    full = os.environ.get("HYDRA_FULL_ERROR")
    if {"--help", "-h"} & set(sys.argv):
        # Hydra lists all groups for its own template, twice, which takes longer than all the rest; ours lists its own.
        Hydra.format_config_groups = lambda *_, **__: ""  # type: ignore[method-assign]
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.argv[1:] = _flags_first(sys.argv[1:])
    try:
        visionlab_sweepers.register()
        door()
    except UserError as error:
        leave(error)
    except (HydraException, ValueError) as error:
        if isinstance(error, ValueError) and NO_CHOICE not in str(error):
            raise
        leave(_of_a_swept_group(explain(error, _name(door), sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        if error.errno not in REFUSALS or error.filename is None:
            raise
        remedy = "free some space, or choose a place that can be written with outputs=<folder> or out=<folder>"
        leave(RunError(f"{error.strerror}", where=str(error.filename), remedy=remedy))
    except BaseException as error:
        code = getattr(error, "exit_code", None)  # visionlab.training.interruption, not imported for its weight
        if code is None:
            raise
        again = (
            "the same command without force=true" if "force=true" in map(str.lower, sys.argv) else "the same command"
        )
        print(f"{error}; {again} continues it", file=sys.stderr)
        sys.exit(code)
    finally:
        if full is None:
            os.environ.pop("HYDRA_FULL_ERROR", None)
        else:
            os.environ["HYDRA_FULL_ERROR"] = full


def _name(door: Callable[[], Any]) -> str:
    """Return a door's name; as a command's file its module is `__main__`, and its spec alone knows it."""
    spec = inspect.unwrap(door).__globals__.get("__spec__")
    return spec.name.rpartition(".")[2] if spec else "train"


# Hydra's flags, and those of them that a value follows.
FLAGS = {"-m", "--multirun", "-r", "--run", "--resolve", "-h", "--help", "--hydra-help", "--version"}
VALUED = {
    "-cd", "--config-dir", "-cn", "--config-name", "-cp", "--config-path", "-c", "--cfg", "-p", "--package",
    "--experimental-rerun",
}  # fmt: skip
INFO = {"all", "config", "defaults", "defaults-tree", "plugins", "searchpath"}  # what may follow --info


def _flags_first(words: list[str]) -> list[str]:
    """Sort a command line, as Hydra's parser takes overrides in one piece only: none could be added behind a flag."""
    rest = iter(words)
    flags: list[str] = []
    overrides: list[str] = []
    for word in rest:
        name = word.partition("=")[0] if word.startswith("--") else word
        (flags if name in FLAGS | VALUED else overrides).append(word)
        if word in VALUED:
            flags += [value for value in [next(rest, None)] if value is not None]
        elif word in INFO and overrides[-2:-1] and overrides[-2] in ("-i", "--info"):
            flags += overrides[-2:]
            del overrides[-2:]
    return flags + overrides


def _of_a_swept_group(error: UserError) -> UserError:
    """Say how a sweep sets a key that its group's default, with which Hydra composes it first, does not have."""
    group, _, rest = (error.where or "").partition(".")
    given = [word for word in sys.argv if word.startswith(f"{error.where}=")]
    if rest and given and any(word.startswith(f"{group}=") and "," in word for word in sys.argv):
        key, _, value = given[0].partition("=")
        remedy = f"{group} is swept, and its default has no such key; as '{key}=choice({value})' each trial sets it"
        return ConfigError(error.what, where=error.where, remedy=remedy)
    return error


def leave(error: UserError) -> None:
    """Print an error as a few lines and exit with code 2."""
    print(f"\n{type(error).__name__}: {error}", file=sys.stderr)
    sys.exit(2)


class _Door(ModuleType):
    """A door's module that is also its function: `visionlab.train` is both the command's file and what one calls.

    Importing a submodule binds its name in the package, over any function of that name, so the module must answer to
    a call.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self._function()(*args, **kwargs)

    # What can be called is what notebooks and editors ask about; the module's own text stays in its globals.
    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self._function())

    @property
    def __doc__(self) -> str | None:  # type: ignore[override]
        return inspect.getdoc(self._function())

    def _function(self) -> Any:
        return getattr(self, self.__name__.rpartition(".")[2])


def callable_module(name: str) -> None:
    """Make a door's module callable as the function of the same name in it."""
    sys.modules[name].__class__ = _Door
