"""What the results of a person's own steps depend on beside what these say of themselves: source and numbers."""

import hashlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from visionlab.data.step import Step

# Ours is told by a number that is raised with it, those of libraries by their versions.
_KNOWN = ("visionlab", "torch", "kornia", "abc", "builtins")


def traces(*things: object) -> str:
    """Digest the source files of the classes of things and of what they hold, and the contents of their tensors.

    Returns:
        A blank and the digest; "" where nothing is a person's own, nor a tensor.
    """
    found = [trace for thing in things for trace in _classes(thing)]
    found += [trace for thing in things for trace in _inner(thing)]
    return f" {hashlib.sha256(' '.join(found).encode()).hexdigest()[:16]}" if found else ""


def _inner(thing: object) -> Iterator[str]:
    inside: Iterable[object] = ()
    if isinstance(thing, Tensor):
        # Bytes, as numpy has not all types of numbers. A repr would round them, and leave most of a large tensor out.
        content = thing.detach().cpu().reshape(-1).view(torch.uint8).numpy().tobytes()
        yield f"{thing.dtype} {list(thing.shape)} {hashlib.sha256(content).hexdigest()}"
    elif isinstance(thing, np.ndarray):
        yield f"{thing.dtype} {thing.shape} {hashlib.sha256(thing.tobytes()).hexdigest()}"
    elif isinstance(thing, nn.Module):  # not all attributes: kornia keeps in them what it drew last
        inside = (*thing.parameters(recurse=False), *thing.buffers(recurse=False), *thing.children())
    elif isinstance(thing, Mapping):
        inside = thing.values()
    elif isinstance(thing, list | tuple):
        inside = thing
    elif isinstance(thing, Step):
        inside = vars(thing).values()
    for each in inside:
        if isinstance(each, Step | nn.Module):
            yield from _classes(each)
        yield from _inner(each)


def _classes(thing: object) -> list[str]:
    return [_source(kind) for kind in type(thing).__mro__ if kind.__module__.partition(".")[0] not in _KNOWN]


@cache
def _source(kind: type) -> str:
    file = Path(getattr(sys.modules.get(kind.__module__), "__file__", None) or "")
    # What was typed into a notebook has no file to tell an edit by, so nothing that it made is taken up again.
    content = file.read_bytes() if file.is_file() else os.urandom(16)
    return f"{kind.__module__}.{kind.__qualname__} {hashlib.sha256(content).hexdigest()}"
