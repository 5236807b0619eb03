"""Runs of `generate` that are killed: killed_process.py BASE FOLDER SINK NUM_KILLS SEED

Prints the report of `killing.kill_at_random` on every file of a set.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from killing import digests_of, kill_at_random

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


def files(out: Path) -> dict[str, str]:
    """Digest of every file by its name, but for those that tell the folder's."""
    own = ("config.json", "README.md")
    return digests_of(out, (p for p in out.rglob("*") if ".generate" not in p.parts and p.name not in own))


if __name__ == "__main__":
    base, folder, sink = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    num_kills, seed = map(int, sys.argv[4:])
    report = kill_at_random(lambda out: generate(config(base, folder, out, sink)), files, folder, num_kills, seed)
    print(json.dumps(report))
