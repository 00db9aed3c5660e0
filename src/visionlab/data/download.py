"""Fetches a published data set: on request only, resumable, checked, and under its final name only when it is whole."""

import hashlib
import http.client
import logging
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn, TransferSpeedColumn

from visionlab.errors import DataError

log = logging.getLogger(__name__)
PARTIAL, UNPACKING = ".part", ".unpacking-"
TIMEOUT = 30  # seconds without a byte


@dataclass(frozen=True)
class Source:
    """Where a data set is published.

    Attributes:
        url: Of the archive.
        md5: Of the archive, as its publisher or torchvision gives it.
        size: Of the archive, bytes.
        folder: What the archive (or the one inside it) unpacks to.
        inner: Path of an archive inside the archive that holds `folder`; None if there is none.
    """

    url: str
    md5: str
    size: int
    folder: str
    inner: str | None = None

    @property
    def archive(self) -> str:
        """The file name of the archive."""
        return self.url.rsplit("/", 1)[-1]

    def provide(self, root: Path, *, download: bool) -> None:
        """Make `root/folder` exist: from the archive, if it lies in `root`, else from its publisher.

        Args:
            root: The data set's folder.
            download: Whether the network may be used.

        Raises:
            DataError: The data set is missing and must not or cannot be fetched, or the archive is not the right one.
        """
        archive = root / self.archive
        if not archive.is_file() and not download:
            size = f"{self.size / 2**20:,.0f} MiB"
            otherwise = f"name its folder with data.root=..., download it with data.download=true ({size}), or"
            raise self.missing(root, "is missing", otherwise)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{archive}.lock"):  # several processes may want the same
                if (root / self.folder).exists():
                    return
                if not archive.is_file():
                    self._fetch(archive)
                if _md5(archive) != self.md5:
                    raise self.missing(
                        root, f"cannot be unpacked: {archive} is damaged (its MD5 is not {self.md5})", "remove it and"
                    )
                log.info("unpacking %s", archive)
                unpack(archive, root / self.folder, self.inner)
        except urllib.error.URLError as error:
            raise self.missing(root, f"cannot be downloaded ({error.reason})", "without a network") from error
        except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
            message = f"was downloaded in part only ({str(error).strip()}); the next try continues there"
            raise self.missing(root, message, "try again, or") from error
        except OSError as error:
            raise DataError(
                f"cannot prepare the data set: {error.strerror or error}",
                where=str(root),
                remedy="name a folder that can be written to and has room with data.root=...",
            ) from error

    def missing(self, root: Path, what: str, otherwise: str) -> DataError:
        """Return the error that says which file to put where."""
        return DataError(
            f"the data set {what}: {root / self.folder}",
            where="data.root",
            remedy=f"{otherwise} put the file {self.archive} from {self.url} into {root}/; it is unpacked by itself",
        )

    def _fetch(self, archive: Path) -> None:
        """Download into a partial file, from where an earlier try ended, and rename it."""
        partial = archive.with_name(archive.name + PARTIAL)
        have = partial.stat().st_size if partial.exists() else 0
        if have > self.size:
            partial.unlink()
            have = 0
        if have < self.size:
            request = urllib.request.Request(self.url, headers={"Range": f"bytes={have}-"} if have else {})
            log.info("downloading %s to %s", self.url, archive)
            with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
                if answer.status != 206:  # the server does not continue, so begin anew
                    have = 0
                kind, length = answer.headers.get_content_type(), answer.length
                if kind == "text/html" if length is None else length != self.size - have:
                    said = "some" if length is None else f"{length:,}"
                    what = f"{said} bytes of {kind} instead of the archive's {self.size - have:,}"
                    remedy = "see what it shows in a browser, as the page of a network that asks for a login, or"
                    raise self.missing(archive.parent, f"cannot be downloaded: the answer has {what}", remedy)
                columns = (
                    TextColumn(archive.name),
                    BarColumn(),
                    DownloadColumn(),
                    TransferSpeedColumn(),
                    TimeRemainingColumn(),
                )
                partial.touch()
                with Progress(*columns, console=Console(stderr=True)) as progress, partial.open("r+b") as file:
                    file.seek(have)  # what lies behind stays: an answer that begins anew may end before that
                    task = progress.add_task("download", total=self.size, completed=have)
                    while block := answer.read(2**16):
                        file.write(block)
                        progress.advance(task, len(block))
        if partial.stat().st_size < self.size:
            raise ConnectionError(f"{partial.stat().st_size:,} of {self.size:,} bytes")
        if _md5(partial) != self.md5:
            partial.unlink()
            raise self.missing(archive.parent, f"arrived damaged: its MD5 is not {self.md5}", "try again, or")
        partial.rename(archive)


def unpack(archive: Path, folder: Path, inner: str | None = None) -> None:
    """Unpack a zip or tar file so that `folder` appears in one step.

    Args:
        archive: The file.
        folder: What it holds at its top; it appears beside where it is named.
        inner: An archive inside that holds it instead.

    Raises:
        DataError: The folder is not in it.
    """
    for left in folder.parent.glob(f"{UNPACKING}*"):  # by a process that was killed; whoever unpacks holds a lock
        shutil.rmtree(left, ignore_errors=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=UNPACKING) as place:
        _extract(archive, Path(place))
        if inner is not None:
            _extract(Path(place) / inner, Path(place))
        found = Path(place) / folder.name
        if not found.is_dir():
            raise DataError(f"{archive} holds no folder {folder.name}", where=str(archive), remedy="fetch it anew")
        found.rename(folder)


def _extract(archive: Path, into: Path) -> None:
    if archive.suffix == ".zip":
        with zipfile.ZipFile(archive) as packed:
            packed.extractall(into)
    else:
        with tarfile.open(archive) as packed_tar:
            packed_tar.extractall(into, filter="data")  # nothing outside `into`, no devices, no foreign owners


def _md5(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
