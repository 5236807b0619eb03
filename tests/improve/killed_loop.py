"""Loops that are killed at random points: killed_loop.py BASE DATA FOLDER NUM_KILLS SEED

Prints the report of `killing.kill_at_random` on what a loop decides by.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from killing import digests_of, kill_at_random

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
    return digests_of(out, [out / "ledger.jsonl", *out.glob("round-*/accepted/**/*"), *out.glob("round-*/*.json*")])


if __name__ == "__main__":
    base, data, folder = map(Path, sys.argv[1:4])
    num_kills, seed = map(int, sys.argv[4:])
    print(json.dumps(kill_at_random(lambda out: improve(config(base, data, out)), files, folder, num_kills, seed)))
