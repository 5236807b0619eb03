"""A process that draws shards of a run; as a module it is one of several on a machine, which is told what to draw on
its standard input and ends when whoever began it has gone.
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from vesalius.inference.config import GenerateConfig
from vesalius.inference.request import Request
from vesalius.inference.running.shards import ShardWorker
from vesalius.inference.running.work import Plan, Requests, Work, walk
from vesalius.inference.writing.sinks import open_sink

if TYPE_CHECKING:
    from vesalius.inference.drawing.memory import MemoryPlan
    from vesalius.inference.generator import Generator

REFUSED, STOPPED = 2, 75
"""Exit codes, as the command line has them."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """All that a process needs to draw any shard of a run. folder: that relative paths are relative to."""

    config: GenerateConfig
    source: Requests
    plan: Plan
    steps: int
    guidance: float
    folder: str
    precision: Literal["fp32", "bf16"]
    memory: MemoryPlan | None = None
    name: str = "generate"

    @property
    def work(self) -> Work:
        return Work(self.config.out, self.plan)

    @property
    def spread(self) -> GenerateConfig:
        return self.config

    @property
    def total(self) -> int:
        return self.plan.num_requests

    def worker(self, device: str | None = None) -> Worker:
        return Worker(self, device)


class Worker(ShardWorker):
    """Draws shards, with one generator, opened for the first picture. device: in place of the configuration's."""

    work: Work

    def __init__(self, job: Job, device: str | None = None) -> None:
        super().__init__(job.work)
        self.job, self.sink = job, open_sink(job.config)
        self._device = device or job.config.device
        self._generator: Generator | None = None
        self._told = False
        self._walk: Iterator[tuple[int, list[Request]]] = iter(())
        self._next = -1

    def open(self) -> Generator:
        """The generator. ValueError where base or adapter are none, or cannot draw a size that is asked for."""
        if self._generator is None:
            from vesalius.inference.generator import Generator

            config = self.job.config
            generator = Generator(
                config.base, config.adapter, scheduler=config.scheduler, device=self._device,
                precision=self.job.precision, reuse=config.reuse, memory=self._memory(), attention=config.attention,
            )  # fmt: skip
            for size in self.job.plan.sizes:
                generator.check_size(size)
            self._generator = generator
        return self._generator

    def run(self, rank: int = 0, world: int = 1, step: Callable[[], None] | None = None) -> None:
        self._told |= rank > 0
        super().run(rank, world, step)

    def end(self) -> None:
        if self._generator is not None and (watch := self._generator.attention) is not None:
            print(f"attention: {watch.seen}", file=sys.stderr)

    def do(self, shard: int) -> None:
        job, requests = self.job, self._requests(shard)
        manifest = self.work.manifest(shard, self.sink.folder)
        if any(r.file_name not in manifest.whole for r in requests):
            generator, negative = self.open(), job.config.negative
            self._tell_reuse(generator, requests)
            drawn = generator.draw_all(
                requests, steps=job.steps, guidance=job.guidance, negative=negative,
                batch_size=job.memory.batch_size if job.memory else job.config.batch_size, kept=manifest.whole,
            )  # fmt: skip
            for request, picture in drawn:
                sample = generator.sample_of(request, steps=job.steps, guidance=job.guidance, negative=negative)
                manifest.add(self.sink.write(sample, picture))
                self.step()
        samples = [manifest.whole[r.file_name] for r in requests]
        self.sink.close(shard, samples)
        self.work.close(shard, samples)
        self.sink.tidy(samples)

    def _memory(self) -> MemoryPlan | None:
        """The job's plan, on the device of this worker."""
        plan = self.job.memory
        if plan is None or plan.device.partition(":")[0] != self._device.partition(":")[0]:
            return plan
        return dataclasses.replace(plan, device=self._device)

    def _tell_reuse(self, generator: Generator, requests: list[Request]) -> None:
        """Say once in a run, where features are reused, what that costs."""
        if self.job.config.reuse > 1 and not self._told:
            from vesalius.inference.drawing.reuse import measure_reuse

            cost = measure_reuse(
                generator, requests, steps=self.job.steps, guidance=self.job.guidance, negative=self.job.config.negative
            )
            print(cost, file=sys.stderr)
        self._told = True

    def _requests(self, shard: int) -> list[Request]:
        """The requests of a shard: on from the last one, or from the beginning where it lies before that."""
        if not 0 <= self._next <= shard:
            self._walk, self._next = walk(self.job.source, self.job.plan), 0
        for number, requests in self._walk:
            self._next = number + 1
            if number == shard and len(requests) == self.job.plan.length(shard):
                return requests
            if number >= shard:
                break
        self._next = -1
        raise ValueError(
            f"{self.job.config.out}: the prompts have changed while they were drawn; change them back, or give "
            "another --out"
        )


class _Stopped(KeyboardInterrupt):
    """SIGTERM."""


def _stop(*_: object) -> None:
    raise _Stopped


def _end_with_driver(pipe: int) -> None:
    """Whoever began this process holds the other end of its input, also where it is killed."""
    while os.read(pipe, 1):
        pass
    os._exit(STOPPED)


def main() -> int:
    # What prints must not print into the answer, which is read when this process has ended.
    answer = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, _stop)
    try:
        job, rank, world, device = pickle.load(sys.stdin.buffer)
        threading.Thread(target=_end_with_driver, args=(sys.stdin.fileno(),), daemon=True).start()
        job.worker(device).run(rank, world)
    except KeyboardInterrupt:
        return STOPPED
    except (ValueError, MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):  # of the machine, not of what is asked
            raise
        answer.write(json.dumps({"kind": type(error).__name__, "error": str(error)}))
        return REFUSED
    finally:
        answer.close()
    return 0


if __name__ == "__main__":
    from vesalius.inference.running import worker  # under its own name, so that it is that of what was pickled

    sys.exit(worker.main())
