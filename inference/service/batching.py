"""One thread that draws, and the queue before it: requests that can be drawn together are."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from vesalius.data.images.image import Picture
from vesalius.inference.request import Request, Sampling

if TYPE_CHECKING:
    from vesalius.inference.generator import BatchKey, Generator

RECENT = 0.3
"""Weight of the newest batch in the pace."""


class FullError(Exception):
    """No room in the queue. seconds: until there will be, at the pace so far."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"the queue is full for about {seconds} s")
        self.seconds = seconds


class ClosedError(Exception):
    """Nothing new is drawn any more."""


class Watcher(Protocol):
    """Is told what the thread does."""

    def began(self, waited: Sequence[float]) -> None:
        """Pictures leave the queue, after so many seconds each."""

    def drew(self, num: int, seconds: float) -> None:
        """That many pictures were drawn together in so many seconds."""


@dataclass(eq=False, kw_only=True)
class _Job:
    """A picture that waits. group: what must be the same to be drawn together; None until the thread has counted."""

    request: Request
    sampling: Sampling
    queued: float
    picture: Future[Picture] = field(default_factory=Future)
    group: tuple[Sampling, BatchKey] | None = None


class Batcher:
    """Draws requests of many callers with one generator, the oldest first, and with it those that can go along.

    What a future's caller cancels before its drawing began is not drawn.
    """

    def __init__(
        self,
        generator: Generator,
        watcher: Watcher,
        *,
        batch_size: int,
        max_queue: int,
        wait: float,
        check: Callable[[BatchKey], None] | None = None,
    ) -> None:
        """max_queue: pictures that may wait. wait: seconds that the oldest waits for company. check: raises ValueError
        for what there is no room to draw."""
        self._generator, self._watcher, self._check = generator, watcher, check
        self._batch_size, self._max_queue, self._wait = batch_size, max_queue, wait
        self._changed = threading.Condition()
        self._jobs: list[_Job] = []
        self._num_drawing = 0
        self._pace: float | None = None  # seconds per picture
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="drawing", daemon=True)
        self._thread.start()

    def submit(self, requests: Sequence[Request], sampling: Sampling) -> list[Future[Picture]]:
        """The pictures of requests that can be drawn, all or none accepted. FullError or ClosedError where none is."""
        now = time.monotonic()
        jobs = [_Job(request=request, sampling=sampling, queued=now) for request in requests]
        with self._changed:
            if self._closed:
                raise ClosedError
            self._jobs = [job for job in self._jobs if not job.picture.cancelled()]
            excess = len(self._jobs) + len(jobs) - self._max_queue
            if excess > 0:
                raise FullError(max(1, math.ceil((excess + self._num_drawing) * (self._pace or 0.0))))
            self._jobs += jobs
            self._changed.notify()
        return [job.picture for job in jobs]

    def close(self) -> None:
        """Take nothing new; what was taken is still drawn."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def join(self, timeout: float | None = None) -> None:
        """Wait for the thread, after `close`."""
        self._thread.join(timeout)

    @property
    def alive(self) -> bool:
        """Whether the thread that draws is there."""
        return self._thread.is_alive()

    @property
    def num_waiting(self) -> int:
        """Pictures that wait."""
        with self._changed:
            return sum(not job.picture.cancelled() for job in self._jobs)

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is drawn."""
        with self._changed:
            return not self._num_drawing and all(job.picture.cancelled() for job in self._jobs)

    def _run(self) -> None:
        while jobs := self._next_batch():
            now = time.monotonic()
            self._watcher.began([now - job.queued for job in jobs])
            self._draw(jobs)
            with self._changed:
                self._num_drawing = 0

    def _next_batch(self) -> list[_Job]:
        """The jobs to draw next, waited for; none where the batcher is closed and its queue empty."""
        while True:
            with self._changed:
                self._jobs = [job for job in self._jobs if not job.picture.cancelled()]
                while not self._jobs:
                    if self._closed:
                        return []
                    self._changed.wait()
                jobs = list(self._jobs)
            # Here and not where requests come in: a tokenizer serves one thread at a time.
            for job in jobs:
                if job.group is None:
                    self._count(job)
            with self._changed:
                jobs = [job for job in self._jobs if job.group is not None]
                if not jobs:
                    continue
                group = [job for job in jobs if job.group == jobs[0].group][: self._batch_size]
                left = jobs[0].queued + self._wait - time.monotonic()
                if len(group) < self._batch_size and left > 0 and not self._closed:
                    self._changed.wait(left)
                    continue
                begun = [job for job in group if job.picture.set_running_or_notify_cancel()]
                self._jobs = [job for job in self._jobs if job not in group]
                self._num_drawing = len(begun)
                if begun:
                    return begun

    def _count(self, job: _Job) -> None:
        """Set the group of a job, or drop it with the reason."""
        try:
            key = self._generator.batch_key(job.request, job.sampling)
            if self._check is not None:
                self._check(key)
            job.group = (job.sampling, key)
        except Exception as error:
            with self._changed:
                self._jobs = [other for other in self._jobs if other is not job]
            if job.picture.set_running_or_notify_cancel():
                job.picture.set_exception(error)

    def _draw(self, jobs: list[_Job]) -> None:
        """Draw jobs of one group. Where that fails it is tried in halves: the fault may be one picture's alone, or
        memory's."""
        sampling, start = jobs[0].sampling, time.monotonic()
        try:
            drawn = list(
                self._generator.draw_all(
                    [job.request for job in jobs],
                    steps=sampling.steps,
                    guidance=sampling.guidance,
                    negative=sampling.negative,
                    batch_size=len(jobs),
                )
            )
        except Exception as error:
            if len(jobs) > 1:
                self._draw(jobs[: len(jobs) // 2])
                self._draw(jobs[len(jobs) // 2 :])
                return
            jobs[0].picture.set_exception(error)
            return
        seconds = time.monotonic() - start
        pace = seconds / len(jobs)
        self._pace = pace if self._pace is None else RECENT * pace + (1 - RECENT) * self._pace
        self._watcher.drew(len(jobs), seconds)
        for job, (_, picture) in zip(jobs, drawn, strict=True):
            job.picture.set_result(picture)
