"""Requests in shards: a stream that is read in flat memory, whose shards are the same whoever draws them."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from vesalius.inference import GenerateConfig, generate
from vesalius.inference.running.run import stream_requests
from vesalius.inference.running.work import Plan, Work, make_plan, walk
from vesalius.inference.sample import Sample

MEMORY = """
import resource, sys
from functools import partial
from pathlib import Path
from vesalius.inference.config import GenerateConfig
from vesalius.inference.request import Request
from vesalius.inference.running.resume import take_up
from vesalius.inference.running.run import stream_requests
from vesalius.inference.sample import Sample
from vesalius.inference.writing.sinks import open_sink
from vesalius.inference.running.work import Work, make_plan, walk

class Drawn:
    # A sink that takes pictures as they are told, so that all but the drawing is measured
    def whole(self, shard, samples):
        return samples

for num in map(int, sys.argv[3:]):
    folder = Path(sys.argv[1]) / str(num)
    folder.mkdir()
    with (folder / "prompts.txt").open("w") as file:
        file.writelines(f"Chest CT with a nodule, case {i}.\\n" for i in range(num))
    config = GenerateConfig(prompts=folder / "prompts.txt", out=folder / "s", modality="CT", json=True)
    source = partial(stream_requests, config)
    plan, _ = make_plan(source, None, most=1000, former=None, quiet=True)
    assert plan.num_requests == num
    work = Work(config.out, plan).begin()
    for shard, requests in walk(source, plan):
        if sys.argv[2] == "lists":
            work.close(shard, [
                Sample(file_name=r.file_name, text=r.prompt, modality=r.modality, seed=r.seed, steps=1, guidance=1.0)
                for r in requests
            ])
    if sys.argv[2] == "lists":
        assert take_up(work, Drawn(), source, quiet=True) == work.count() == num
        open_sink(config).finish(work.samples)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize(
    ("what", "few", "many"),
    [("prompts", 10_000, 200_000), pytest.param("lists", 3_000, 30_000, marks=pytest.mark.slow)],
)
def test_many_need_no_more_memory_than_few(tmp_path: Path, what: str, few: int, many: int) -> None:
    words = [sys.executable, "-c", MEMORY, str(tmp_path), what, str(few), str(many)]
    process = subprocess.run(words, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    before, after = map(int, process.stdout.split())  # KiB, the most until then
    assert after - before < 4 * 1024
    if what == "lists":
        assert sum(1 for _ in (tmp_path / str(many) / "s" / "metadata.jsonl").open()) == many


@pytest.mark.parametrize(("num", "size"), [(1, 64), (64, 64), (1000, 64), (1100, 128), (20_000, 1000)])
def test_a_short_run_has_smaller_shards_so_that_several_can_share_it(tmp_path: Path, num: int, size: int) -> None:
    source = partial(stream_requests, GenerateConfig(prompt=("Chest CT",), num=num, out=tmp_path))
    plan, _ = make_plan(source, None, most=1000, former=None, quiet=True)
    assert plan.shard_size == size
    shards = dict(walk(source, plan))
    assert [len(shards[i]) for i in range(plan.num_shards)] == [plan.length(i) for i in range(plan.num_shards)]
    assert [r for i in range(plan.num_shards) for r in shards[i]] == list(source())


def test_a_shard_is_held_by_one_until_that_one_lets_go_or_ends(tmp_path: Path) -> None:
    work = Work(tmp_path, Plan(num_requests=8, shard_size=4, digest="")).begin()
    with work.hold(0) as ours:
        assert ours
        with work.hold(0) as theirs, work.hold(1) as other:
            assert (theirs, other) == (False, True)
    code = f"""
import os
from pathlib import Path
from vesalius.inference.running.work import Plan, Work
with Work(Path({str(tmp_path)!r}), Plan(num_requests=8, shard_size=4, digest="")).hold(0) as free:
    os.kill(os.getpid(), 9 if free else 15)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    with work.hold(0) as free:
        assert free


def test_shards_that_are_not_what_was_planned_are_refused(tmp_path: Path) -> None:
    work = Work(tmp_path, Plan(num_requests=1, shard_size=4, digest="of other requests")).begin()
    work.close(0, [Sample(file_name="a.png", text="CT", modality="CT", seed=0, steps=1, guidance=1.0)])
    assert work.count() == 1
    with pytest.raises(ValueError, match="changed while they were drawn"):
        list(work.samples())


def prompts(path: Path, *lines: str) -> None:
    path.write_text("".join(f"{line}\n" for line in lines))


def test_a_list_may_grow_but_neither_shrink_nor_change(tiny_base: Path, tmp_path: Path) -> None:
    path, texts = tmp_path / "p.txt", [f"Chest CT, case {i}." for i in range(6)]
    for sink in ("png", "parquet"):
        run = GenerateConfig(
            prompts=path, out=tmp_path / sink, base=str(tiny_base), steps=1, json=True, sink=sink, shard_size=4
        )
        prompts(path, *texts[:5])
        assert generate(run).num_drawn == 5
        prompts(path, *texts)
        # A file of Parquet that gets longer is made anew
        assert generate(run).num_drawn == {"png": 1, "parquet": 2}[sink]
        assert generate(run).num_drawn == 0
        for others in (texts[:4], ["Chest CT, another.", *texts[1:]], [*texts[:5], "Brain MRI."]):
            prompts(path, *others)
            with pytest.raises(ValueError, match="the prompts have changed"):
                generate(run)
        prompts(path, *texts)
        assert generate(run).num_drawn == 0


def test_a_folder_of_another_release_goes_on(tiny_base: Path, tmp_path: Path) -> None:
    run = GenerateConfig(
        prompt=tuple(f"Chest CT, case {i}." for i in range(6)), out=tmp_path / "s", base=str(tiny_base), steps=1,
        json=True, shard_size=2,
    )  # fmt: skip
    generate(run)
    path = run.out / "metadata.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[i] for i in (4, 1, 0, 5)))  # in the order of drawing, and not all of them
    assert generate(run).num_drawn == 2
    assert path.read_text() == "".join(lines)
    assert [json.loads(line)["text"] for line in lines] == list(run.prompt)
