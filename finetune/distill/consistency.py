"""Distillation by consistency: from every noise level of a real image the student predicts the same picture.

After latent consistency models and LCM-LoRA (Luo et al. 2023, arXiv 2310.04378 and 2311.05556). An image's latents are
noised to one of the solver's levels; one DDIM step of the guided teacher leads to the level below; what the student
predicts from above shall be what it predicts, without gradient, from below. At the lowest level the prediction is the
latents themselves (c_skip 1, c_out 0), and from there truth spreads upwards. It is drawn with diffusers' LCMScheduler,
which predicts the picture, noises it anew to the next of its few levels, and predicts again.

The guidance is that of diffusers: scale 1 is none. LCM's own w is that less 1.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import torch

from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.distill.method import Setting
from vesalius.finetune.distill.pairs import cache_pairs
from vesalius.finetune.distill.sampler import make_levels, make_scheduler
from vesalius.models.base import Base

SIGMA_DATA = 0.5
"""The deviation of data that LCMScheduler takes for its boundary condition."""


class Consistency:
    def __init__(self, setting: Setting) -> None:
        self.setting, self.levels = setting, make_levels(setting.base)
        self.pairs = cache_pairs(setting.config, setting.base, setting.pairs, setting.accelerator)

    @staticmethod
    def scheduler(config: DistillConfig, base: Base) -> Any:
        """LCMScheduler over the base's noise levels. ValueError where the solver's steps do not divide them evenly: the
        highest, where drawing begins, would then never be learnt."""
        from diffusers import LCMScheduler

        num = make_levels(base).scheduler.config.num_train_timesteps
        if num % config.solver_steps:
            raise ValueError(
                f"--solver-steps {config.solver_steps} is no divisor of the {num} noise levels of base '{base.name}'; "
                "give for instance 50"
            )
        return make_scheduler(base, config.sampling_steps, LCMScheduler, original_inference_steps=config.solver_steps)

    def loss(self, denoiser: Any, step: int) -> torch.Tensor:
        """Pseudo-Huber distance of the student's picture from its own one level below."""
        config, levels = self.setting.config, self.levels
        batch = self.pairs.batch(config, step, self.setting.accelerator.device)
        text = self.setting.condition(batch.texts)
        stride = self.setting.student.scheduler.config.num_train_timesteps // config.solver_steps
        start = ((batch.levels * config.solver_steps).long() + 1) * stride - 1
        end = (start - stride).clamp_min(0)
        noisy = levels.add_noise(batch.latents, batch.noise, start)

        # One step of the guided teacher, then the student's own answer there
        low, high = config.guidance_range or (config.guidance, config.guidance)
        scales = (low + (high - low) * batch.chance).view(-1, 1, 1, 1)
        teacher = dataclasses.replace(self.setting.teacher, guidance=scales)
        with torch.no_grad():
            with denoiser.disable_adapter():
                clean, noise = levels.split(teacher.predict(denoiser, start, noisy, text), noisy, start)
            moved = levels.add_noise(clean, noise, end)
            target = self.picture(denoiser, moved, end, text)

        gap = self.picture(denoiser, noisy, start, text) - target
        return ((gap.pow(2) + config.huber**2).sqrt() - config.huber).mean()

    def picture(self, denoiser: Any, noisy: torch.Tensor, timesteps: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """The consistency function f(x, t) = c_skip x + c_out x0(x, t), NCHW (LCM, eq. 9), as LCMScheduler has it."""
        clean, _ = self.levels.split(self.setting.student.predict(denoiser, timesteps, noisy, text), noisy, timesteps)
        scaled = (timesteps * self.setting.student.scheduler.config.timestep_scaling).view(-1, 1, 1, 1)
        total = scaled**2 + SIGMA_DATA**2
        picture: torch.Tensor = SIGMA_DATA**2 / total * noisy + scaled / total.sqrt() * clean
        return picture

    def tensors(self) -> dict[str, torch.Tensor]:
        return {}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        pass
