"""Runs of `generate` that are killed in the middle, one for each sink: killed_sinks.py BASE FOLDER SINK...

Each is killed in its second shard and left as it is, in FOLDER/SINK. They are forked from one process that has all they
need, since its imports take longer than they do.
"""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
import time
from pathlib import Path

from vesalius.inference.config import GenerateConfig
from vesalius.inference.running.run import generate

PROMPTS = ("Chest CT with a nodule in the left lung.", "Brain MRI, no mass.", "H&E tile with two glands.")


def config(base: Path, out: Path, sink: str) -> GenerateConfig:
    return GenerateConfig(
        prompt=PROMPTS, out=out, base=str(base), num=12, steps=2, seed=5, json=True, batch_size=2, shard_size=4,
        sink=sink,  # type: ignore[arg-type]
    )  # fmt: skip


def kill_in_second_shard(run: GenerateConfig) -> None:
    child = os.fork()
    if child == 0:
        generate(run)
        os._exit(0)
    manifest = run.out / ".generate" / "shards" / "00001.part"
    while not manifest.is_file() or manifest.read_text().count("\n") < 1:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), f"{run.out}: ended before it was killed"
        time.sleep(0.001)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


if __name__ == "__main__":
    base, folder = map(Path, sys.argv[1:3])
    generate(dataclasses.replace(config(base, folder / "first", "png"), num=1, steps=1))  # what is imported late
    for sink in sys.argv[3:]:
        kill_in_second_shard(config(base, folder / sink, sink))
