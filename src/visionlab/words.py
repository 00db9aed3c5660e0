"""What was meant by a word of a command line that Hydra cannot read, or that names a path where a choice stands.

The answer is shown as one types it, for a shell and then for Hydra, either of which takes quotes away.
"""

import re
import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hydra.core.override_parser.overrides_parser import OverridesParser, create_functions
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException

from visionlab.errors import ConfigError

KEY = re.compile(r"(\+\+?|~)?[A-Za-z_][\w./@:-]*", re.ASCII)
QUOTES = (Quote.double, Quote.single)  # the shell's are single ones, so these need no escape in them
OF_RUNS = ("predict", "evaluate", "export")  # doors that take a run, and no groups


def argument(key: str, text: str) -> str:
    """Return what one types into a shell so that a key is given a text: quoted as little as possible."""
    return min((_shell(f"{key}={form}") for form in _forms(text)), key=len)


def _forms(text: str) -> list[str]:
    """Return the ways to write a text that Hydra reads as it."""
    return [text] if _read(text) == text else [QuotedString(text, quote).with_quotes() for quote in QUOTES]


def _form(text: str) -> str:
    return min(_forms(text), key=len)


def _shell(word: str) -> str:
    """Return a word as bash is given it: where it holds single quotes, between double ones reads better."""
    quoted = shlex.quote(word)
    if "'" in word and not set("!$`") & set(word):
        escaped = word.replace("\\", "\\\\").replace('"', '\\"')
        quoted = min(quoted, f'"{escaped}"', key=len)
    return quoted


def _read(value: str) -> str | None:
    """Return what Hydra reads as a value, as a text; None where it cannot or would sweep over it."""
    with suppress(HydraException):
        override = OverridesParser.create().parse_override(f"key={value}")
        return None if override.is_sweep_override() else str(override.value())
    return None


def braced(key: str, items: dict[str, str]) -> str:
    """Return what one types into a shell so that a key is given a mapping of texts."""
    return _shell(f"{key}={{{', '.join(f'{name}: {_form(text)}' for name, text in items.items())}}}")


def unreadable(word: str, base: str, words: Sequence[str]) -> ConfigError:
    """Return the error of a word that is no override, with what may have been meant.

    Args:
        word: The word.
        base: The file of `conf/` that it should override.
        words: All words of the command line.
    """
    word = _whole(word, words)
    key, equals, value = word.partition("=")
    if not equals:
        return _without_key(word, base)
    what = f"'{word}' cannot be read as an override"
    if not KEY.fullmatch(key):
        return ConfigError(what, remedy="write key=value; a key is of letters from a to z, digits and _ between dots")
    if base not in OF_RUNS and value[:1] not in "[{" and (meant := of_a_path(key, value)):
        return ConfigError(what, remedy=meant)
    if re.match(rf"({'|'.join(create_functions().functions)})\(.*\)$", value):
        remedy = "close and quote what stands in its brackets: of other letters than a to z, digits and -_./"
        return ConfigError(what, remedy=remedy)
    if items := _items_quoted(value):
        return ConfigError(what, remedy=f"quote what it holds, and all for the shell: {_shell(f'{key}={items}')}")
    remedy = f"quote its value, and all for the shell: {argument(key, value)}"
    if any(value.count(opening) != value.count(closing) for opening, closing in ("[]", "{}", "()")):
        remedy = f"close its brackets; where they belong to a text: {argument(key, value)}"
    elif "," in value and base not in OF_RUNS:
        several = _shell(f"{key}={','.join(_form(one) for one in value.split(','))}")
        remedy += f"; to sweep over several: {several}"
    return ConfigError(what, remedy=remedy)


def of_a_path(group: str, path: str) -> str | None:
    """Return what to give in place of a path as the choice of a group; None where it is no path."""
    there = _there(path)
    if there is None and "/" not in path:
        return None
    if group == "data" and (there is None or there.is_dir()):
        return f"give data=folder {argument('data.root', path)}"
    if group == "model":
        return f"choose a network with model=<name>, and give {argument('model.weights', path)}"
    return None


def _whole(word: str, words: Sequence[str]) -> str:
    """Return a word with those that a shell divided it from at spaces, where the whole names a file."""
    if word not in words:
        return word
    first = last = list(words).index(word)
    while first and "=" not in words[first]:
        first -= 1
    while last + 1 < len(words) and "=" not in words[last + 1]:
        last += 1
    whole = " ".join(words[first : last + 1])
    return whole if _there(whole.partition("=")[2] or whole) else word


def _without_key(word: str, base: str) -> ConfigError:
    from visionlab.config import choices, groups

    if word.startswith("-"):
        return ConfigError(f"there is no flag '{word}'", remedy="--help and --hydra-help say what there is")
    there = _there(word)
    if base in OF_RUNS:
        a_run = there and any((there / name).exists() for name in ("result.json", "sweep.json"))
        meant = argument("source" if base == "predict" and not a_run else "run", word)
    elif "/" in word or (there and there.is_dir()):
        meant = f"data=folder {argument('data.root', word)}"
    else:
        meant = " or ".join(f"{group}={word}" for group in groups() if word in choices(group))
    remedy = f"did you mean: {meant}" if meant else "write key=value; --help says what there is"
    return ConfigError(f"'{word}' has no key", remedy=remedy)


def _items_quoted(value: str) -> str | None:
    """Return a list or a mapping with those of its texts in quotes that need it; None where it is neither, or nested.

    One with quotes in it is left alone: what is between them may hold commas.
    """
    inner = value[1:-1]
    if value[:1] + value[-1:] not in ("[]", "{}") or re.search(r"[\[\]{}'\"]", inner):
        return None
    parts = []
    for item in inner.split(","):
        name, colon, text = item.rpartition(":") if value[0] == "{" else ("", "", item)
        parts.append(f"{name}{colon}{' ' if colon else ''}{_form(text.strip())}")
    whole = f"{value[0]}{', '.join(part.strip() for part in parts)}{value[-1]}"
    return None if _read(whole) is None else whole


def _there(path: str) -> Path | None:
    """Return a path where something lies there."""
    with suppress(OSError, ValueError, RuntimeError):  # a name that is too long, a NUL in it, nobody's home
        found = Path(path).expanduser()
        return found if path and found.exists() else None
    return None
