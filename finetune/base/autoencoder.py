"""Train the autoencoder of a base: images to a small grid of standardised latents and back.

    python -m vesalius.finetune.base.autoencoder --data DIR... --out RUN --steps 4000

Resumes by the same line. Writes RUN/vae (diffusers format, EMA weights, latents standardised per channel).
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vesalius.data.command.progress import Progress
from vesalius.data.record import Record, write_json
from vesalius.finetune.base.linear_start import start_linear
from vesalius.finetune.feeding.examples import gather, load_images, to_pixels
from vesalius.finetune.feeding.stream import balanced_weights, batch_indices, slot_generator
from vesalius.finetune.learning.schedule import warmup_cosine
from vesalius.finetune.running.checkpoint import load_checkpoint, optimizer_tensors, restore_optimizer, save_checkpoint
from vesalius.models.architecture import NANO, Architecture, make_autoencoder

if TYPE_CHECKING:
    from diffusers import AutoencoderKL


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """A run of autoencoder training."""

    data: tuple[Path, ...]
    """dataset folders"""
    out: Path
    """run folder"""
    exclude: tuple[str, ...] = ()
    """records to leave out, as "MODALITY" or "MODALITY/organ\""""
    real_share: float = 0.6
    """share of real images in a batch; the rest are phantoms"""
    steps: int = 4000
    """optimizer updates"""
    batch_size: int = 16
    """crops per update; a quarter as many whole images"""
    crop: int = 64
    """pixels along an edge of a crop: many small steps teach more than few large ones"""
    crop_share: float = 0.7
    """share of the steps that see crops; the last ones see whole images, whose statistics the norms must meet"""
    learning_rate: float = 4e-4
    """peak, after 100 steps of warm-up and before a cosine to zero"""
    kl_weight: float = 3e-8
    """weight of the posterior's divergence from a normal, summed over an image"""
    save_every: int = 250
    """steps between checkpoints"""
    seed: int = 0
    """seed of order, posterior noise and initial weights"""
    init: Path | None = None
    """a vae folder to start from, with fresh optimizer"""
    sizes: Architecture = field(default=NANO)
    """architecture"""


def train_autoencoder(config: AutoencoderConfig) -> Path:
    """Run or resume the training; returns the folder of the autoencoder."""
    from diffusers import AutoencoderKL
    from diffusers.training_utils import EMAModel

    # Data
    members = gather(config.data, "train", config.exclude)
    images = load_images(members, config.sizes.image_size)
    weights = balanced_weights([r for _, r in members], {"real": config.real_share, "phantom": 1 - config.real_share})

    # Model, optimizer, average
    torch.manual_seed(config.seed)
    if config.init:
        model = AutoencoderKL.from_pretrained(config.init)
    else:
        model = make_autoencoder(config.sizes)
        first = torch.from_numpy(batch_indices(config.seed, 0, 600, len(images), weights))
        start_linear(model, to_pixels(images[first]))
    model.train().requires_grad_(True)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config.learning_rate, weight_decay=1e-4, betas=(0.9, 0.99))
    average = EMAModel(model.parameters(), decay=0.998)
    config.out.mkdir(parents=True, exist_ok=True)
    write_json(config.out / "config.json", asdict(config))
    step = 0
    if (found := load_checkpoint(config.out)) is not None:
        step, tensors, _ = found
        model.load_state_dict({k.removeprefix("model."): v for k, v in tensors.items() if k.startswith("model.")})
        restore_optimizer(optimizer, tensors)
        average.shadow_params = [tensors[f"ema.{i}"] for i in range(len(average.shadow_params))]

    # Loop
    began = time.monotonic()
    with Progress("autoencoder", config.steps, start=step) as bar:
        while step < config.steps:
            num = config.batch_size if step < config.crop_share * config.steps else config.batch_size // 4
            picked = batch_indices(config.seed, step, num, len(members), weights)
            pixels = turned(to_pixels(images[torch.from_numpy(picked)]), step, config.seed)
            if step < config.crop_share * config.steps:
                pixels = cropped(pixels, config.crop, step, config.seed)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * warmup_cosine(step, config.steps)
            with torch.autocast("cpu", torch.bfloat16):
                posterior = model.encode(pixels).latent_dist
            with torch.autocast("cpu", torch.bfloat16):
                latents = posterior.sample(slot_generator(config.seed, step, 0))
                drawn = model.decode(latents).sample
            loss = reconstruction_loss(drawn.float(), pixels) + config.kl_weight * posterior.kl().mean()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            average.step(model.parameters())
            step += 1
            bar.step(note=f"loss {loss.item():.4f}")
            if step % config.save_every == 0 or step == config.steps:
                tensors = {f"model.{k}": v for k, v in model.state_dict().items()} | optimizer_tensors(optimizer)
                tensors |= {f"ema.{i}": p for i, p in enumerate(average.shadow_params)}
                save_checkpoint(config.out, step, tensors, {"loss": loss.item()})

    # Standardise, measure, write
    average.copy_to(model.parameters())
    model.eval()
    standardise(model, images, weights, config.seed)
    held_out = gather(config.data, "val", config.exclude)
    quality = psnr_by_modality(model, held_out, config.sizes.image_size)
    write_json(config.out / "autoencoder.json", {"psnr_db_val": quality, "seconds": round(time.monotonic() - began)})
    print(f"autoencoder: PSNR on val by modality {quality}; written to {config.out / 'vae'}")
    model.save_pretrained(config.out / "vae")
    return config.out / "vae"


def turned(pixels: torch.Tensor, step: int, seed: int) -> torch.Tensor:
    """The batch mirrored and transposed by chance: an autoencoder has no sides to learn, and so sees more images."""
    first, second, third = (np.random.default_rng([seed, step, 3]).random(3) < 0.5).tolist()
    pixels = pixels.flip(3) if first else pixels
    pixels = pixels.flip(2) if second else pixels
    return pixels.transpose(2, 3) if third else pixels


def cropped(pixels: torch.Tensor, size: int, step: int, seed: int) -> torch.Tensor:
    """One window of `size` pixels, at a place of this step's own, from all pictures of a batch."""
    edge = pixels.shape[-1]
    top, left = np.random.default_rng([seed, step, 4]).integers(0, max(1, edge - size + 1), 2).tolist()
    return pixels[..., top : top + size, left : left + size]


def reconstruction_loss(drawn: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """Charbonnier loss of pixels plus L1 of their first differences, which keeps edges and small lesions sharp.

    NCHW in [-1, 1]. Charbonnier (Barron 2019) is squared for errors below 0.06 and so trains for PSNR where it counts.
    """
    error = drawn - pixels
    edges = (error[..., 1:, :] - error[..., :-1, :]).abs().mean() + (error[..., 1:] - error[..., :-1]).abs().mean()
    return ((error.pow(2) + 0.06**2).sqrt() - 0.06).mean() + 0.25 * edges


@torch.no_grad()
def standardise(
    model: AutoencoderKL, images: torch.Tensor, weights: NDArray[np.float64] | None, seed: int, slope: float = 0.25
) -> None:
    """Turn the latents to their principal axes and scale them, inside the 1x1 convolutions around them.

    Axis k of variance L_k gets the deviation L_k ** slope, the mean square of all being 1: the axes that carry the
    picture's layout rise out of the noise first, those of fine texture last, as low frequencies do in pixels.
    Plain pipelines know one scalar scale; after this they need none (scaling_factor is 1).
    """
    picked = torch.from_numpy(batch_indices(seed, 1 << 30, min(2048, 4 * len(images)), len(images), weights))
    moments = torch.cat([model.encode(to_pixels(images[i])).latent_dist.mean for i in picked.split(64)])
    flat = moments.permute(0, 2, 3, 1).flatten(0, 2).double()
    mean = flat.mean(0)
    values, axes = torch.linalg.eigh((flat - mean).T @ (flat - mean) / len(flat))
    values, axes = values.flip(0).clamp_min(1e-9), axes.flip(1)
    wanted = values**slope
    scale = wanted / wanted.pow(2).mean().sqrt() / values.sqrt()
    forward = (scale[:, None] * axes.T).float()
    back = (axes / scale).float()
    channels = len(mean)
    quant, post = model.quant_conv, model.post_quant_conv
    assert isinstance(quant, nn.Conv2d)
    assert isinstance(post, nn.Conv2d)
    assert quant.bias is not None
    assert post.bias is not None
    post.bias += post.weight[:, :, 0, 0] @ mean.float()
    post.weight.copy_((post.weight[:, :, 0, 0] @ back)[..., None, None])
    quant.weight[:channels] = (forward @ quant.weight[:channels, :, 0, 0])[..., None, None]
    quant.bias[:channels] = forward @ (quant.bias[:channels] - mean.float())
    # A diagonal posterior does not stay diagonal when turned: each axis gets the mean spread of those it mixes.
    spread = 2 * (forward.pow(2) @ torch.ones(channels)).sqrt().log()
    quant.weight[channels:] = quant.weight[channels:].mean(0, keepdim=True)
    quant.bias[channels:] = quant.bias[channels:].mean() + spread
    model.register_to_config(scaling_factor=1.0)


@torch.no_grad()
def psnr_by_modality(model: AutoencoderKL, members: list[tuple[Path, Record]], size: int) -> dict[str, float]:
    """PSNR in dB of encode-decode on held-out images, mean over images of each modality."""
    values: dict[str, list[float]] = {}
    images = load_images(members, size, quiet=True)
    for (_, record), image in zip(members, images, strict=True):
        pixels = to_pixels(image[None])
        drawn = model.decode(model.encode(pixels).latent_dist.mean).sample.clamp(-1, 1)
        error = ((drawn - pixels) / 2).pow(2).mean().item()
        values.setdefault(f"{record.origin} {record.modality}", []).append(-10 * math.log10(max(error, 1e-10)))
    return {name: round(sum(v) / len(v), 2) for name, v in sorted(values.items())}


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(AutoencoderConfig, train_autoencoder)
