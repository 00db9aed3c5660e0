"""Fills the file of a store: decodes in parallel, shows progress, survives what a broken image does to a decoder."""

import contextlib
import errno
import json
import logging
import os
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import numpy as np
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from visionlab.data.index import Index
from visionlab.data.reader import CRASHED, SHORT, Read, fill, from_files, from_frames
from visionlab.data.transform import Transform
from visionlab.errors import DataError
from visionlab.machine import cores

log = logging.getLogger(__name__)
CHUNK_BYTES = 2 * 2**20  # of decoded pixels in the hand of one process
READER = "visionlab.data.reader"
SMALL = 4 * 2**20  # files of fewer bytes together are read sooner than a process has started

Done = Callable[[int, Read], None]  # told the first row of a run and what was learnt of it


class Learnt:
    """What is known of each image: digests uint8 [N, 16], sizes int64 [N, 2] (H, W), errors by row."""

    def __init__(self, count: int) -> None:
        self.digests = np.zeros((count, 16), dtype=np.uint8)
        self.sizes = np.zeros((count, 2), dtype=np.int64)
        self.errors: dict[int, str] = {}

    def add(self, first: int, read: Read) -> None:
        """Enter the result of a run of rows, in place of an earlier one."""
        span = slice(first, first + len(read.sizes))
        self.digests[span] = np.frombuffer(bytes.fromhex("".join(read.digests)), dtype=np.uint8).reshape(-1, 16)
        self.sizes[span] = read.sizes
        for row in range(span.start, span.stop):
            self.errors.pop(row, None)
        self.errors.update({first + int(place): why for place, why in read.errors.items()})


def read_all(index: Index, to: Transform, output: Path, workers: int | None) -> Learnt:
    """Decode all images of an index into `output`, which has its full length already.

    Raises:
        OSError: The file cannot be written, for example because the disk is full.
    """
    learnt = Learnt(len(index))
    chunk = max(1, min(256, CHUNK_BYTES // (3 * to.size[0] * to.size[1])))
    spans = [(first, min(first + chunk, len(index))) for first in range(0, len(index), chunk)]
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    small = index.frames is None and index.stamps is not None and int(index.stamps[:, 0].sum()) < SMALL
    hidden = small or not console.file.isatty()
    with Progress(*columns, console=console, transient=True, disable=hidden) as progress:
        task = progress.add_task("decoding images", total=len(index))

        def done(first: int, read: Read) -> None:
            learnt.add(first, read)
            progress.advance(task, len(read.sizes))

        if index.frames is not None or small:
            _here(index, to, output, spans, done)
        else:
            _beside(index, to, output, spans, done, workers or cores())
    if index.frames is None:
        for row, read in read_alone(index, to, output, undecoded(learnt.errors)):
            learnt.add(row, read)
    return learnt


def undecoded(errors: dict[int, str]) -> list[int]:
    """Return the rows that want a second try: what failed may have been the memory or the process, not the image."""
    return sorted(row for row, why in errors.items() if why in (SHORT, CRASHED))


def read_alone(index: Index, to: Transform, output: Path, rows: Sequence[int]) -> Iterator[tuple[int, Read]]:
    """Read images into `output` one by one, in a process beside which no other one decodes and takes the memory."""
    reader = _Reader(index.root, to, output)
    try:
        for row in rows:
            yield from reader.read(row, [index.names[row]])
    finally:
        reader.close()


def _here(index: Index, to: Transform, output: Path, spans: list[tuple[int, int]], done: Done) -> None:
    descriptor = os.open(output, os.O_WRONLY)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for first, end in spans:
                if index.frames is None:
                    fetch = from_files(str(index.root), index.names[first:end])
                else:
                    fetch = from_frames(index.frames, first)
                done(first, fill(descriptor, first, end - first, fetch, to))
    finally:
        os.close(descriptor)


def _beside(index: Index, to: Transform, output: Path, spans: list[tuple[int, int]], done: Done, workers: int) -> None:
    """Hand the spans to reader processes, a thread each; the first failure stops all."""
    todo = iter(spans)
    lock = threading.Lock()
    stop = threading.Event()

    def following() -> Iterator[tuple[int, int]]:
        while not stop.is_set():
            with lock:
                span = next(todo, None)
            if span is None:
                return
            yield span

    def drive() -> None:
        reader = _Reader(index.root, to, output)
        try:
            for first, end in following():
                for start, read in reader.read(first, index.names[first:end]):
                    with lock:
                        done(start, read)
        except BaseException:
            stop.set()
            raise
        finally:
            reader.close()

    with ThreadPoolExecutor(workers) as pool:
        futures = [pool.submit(drive) for _ in range(min(workers, len(spans)))]
        try:
            for future in futures:
                future.result()
        except BaseException:
            stop.set()
            raise


class _Reader:
    """A reader process; one that a broken image kills is replaced."""

    def __init__(self, root: Path, to: Transform, output: Path) -> None:
        self._setup = json.dumps({"output": os.fsdecode(output), "root": os.fsdecode(root), "to": asdict(to)})
        self._process: subprocess.Popen[str] | None = None

    def read(self, first: int, names: list[str]) -> Iterator[tuple[int, Read]]:
        """Read a run of images; if the process dies of it, one by one, to find the image that it dies of."""
        answer = self._ask(first, names)
        if answer is not None:
            yield first, Read(**answer)
        elif len(names) > 1:
            for place, name in enumerate(names):
                yield from self.read(first + place, [name])
        else:
            yield first, Read(["0" * 32], [(0, 0)], {0: CRASHED})

    def _ask(self, first: int, names: list[str]) -> dict[str, Any] | None:
        if self._process is None:
            self._process = self._start()
        self._send(json.dumps([first, names]))
        line = _pipe(self._process.stdout).readline()
        if not line:
            self.close()
            return None
        answer: dict[str, Any] = json.loads(line)
        if "failed" in answer:
            raise OSError(answer["errno"] or errno.EIO, answer["failed"])
        return answer

    def _start(self) -> "subprocess.Popen[str]":
        """Start a process; a second time if it ends before it is ready, as it may where memory is short.

        Raises:
            DataError: It does not start.
        """
        for _ in range(2):
            with tempfile.TemporaryFile() as last_words:
                process = self._launch(last_words)
                if self._ready(process):
                    return process
                process.kill()
                process.communicate()
                last_words.seek(0)
                said = last_words.read().decode(errors="replace").splitlines()[-5:]
        raise DataError(
            "\n    ".join(["the process that decodes images does not start; it says last:", *said]),
            where=f"{sys.executable} -P -m {READER}",
            remedy="put right what the last line says",
        )

    def _launch(self, stderr: IO[bytes]) -> "subprocess.Popen[str]":
        source = str(Path(__file__).parents[2])  # which sys.path may name as "", the current folder
        return subprocess.Popen(
            [sys.executable, "-P", "-m", READER],  # -P: a copy.py in the current folder is not Python's own
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            encoding="utf-8",
            errors="replace",
            env={**os.environ, "PYTHONPATH": os.pathsep.join([*filter(None, sys.path), source])},
            start_new_session=True,  # Ctrl-C is for the parent, whose end then ends this one
        )

    def _ready(self, process: "subprocess.Popen[str]") -> bool:
        """Return whether a process reads its setup; what anything prints before that is passed over."""
        with contextlib.suppress(BrokenPipeError):
            print(self._setup, file=_pipe(process.stdin), flush=True)
        return any(line == "ready\n" for line in _pipe(process.stdout))

    def _send(self, line: str) -> None:
        assert self._process is not None
        with contextlib.suppress(BrokenPipeError):  # it died; reading its answer shows that
            print(line, file=_pipe(self._process.stdin), flush=True)

    def close(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
