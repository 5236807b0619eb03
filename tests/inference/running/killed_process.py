"""Runs of `generate` that are killed at random points, each a process of its own that was forked from this one.

killed_process.py BASE FOLDER SINK NUM_KILLS SEED

Forked, since what a run imports takes longer than the run. Prints one JSON object: how many runs were killed, how many
sets became whole in spite of it, and which files of them differ from those of a run that nobody disturbed.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

from vesalius.inference.config import GenerateConfig
from vesalius.inference.running.run import generate

LONG = "Chest CT. " + "There is a nodule in the left lung, measuring 12 mm. " * 20


def config(base: Path, folder: Path, out: Path, sink: str) -> GenerateConfig:
    prompts = folder / "prompts.txt"
    texts = (f"Chest CT with a {5 + i} mm nodule." if i % 7 else LONG for i in range(14))
    prompts.write_text("".join(f"{text}\n" for text in texts))
    return GenerateConfig(
        prompts=prompts, out=out, base=str(base), num=3, steps=1, seed=5, guidance=1.0, json=True, batch_size=4,
        sink=sink, shard_size=8,
    )  # fmt: skip


def files(folder: Path) -> dict[str, str]:
    """Digest of every file by its name, but for those that tell the folder's."""
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in folder.rglob("*")
        if p.is_file() and ".generate" not in p.parts and p.name not in ("config.json", "README.md")
    }


def main(base: Path, folder: Path, sink: str, num_kills: int, seed: int) -> dict[str, object]:
    generate(config(base, folder, folder / "whole", sink))  # the first run of a process is slow
    began = time.monotonic()
    generate(config(base, folder, folder / "again", sink))
    duration, wanted = time.monotonic() - began, files(folder / "whole")
    assert files(folder / "again") == wanted
    rng = random.Random(seed)
    kills, sets, different = 0, 0, list[str]()
    while kills < num_kills or sets == 0:
        out = folder / f"set-{sets}"
        child = os.fork()
        if child == 0:
            generate(config(base, folder, out, sink))
            os._exit(0)
        until = time.monotonic() + rng.uniform(0, duration) if kills < num_kills else float("inf")
        ended, code = 0, 0
        while not ended and time.monotonic() < until:
            ended, code = os.waitpid(child, os.WNOHANG)
            time.sleep(0.001)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            continue
        assert code == 0
        found = files(out)
        different += [f"{out.name}/{name}" for name in {*found, *wanted} if found.get(name) != wanted.get(name)]
        sets += 1
    return {"kills": kills, "sets": sets, "different": sorted(different)}


if __name__ == "__main__":
    base, folder, sink, num_kills, seed = sys.argv[1:]
    print(json.dumps(main(Path(base), Path(folder), sink, int(num_kills), int(seed))))
