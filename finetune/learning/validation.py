"""The validation loss: fixed images, noise and timesteps, the same at every validation of every run with a seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate import Accelerator

from vesalius.finetune.feeding.buckets import Views
from vesalius.finetune.feeding.texts import Texts
from vesalius.finetune.feeding.trainset import Trainset
from vesalius.models.objective import denoising_loss

BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Question:
    """Latents and noise N4HW, timesteps int64 [N], and the prompts."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    prompts: list[str]


def fixed_questions(trainset: Trainset, held_out: Views, seed: int, num_timesteps: int) -> list[Question]:
    """Every held-out image is asked about at four timesteps, one in each quarter of the schedule."""
    generator = torch.Generator().manual_seed(seed + 1)
    questions = []
    width = num_timesteps // 4
    parts = [m[i : i + BATCH] for m in held_out.buckets.members for i in range(0, len(m), BATCH)]
    for part in parts:
        latents, _ = held_out.latents.of(torch.from_numpy(held_out.places[0, part]))
        prompts = [trainset.prompt_of_held_out(i) for i in part.tolist()]
        for quarter in range(4):
            noise = torch.randn(latents.shape, generator=generator)
            timesteps = quarter * width + torch.randint(0, width, (len(latents),), generator=generator)
            questions.append(Question(latents=latents, noise=noise, timesteps=timesteps, prompts=prompts))
    return questions


@torch.no_grad()
def validate(
    denoiser: Any,
    scheduler: Any,
    texts: Texts,
    questions: list[Question],
    accelerator: Accelerator,
    stopped: Sequence[int] = (),
) -> float | None:
    """Mean unweighted loss over the fixed questions, shared out over the processes; None where one of them was told to
    stop meanwhile."""
    denoiser.eval()
    total, count = torch.zeros((), device=accelerator.device), torch.zeros((), device=accelerator.device)
    for question in questions[accelerator.process_index :: accelerator.num_processes]:
        if stopped:
            break
        with accelerator.autocast():
            here = [t.to(accelerator.device) for t in (question.latents, question.noise, question.timesteps)]
            told = texts(question.prompts, here[0].shape[2:])
            total += denoising_loss(denoiser, scheduler, here[0], here[1], here[2], told).sum()
        count += len(question.latents)
    denoiser.train()
    asked_to_stop = torch.full_like(count, len(stopped))
    sums = accelerator.reduce(torch.stack([total, count, asked_to_stop]), "sum").tolist()
    return None if sums[2] else float(sums[0] / sums[1])
