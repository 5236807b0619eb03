"""What `vesalius generate --reuse` costs and saves: PSNR and seconds beside full computation.

    python -m benchmarks.reuse [--base nano] [--num 8] [--steps 12 20] [--every 2 3] [--json]

The same prompts and seeds are drawn both ways, in one batch. Differences are in pictures as they are looked at, 8 bits
deep. `--base sd15` takes the shape of Stable Diffusion 1.5 with random weights at 256 pixels, for its seconds alone:
what random weights draw has no features to lose.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import tyro

from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.inference.config import GUIDANCE
from vesalius.inference.generator import Generator, Request
from vesalius.inference.reuse import measure_reuse
from vesalius.models.full_size import write_sd15


@dataclass(frozen=True, kw_only=True)
class ReuseBenchmark:
    """Reuse of deep features beside full computation."""

    base: str = "nano"
    """nano, sd15 (random weights), a diffusers folder, or a hub id"""
    num: int = 8
    """pictures, of as many prompts: captions of phantoms"""
    steps: tuple[int, ...] = (12, 20)
    """denoising steps"""
    every: tuple[int, ...] = (2, 3)
    """every how many steps the deep levels run"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    json: bool = False
    """print one JSON object"""


def main(config: ReuseBenchmark) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = write_phantoms(PhantomConfig(num=4 * config.num, seed=5, size=32, out=root / "data", json=True))
        base = str(write_sd15(root / "sd15")) if config.base == "sd15" else config.base
        requests = [
            Request(prompt=r.caption or r.text, seed=i, modality=r.modality)
            for i, r in enumerate(load_records(data, "train"))
        ]
        generator = Generator(base, device=config.device)
        rows = []
        for steps in config.steps:
            for generator.reuse in config.every:
                cost = measure_reuse(generator, requests, steps=steps, guidance=GUIDANCE, num=config.num)
                rows.append({"steps": steps, **asdict(cost)})
                if not config.json:
                    print(
                        f"{steps} steps: {cost}; mean difference {cost.mean_difference:.2f} grey levels; "
                        f"{cost.full_seconds:.2f} -> {cost.seconds:.2f} s per picture",
                        flush=True,
                    )
    result = {"base": config.base, "threads": torch.get_num_threads(), "rows": rows}
    if config.json:
        print(json.dumps(result))
    return result


if __name__ == "__main__":
    main(tyro.cli(ReuseBenchmark))
