"""What drawing with `nano` and `nano-fast` costs: seconds per picture, and the peak memory of `vesalius generate`.

    python -m benchmarks.cost [--repeats 5] [--json]

Seconds are medians over repeats after one that warms up, without start-up. Memory is the most that the whole command
ever held (resident), as the system counts it for a finished process.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from vesalius.inference.generator import Generator
from vesalius.inference.request import Request

PROMPT = "Axial chest CT with a 20 mm nodule in the left lung."
# Peak memory is that of a command of its own: this process holds more than one model.
COMMAND = """
import json, resource, subprocess, sys
subprocess.run([sys.executable, "-m", "vesalius.cli.main", *sys.argv[1:]], check=True, stdout=subprocess.DEVNULL)
print(json.dumps(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss))
"""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds and memory of drawing."""

    repeats: int = 5
    """drawings of each kind; medians are printed"""
    json: bool = False
    """print one JSON object"""


def main(config: Cost) -> dict[str, Any]:
    rows: dict[str, dict[str, float]] = {}
    precisions: tuple[Literal["fp32", "bf16"], ...] = ("fp32", "bf16")
    for adapter in (None, "nano-fast"):
        for precision in precisions:
            generator = Generator("nano", adapter, device="cpu", precision=precision)
            name = f"{adapter or 'nano'}, {precision}"
            seconds = {f"seconds per picture, batch of {n}": timed(generator, n, config.repeats) for n in (1, 8)}
            rows[name] = {**seconds, "peak memory, GB": peak(adapter, precision)}
    result = {"threads": torch.get_num_threads(), "rows": rows}
    if config.json:
        print(json.dumps(result))
    else:
        for name, row in rows.items():
            print(f"{name:<16} " + "; ".join(f"{what} {value:.2f}" for what, value in row.items()))
    return result


def timed(generator: Generator, num: int, repeats: int) -> float:
    """Median seconds per picture of batches of `num`."""
    seconds = []
    for repeat in range(repeats + 1):
        requests = [Request(prompt=PROMPT, seed=repeat * num + i) for i in range(num)]
        began = time.perf_counter()
        list(generator.draw_all(requests, batch_size=num))
        seconds.append((time.perf_counter() - began) / num)
    return round(statistics.median(seconds[1:]), 3)


def peak(adapter: str | None, precision: str) -> float:
    """Gigabytes of `vesalius generate` for 8 pictures."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["generate", PROMPT, "--num", "8", "--precision", precision, "--device", "cpu"]
        words += ["--out", str(Path(folder) / "samples"), *(["--adapter", adapter] if adapter else [])]
        process = subprocess.run([sys.executable, "-c", COMMAND, *words], check=True, capture_output=True, text=True)
    return round(int(process.stdout) * 1024 / 1e9, 2)


if __name__ == "__main__":
    main(tyro.cli(Cost))
