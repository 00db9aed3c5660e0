"""A submission to a contest, as on Kaggle: what is predicted of the images that the ids of a sample file name."""

import csv
import io
import logging
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from torch import Tensor

from visionlab.data.index import canonical, printable
from visionlab.errors import ConfigError, DataError
from visionlab.runs import write_table

log = logging.getLogger(__name__)
FEW = 3  # ids or images that a message names


class Submission:
    """Gathers predictions in any order and writes them as a sample has them.

    Args:
        sample: A CSV file in UTF-8 with a header. Its first column has ids, the names of images below `base` with or
            without their ending. One further column is for the predicted class; several are for the probabilities of
            the classes that they are named by.
        classes: K class names.
        images: The images that will be predicted.
        base: The folder that all of them lie in.

    Raises:
        ConfigError: The sample cannot be read, or its columns are neither.
        DataError: An id has no image, or has several.
    """

    def __init__(self, sample: str | Path, classes: Sequence[str], images: Sequence[Path], base: Path) -> None:
        self.sample = Path(sample).expanduser()
        self.head, self.ids = _read(self.sample)
        self._columns = _columns(self.sample, self.head, classes)
        self._images = self._named(images, base)
        self._wanted = set(self._images)
        self._cells: dict[Path, list[str]] = {}
        if spare := [path for path in images if path not in self._wanted]:
            what = f"{len(spare):,} images have" if len(spare) > 1 else "1 image has"
            log.warning("%s no id in %s, such as %s", what, self.sample, printable(str(spare[0])))

    def add(self, paths: Sequence[Path], predicted: Sequence[str], probabilities: Tensor) -> None:
        """Take what was predicted of B images: their classes, and float [B, K]."""
        for path, name, values in zip(paths, predicted, probabilities.tolist(), strict=True):
            if path in self._wanted:
                self._cells[path] = [f"{values[i]:.6g}" for i in self._columns] if self._columns else [name]

    def write(self, file: Path) -> None:
        """Write the ids of the sample in its order, under its header.

        Raises:
            DataError: The image of an id could not be read.
        """
        rows = list(zip(self.ids, self._images, strict=True))
        if unread := [name for name, path in rows if path not in self._cells]:
            what = f"no image can be read for {_of(unread, self.ids)}, so {file.name} is not written"
            raise DataError(what, where=str(self.sample), remedy="replace these images; the other files are written")
        write_table(file, self.head, ([name, *self._cells[path]] for name, path in rows))

    def _named(self, images: Iterable[Path], base: Path) -> list[Path]:
        """Return the image of each id."""
        whole: dict[bytes, Path] = {}
        short: dict[bytes, list[Path]] = defaultdict(list)
        for path in images:
            name = path.relative_to(base)
            whole[canonical(name.as_posix())] = path
            short[canonical(name.with_suffix("").as_posix())].append(path)
        found = [[whole[key]] if key in whole else short.get(key, []) for key in map(canonical, self.ids)]
        if unknown := [name for name, paths in zip(self.ids, found, strict=True) if not paths]:
            example = printable(next(iter(whole.values())).relative_to(base).as_posix())
            remedy = f"give the source below which they lie; images of this one are named as {example}"
            raise DataError(f"no image belongs to {_of(unknown, self.ids)}", where=str(self.sample), remedy=remedy)
        if twice := next((paths for paths in found if len(paths) > 1), None):
            both = " and ".join(printable(path.relative_to(base).as_posix()) for path in twice[:2])
            remedy = "write the ids with their endings, or give a pattern as the source, such as 'photos/*.jpg'"
            raise DataError(f"an id means several images, {both}", where=str(self.sample), remedy=remedy)
        return [path for (path,) in found]


def _read(sample: Path) -> tuple[list[str], list[str]]:
    """Return the header and the ids."""
    try:
        text = io.StringIO(sample.read_text(encoding="utf-8-sig"), newline="")
        head, *rows = [line for line in csv.reader(text, strict=True) if line] or [[]]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        why = "it is not UTF-8" if isinstance(error, UnicodeDecodeError) else getattr(error, "strerror", None) or error
        raise _unfit(sample, f"cannot be read: {why}") from error
    if not rows:
        raise _unfit(sample, "has no ids")
    return head, [row[0] for row in rows]


def _columns(sample: Path, head: Sequence[str], classes: Sequence[str]) -> list[int]:
    """Return which class each column behind the ids is named by; none where there is one, for the predicted class."""
    if len(head) == 2:
        return []
    places = {canonical(name): place for place, name in enumerate(classes)}
    keys = list(map(canonical, head[1:]))
    if sorted(keys) == sorted(places):
        return [places[key] for key in keys]
    strange = [f"'{name}'" for name, key in zip(head[1:], keys, strict=True) if key not in places]
    lacking = [f"'{name}'" for key, name in zip(places, classes, strict=True) if key not in keys]
    facts = [f"{_few(strange)} names no class"] if strange else []
    facts += [f"there is none for {_few(lacking)}"] if lacking and len(head) > 2 else []
    facts = facts or ["there is no column behind the ids" if len(head) < 2 else "a class has two"]
    raise _unfit(sample, f"has other columns: {', '.join(facts)}")


def _unfit(sample: Path, why: str) -> ConfigError:
    remedy = "give a CSV file, with commas, of ids and either one column for the class or one for each class of the run"
    return ConfigError(f"the sample of a submission {why}", where=f"submission={sample}", remedy=remedy)


def _of(names: Sequence[str], every: Sequence[str]) -> str:
    return f"{len(names):,} of {len(every):,} ids ({_few([printable(name) for name in names])})"


def _few(names: Sequence[str]) -> str:
    return ", ".join([*names[:FEW], *(["..."] if len(names) > FEW else [])])
