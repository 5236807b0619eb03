"""Peak memory of `vesalius generate`, beside what its plan said: the shape of Stable Diffusion 1.5.

    python -m benchmarks.memory [--memory 3GB] [--steps 2] [--json]

Weights are random and in float16, as published ones are; they are written to a temporary folder (2.1 GB). Each line is
a command of its own, whose peak (resident, mapped files included) is what the system counts for a finished process. On
a GPU (`--device cuda`) it is what the driver counts on the whole card at the end, where torch still has all that it
ever had, so nothing else should use the card.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

from vesalius.models.full_size import write_sd15

# Peak memory is that of a command of its own: this process has written the base.
COMMAND = """
import json, resource, subprocess, sys
done = subprocess.run([sys.executable, "-m", "vesalius.cli.main", *sys.argv[1:]], capture_output=True, text=True)
print(done.stderr, file=sys.stderr)
peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
print(json.dumps({"peak": peak, "told": json.loads(done.stdout or "{}"), "code": done.returncode}))
"""
ON_GPU = """
import contextlib, io, json, sys, torch
from vesalius.cli.main import main
said = io.StringIO()
with contextlib.redirect_stdout(said):
    code = main(sys.argv[1:])
free, total = torch.cuda.mem_get_info()
print(json.dumps({"peak": total - free, "told": json.loads(said.getvalue() or "{}"), "code": code}))
"""


@dataclass(frozen=True, kw_only=True)
class MemoryBenchmark:
    """Peak memory beside its estimate."""

    memory: tuple[str, ...] = ("3GB",)
    """budgets; a run without any comes after them"""
    size: int = 512
    """pixels along an edge"""
    steps: int = 2
    """denoising steps"""
    num: int = 1
    """pictures"""
    folder: Path | None = None
    """a base of that shape that is there already, in place of a fresh one"""
    device: Literal["cpu", "cuda"] = "cpu"
    """where to draw"""
    without: bool = True
    """also a run without a budget"""
    json: bool = False
    """print one JSON object"""


def main(config: MemoryBenchmark) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as place:
        base = config.folder or write_sd15(Path(place) / "base", config.size)
        budgets = (*config.memory, *([None] if config.without else []))
        rows = [measure(config, base, Path(place) / str(i), budget) for i, budget in enumerate(budgets)]
    if config.json:
        print(json.dumps(rows))
    return rows


def measure(config: MemoryBenchmark, base: Path, out: Path, budget: str | None) -> dict[str, Any]:
    """One drawing in a process of its own. ValueError where it failed."""
    words = ["generate", "Axial chest CT with a 20 mm nodule in the left lung.", "--base", str(base), "--json"]
    words += ["--steps", str(config.steps), "--num", str(config.num), "--out", str(out), "--device", config.device]
    words += ["--memory", budget] if budget else []
    began = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", COMMAND if config.device == "cpu" else ON_GPU, *words], capture_output=True, text=True
    )
    row = json.loads(done.stdout or "{}")
    if row.get("code") != 0:
        raise ValueError(f"{' '.join(words)}: {done.stderr}")
    plan = row["told"].get("memory", {})
    found = {
        "budget": budget, "peak": row["peak"], "estimate": plan.get("peak"), "offload": plan.get("offload", "none"),
        "seconds": round(time.perf_counter() - began, 1),
    }  # fmt: skip
    if not config.json:
        estimate = f"estimate {plan['peak'] / 1e9:.2f} GB, {plan['offload']} offload" if plan else "no plan"
        print(f"{budget or 'none':>6}: peak {row['peak'] / 1e9:.2f} GB, {estimate}, {found['seconds']} s", flush=True)
    return found


if __name__ == "__main__":
    main(tyro.cli(MemoryBenchmark))
