"""A digest of classes that were typed into a notebook or a console: there is no file that could be compared."""

import dis
import hashlib
import inspect
import marshal
import sys
from collections.abc import Iterator
from types import CodeType, FunctionType
from typing import Any

PLAIN = (bool, int, float, complex, str, bytes, type(None))
GATHERED = (tuple, list, dict, set, frozenset)


def digest(name: str) -> str | None:
    """Return a digest of the code of a class or function of `__main__`, and of all there that it names.

    Comments, and where it was typed, are no part of it.

    Args:
        name: What it is called there.

    Returns:
        None where no class or function of this name was typed in.
    """
    main, found, waiting = sys.modules["__main__"], dict[str, bytes](), [name]
    while waiting:
        one = waiting.pop()
        value = getattr(main, one, None)
        if one in found or not (_typed(value) or (one != name and isinstance(value, PLAIN + GATHERED))):
            continue
        parts = list(_parts(value))
        found[one] = b"".join(marshal.dumps(part, 2) for part in parts)  # later versions depend on reference counts
        waiting += [word for part in parts if isinstance(part, CodeType) for word in _globals(part)]
        waiting += [base.__name__ for base in getattr(value, "__mro__", ()) if _typed(base)]
    content = hashlib.sha256()
    for one in sorted(found):
        content.update(one.encode() + b"\0" + found[one])
    return content.hexdigest()[:16] if name in found else None


def _typed(value: Any) -> bool:
    return getattr(value, "__module__", None) == "__main__" and isinstance(value, FunctionType | type)


def _parts(value: Any) -> Iterator[CodeType | str]:
    """Go through the code and the constants of a function, or of all that a class defines."""
    if isinstance(value, FunctionType):
        inner = inspect.unwrap(value)  # what a decorator made of it is the decorator's
        if inner is not value:
            yield from _parts(inner)
        else:
            yield _bare(value.__code__)
            given = [*(value.__defaults__ or ()), *(value.__kwdefaults__ or {}).values()]
            yield _written(given)
            for one in filter(_typed, given):
                yield from _parts(one)
    elif isinstance(value, type):
        for key, member in sorted(vars(value).items()):
            inner = getattr(member, "__func__", None) or getattr(member, "fget", None) or member
            if _typed(inner):
                yield from _parts(inner)
            elif isinstance(member, PLAIN + GATHERED) and key not in ("__doc__", "__firstlineno__"):
                yield f"{key}={_written(member)}"
    else:
        yield _written(value)


def _written(value: Any) -> str:
    """Write a value as it is written in every process: without addresses, sets in order."""
    if isinstance(value, PLAIN):
        return repr(value)
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_written(key)}: {_written(one)}' for key, one in value.items())}}}"
    if isinstance(value, GATHERED):
        each = list(map(_written, value))
        return f"{type(value).__name__}({', '.join(sorted(each) if isinstance(value, set | frozenset) else each)})"
    return str(getattr(value, "__qualname__", type(value).__qualname__))


def _bare(code: CodeType) -> CodeType:
    """Return code without the places that it was typed at."""
    constants = tuple(_bare(one) if isinstance(one, CodeType) else one for one in code.co_consts)
    return code.replace(co_consts=constants, co_filename="", co_firstlineno=0, co_linetable=b"")


def _globals(code: CodeType) -> Iterator[str]:
    """Go through the names that code looks up among those of its module."""
    for step in dis.get_instructions(code):
        if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
            yield str(step.argval)
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from _globals(one)
