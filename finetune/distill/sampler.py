"""Drawing in distillation: how teacher and student draw, what the teacher drew, and how far a student is off."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from vesalius.data.command.progress import progress
from vesalius.finetune.base.denoiser import Condition
from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.distill.pairs import digest_texts
from vesalius.finetune.feeding.stream import slot_generator
from vesalius.models.adapters.adapter import disk_errors
from vesalius.models.base import Base

SHARD = 32
"""Trajectories drawn at once and kept in one file."""


@dataclass(frozen=True, kw_only=True)
class Sampler:
    """How to draw. scheduler: DDIM or LCM, its steps set. blank [1, L, C]: what no text is as; None: without guidance.

    guidance: one scale, or one for each sample [N, 1, 1, 1].
    """

    scheduler: Any
    accelerator: Accelerator
    guidance: float | torch.Tensor
    blank: torch.Tensor | None

    def predict(self, denoiser: Any, timestep: torch.Tensor, latents: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The prediction under guidance, float32 NCHW. timestep: one, or one for each sample [N]; text [N, L, C]."""
        with self.accelerator.autocast():
            if self.blank is None:
                alone: torch.Tensor = denoiser(latents, timestep, text).sample.float()
                return alone
            both = torch.cat([self.blank.expand_as(text), text])
            twice = timestep.repeat(2) if timestep.ndim else timestep
            without, told = denoiser(torch.cat([latents, latents]), twice, both).sample.float().chunk(2)
            predicted: torch.Tensor = without + self.guidance * (told - without)
            return predicted

    def advance(
        self,
        denoiser: Any,
        timestep: torch.Tensor,
        latents: torch.Tensor,
        text: torch.Tensor,
        generators: list[torch.Generator] | None = None,
    ) -> torch.Tensor:
        """One step, float32 NCHW -> the same. generators: of each sample, for schedulers that add noise."""
        predicted = self.predict(denoiser, timestep, latents, text)
        moved: torch.Tensor = self.scheduler.step(predicted, timestep, latents, generator=generators).prev_sample
        return moved

    def draw(self, denoiser: Any, latents: torch.Tensor, text: torch.Tensor, numbers: Sequence[int]) -> torch.Tensor:
        """From noise to latents. numbers: of the samples, from which comes what noise a scheduler adds."""
        self.scheduler.set_timesteps(len(self.scheduler.timesteps))  # LCM's counts its steps, and begins anew by this
        generators = [slot_generator(0, -3, number) for number in numbers]
        for timestep in self.scheduler.timesteps:
            latents = self.advance(denoiser, timestep, latents, text, generators)
        return latents

    def gain(self, timestep: torch.Tensor) -> float:
        """How far a step moves for a prediction of one. An error over it is the error of the prediction, so that the
        long first steps do not outweigh the last."""
        return float(self.scheduler.step(torch.ones(1), timestep, torch.zeros(1)).prev_sample)


@dataclass(frozen=True)
class Levels:
    """Noise levels of a base that predicts noise or v: x = alpha x0 + sigma noise. Timesteps: int64 [N], any device."""

    scheduler: Any

    def of(self, timesteps: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """alpha and sigma, float32 [N, 1, 1, 1]."""
        squares = self.scheduler.alphas_cumprod.to(timesteps.device)[timesteps].view(-1, 1, 1, 1)
        return squares.sqrt(), (1 - squares).sqrt()

    def add_noise(self, clean: torch.Tensor, noise: torch.Tensor, timesteps: torch.Tensor) -> torch.Tensor:
        alpha, sigma = self.of(timesteps)
        return alpha * clean + sigma * noise

    def split(
        self, predicted: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The picture and the noise that a prediction says, NCHW each.

        v divides by nothing, so it holds for noise alone too, where alpha is 0 (Salimans & Ho 2022, appendix D).
        """
        alpha, sigma = self.of(timesteps)
        if self.scheduler.config.prediction_type == "v_prediction":
            return alpha * noisy - sigma * predicted, sigma * noisy + alpha * predicted
        return (noisy - sigma * predicted) / alpha, predicted


def make_levels(base: Base) -> Levels:
    """The noise levels of a base. ValueError where pictures cannot be told from what it predicts."""
    scheduler = make_scheduler(base, 1)
    kind = scheduler.config.prediction_type
    if kind not in ("epsilon", "v_prediction"):
        raise ValueError(
            f"base '{base.name}' predicts '{kind}'; --method consistency and adversarial know 'epsilon' and "
            "'v_prediction'"
        )
    if kind == "epsilon" and float(scheduler.alphas_cumprod.min()) <= 0:
        raise ValueError(
            f"base '{base.name}' predicts the noise and has a level of noise alone, which says nothing of the picture; "
            "set rescale_betas_zero_snr to false in its scheduler_config.json"
        )
    return Levels(scheduler)


def make_scheduler(base: Base, steps: int, kind: Any = None, **more: Any) -> Any:
    """DDIM over the base's own noise levels, in trailing steps: those of few steps are among those of many.

    kind: another class of diffusers; more: settings that it has beyond the base's.
    """
    from diffusers import DDIMScheduler

    kind = kind or DDIMScheduler
    known = kind().config  # the base may draw with any sampler, whose further settings mean nothing here
    settings = {k: v for k, v in base.pipeline.scheduler.config.items() if k in known and not k.startswith("_")}
    settings |= {"timestep_spacing": "trailing", "clip_sample": False, "set_alpha_to_one": True, **more}
    scheduler = kind(**settings)
    scheduler.set_timesteps(steps)
    return scheduler


def noise_of(seed: int, split: str, indices: Sequence[int], like: torch.Tensor) -> torch.Tensor:
    """What the trajectories of these numbers begin from, float32 NCHW of the last three sizes of `like`."""
    part = ("train", "val").index(split)
    return torch.stack([torch.randn(like.shape[-3:], generator=slot_generator(seed, -1 - part, i)) for i in indices])


@torch.no_grad()
def teacher_points(
    config: DistillConfig, base: Base, teacher: Sampler, condition: Condition, split: str, texts: list[str]
) -> torch.Tensor:
    """Where the teacher is when the student stops: float16 [stops, N, C, H, W]; the last is its picture.

    Drawn a shard at a time into `out/trajectories`, and read from there where a shard of just these is whole.
    """
    folder, denoiser, accelerator = config.out / "trajectories", base.pipeline.unet, teacher.accelerator
    folder.mkdir(parents=True, exist_ok=True)
    like = torch.empty(denoiser.config.in_channels, *[denoiser.config.sample_size] * 2)
    every = config.teacher_steps // config.num_stops
    settings = (config.teacher_steps, config.num_stops, config.guidance, config.seed, accelerator.mixed_precision)
    shards = []
    starts = range(0, len(texts), SHARD)
    for start in progress(starts, f"teacher, {split}", len(starts), quiet=config.json):
        mine = texts[start : start + SHARD]
        path = (
            folder / f"{split}-{start:06d}-{digest_texts([base.digest, *map(str, settings), *mine])[:24]}.safetensors"
        )
        if (points := read_points(path)) is None:
            latents = noise_of(config.seed, split, range(start, start + len(mine)), like).to(accelerator.device)
            text, stops = condition(mine), []
            for number, timestep in enumerate(teacher.scheduler.timesteps, start=1):
                latents = teacher.advance(denoiser, timestep, latents, text)
                if number % every == 0:
                    stops.append(latents.half().cpu())
            points = torch.stack(stops)
            if not torch.isfinite(points).all():
                raise ValueError(f"base '{config.base}' draws latents that are not numbers; look whether it is whole")
            temporary = path.with_name(f".{path.name}.tmp")
            with disk_errors(temporary):
                save_file({"points": points}, temporary)
            temporary.replace(path)
        shards.append(points)
    return torch.cat(shards, 1)


def read_points(path: Path) -> torch.Tensor | None:
    """The points of a shard, or None where its file is absent or damaged."""
    try:
        return load_file(path)["points"]
    except (OSError, SafetensorError, KeyError):
        return None


@torch.no_grad()
def distance(denoiser: Any, sampler: Sampler, text: torch.Tensor, noise: torch.Tensor, pictures: torch.Tensor) -> float:
    """Root mean square distance, in latents, of what a sampler draws from the teacher's pictures of the same noise."""
    total = 0.0
    for i in torch.arange(len(noise)).split(SHARD):
        latents = sampler.draw(denoiser, noise[i], text[i], i.tolist())
        total += float((latents - pictures[i]).pow(2).mean((1, 2, 3)).sum())
    return math.sqrt(total / len(noise))
