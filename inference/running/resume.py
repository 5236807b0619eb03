"""What is there already of a run, shard by shard: looked at before it goes on, in memory that does not grow with it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Mapping, Sequence

from vesalius.data.command.counted import counted
from vesalius.data.command.progress import Progress
from vesalius.data.record import write_atomic
from vesalius.inference.prompts.source import source_facts
from vesalius.inference.request import Request
from vesalius.inference.running.work import Requests, Work, walk
from vesalius.inference.sample import WORK, Sample, check_prompts, read_samples, sample_lines
from vesalius.inference.writing.sinks import Sink

AHEAD = 10_000
"""Lines of a finished folder that are read ahead of the requests. Other releases wrote them in the order of drawing."""
STARTED = ("source_sha256", "mask_sha256", "strength")
"""What tells of a sample which picture it was drawn from, and how far."""
LONG = 10_000
"""Pictures from which on it is told how far looking is."""


def take_up(work: Work, sink: Sink, source: Requests, *, quiet: bool) -> int:
    """Look at all that is there; what is not whole any more is to be drawn again. Returns how many samples are whole.

    A finished samples folder is its metadata.jsonl alone, and is cut into shards again. ValueError where a sample was
    drawn from another prompt or seed than is asked for under its name, or a line of a list is none.
    """
    finished = work.out / "metadata.jsonl"
    if finished.is_file():
        shutil.rmtree(work.out / WORK, ignore_errors=True)  # of a run that was killed while it made this very file
        try:
            _cut(work, source)
            return _look(work, sink, source, quiet=quiet)
        except ValueError:
            shutil.rmtree(work.out / WORK, ignore_errors=True)
            raise
    return _look(work, sink, source, quiet=quiet) if work.folder.is_dir() else 0


def _cut(work: Work, source: Requests) -> None:
    """The shards of what metadata.jsonl holds."""
    work.folder.mkdir(parents=True)
    rows = read_samples(work.out / "metadata.jsonl", cut=True)
    waiting: dict[str, Sample] = {}
    there = 0
    for shard, requests in walk(source, work.plan):
        for sample in itertools.islice(rows, AHEAD if shard == 0 else len(requests)):
            waiting[sample.file_name] = sample
            there += 1
        found = [waiting.pop(r.file_name) for r in requests if r.file_name in waiting]
        if found:
            path = work.done(shard) if len(found) == len(requests) else work.part(shard)
            write_atomic(path, sample_lines(found))
    there += sum(1 for _ in rows)
    if there > work.plan.num_requests and waiting:
        raise ValueError(
            f"{work.out}: holds {counted(there, 'sample')}, and {work.plan.num_requests} are asked for now; the "
            "prompts have changed, so give another --out"
        )


def _look(work: Work, sink: Sink, source: Requests, *, quiet: bool) -> int:
    total = work.plan.num_requests
    num_whole = 0
    with Progress("looking at what is whole", total, quiet=quiet or total < LONG) as bar:
        for shard, requests in walk(source, work.plan):
            num_whole += len(_of_shard(work, sink, shard, requests))
            bar.step(len(requests))
    return num_whole


def _of_shard(work: Work, sink: Sink, shard: int, requests: list[Request]) -> list[Sample]:
    """The whole samples of a shard, whose mark is taken where they are not all."""
    if work.done(shard).is_file():
        told = work.read(shard)
        whole = sink.whole(shard, told)
        if [s.file_name for s in whole] != [r.file_name for r in requests]:
            work.reopen(shard, whole)
    else:
        whole = []
    if work.part(shard).is_file():
        whole = list(work.manifest(shard, sink.folder).whole.values())
    there = {sample.file_name: sample for sample in whole}
    check_prompts(work.out, there, {r.file_name: (r.prompt, r.seed) for r in requests})
    _check_starts(work, there, requests)
    return whole


def _check_starts(work: Work, there: Mapping[str, Sample], requests: Sequence[Request]) -> None:
    """ValueError where a sample that is there was drawn from another picture than its row brings now."""
    for request in requests:
        source, sample = request.source, there.get(request.file_name)
        if sample is None or ((source is None or not source.where) and not sample.source):
            continue
        now = source_facts(source, 1) if source else {}
        if any(now.get(name, "") != (getattr(sample, name) or "") for name in STARTED):
            place = source.where if source and source.where else request.file_name
            raise ValueError(
                f"{place}: {work.out / request.file_name} was drawn from another picture, mask or strength than is "
                "asked for now; change it back, or give another --out"
            )
