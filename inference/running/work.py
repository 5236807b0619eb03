"""The work of a run: its requests cut into shards, each drawn by one process, and what is whole so far, on disk.

OUT/.generate/plan.json             how many requests there are, and a digest of them
OUT/.generate/shards/00000.part     samples of a shard that is being drawn, each line after its files are whole
OUT/.generate/shards/00000.jsonl    all samples of a shard, in the order of its requests; written last, it is the mark
OUT/.generate/shards/00000.lock     held by whoever draws the shard; the system lets go of it when that process ends

A shard is the unit of work: done twice it is the same. Pictures are drawn in the same batches whoever draws them, since
none is shared by two shards. Nothing here grows with the number of requests but files, and a number for each shard.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from vesalius.data.command.progress import Progress
from vesalius.data.command.workers import batches
from vesalius.data.images.image import Shape
from vesalius.data.record import read_state, write_atomic, write_json
from vesalius.inference.request import Request, request_modality
from vesalius.inference.running.shards import Shards
from vesalius.inference.sample import WORK, Manifest, Sample, read_samples, sample_lines

Requests = Callable[[], Iterable[Request]]
"""The requests of a run from the first one on, whenever it is called; for other processes it can be pickled."""
FEW_SHARDS, LEAST = 16, 64
"""A short run has at least so many shards, if they have at least so many pictures, so that several processes share it.
Both do not depend on who draws: the shards of a run are the same everywhere."""


class Digest:
    """Of a list of requests, or of the samples that were drawn of it: equal where the list is."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=16)
        self.count = 0

    def add(self, file_name: str, text: str, seed: int, modality: str, findings: Sequence[Any]) -> None:
        self._hash.update(repr((file_name, text, seed, modality, tuple(findings))).encode())
        self.count += 1

    @property
    def told(self) -> str:
        return self._hash.hexdigest()


@dataclass(frozen=True, kw_only=True)
class Plan:
    """num_requests: pictures in all. digest: of the requests. sizes: that are asked for, distinct. longest: of their
    prompts."""

    num_requests: int
    shard_size: int
    digest: str
    sizes: tuple[Shape | None, ...] = (None,)
    longest: str = ""

    @property
    def num_shards(self) -> int:
        return -(-self.num_requests // self.shard_size)

    def length(self, shard: int) -> int:
        """How many pictures a shard has."""
        return min(self.shard_size, self.num_requests - shard * self.shard_size)


def make_plan(
    source: Requests,
    shard_size: int | None,
    *,
    most: int,
    former: Plan | None,
    checks: Iterable[Callable[[Request], None]] = (),
    quiet: bool,
) -> tuple[Plan, bool]:
    """Read all requests once: count and check them. Returns the plan, and whether the former one's requests begin it.

    shard_size None: at most `most`, fewer in a short run. checks: raise ValueError for a request that cannot be drawn
    or written. ValueError too as the source raises it.
    """
    digest, sizes, same, longest = Digest(), dict[Shape | None, None](), former is None, ""
    with Progress("reading prompts", former.num_requests if former else None, quiet=quiet) as bar:
        for request in source():
            for check in checks:
                check(request)
            modality = request_modality(request).name
            digest.add(request.file_name, request.prompt, request.seed, modality, request.findings)
            sizes[request.size] = None
            longest = max(longest, request.prompt, key=len)
            if former is not None and digest.count == former.num_requests:
                same = digest.told == former.digest
            if digest.count % 1000 == 0:
                bar.step(1000)
    if shard_size is None and former is not None:
        shard_size = former.shard_size
    elif shard_size is None:
        fair = -(-digest.count // FEW_SHARDS)
        shard_size = min(most, -(-fair // LEAST) * LEAST)
    plan = Plan(
        num_requests=digest.count, shard_size=shard_size, digest=digest.told, sizes=tuple(sizes), longest=longest
    )
    return plan, same


def walk(source: Requests, plan: Plan) -> Iterator[tuple[int, list[Request]]]:
    """The shards of a run in order, each with its requests."""
    return enumerate(batches(source(), plan.shard_size))


class Work(Shards):
    """What is whole of a run in `out`."""

    def __init__(self, out: Path, plan: Plan) -> None:
        super().__init__(out / WORK / "shards", plan.num_shards)
        self.out, self.plan = out, plan

    @classmethod
    def plan_in(cls, out: Path) -> Plan | None:
        """The plan of the run that is in a folder; None where there is none. ValueError where it is damaged."""
        path = out / WORK / "plan.json"
        if not path.is_file():
            return None
        row = read_state(path, "give another --out")
        try:
            return Plan(**{k: row[k] for k in ("num_requests", "shard_size", "digest")})
        except KeyError as error:
            raise ValueError(f"{path}: damaged, {error} is missing; give another --out") from None

    def begin(self) -> Self:
        """Make the folder, and say there what the plan is."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for left in self.folder.glob(".*.tmp"):  # by a run that was killed
            left.unlink()
        write_json(self.out / WORK / "plan.json", {k: v for k, v in asdict(self.plan).items() if k != "sizes"})
        return self

    def part(self, shard: int) -> Path:
        return self.folder / f"{shard:05d}.part"

    def count(self) -> int:
        """How many pictures are whole by what is written here, while others draw."""
        found, parts = 0, dict[int, Path]()
        with os.scandir(self.folder) as entries:
            for entry in entries:
                number, _, kind = entry.name.partition(".")
                if kind == "jsonl":
                    found += self.plan.length(int(number))
                    parts[int(number)] = Path()
                elif kind == "part":
                    parts.setdefault(int(number), Path(entry.path))
        for path in parts.values():
            if path != Path():
                try:
                    found += path.read_bytes().count(b"\n")
                except FileNotFoundError:  # its shard has just become whole
                    continue
        return min(found, self.plan.num_requests)

    def manifest(self, shard: int, folder: Path) -> Manifest:
        """The growing list of a shard whose files lie below `folder`; what is not whole is left out."""
        return Manifest(folder, self.part(shard))

    def close(self, shard: int, samples: Sequence[Sample]) -> None:
        """Mark a shard of whole samples, which are in the order of its requests."""
        write_atomic(self.done(shard), sample_lines(samples))
        self.part(shard).unlink(missing_ok=True)

    def reopen(self, shard: int, samples: Sequence[Sample]) -> None:
        """Take the mark from a shard, of which these samples are whole."""
        write_atomic(self.part(shard), sample_lines(samples))
        self.done(shard).unlink(missing_ok=True)

    def read(self, shard: int) -> list[Sample]:
        """The samples of a shard by its lists. ValueError names a line that is none."""
        for path in (self.done(shard), self.part(shard)):
            if path.is_file():
                return list(read_samples(path, cut=path.suffix == ".part"))
        return []

    def samples(self) -> Iterator[Sample]:
        """All samples in the order of the requests. ValueError at the end where they are not just those of the plan:
        the prompts changed while they were drawn."""
        digest = Digest()
        for shard in range(self.plan.num_shards):
            for sample in read_samples(self.done(shard)):
                digest.add(sample.file_name, sample.text, sample.seed, sample.modality, sample.findings)
                yield sample
        if (digest.count, digest.told) != (self.plan.num_requests, self.plan.digest):
            raise ValueError(
                f"{self.out}: the prompts have changed while they were drawn; change them back, or give another --out"
            )
