"""Images per second of fine-tuning and of generating with `nano`, beside plain diffusers code doing the same work.

    python -m benchmarks.throughput [--repeats 3] [--json]

Both sides run in one process, in turn, on the same images, batch, rank, precision and number of steps; medians of the
repeats. The plain side is what diffusers' own examples do: decode and encode every image at every step, encode the text
at every step, save with Pillow. Start-up is not counted; Vesalius' latents are cached before its clock starts too, and
the seconds that takes are printed, since a short run pays them.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import tyro
from diffusers import DDPMScheduler
from PIL import Image

from vesalius.data.phantom import PhantomConfig, write_phantoms
from vesalius.data.record import Record, load_records
from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.launch import choose_precision
from vesalius.finetune.lora import finetune
from vesalius.inference.config import GenerateConfig
from vesalius.inference.run import generate
from vesalius.models.base import base_folder, open_base


@dataclass(frozen=True, kw_only=True)
class Benchmark:
    """Vesalius beside plain diffusers code."""

    repeats: int = 3
    """runs of each side; medians are printed"""
    steps: int = 20
    """optimizer updates per run"""
    batch_size: int = 16
    """images per update"""
    images: int = 16
    """images drawn per run"""
    sampling_steps: int = 20
    """denoising steps per image"""
    json: bool = False
    """print one JSON object"""


def main(config: Benchmark) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        data = write_phantoms(PhantomConfig(num=160, seed=5, hounsfield=False, out=root / "data", json=True))
        records = [(data, r) for r in load_records(data, "train")]
        prompts = [r.caption or r.text for _, r in records[: config.images]]
        times: dict[str, list[float]] = {"train vesalius": [], "train plain": [], "draw vesalius": [], "draw plain": []}
        cache = 0.0
        for repeat in range(config.repeats):
            began = time.perf_counter()
            whole = train_vesalius(config, data, root / f"run{repeat}")
            cache = time.perf_counter() - began - whole
            times["train vesalius"].append(config.steps * config.batch_size / whole)
            times["train plain"].append(config.steps * config.batch_size / train_plain(config, records))
            times["draw vesalius"].append(config.images / draw_vesalius(config, prompts, root / f"samples{repeat}"))
            times["draw plain"].append(config.images / draw_plain(config, prompts, root / f"plain{repeat}"))
    medians = {name: round(statistics.median(values), 2) for name, values in times.items()}
    result = {
        "images_per_second": medians,
        "train_ratio": round(medians["train vesalius"] / medians["train plain"], 2),
        "draw_ratio": round(medians["draw vesalius"] / medians["draw plain"], 2),
        "start_up_and_cache_seconds": round(cache, 1),
        "threads": torch.get_num_threads(),
    }
    if config.json:
        print(json.dumps(result))
    else:
        for name, value in medians.items():
            print(f"{name:<16} {value:8.2f} images/s")
        print(
            f"ratio: training {result['train_ratio']}, drawing {result['draw_ratio']}; start-up and cache {cache:.1f} s"
        )
    return result


def train_vesalius(config: Benchmark, data: Path, out: Path) -> float:
    """Seconds of the steps alone: those of a whole run less those of a run of one step."""
    fields: dict[str, Any] = {
        "data": (data,), "batch_size": config.batch_size, "json": True, "num_validation": 1, "validate_every": 10_000,
        "save_every": 10_000, "caption_share": 1.0,
    }  # fmt: skip
    long = finetune(FinetuneConfig(out=out, steps=config.steps + 1, **fields)).seconds
    short = finetune(FinetuneConfig(out=out.with_name(f"{out.name}-one"), steps=1, **fields)).seconds
    return long - short


def train_plain(config: Benchmark, records: list[tuple[Path, Record]]) -> float:
    """The loop of diffusers' LoRA example, without its data loader's workers: seconds of its steps."""
    from peft import LoraConfig, get_peft_model

    pipeline = open_base("nano").pipeline
    targets = list(FinetuneConfig(data=(), out=Path()).targets)
    denoiser: Any = get_peft_model(pipeline.unet, LoraConfig(r=16, lora_alpha=16, target_modules=targets))
    optimizer = torch.optim.AdamW([p for p in denoiser.parameters() if p.requires_grad], lr=5e-4)
    autocast = choose_precision("auto", "cpu") == "bf16"
    rng = np.random.default_rng(0)
    scheduler = DDPMScheduler.from_config(pipeline.scheduler.config)
    began = time.perf_counter()
    for step in range(config.steps + 1):
        if step == 1:
            began = time.perf_counter()
        chosen = [records[i] for i in rng.integers(len(records), size=config.batch_size)]
        arrays = [
            np.asarray(Image.open(f / r.file_name).convert("RGB"), dtype=np.float32) / 127.5 - 1 for f, r in chosen
        ]
        pixels = torch.from_numpy(np.stack(arrays)).permute(0, 3, 1, 2)
        texts = [r.caption or r.text for _, r in chosen]
        ids = pipeline.tokenizer(texts, padding="max_length", truncation=True, return_tensors="pt").input_ids
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            with torch.no_grad():
                latents = pipeline.vae.encode(pixels).latent_dist.sample() * pipeline.vae.config.scaling_factor
                text = pipeline.text_encoder(ids)[0]
            noise, timesteps = torch.randn_like(latents), torch.randint(0, 1000, (len(latents),))
            predicted = denoiser(scheduler.add_noise(latents, noise, timesteps), timesteps, text).sample
            target = scheduler.get_velocity(latents, noise, timesteps)
            loss = torch.nn.functional.mse_loss(predicted.float(), target.float())
        loss.backward()
        torch.nn.utils.clip_grad_norm_([p for p in denoiser.parameters() if p.requires_grad], 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return time.perf_counter() - began


def draw_vesalius(config: Benchmark, prompts: list[str], out: Path) -> float:
    began = time.perf_counter()
    generate(GenerateConfig(prompt=tuple(prompts), out=out, steps=config.sampling_steps, batch_size=8, json=True))
    return time.perf_counter() - began


def draw_plain(config: Benchmark, prompts: list[str], out: Path) -> float:
    from diffusers import StableDiffusionPipeline

    began = time.perf_counter()
    out.mkdir()
    pipeline = StableDiffusionPipeline.from_pretrained(base_folder("nano"), safety_checker=None)
    pipeline.set_progress_bar_config(disable=True)
    for start in range(0, len(prompts), 8):
        batch = prompts[start : start + 8]
        generators = [torch.Generator().manual_seed(start + i) for i in range(len(batch))]
        images = pipeline(
            batch, num_inference_steps=config.sampling_steps, guidance_scale=3.0, generator=generators
        ).images
        for i, image in enumerate(images):
            image.save(out / f"{start + i}.png")
    return time.perf_counter() - began


if __name__ == "__main__":
    main(tyro.cli(Benchmark))
