"""The global batch of a step as a pure function of (seed, step): any process makes any part of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.buckets import Views
from vesalius.finetune.feeding.stream import slot_generator
from vesalius.finetune.feeding.trainset import Trainset, choose_wording


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Some slots of a step, on the CPU: latents and noise N4HW, timesteps int64 [N], prompts, emphasis N1HW or None,
    kept bool [N] or None, worse: latents of the worse pictures of pairs or None, and the records' numbers."""

    records: list[int]
    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    prompts: list[str]
    emphasis: torch.Tensor | None
    kept: torch.Tensor | None
    worse: torch.Tensor | None

    def on(self, device: torch.device) -> Batch:
        """The same with its tensors on a device."""
        moved: dict[str, Any] = {n: v.to(device) for n, v in vars(self).items() if isinstance(v, torch.Tensor)}
        return dataclasses.replace(self, **moved)


def draw_chances(seed: int, step: int, slots: Sequence[int]) -> tuple[list[torch.Generator], torch.Tensor]:
    """The generator of each slot, and six uniform numbers that it gave first [N, 6]: three choose the text, then
    timestep, view, and whether the sample is held to the base."""
    generators = [slot_generator(seed, step, slot) for slot in slots]
    return generators, torch.stack([torch.rand(6, generator=g) for g in generators])


def draw_batch(
    config: FinetuneConfig,
    step: int,
    slots: Sequence[int],
    trainset: Trainset,
    views: Views,
    masks: Sequence[torch.Tensor] | None,
    num_timesteps: int,
) -> Batch:
    """The slots of a step's global batch. masks: of each record bool [1, H, W] of the latent grid."""
    picked = views.buckets.picked(config.seed, step, config.batch_size, trainset.weights)
    mine = picked[list(slots)]
    chances, uniform = draw_chances(config.seed, step, slots)
    seen = views.places[(uniform[:, 4].numpy() * len(views.places)).astype(np.int64), mine]
    mean, deviation = views.latents.of(torch.from_numpy(seen))
    noise, spread = (torch.stack([torch.randn(mean.shape[1:], generator=g) for g in chances]) for _ in range(2))
    worse = None
    if views.rivals is not None:
        mean_worse, deviation_worse = views.rivals.of(torch.from_numpy(mine))
        worse = mean_worse + deviation_worse * spread
    if config.offset_noise:
        noise = noise + config.offset_noise * torch.stack(
            [torch.randn(mean.shape[1], 1, 1, generator=g) for g in chances]
        )
    emphasis = None
    if masks is not None:
        emphasis = 1 + (config.mask_weight - 1) * torch.stack([masks[i] for i in mine]).float()
    return Batch(
        records=mine.tolist(),
        latents=mean + deviation * spread,
        noise=noise,
        timesteps=(uniform[:, 3] * num_timesteps).long(),
        prompts=[choose_wording(trainset.wordings[i], u, config) for i, u in zip(mine.tolist(), uniform, strict=True)],
        emphasis=emphasis,
        worse=worse,
        kept=uniform[:, 5] < config.kept_share if config.kept_share else None,
    )
