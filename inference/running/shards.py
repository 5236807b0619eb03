"""Shards: work that is cut into parts which several processes do, each part once, whoever does it.

FOLDER/00000.jsonl    the mark of a part that is done; written last
FOLDER/00000.lock     held by whoever does it; the system lets go of it when that process ends

A part that is done twice is the same. What is done is drawing (`vesalius.inference.running.worker`), or any other job
that says what its parts are (`ShardJob`); who does it are the engines (`vesalius.inference.running.engines`).
"""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

PAUSE = 1.0
"""Seconds until shards that others hold are tried again."""


class Shards:
    """What is done of work in `num` parts, in a folder of its own. suffix: of their marks."""

    def __init__(self, folder: Path, num: int, *, suffix: str = "jsonl") -> None:
        self.folder, self.num, self.suffix = folder, num, suffix

    def done(self, shard: int) -> Path:
        """The mark of a shard."""
        return self.folder / f"{shard:05d}.{self.suffix}"

    def undone(self) -> list[int]:
        return [shard for shard in range(self.num) if not self.done(shard).is_file()]

    def count(self) -> int:
        """How many shards are done, while others do more."""
        return self.num - len(self.undone())

    @contextmanager
    def hold(self, shard: int) -> Iterator[bool]:
        """Whether a shard is free, and then nobody else's until the end of the `with`. On a disk without locks it
        always is: done twice it is the same."""
        path = self.folder / f"{shard:05d}.lock"
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            free = _lock(handle)
            yield free
            if free and self.done(shard).is_file():
                path.unlink(missing_ok=True)
        finally:
            os.close(handle)


class Spread(Protocol):
    """The part of a configuration that says who works: a device, how many processes, and whether they are silent."""

    @property
    def device(self) -> str: ...

    @property
    def workers(self) -> int: ...

    @property
    def json(self) -> bool: ...


class ShardJob(Protocol):
    """All that a process needs to do any part of some work; it can be pickled."""

    @property
    def name(self) -> str:
        """What is done, for progress and messages."""

    @property
    def spread(self) -> Spread: ...

    @property
    def work(self) -> Shards: ...

    @property
    def total(self) -> int:
        """What `work.count()` will be when all is done."""

    @property
    def folder(self) -> str:
        """That relative paths are relative to."""

    def worker(self, device: str | None = None) -> ShardWorker:
        """What does its parts. device: in place of the configuration's."""


class ShardWorker(ABC):
    """Does parts of a job, in one process."""

    def __init__(self, work: Shards) -> None:
        self.work = work
        self.step: Callable[[], None] = lambda: None

    def open(self) -> object:
        """Open what all parts need. ValueError where it cannot be had."""
        return None

    @abstractmethod
    def do(self, shard: int) -> None:
        """Do a part and mark it; `step` is called as `work.count()` grows."""

    def end(self) -> None:
        """Say what is to be said after the last part."""
        return

    def run(self, rank: int = 0, world: int = 1, step: Callable[[], None] | None = None) -> None:
        """Work as one of `world` until all shards are marked: first its own, then what is left of the others', which
        may have ended."""
        self.step, own = step or self.step, True
        while undone := self.work.undone():
            taken = [self.take(shard) for shard in undone if not own or shard % world == rank]
            if not own and not any(taken):
                time.sleep(PAUSE)
            own = False
        if rank == 0:
            self.end()

    def take(self, shard: int) -> bool:
        """Do what is missing of a shard and mark it. False where another process holds it."""
        with self.work.hold(shard) as free:
            if free and not self.work.done(shard).is_file():
                self.do(shard)
            return free


def _lock(handle: int) -> bool:
    if not hasattr(os, "O_DIRECTORY"):  # a system without these locks
        return True
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a network disk without locks
        pass
    return True
