"""Distillation by trajectory: the student's own sampler learns to land where the teacher was.

The teacher draws whole trajectories from noise to latents under the prompts of the data, once; images are not needed.
DDIM is deterministic, so the points at which a sampler of few steps stops are functions of noise and prompt. The
student is that very sampler, without guidance: it draws from the same noise, and at each of its steps learns to land
where the teacher was. This is progressive distillation in one stage (Salimans & Ho 2022, arXiv 2202.00512) with the
guidance folded in (Meng et al. 2023, arXiv 2210.03142), but each step sets out from where the student itself came to,
so that it learns to mend its own errors and sees in training what it sees in drawing.
"""

from __future__ import annotations

from typing import Any

import torch

from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.distill.method import Setting
from vesalius.finetune.distill.sampler import make_scheduler, noise_of, teacher_points
from vesalius.finetune.feeding.stream import batch_indices
from vesalius.models.base import Base


class Trajectory:
    def __init__(self, setting: Setting) -> None:
        self.setting, self.texts = setting, [text for _, text in setting.pairs]
        teacher = (setting.config, setting.base, setting.teacher, setting.condition)
        self.points = teacher_points(*teacher, "train", self.texts)

    @staticmethod
    def scheduler(config: DistillConfig, base: Base) -> Any:
        """DDIM in trailing steps."""
        return make_scheduler(base, config.sampling_steps)

    def loss(self, denoiser: Any, step: int) -> torch.Tensor:
        """Mean squared error of the student's steps, each from where the last one led, in units of the prediction."""
        config, student, device = self.setting.config, self.setting.student, self.setting.accelerator.device
        picked = batch_indices(config.seed, step, config.batch_size, config.num_trajectories).tolist()
        text = self.setting.condition([self.texts[i] for i in picked])
        latents = noise_of(config.seed, "train", picked, self.points).to(device)
        losses = []
        for timestep, target in zip(student.scheduler.timesteps, self.points[:, picked], strict=True):
            latents = student.advance(denoiser, timestep, latents.detach(), text)
            losses.append(((latents - target.to(device)) / student.gain(timestep)).pow(2).mean())
        return torch.stack(losses).mean()

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        pass
