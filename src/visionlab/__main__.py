"""The command `visionlab`: every door under one name, with tab completion.

`visionlab train model=alexnet` is `python -m visionlab.train model=alexnet`. Nothing heavy is imported here.
"""

import os
import sys
from importlib import import_module

from visionlab.errors import ConfigError, nearest

DOORS = {
    "train": "train an image classifier, test it and write a report",
    "evaluate": "evaluate a trained run again, on its own or other data",
    "predict": "name the classes of images, with Grad-CAM if asked",
    "explore": "look at a data set before training on it",
    "compare": "lay runs and sweeps side by side, and say which is really better",
    "tune": "find the learning rate, the batch size and the fastest arithmetic",
    "probe": "classify by frozen features: a linear probe and nearest neighbours",
    "export": "write a network as ONNX, torch.export or safetensors",
    "reproduce": "run the experiments of a report and compare with what it printed",
}
PLAIN = ("compare", "reproduce")  # take no config, only options and paths, which the shell completes
EXAMPLES = """\
  visionlab train                                     a first run, in seconds
  visionlab train model=resnet18 data=folder data.root=photos
  visionlab train -m optimizer.lr=1e-3,1e-2 seed=0,1  a sweep
  visionlab predict run=outputs/<run> source=photos"""


def main() -> None:
    """Enter from the command line: show the doors, complete a line, or go through a door."""
    from importlib.metadata import version

    first, *rest = sys.argv[1:] or ["--help"]
    if first in ("-h", "--help", "help"):
        print(_overview())
    elif first == "--version":
        print(f"visionlab {version('visionlab')}")
    elif first in ("-sc", "--shell-completion"):
        _complete(rest)
    elif first in DOORS:
        _go_through(first, rest)
    else:
        _refuse(first)


def _overview() -> str:
    lines = [f"  {name:<10} {what}" for name, what in DOORS.items()]
    return "\n".join(
        [
            "usage: visionlab <door> [key=value ...]",
            "",
            *lines,
            "",
            "Examples:",
            EXAMPLES,
            "",
            "What a door takes:  visionlab <door> --help",
            'Tab completion:     eval "$(visionlab -sc install=bash)"  (or zsh)',
            "                    visionlab -sc install=fish | source",
        ]
    )


def _go_through(door: str, arguments: list[str]) -> None:
    """Do what `python -m visionlab.<door>` does, without making the door the main module: its jobs can be pickled."""
    from visionlab import doors

    sys.argv = [f"visionlab {door}", *arguments]
    doors.enter(import_module(f"visionlab.{door}").main)


def _complete(arguments: list[str]) -> None:
    """Answer a shell that completes a line, or print what makes it ask.

    Hydra completes the line of a single command. So the first word behind ours is completed here, and for what follows
    the door stands in the line as that command.
    """
    if arguments and arguments[0].startswith("query="):
        _, _, line = os.environ.get("COMP_LINE", "").lstrip().partition(" ")
        door, space, _ = line.lstrip().partition(" ")
        if not space:
            between = "\n" if arguments[0] == "query=fish" else " "
            print(between.join(name for name in DOORS if name.startswith(door)))
            return
        if door not in DOORS or door in PLAIN:
            return
        os.environ["COMP_LINE"] = line.lstrip()
        sys.argv = ["visionlab", "-sc", *arguments]
        import_module(f"visionlab.{door}").main()
    else:
        sys.argv = ["visionlab", "-sc", *arguments]
        import_module("visionlab.train").main()


def _refuse(word: str) -> None:
    """Say that there is no such door, and which may have been meant."""
    from visionlab.doors import leave

    if "=" in word or word.startswith(("-", "+", "~")):
        leave(ConfigError(f"'{word}' comes before a door", remedy=f"name the door first: visionlab train {word}"))
    leave(ConfigError(f"there is no door '{word}'", remedy=nearest(word, DOORS)))


if __name__ == "__main__":
    main()
