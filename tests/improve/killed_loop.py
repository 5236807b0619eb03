"""Loops that are killed at random points, each a process of its own that was forked from this one.

killed_loop.py BASE DATA FOLDER NUM_KILLS SEED

Forked, since what a loop imports takes as long as a small one. Prints one JSON object: how many were killed, how many
loops became whole in spite of it, and which of their files differ from those of a loop that nobody disturbed.
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

from vesalius.improve.config import ImproveConfig
from vesalius.improve.loop import improve


def config(base: Path, data: Path, out: Path) -> ImproveConfig:
    """Without gates, since they refuse all that a base of random weights draws."""
    return ImproveConfig(
        data=(data,), out=out, base=str(base), num=6, num_eval=6, num_validation=4, steps=2, batch_size=2,
        sampling_steps=2, seed=2, quota=1.0, without=("gates",), json=True,
    )  # fmt: skip


def files(out: Path) -> dict[str, str]:
    """Digests of what a loop decides by: its ledger (every picture and adapter by its own digest) and its pools."""
    paths = [out / "ledger.jsonl", *out.glob("round-*/accepted/**/*"), *out.glob("round-*/*.json*")]
    return {
        p.relative_to(out).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in paths
        if p.is_file()
    }  # fmt: skip


def main(base: Path, data: Path, folder: Path, num_kills: int, seed: int) -> dict[str, object]:
    improve(config(base, data, folder / "whole"))  # the first loop of a process is slow
    began = time.monotonic()
    improve(config(base, data, folder / "again"))
    duration, wanted = time.monotonic() - began, files(folder / "whole")
    assert files(folder / "again") == wanted
    rng = random.Random(seed)
    kills, loops, different = 0, 0, list[str]()
    while kills < num_kills or loops == 0:
        out = folder / f"loop-{loops}"
        child = os.fork()
        if child == 0:
            improve(config(base, data, out))
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
        loops += 1
    return {"kills": kills, "loops": loops, "different": sorted(different)}


if __name__ == "__main__":
    base, data, folder, num_kills, seed = sys.argv[1:]
    print(json.dumps(main(Path(base), Path(data), Path(folder), int(num_kills), int(seed))))
