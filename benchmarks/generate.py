"""Drawing beside plain diffusers, the time to a first picture, and what drawing costs in memory.

    python -m benchmarks.generate [--shape nano|sd15] [--repeats 3] [--images 16] [--steps 12] [--json]

All sides draw the same prompts in the same steps with the same weights, in one process, in turn; medians of the
repeats, start-up and opening not counted. The plain sides are what diffusers' documentation tells a user:

default         `StableDiffusionPipeline.from_pretrained(folder)`, one prompt at a time, in float32
half            the same in bfloat16
best            in bfloat16, channels last, prompts in batches; with `--compile` its denoiser compiled too, and the
                faster of both counts

`nano` draws at its own size; the shape of Stable Diffusion 1.5, with random weights, at 512 pixels. First picture:
seconds from the start of the command until the file is there, medians of `--first` runs of a new process each.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro

from vesalius.inference.drawing.memory import plan_memory
from vesalius.inference.generator import Generator, find_device
from vesalius.inference.request import Request
from vesalius.models.base import base_folder
from vesalius.models.full_size import write_sd15

GUIDANCE = 3.0
PROMPT = "Axial chest CT with a {} mm nodule in the left lung."
Draw = Callable[[], float]
"""Draws all pictures once; returns seconds."""


@dataclass(frozen=True, kw_only=True)
class GenerateBenchmark:
    """Drawing beside plain diffusers."""

    shape: Literal["nano", "sd15"] = "nano"
    """the embedded base, or the shape of Stable Diffusion 1.5 with random weights at 512 pixels"""
    repeats: int = 3
    """drawings of each side; medians are printed"""
    images: int = 16
    """pictures of each drawing"""
    steps: int = 12
    """denoising steps"""
    batch_size: int = 8
    """pictures at once, of the sides that take several"""
    first: int = 5
    """new processes whose first picture is waited for; 0: none"""
    compile: bool = False
    """compile the denoiser of the plain side too, which takes minutes"""
    device: str = "auto"
    """cpu or cuda"""
    folder: Path | None = None
    """a base of the shape of Stable Diffusion 1.5 that is there already, in place of a fresh one"""
    json: bool = False
    """print one JSON object"""


def main(config: GenerateBenchmark) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        base = config.folder or (
            base_folder("nano") if config.shape == "nano" else write_sd15(Path(folder) / "base", 512)
        )
        device = find_device(config.device)
        sides: dict[str, Callable[[], Draw]] = {
            "plain, default": lambda: plain(base, config, device, torch.float32, together=False),
            "plain, half": lambda: plain(base, config, device, torch.bfloat16, together=False),
            "plain, best": lambda: plain(base, config, device, torch.bfloat16, together=True),
            "vesalius": lambda: ours(base, config, device),
        }
        if config.compile:
            sides["plain, best, compiled"] = lambda: plain(
                base, config, device, torch.bfloat16, together=True, compiled=True
            )
        rates = measured(sides, config)
        first = (
            statistics.median(first_picture(Path(folder) / str(i)) for i in range(config.first))
            if config.first
            else None
        )
    best = max(rate for name, rate in rates.items() if name.startswith("plain, best"))
    result: dict[str, Any] = {
        "shape": config.shape, "device": device, "threads": torch.get_num_threads(), "images_per_second": rates,
        "ratio_to_default": rates["vesalius"] / rates["plain, default"],
        "ratio_to_half": rates["vesalius"] / rates["plain, half"], "ratio_to_best": rates["vesalius"] / best,
        "first_picture_seconds": first,
    }  # fmt: skip
    if config.json:
        print(json.dumps(result))
        return result
    for name, rate in rates.items():
        print(f"{name:<24} {rate:8.3f} pictures/s")
    print(
        f"vesalius draws {result['ratio_to_default']:.2f} times as fast as the default, {result['ratio_to_half']:.2f} "
        f"as it in half precision, {result['ratio_to_best']:.2f} as the best settings"
    )
    if first is not None:
        print(f"first picture of `vesalius generate` with nano: {first:.1f} s")
    return result


def measured(sides: dict[str, Callable[[], Draw]], config: GenerateBenchmark) -> dict[str, float]:
    """Pictures per second of each side. Small bases are open together and drawn in turn, large ones one by one."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    if config.shape == "nano":
        opened = {name: side() for name, side in sides.items()}
        for draw in opened.values():
            draw()  # the first is slower
        for _ in range(config.repeats):
            for name, draw in opened.items():
                seconds[name].append(draw())
    else:
        for name, side in sides.items():
            draw = side()
            seconds[name] += [draw() for _ in range(config.repeats)]
            del draw
            gc.collect()  # only one is held at a time
    return {name: config.images / statistics.median(each) for name, each in seconds.items()}


def prompts_of(config: GenerateBenchmark) -> list[str]:
    return [PROMPT.format(8 + i) for i in range(config.images)]


def plain(
    base: Path, config: GenerateBenchmark, device: str, dtype: torch.dtype, *, together: bool, compiled: bool = False
) -> Draw:
    """Plain diffusers. together: prompts in batches, weights channels last."""
    from diffusers import StableDiffusionPipeline

    pipeline: Any = StableDiffusionPipeline.from_pretrained(base, dtype=dtype, safety_checker=None).to(device)
    pipeline.set_progress_bar_config(disable=True)
    if together:
        pipeline.unet.to(memory_format=torch.channels_last)
        pipeline.vae.to(memory_format=torch.channels_last)
    if compiled:
        pipeline.unet = torch.compile(pipeline.unet)
    size = config.batch_size if together else 1

    def draw() -> float:
        prompts, began = prompts_of(config), time.perf_counter()
        for start in range(0, len(prompts), size):
            batch = prompts[start : start + size]
            generators = [torch.Generator().manual_seed(start + i) for i in range(len(batch))]
            pipeline(batch, num_inference_steps=config.steps, guidance_scale=GUIDANCE, generator=generators)
        return time.perf_counter() - began

    return draw


def ours(base: Path, config: GenerateBenchmark, device: str) -> Draw:
    """Vesalius, as `vesalius generate` draws."""
    # As `--memory auto`, which keeps the weights of a large base in half precision too
    plan = plan_memory(str(base), device=device, batch_size=config.batch_size) if config.shape == "sd15" else None
    generator = Generator(str(base), device=device, precision="bf16", memory=plan)
    requests = [Request(prompt=prompt, seed=i) for i, prompt in enumerate(prompts_of(config))]

    def draw() -> float:
        began = time.perf_counter()
        drawn = generator.draw_all(requests, steps=config.steps, guidance=GUIDANCE, batch_size=config.batch_size)
        assert sum(1 for _ in drawn) == len(requests)
        return time.perf_counter() - began

    return draw


def first_picture(out: Path) -> float:
    """Seconds from the start of `vesalius generate` with nano until its picture is there."""
    words = [sys.executable, "-m", "vesalius.cli.main", "generate", PROMPT.format(20), "--out", str(out), "--json"]
    # As with an installed package, whose modules are compiled once
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    began = time.perf_counter()
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    while not list(out.glob("images/*.png")):
        if process.poll() is not None and not list(out.glob("images/*.png")):
            raise RuntimeError(f"`{' '.join(words[2:])}` ended with {process.returncode} and no picture")
        time.sleep(0.005)
    seconds = time.perf_counter() - began
    process.wait()
    return seconds


if __name__ == "__main__":
    main(tyro.cli(GenerateBenchmark))
