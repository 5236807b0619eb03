"""Who does the shards of a job: processes of this machine, those of `accelerate launch`, or a Ray cluster.

Each engine leaves the same bytes, since shards and their batches are the same everywhere. What it does not finish the
same line does later, with any engine.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.command.progress import Progress
from vesalius.inference.config import GenerateConfig
from vesalius.inference.running.shards import ShardJob, Shards, Spread
from vesalius.inference.running.worker import REFUSED

LOOK, COUNT = 0.5, 2.0
"""Seconds between two looks at whether workers have ended, and at how much is drawn."""
BLOCKS = 10_000
"""Most tasks that Ray is given; of a longer run each has several shards."""
WAIT = timedelta(days=30)
"""For which the processes of a launch wait for the first one, which reads all prompts."""
Begin = Callable[[], None]
"""Settles the folder for this run; called when what is likeliest to fail has not."""


def check_engine(config: GenerateConfig) -> None:
    """ValueError where the engine is not installed, or is not the one that this process was started for."""
    if config.workers < 0:
        raise ValueError(f"--workers {config.workers}: expected a number of processes, or 0 for one on each GPU")
    if config.engine == "ray" and importlib.util.find_spec("ray") is None:
        raise ValueError('--engine ray is not installed; `pip install "vesalius[ray]"`, or use --engine local')
    if config.engine != "accelerate" and num_launched() > 1:
        raise ValueError(f"--engine {config.engine}: was started {num_launched()} times; give --engine accelerate")
    if config.engine == "accelerate" and config.workers:
        raise ValueError(f"--workers {config.workers}: `accelerate launch --num_processes` says it; leave it out")


def work_local(job: ShardJob, begin: Begin, num_whole: int) -> None:
    """Work here: in this process where there is one device, otherwise in one process for each.

    A process that dies is told; the others take over what it held. ValueError as a worker raised it.
    """
    devices, work = _devices(job.spread), job.work
    undone = len(work.undone())
    if len(devices) > undone and not job.spread.json:
        few = f"{counted(undone, 'shard')} for {len(devices)} processes"
        print(f"{job.name}: {few}; a smaller --shard-size makes more", file=sys.stderr)
    devices = devices[:undone]
    if len(devices) == 1:
        _work_here(job, begin, num_whole)
        return
    begin()
    processes: dict[int, subprocess.Popen[bytes]] = {}
    try:
        for rank, device in enumerate(devices):
            processes[rank] = _started(job, rank, len(devices), device)
        with _watched(job, work):
            while processes:
                time.sleep(LOOK)
                for rank in [rank for rank, process in processes.items() if process.poll() is not None]:
                    _ended(job, processes.pop(rank), rank, len(processes))
    finally:
        _end(processes)


def work_launched(job: ShardJob, begin: Begin, num_whole: int, launch: Launch) -> None:
    """Work as the first process of `accelerate launch`; the others are told the job when it has begun."""
    if launch.world == 1:
        _work_here(job, begin, num_whole)
        return
    worker = job.worker(launch.device(job.spread))
    if num_whole < job.total:
        worker.open()
    begin()
    launch.tell(job)
    with _watched(job, job.work):
        worker.run(launch.rank, launch.world)


def work_ray(job: ShardJob, begin: Begin, num_whole: int) -> None:
    """Work on a Ray cluster whose nodes see the same folders. Ray starts a killed worker again, and it goes on.

    The cluster is the one that RAY_ADDRESS names, or one on this machine alone. ValueError as a worker raised it.
    """
    import ray

    logging.getLogger("ray").setLevel(logging.WARNING)
    ours = not ray.is_initialized()
    if ours:
        ray.init(include_dashboard=False, log_to_driver=False, logging_level=logging.WARNING)
    try:
        begin()
        work = job.work
        undone = work.undone()
        gpus = int(ray.cluster_resources().get("GPU", 0)) if job.spread.device != "cpu" else 0
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        room = gpus or int(ray.cluster_resources().get("CPU", 1))  # more would wait for ever
        size = min(job.spread.workers or gpus or 1, len(undone), max(1, room))
        shards = ray.data.from_items([{"shard": n} for n in undone], override_num_blocks=min(len(undone), BLOCKS))
        answers = shards.map_batches(
            RayWorker, fn_constructor_args=(job,), batch_size=1, num_cpus=1, num_gpus=1 if gpus else 0,
            compute=ray.data.ActorPoolStrategy(size=size),
        )  # fmt: skip
        with _watched(job, work):
            for row in answers.iter_rows():
                if row["refused"]:
                    raise ValueError(row["refused"])
    except ray.exceptions.RayError as error:  # what is whole stays, and the same line continues
        print(f"{job.name}: Ray stopped: {error}", file=sys.stderr)
    finally:
        if ours:
            ray.shutdown()


class RayWorker:
    """What an actor of Ray Data does with a shard: do it, or wait until it is done by whoever holds it."""

    def __init__(self, job: ShardJob) -> None:
        os.chdir(job.folder)
        self._worker = job.worker()

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        told = ""
        for shard in batch["shard"]:
            try:
                while not self._worker.take(int(shard)):
                    time.sleep(1)
            except ValueError as error:  # of the user's; Ray would try it again
                told = str(error)
        return {"shard": batch["shard"], "refused": [told] * len(batch["shard"])}


class Launch:
    """This process among those that `accelerate launch` started; alone where it started none."""

    def __init__(self) -> None:
        self.rank, self.world = int(os.environ.get("RANK", "0")), num_launched()
        self._told = False

    def device(self, config: Spread) -> str:
        """The device of this process: each has its own GPU."""
        import torch

        if config.device == "cpu" or not torch.cuda.is_available():
            return config.device
        return f"cuda:{int(os.environ.get('LOCAL_RANK', '0')) % torch.cuda.device_count()}"

    def __enter__(self) -> Launch:
        if self.world > 1:
            import torch

            torch.distributed.init_process_group("gloo", timeout=WAIT)
        return self

    def __exit__(self, *_: object) -> None:
        if self.world > 1:
            import torch

            if self.rank == 0 and not self._told:
                self.tell(None)
            torch.distributed.destroy_process_group()

    def tell(self, job: ShardJob | None) -> ShardJob | None:
        """What the first process says to all: the job, or None where there is nothing to do."""
        import torch

        self._told = True
        told: list[ShardJob | None] = [job]
        torch.distributed.broadcast_object_list(told, src=0)
        return told[0]

    def follow(self) -> None:
        """Work as one of the others."""
        if (job := self.tell(None)) is not None:
            job.worker(self.device(job.spread)).run(self.rank, self.world)


def num_launched() -> int:
    """How many processes the launcher of this one started, as torch's launchers say it."""
    return int(os.environ.get("WORLD_SIZE", "1")) if "RANK" in os.environ else 1


def _work_here(job: ShardJob, begin: Begin, num_whole: int) -> None:
    worker = job.worker()
    if num_whole < job.total:
        worker.open()
    begin()
    with Progress(job.name, job.total, start=num_whole, quiet=job.spread.json) as bar:
        worker.run(step=bar.step)


def _devices(config: Spread) -> list[str]:
    """The device of each process. ValueError where this machine lacks it."""
    from vesalius.inference.generator import find_device

    found = [find_device(config.device)]
    if found == ["cuda"]:
        import torch

        found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return [found[i % len(found)] for i in range(config.workers or len(found))]


def _started(job: ShardJob, rank: int, world: int, device: str) -> subprocess.Popen[bytes]:
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    process = subprocess.Popen(
        [sys.executable, "-m", "vesalius.inference.running.worker"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        env={"OMP_NUM_THREADS": str(max(1, cores // world)), **os.environ}, start_new_session=True,
    )  # fmt: skip
    assert process.stdin is not None
    with suppress(BrokenPipeError):  # it has ended, which will be seen
        pickle.dump((job, rank, world, device), process.stdin)
        process.stdin.flush()
    return process


def _ended(job: ShardJob, process: subprocess.Popen[bytes], rank: int, num_left: int) -> None:
    """What the end of a worker means: nothing, a ValueError, or a line of what is lost."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.close()
    with process.stdout as file:
        answer = file.read()
    if process.returncode == REFUSED and answer:
        told = json.loads(answer)
        raise {"ValueError": ValueError, "MemoryError": MemoryError}.get(told["kind"], RuntimeError)(told["error"])
    if process.returncode:
        code = process.returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"stopped with {code}"
        rest = f"{num_left} {'goes' if num_left == 1 else 'go'} on" if num_left else "none is left"
        print(f"{job.name}: worker {rank} (process {process.pid}) {how}; {rest}", file=sys.stderr, flush=True)


def _end(processes: dict[int, subprocess.Popen[bytes]]) -> None:
    for process in processes.values():
        process.terminate()
    for process in processes.values():
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


@contextmanager
def _watched(job: ShardJob, work: Shards) -> Iterator[None]:
    """A progress line of what all processes do, by what lies in the folder."""
    start, ended = work.count(), threading.Event()

    def look() -> None:
        while not ended.wait(COUNT):
            bar.step(max(0, work.count() - bar.done))
        bar.step(max(0, work.count() - bar.done))

    with Progress(job.name, job.total, start=start, quiet=job.spread.json) as bar:
        thread = threading.Thread(target=look, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()
