"""Images per second and memory of fine-tuning, beside diffusers' own `train_text_to_image_lora.py`.

    curl -O https://raw.githubusercontent.com/huggingface/diffusers/main/examples/text_to_image/train_text_to_image_lora.py
    python -m benchmarks.finetune --peer train_text_to_image_lora.py [--shape nano|sd15] [--repeats 3] [--json]

Same base, images, resolution, batch, rank, layers and device; each side in a process of its own, in turn. The peer runs
twice: with its defaults, and with its best flags (bf16, and workers that load its data). A step is the time from one
optimizer step to the next, the median of a run's after the first three; a row is the median of the runs. Start-up and
caching are told apart, with the number of steps after which they are paid for. `sd15` is the shape of Stable Diffusion
1.5 with random weights, at 256 pixels. The script is read from where you put it, and run with a stand-in for
`torchvision.transforms` where that does not import.
"""

from __future__ import annotations

import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import tyro

WARM = 3
"""Steps that are not counted."""
TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The layers that diffusers' script adapts."""


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Vesalius beside diffusers' script."""

    peer: Path
    """train_text_to_image_lora.py of diffusers"""
    shape: Literal["nano", "sd15"] = "nano"
    """the embedded base at 128 px, or the shape of Stable Diffusion 1.5 at 256 px with random weights"""
    batch_size: int = 16
    """images per update"""
    steps: int = 40
    """updates per run"""
    size: int = 0
    """pixels along an edge; 0: 128 of nano, else 256"""
    folder: Path | None = None
    """a base of the shape of Stable Diffusion 1.5 that is there already, in place of a fresh one"""
    defaults: bool = True
    """run the peer with its defaults too"""
    repeats: int = 3
    """runs of each side; medians are printed"""
    json: bool = False
    """print one JSON object"""


# A child tells when it began, when each optimizer step ended, and the most memory that it held.
CHILD = """
import json, resource, sys, time
began = time.perf_counter()
sys.path.insert(0, {root!r})
import torch
ends = []
step = torch.optim.AdamW.step
def timed(self, *a, **k):
    out = step(self, *a, **k)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    ends.append(time.perf_counter() - began)
    return out
torch.optim.AdamW.step = timed
{body}
most = torch.cuda.max_memory_allocated() if torch.cuda.is_available() else (
    resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print("told " + json.dumps({{"ends": ends, "bytes": most}}))
"""
OURS = """
from vesalius.cli.main import main
assert main(sys.argv[1:]) == 0
"""
PEER = """
import transformers, diffusers, peft, accelerate, datasets, runpy
try:
    import torchvision.transforms
except Exception:
    from benchmarks import stand_in
    stand_in.install()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def run(body: str, words: list[str]) -> dict[str, Any]:
    """Steps and memory of one child."""
    code = CHILD.format(root=str(Path(__file__).parents[1]), body=body)
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, env=environment, check=False
    )
    told = next((line for line in done.stdout.splitlines() if line.startswith("told ")), None)
    if told is None:
        raise RuntimeError(done.stderr[-3000:])
    result: dict[str, Any] = json.loads(told.removeprefix("told "))
    ends = result["ends"]
    between = [b - a for a, b in itertools.pairwise(ends)]
    step = statistics.median(between[WARM - 1 :])
    return {"step": step, "start": ends[0] - step, "gb": result["bytes"] / 1e9}


def measure(config: Benchmark) -> dict[str, Any]:
    from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms

    size = config.size or (128 if config.shape == "nano" else 256)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = write_phantoms(PhantomConfig(num=160, seed=5, size=size, out=root / "data", json=True, val=0.05))
        base = str(config.folder or base_of(config.shape, root, size))
        ours = [
            "finetune", "--data", str(data), "--base", base, "--steps", str(config.steps), "--batch-size",
            str(config.batch_size), "--targets", *TARGETS, "--num-validation", "1", "--num-pictures", "0",
            "--validate-every", "100000", "--save-every", "100000", "--json",
        ]  # fmt: skip
        peer = [
            str(config.peer), "--pretrained_model_name_or_path", base, "--train_data_dir", str(data), "--resolution",
            str(size), "--train_batch_size", str(config.batch_size), "--max_train_steps", str(config.steps), "--rank",
            "16", "--caption_column", "text", "--checkpointing_steps", "100000",
        ]  # fmt: skip
        best = ["--mixed_precision", "bf16", "--dataloader_num_workers", "2"]
        found: dict[str, list[dict[str, Any]]] = {"vesalius": [], "diffusers": [], "diffusers, best flags": []}
        for repeat in range(config.repeats):
            out = root / f"run-{repeat}"
            found["vesalius"].append(run(OURS, [*ours, "--out", str(out)]))
            if config.defaults:
                found["diffusers"].append(run(PEER, [*peer, "--output_dir", str(out.with_name(f"a-{repeat}"))]))
            more = [*best, "--output_dir", str(out.with_name(f"b-{repeat}"))]
            found["diffusers, best flags"].append(run(PEER, [*peer, *more]))
    sides = {
        side: {name: statistics.median(r[name] for r in runs) for name in ("step", "start", "gb")}
        for side, runs in found.items()
        if runs
    }
    mine, theirs = sides["vesalius"], sides["diffusers, best flags"]
    return {
        "shape": config.shape, "batch_size": config.batch_size, "device": device_name(),
        "sides": {s: {**v, "images_per_second": config.batch_size / v["step"]} for s, v in sides.items()},
        "ratio_to_defaults": sides["diffusers"]["step"] / mine["step"] if config.defaults else None,
        "ratio_to_best": theirs["step"] / mine["step"],
        "memory_of_best": mine["gb"] / theirs["gb"],
        "steps_that_pay_for_the_start": max(0.0, mine["start"] - theirs["start"]) / max(
            theirs["step"] - mine["step"], 1e-9
        ),
    }  # fmt: skip


def device_name() -> str:
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else f"{os.cpu_count()} CPU cores"


def base_of(shape: str, root: Path, size: int) -> Path:
    """The folder of the base; of `sd15` one with random weights in float16, as they are published."""
    from vesalius.models.base import base_folder
    from vesalius.models.full_size import write_sd15

    return base_folder("nano") if shape == "nano" else write_sd15(root / "sd15", size)


def main(config: Benchmark) -> None:
    result = measure(config)
    if config.json:
        print(json.dumps(result))
        return
    for side, told in result["sides"].items():
        print(
            f"{side:<22} {told['images_per_second']:7.2f} images/s {told['gb']:6.2f} GB   first step after "
            f"{told['start']:.0f} s"
        )
    defaults = f"{result['ratio_to_defaults']:.2f} times its defaults, " if config.defaults else ""
    print(
        f"{defaults}{result['ratio_to_best']:.2f} times its best flags, "
        f"{result['memory_of_best']:.2f} of their memory; the start is paid for after "
        f"{result['steps_that_pay_for_the_start']:.0f} steps; {result['device']}"
    )


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
