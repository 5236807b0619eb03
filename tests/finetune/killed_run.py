"""Runs of `finetune` that are killed: killed_run.py FOLDER NUM_KILLS SEED FLAG...

The flags are those of the run without --out. Prints the report of `killing.kill_at_random` on what was learnt.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from killing import digests_of, kill_at_random

from vesalius.cli.main import DONE, main


def files(out: Path) -> dict[str, str]:
    """Digests of a run's losses and of its adapter."""
    names = ("losses.jsonl", "validation.json", "adapter/adapter_model.safetensors")
    found = digests_of(out, [out / name for name in names])
    assert len(found) == len(names)
    return found


def work(out: Path) -> None:
    assert main(["finetune", *sys.argv[4:], "--out", str(out)]) == DONE


if __name__ == "__main__":
    print(json.dumps(kill_at_random(work, files, Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
