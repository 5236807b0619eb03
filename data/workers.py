"""Drafts encoded by all cores, with results in the order of the drafts.

Each worker is a process of its own, fed through its standard input. A pool of forks would keep the folder's lock when
the build is killed, a pool that imports the caller's script would run it again, and in either a decoder that crashes
takes the whole build with it; here it costs one image. A worker whose build has gone reads the end of its input and
ends.
"""

from __future__ import annotations

import hashlib
import importlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from vesalius.data.draft import Draft, Kind

T = TypeVar("T")
R = TypeVar("R")

FEW = 64
"""Drafts for each of which a worker's start would take longer than it saves."""
AHEAD = 4
"""Drafts for each worker that are begun before the first of them is asked for."""
KEPT = 128_000_000
"""Bytes of freed memory that a worker keeps. Arrays of a frame are given back to the system and taken from it again
for each image otherwise, which takes longer than all arithmetic on them."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """An image made from a draft: a file under a temporary name, its digest, and the window it was seen through."""

    path: Path
    sha256: str
    window: str | None


def num_workers(asked: int, num_drafts: int) -> int:
    """As many as asked; of 0 the cores that this process may use, fewer where there is little to do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return asked or max(1, min(cores, num_drafts // FEW))


def encode_to(draft: Draft, size: int, path: Path) -> Encoded:
    """Decode a draft and write its PNG. ValueError as `encode`. Not synced: whoever names the file syncs them all."""
    from vesalius.data.encode import encode

    content, window = encode(draft, size)
    try:
        path.write_bytes(content)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    return Encoded(path=path, sha256=hashlib.sha256(content).hexdigest(), window=window)


class Waiting:
    """Workers begun while headers are still read, since a start takes half a second; what is left in the end is
    killed."""

    def __init__(self) -> None:
        self._idle: deque[subprocess.Popen[bytes]] = deque()

    def __enter__(self) -> Waiting:
        return self

    def __exit__(self, *_: object) -> None:
        while process := self.take():
            process.kill()
            process.communicate()

    def grow(self, workers: int, kind: Kind) -> None:
        """Have as many as there will be; kind: what they will decode. None where one works, which is this process."""
        while workers > 1 and len(self._idle) < workers:
            self._idle.append(_begun(kind))

    def take(self) -> subprocess.Popen[bytes] | None:
        try:
            return self._idle.popleft()
        except IndexError:
            return None


class Encoder:
    """Encodes drafts, from any number of threads at once: each of `workers` threads has its process, one has none."""

    def __init__(self, *, workers: int, size: int, folder: Path, waiting: Waiting | None = None) -> None:
        self.workers, self.size, self.folder, self._waiting = workers, size, folder, waiting
        self._mine = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Encoder:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what a dead worker did not read
                        pipe.close()
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:  # a decoder that does not end
                process.kill()
                process.wait()

    def in_order(self, tasks: Iterable[T], run: Callable[[T], R]) -> Iterator[tuple[T, R]]:
        """(task, run(task)) in the order of the tasks, `workers` at a time, few ahead. Raises what a task raised."""
        if self.workers == 1:
            for task in tasks:
                yield task, run(task)
            return
        with ThreadPoolExecutor(self.workers) as pool:
            begun: deque[tuple[T, Future[R]]] = deque()
            try:
                for task in tasks:
                    begun.append((task, pool.submit(run, task)))
                    if len(begun) >= AHEAD * self.workers:
                        first, future = begun.popleft()
                        yield first, future.result()
                while begun:
                    first, future = begun.popleft()
                    yield first, future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def encode(self, draft: Draft, name: str) -> Encoded:
        """The image of a draft at `folder / name`. ValueError as `encode`, and where the decoder crashed."""
        path = self.folder / name
        if self.workers == 1:
            return encode_to(draft, self.size, path)
        process: subprocess.Popen[bytes] = getattr(self._mine, "process", None) or self._start()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            pickle.dump((draft, self.size, path), process.stdin)
            process.stdin.flush()
            outcome = pickle.load(process.stdout)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            self._mine.process = None
            raise ValueError(
                f"{draft.where}: its decoder crashed (exit code {process.wait()}); the file is damaged, leave it out"
            ) from None
        if isinstance(outcome, BaseException):
            raise outcome
        assert isinstance(outcome, Encoded)
        return outcome

    def _start(self) -> subprocess.Popen[bytes]:
        process = (self._waiting.take() if self._waiting else None) or _begun()
        self._mine.process = process
        self._processes.append(process)
        return process


def _begun(kind: Kind = "image") -> subprocess.Popen[bytes]:
    # By glibc's names; other systems pass over them. 32 MiB is the most that its second takes.
    kept = {"MALLOC_TRIM_THRESHOLD_": str(KEPT), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
    return subprocess.Popen(
        [sys.executable, "-m", "vesalius.data.workers", kind], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={**kept, **os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
    )  # fmt: skip


def prepare(kind: str) -> None:
    """Import what decoding needs before it is asked for."""
    for name in (
        "vesalius.data.encode",
        *(("vesalius.data.dicom_pixels", "pydicom.pixels") if kind == "dicom" else ()),
    ):
        importlib.import_module(name)


def serve(asked: IO[bytes], answers: IO[bytes]) -> None:
    """What a worker does until its input ends."""
    while True:
        try:
            draft, size, path = pickle.load(asked)
        except EOFError:
            return
        outcome: Any
        try:
            outcome = encode_to(draft, size, path)
        except Exception as error:  # raised again by the build
            outcome = error
        pickle.dump(outcome, answers)
        answers.flush()


if __name__ == "__main__":
    # Decoders that print must not print into the answers.
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from vesalius.data import workers  # under its own name, so that what it pickles is found by the build

    workers.prepare(sys.argv[1])
    workers.serve(sys.stdin.buffer, private)
