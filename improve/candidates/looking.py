"""Looking at candidates by the engines that draw them: each chunk is judged by some process, which keeps its rows of
numbers by the digests of its pictures. Judging them in order afterwards opens no picture again.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vesalius.data.record import write_atomic
from vesalius.improve.candidates.candidates import CHUNK, Bench, judge_folder, open_bench
from vesalius.improve.config import ImproveConfig
from vesalius.improve.material import read_material
from vesalius.inference.running.engines import work_local, work_ray
from vesalius.inference.running.shards import Shards, ShardWorker
from vesalius.inference.sample import Sample, load_samples


@dataclass(frozen=True, kw_only=True)
class LookJob:
    """All samples of a folder, in chunks. folder: that relative paths are relative to."""

    spread: ImproveConfig
    samples: Path
    num: int
    folder: str
    name: str = "looking at candidates"

    @property
    def work(self) -> Shards:
        return Shards(self.samples.with_name("looked"), -(-self.num // CHUNK), suffix="done")

    @property
    def total(self) -> int:
        return self.work.num

    def worker(self, device: str | None = None) -> LookWorker:
        """The gates' networks are small and stay on the processor, whatever the device."""
        return LookWorker(self)


class LookWorker(ShardWorker):
    """Judges chunks, with one judge and one set of limits, which it finds among what is kept already."""

    def __init__(self, job: LookJob) -> None:
        super().__init__(job.work)
        self.job = job
        self._bench: Bench | None = None
        self._samples: list[Sample] = []

    def open(self) -> Bench:
        if self._bench is None:
            config = self.job.spread
            material, folder = read_material(config.data), config.out / "features"
            self._bench = open_bench(material, folder, quiet=True, search=config.search_text)
            self._samples = load_samples(self.job.samples)
        return self._bench

    def do(self, shard: int) -> None:
        bench = self.open()
        part = self._samples[shard * CHUNK : (shard + 1) * CHUNK]
        for _ in judge_folder(bench, self.job.samples, part, quiet=True):
            pass
        write_atomic(self.work.done(shard), b"")
        self.step()


def look(config: ImproveConfig, samples: Path, num: int) -> None:
    """Have all samples of a folder looked at by the engine of a loop. One process does it as it judges."""
    job = LookJob(spread=config, samples=samples, num=num, folder=str(Path.cwd()))
    if config.engine == "local" and config.workers <= 1:
        return
    job.work.folder.mkdir(parents=True, exist_ok=True)
    if job.work.undone():
        {"local": work_local, "ray": work_ray}[config.engine](job, lambda: None, job.work.count())
