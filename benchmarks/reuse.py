"""What `vesalius generate --reuse` costs and saves: PSNR and seconds beside full computation.

    python -m benchmarks.reuse [--base nano] [--num 8] [--steps 12 20] [--every 2 3] [--findings 96] [--json]

The same prompts and seeds are drawn both ways, in one batch. Differences are in pictures as they are looked at, 8 bits
deep. With `--findings`, so many prompts of phantoms are drawn both ways too, and what they show is measured by the
shipped reader (`benchmarks.reuse_findings`). Of larger denoisers, whose weights are not needed for it, it counts what
share of a full evaluation's FLOPs one takes in which the outermost blocks run alone.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
import tyro
from diffusers import UNet2DConditionModel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.reuse_findings import measure_findings
from vesalius.data.phantoms.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import load_records
from vesalius.inference.config import GUIDANCE
from vesalius.inference.drawing.reuse import NUM_FIRST, measure_reuse, reuse_features
from vesalius.inference.generator import Generator
from vesalius.inference.request import Request
from vesalius.models.architecture import NANO, make_denoiser
from vesalius.models.full_size import SDXL


@dataclass(frozen=True, kw_only=True)
class ReuseBenchmark:
    """Reuse of deep features beside full computation."""

    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    num: int = 8
    """pictures, of as many prompts: captions of phantoms"""
    steps: tuple[int, ...] = (12, 20)
    """denoising steps"""
    every: tuple[int, ...] = (2, 3)
    """every how many steps the deep levels run"""
    findings: int = 0
    """prompts of phantoms whose findings are measured both ways; 0: none"""
    precision: Literal["auto", "fp32", "bf16"] = "fp32"
    """precision in which pictures are drawn"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    json: bool = False
    """print one JSON object"""


def main(config: ReuseBenchmark) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = write_phantoms(PhantomConfig(num=4 * config.num, seed=5, size=32, out=root / "data", json=True))
        requests = [
            Request(prompt=r.caption or r.text, seed=i, modality=r.modality)
            for i, r in enumerate(load_records(data, "train"))
        ]
        generator = Generator(config.base, device=config.device, precision=config.precision)
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
    findings = []
    for steps in config.steps if config.findings else ():
        for told in measure_findings(generator, config.findings, steps=steps, every=config.every):
            findings.append(asdict(told))
            if not config.json:
                print(told, flush=True)
    shares = shallow_shares()
    result = {
        "base": config.base, "threads": torch.get_num_threads(), "rows": rows, "findings": findings, "shares": shares,
    }  # fmt: skip
    if config.json:
        print(json.dumps(result))
    else:
        print("; ".join(f"{name}: {share:.0%}" for name, share in shares.items()) + " of a full evaluation's FLOPs")
    return result


def shallow_shares() -> dict[str, float]:
    """The FLOPs of an evaluation between full ones, as a share of a full one's, with guidance."""
    with torch.device("meta"):
        sd15 = UNet2DConditionModel(cross_attention_dim=768, attention_head_dim=8)
        told = {"text_embeds": torch.empty(2, 1280), "time_ids": torch.empty(2, 6)}
        return {
            "nano, 128 px": _share(make_denoiser(NANO), 128 // 4, 256),
            "Stable Diffusion 1.5, 256 px": _share(sd15, 256 // 8, 77),
            "Stable Diffusion 1.5, 512 px": _share(sd15, 512 // 8, 77),
            "SDXL, 1024 px": _share(UNet2DConditionModel(**SDXL), 1024 // 8, 77, added_cond_kwargs=told),
        }


@torch.inference_mode()
def _share(denoiser: Any, size: int, context: int, **settings: Any) -> float:
    latents = torch.empty(2, denoiser.config.in_channels, size, size)
    text = torch.empty(2, context, denoiser.config.cross_attention_dim)
    flops = []
    with reuse_features(denoiser, 2):
        for _ in range(NUM_FIRST + 1):
            with FlopCounterMode(display=False) as counter:
                denoiser(latents, torch.tensor(500), text, **settings)
            flops.append(counter.get_total_flops())
    share: float = flops[-1] / flops[0]
    return share


if __name__ == "__main__":
    main(tyro.cli(ReuseBenchmark))
