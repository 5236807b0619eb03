"""Work that is killed at random points, in processes that are forked from one that has all it needs.

Forked, since what work imports takes longer than small work. `kill_at_random` is called by a script that
`report_of_kills` runs in a process of its own, and which finds this module as `killing`.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any


def digests_of(folder: Path, paths: Iterable[Path]) -> dict[str, str]:
    """The digest of every file by its name in the folder."""
    return {p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in paths if p.is_file()}


def kill_at_random(
    work: Callable[[Path], object], files: Callable[[Path], dict[str, str]], folder: Path, num_kills: int, seed: int
) -> dict[str, Any]:
    """Do the same work in folder after folder, killed until it had its number of kills, and then to its end.

    Returns how many were killed, how many folders became whole in spite of it, and which files of those differ from
    what nobody disturbed.
    """
    began = time.monotonic()
    work(folder / "whole")
    # The first of a process is slow: what then ends before it is killed tells how long work takes.
    duration, wanted = time.monotonic() - began, files(folder / "whole")
    rng = random.Random(seed)
    kills, whole, different, killed = 0, 0, list[str](), False
    while kills < num_kills or killed:
        out = folder / f"killed-{whole}"
        child = os.fork()
        if child == 0:
            work(out)
            os._exit(0)
        began = time.monotonic()
        until = began + rng.uniform(0, duration) if kills < num_kills else float("inf")
        ended, code = 0, 0
        while not ended and time.monotonic() < until:
            ended, code = os.waitpid(child, os.WNOHANG)
            time.sleep(0.001)
        if not ended:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            kills += 1
            killed = True
            continue
        assert code == 0
        duration = duration if killed else min(duration, time.monotonic() - began)
        found = files(out)
        different += [f"{out.name}/{name}" for name in {*found, *wanted} if found.get(name) != wanted.get(name)]
        whole, killed = whole + 1, False
    return {"kills": kills, "whole": whole, "different": sorted(different)}


def report_of_kills(script: Path, *words: object) -> dict[str, Any]:
    """What a script says that prints the report of `kill_at_random` as one JSON object."""
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TQDM_DISABLE": "1", "PYTHONPATH": path}
    line = [sys.executable, str(script), *map(str, words)]
    process = subprocess.run(line, capture_output=True, text=True, env=environment)
    assert process.returncode == 0, process.stderr
    report: dict[str, Any] = json.loads(process.stdout.splitlines()[-1])
    return report
