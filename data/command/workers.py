"""Functions called in worker processes on all cores, with results in the order of the tasks.

Each worker is a process of its own, fed through its standard input. A pool of forks would keep the folder's lock when
the build is killed, a pool that imports the caller's script would run it again, and in either a decoder that crashes
takes the whole build with it; here it costs one item. A worker whose build has gone reads the end of its input and
ends.
"""

from __future__ import annotations

import gc
import importlib
import itertools
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any, TypeVar

from vesalius.data.sources.draft import Kind

T = TypeVar("T")
R = TypeVar("R")

FEW = 64
"""Items for each of which a worker's start would take longer than it saves."""
AHEAD = 4
"""Tasks for each worker that are begun before the first of them is asked for."""
KEPT = 128_000_000
"""Bytes of freed memory that a worker keeps. Arrays of a frame are given back to the system and taken from it again
for each image otherwise, which takes longer than all arithmetic on them."""


class Crashed(Exception):
    """The process died while it worked on an item."""


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    each = iter(items)
    while batch := list(itertools.islice(each, size)):
        yield batch


def num_workers(asked: int, num_items: int) -> int:
    """As many as asked; of 0 the cores that this process may use, fewer where there is little to do."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return asked or max(1, min(cores, num_items // FEW))


class Workers:
    """The worker processes of one build. They begin when they are needed, or ahead of it, and end with the `with`.

    asked: how many at most; 0 for one a core.
    """

    def __init__(self, asked: int) -> None:
        self.asked = asked
        self._count = 1
        self._free = threading.Semaphore(1)
        self._idle: deque[subprocess.Popen[bytes]] = deque()
        self._all: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._idle:
            process.kill()
        for process in self._all:
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    with suppress(OSError):  # what a dead worker did not read
                        pipe.close()
        for process in self._all:
            try:
                process.wait(timeout=5)
            except subprocess.TimeoutExpired:  # a decoder that does not end
                process.kill()
                process.wait()

    def begin(self, num_items: int, kind: Kind) -> None:
        """Start as many as so many items will have, since a start takes half a second; kind: what they will decode.
        None where one would work, which is this process."""
        count = num_workers(self.asked, num_items)
        while count > 1 and len(self._all) < count:
            self._idle.append(self._started(kind))

    def in_order(
        self, tasks: Iterable[T], run: Callable[[T], R], num_items: int = sys.maxsize
    ) -> Iterator[tuple[T, R]]:
        """(task, run(task)) in the order of the tasks, few tasks ahead, in two threads for each worker that `num_items`
        have: one waits for it while the other has its next items ready.

        Raises what a task raised.
        """
        self._count = count = num_workers(self.asked, num_items)
        self._free = threading.Semaphore(count)
        if count == 1:
            for task in tasks:
                yield task, run(task)
            return
        with ThreadPoolExecutor(2 * count) as pool:
            begun: deque[tuple[T, Future[R]]] = deque()
            try:
                for task in tasks:
                    begun.append((task, pool.submit(run, task)))
                    if len(begun) >= AHEAD * count:
                        first, future = begun.popleft()
                        yield first, future.result()
                while begun:
                    first, future = begun.popleft()
                    yield first, future.result()
            finally:
                pool.shutdown(cancel_futures=True)

    def call(self, function: Callable[..., R], items: Sequence[Any], *args: Any) -> list[R | Exception]:
        """What `function(item, *args)` returned or raised for each item, from one process; a function of a module.

        Crashed for an item at which the process died. Where `in_order` has one worker, this process does it.
        """
        if self._count == 1:
            return [_outcome(function, item, args) for item in items]
        try:
            outcomes: list[R | Exception] = self._ask(function, items, args)
            return outcomes
        except Crashed as crash:
            return [crash] if len(items) == 1 else [self.call(function, [item], *args)[0] for item in items]

    def _ask(self, function: Callable[..., Any], items: Sequence[Any], args: tuple[Any, ...]) -> Any:
        asked = pickle.dumps((function, items, args))
        with self._free:
            try:
                process = self._idle.pop()
            except IndexError:
                process = self._started()
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(asked)
                process.stdin.flush()
                outcomes = pickle.load(process.stdout)
            except (EOFError, BrokenPipeError, pickle.UnpicklingError):
                raise Crashed(f"exit code {process.wait()}") from None
            self._idle.append(process)
        return outcomes

    def _started(self, kind: Kind = "image") -> subprocess.Popen[bytes]:
        # By glibc's names; other systems pass over them. 32 MiB is the most that its second takes.
        kept = {"MALLOC_TRIM_THRESHOLD_": str(KEPT), "MALLOC_MMAP_THRESHOLD_": str(32 << 20)}
        process = subprocess.Popen(
            [sys.executable, "-m", "vesalius.data.command.workers", kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            env={**kept, **os.environ, "OMP_NUM_THREADS": "1"}, start_new_session=True,
        )  # fmt: skip
        self._all.append(process)
        return process


def _outcome(function: Callable[..., R], item: Any, args: tuple[Any, ...]) -> R | Exception:
    try:
        return function(item, *args)
    except Exception as error:  # raised again, or told, by the build
        return error


def prepare(kind: str) -> None:
    """Import what decoding needs before it is asked for.

    Not what pydicom would download its own test files with, and does without: that takes a quarter of a start.
    """
    modules: dict[str, Any] = sys.modules  # type: ignore[assignment]
    absent = [name for name in ("requests", "tqdm") if modules.setdefault(name, None) is None]
    for name in (
        "vesalius.data.images.encode",
        *(("vesalius.data.dicom.pixels", "pydicom.pixels") if kind == "dicom" else ()),
    ):
        importlib.import_module(name)
    for name in absent:
        del modules[name]


def serve(asked: IO[bytes], answers: IO[bytes]) -> None:
    """What a worker does until its input ends."""
    while True:
        try:
            function, items, args = pickle.load(asked)
        except EOFError:
            return
        pickle.dump([_outcome(function, item, args) for item in items], answers)
        answers.flush()


if __name__ == "__main__":
    # Decoders that print must not print into the answers.
    private = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    from vesalius.data.command import workers  # under its own name, so that what it pickles is found by the build

    workers.prepare(sys.argv[1])
    gc.freeze()  # what was imported stays, and need not be looked through again and again
    workers.serve(sys.stdin.buffer, private)
    os._exit(0)  # there is nothing to tidy up, which would take as long as two images
