"""Train a base from scratch: tokenizer, text encoder and denoiser together, over a trained autoencoder.

    python -m vesalius.finetune.base --data DIR... --autoencoder RUN/vae --out RUN --steps 8000

Resumes by the same line. Writes RUN/base, an ordinary diffusers folder in fp16 (EMA weights).
"""

from __future__ import annotations

import json
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from vesalius.data.image import read_image
from vesalius.data.progress import Progress
from vesalius.data.prompt import prompts_of
from vesalius.data.record import Record, write_json
from vesalius.finetune.attributes import attribute_targets, phantom_attributes
from vesalius.finetune.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from vesalius.finetune.examples import gather
from vesalius.finetune.latents import cached_latents
from vesalius.finetune.objective import denoising_loss
from vesalius.finetune.schedule import warmup_cosine
from vesalius.finetune.stream import balanced_weights, batch_indices, slot_generator
from vesalius.models.architecture import NANO, Architecture, make_denoiser, make_scheduler, make_text_encoder
from vesalius.models.base import digest_folder
from vesalius.models.text import encode, tokenize, train_tokenizer


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """A run that trains a base."""

    data: tuple[Path, ...]
    """dataset folders"""
    autoencoder: Path
    """vae folder of a finished autoencoder run"""
    out: Path
    """run folder"""
    exclude: tuple[str, ...] = ()
    """records to leave out, as "MODALITY" or "MODALITY/organ\""""
    real_share: float = 0.35
    """share of real images in a batch; the rest are phantoms"""
    steps: int = 8000
    """optimizer updates"""
    batch_size: int = 64
    """images per update"""
    learning_rate: float = 1e-3
    """peak, after 100 steps of warm-up and before a cosine to 2 %"""
    caption_dropout: float = 0.1
    """share of samples trained without text, for guidance"""
    caption_share: float = 0.5
    """share of samples that show the short caption; the others show the report or one of its sections"""
    lesion_weight: float = 5.0
    """weight of the loss where a mask shows a finding, beside 1 elsewhere: lesions are small, and are the point"""
    reading_weight: float = 1.0
    """weight of the loss of reading the findings of phantoms off the last token: it teaches the text encoder sides"""
    save_every: int = 250
    """steps between checkpoints"""
    validate_every: int = 500
    """steps between validation losses (of the averaged weights)"""
    seed: int = 0
    """seed of order, noise and initial weights"""
    init: Path | None = None
    """a base folder to start from, with fresh optimizer"""
    sizes: Architecture = field(default=NANO)
    """architecture"""


class TextToNoise(nn.Module):
    """Text encoder and denoiser as one module, so that one optimizer and one average hold both.

    In training a head reads the findings off the last token, which attention has told of all others: the denoiser's
    gradient alone takes long to tell left from right. The head does not ship.
    """

    def __init__(self, text_encoder: nn.Module, denoiser: nn.Module, num_attributes: int = 1) -> None:
        super().__init__()
        self.text_encoder, self.denoiser = text_encoder, denoiser
        self.reader = nn.Linear(cast(Any, text_encoder).config.hidden_size, num_attributes)

    def forward(self, noisy: torch.Tensor, timesteps: torch.Tensor, hidden: torch.Tensor) -> Any:
        return self.denoiser(noisy, timesteps, hidden)


def train_base(config: BaseConfig) -> Path:
    """Run or resume the training; returns the folder of the base."""
    from diffusers import AutoencoderKL
    from diffusers.training_utils import EMAModel

    # Data: latents once, token ids once
    members = gather(config.data, "train", config.exclude)
    held_out = gather(config.data, "val", config.exclude)
    autoencoder = AutoencoderKL.from_pretrained(config.autoencoder).eval()
    digest, cache = digest_folder(config.autoencoder), config.out / "cache"
    mean, deviation = cached_latents(autoencoder, digest, members, config.sizes.image_size, cache)
    weights = balanced_weights([r for _, r in members], {"real": config.real_share, "phantom": 1 - config.real_share})
    lesions = lesion_grid(members, mean.shape[-1])
    truth, known = reading_targets([r for _, r in members])
    wordings = [prompts_of(r) for _, r in members]

    # Model, optimizer, average
    torch.manual_seed(config.seed)
    tokenizer, model = make_model(config, [w for ws in wordings for w in ws], truth.shape[1])
    scheduler = make_scheduler()
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=0.01, betas=(0.9, 0.99))
    average = EMAModel(model.parameters(), decay=0.9995, use_ema_warmup=True, power=0.75)
    unique = sorted({w for ws in wordings for w in ws})
    row = {w: i for i, w in enumerate(unique)}
    ids, kept = tokenize_fitting(tokenizer, ["", *unique])
    print(f"{len(members)} records, {len(unique)} wordings, {kept:.1%} of them within one context")
    choices = [[row[w] + 1 for w in ws if ids[row[w] + 1] is not None] for ws in wordings]
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "config.json", asdict(config))
    fixed = validation_batch(config, autoencoder, digest, held_out, tokenizer)
    step, losses = 0, []
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, state = found
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimizer(optimizer, tensors)
        average.shadow_params = [tensors[f"ema.{i}"] for i in range(len(average.shadow_params))]
        average.optimization_step = step
        losses = state["losses"]

    # Loop. The plain matrix-product attention is faster in training on CPUs than the fused kernel's backward pass.
    began = time.monotonic()
    with Progress("base", config.steps, start=step) as bar, sdpa_kernel(SDPBackend.MATH):
        while step < config.steps:
            picked = batch_indices(config.seed, step, config.batch_size, len(members), weights)
            chances = [slot_generator(config.seed, step, slot) for slot in range(config.batch_size)]
            draws = [torch.rand(3, generator=g) for g in chances]
            shown = [choose_wording(choices[i], u, config) for i, u in zip(picked.tolist(), draws, strict=True)]
            token_ids = torch.stack([ids[i] for i in shown])[:, None]  # type: ignore[misc]
            timesteps = torch.randint(0, 1000, (config.batch_size,), generator=chances[0])
            noise = torch.stack([torch.randn(mean.shape[1:], generator=g) for g in chances])
            spread = torch.stack([torch.randn(mean.shape[1:], generator=g) for g in chances])
            latents = mean[picked] + deviation[picked] * spread
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps)
            with torch.autocast("cpu", torch.bfloat16):
                emphasis = 1 + (config.lesion_weight - 1) * lesions[picked].float()
                hidden = encode(model.text_encoder, token_ids)
                condition = {"hidden": hidden}
                loss = denoising_loss(model, scheduler, latents, noise, timesteps, condition, None, emphasis).mean()
                told = known[picked] * torch.tensor([[float(i != 0)] for i in shown])
                read = functional.binary_cross_entropy_with_logits(
                    model.reader(hidden[:, -1]).float(), truth[picked], reduction="none"
                )
                loss = loss + config.reading_weight * (read * told).sum() / told.sum().clamp_min(1)
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.step(model.parameters())
            step += 1
            bar.step(note=f"loss {loss.item():.4f}")
            if step % config.validate_every == 0 or step == config.steps:
                average.store(model.parameters())
                average.copy_to(model.parameters())
                losses.append({"step": step, "val": round(validation_loss(model, scheduler, fixed), 5)})
                average.restore(model.parameters())
                print(f"step {step}: validation loss {losses[-1]['val']}", flush=True)
            if step % config.save_every == 0 or step == config.steps:
                tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | optimizer_tensors(optimizer)
                tensors |= {f"ema.{i}": p for i, p in enumerate(average.shadow_params)}
                save_checkpoint(config.out, step, tensors, {"losses": losses})

    average.copy_to(model.parameters())
    write_base(config.out / "base", autoencoder, tokenizer, model, scheduler)
    write_json(config.out / "losses.json", {"losses": losses, "seconds": round(time.monotonic() - began)})
    return config.out / "base"


def make_model(config: BaseConfig, texts: list[str], num_attributes: int) -> tuple[Any, TextToNoise]:
    """Tokenizer and model: fresh, or those of `config.init`."""
    if config.init is not None:
        from vesalius.models.base import open_base

        pipeline = open_base(str(config.init)).pipeline
        return pipeline.tokenizer, TextToNoise(
            pipeline.text_encoder, pipeline.unet, num_attributes
        ).train().requires_grad_(True)
    tokenizer = train_tokenizer(texts, config.sizes)
    text_encoder = make_text_encoder(config.sizes, bos=tokenizer.bos_token_id, eos=tokenizer.eos_token_id)
    return tokenizer, TextToNoise(text_encoder, make_denoiser(config.sizes), num_attributes).train()


def tokenize_fitting(tokenizer: Any, texts: list[str]) -> tuple[list[torch.Tensor | None], float]:
    """Ids [L] of each text that one context holds, None for longer ones, and the share that fits."""
    lengths = [len(x) for x in tokenizer(texts).input_ids]
    fits = [n <= tokenizer.model_max_length for n in lengths]
    ids = tokenize(tokenizer, [t if ok else "" for t, ok in zip(texts, fits, strict=True)])[:, 0]
    return [row if ok else None for row, ok in zip(ids, fits, strict=True)], sum(fits) / len(fits)


def lesion_grid(members: list[tuple[Path, Record]], size: int) -> torch.Tensor:
    """Where the masks of the records show a finding, bool [N, 1, size, size]; nowhere for records without a mask."""
    grid = torch.zeros(len(members), 1, size, size, dtype=torch.bool)
    for i, (folder, record) in enumerate(members):
        if record.mask:
            mask = torch.from_numpy(read_image(folder / record.mask)[..., 0].copy()).float()
            grid[i, 0] = functional.adaptive_max_pool2d(mask[None], size)[0] > 0
    return grid


def reading_targets(records: list[Record]) -> tuple[torch.Tensor, torch.Tensor]:
    """What a text tells, and where that is known, float32 [N, A] each: findings of phantoms, the modality of all."""
    truth, known = attribute_targets(records, phantom_attributes(records))
    names = sorted({r.modality for r in records})
    modality = functional.one_hot(torch.tensor([names.index(r.modality) for r in records]), len(names)).float()
    return torch.cat([truth, modality], 1), torch.cat([known, torch.ones_like(modality)], 1)


def choose_wording(choices: list[int], chance: torch.Tensor, config: BaseConfig) -> int:
    """Row of the wording that one sample shows; 0 is the empty text. chance: three uniform numbers."""
    if chance[0] < config.caption_dropout or not choices:
        return 0
    if chance[1] < config.caption_share:
        return choices[0]
    return choices[int(chance[2] * len(choices))]


def validation_batch(
    config: BaseConfig, autoencoder: Any, digest: str, held_out: list[Any], tokenizer: Any
) -> tuple[torch.Tensor, ...]:
    """Fixed latents, token ids, noise and timesteps: the same 256 questions at every validation."""
    order = np.random.default_rng(config.seed).permutation(len(held_out))[:256]
    chosen = [held_out[i] for i in order]
    mean, _ = cached_latents(autoencoder, digest, chosen, config.sizes.image_size, config.out / "cache", quiet=True)
    texts = [prompts_of(r)[0] for _, r in chosen]
    ids, _ = tokenize_fitting(tokenizer, ["", *texts])
    token_ids = torch.stack([i if i is not None else ids[0] for i in ids[1:]])[:, None]  # type: ignore[misc]
    generator = torch.Generator().manual_seed(config.seed + 1)
    noise = torch.randn(mean.shape, generator=generator)
    timesteps = (torch.arange(len(mean)) * 1000 // len(mean))[torch.randperm(len(mean), generator=generator)]
    return mean, token_ids, noise, timesteps


@torch.no_grad()
def validation_loss(model: nn.Module, scheduler: Any, fixed: tuple[torch.Tensor, ...]) -> float:
    """Mean loss over the fixed questions."""
    model.eval()
    latents, token_ids, noise, timesteps = fixed
    with torch.autocast("cpu", torch.bfloat16):
        condition = {"hidden": encode(model.text_encoder, token_ids)}
        loss = denoising_loss(model, scheduler, latents, noise, timesteps, condition).mean().item()
    model.train()
    return loss


def write_base(folder: Path, autoencoder: Any, tokenizer: Any, model: TextToNoise, scheduler: Any) -> None:
    """Write an ordinary Stable Diffusion folder, fp16 safetensors."""
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline(
        vae=autoencoder, text_encoder=model.text_encoder, tokenizer=tokenizer, unet=model.denoiser, scheduler=scheduler,
        safety_checker=None, feature_extractor=None, requires_safety_checker=False,
    )  # fmt: skip
    pipeline.to(torch.float16).save_pretrained(folder, safe_serialization=True)
    index = json.loads((folder / "model_index.json").read_text())
    write_json(folder / "model_index.json", {k: v for k, v in index.items() if k != "_name_or_path"})
    # transformers opens a model in the dtype its config names, diffusers in float32: without this line they differ.
    text_config = json.loads((folder / "text_encoder" / "config.json").read_text())
    write_json(folder / "text_encoder" / "config.json", {**text_config, "dtype": "float32"})


if __name__ == "__main__":
    import tyro

    train_base(tyro.cli(BaseConfig))
