"""Distillation by an adversary: the student's pictures, noised anew, shall pass for real ones, and please the teacher.

After adversarial diffusion distillation (Sauer et al. 2023, arXiv 2311.17042), its discriminator being that of LADD
(Sauer et al. 2024, arXiv 2403.12015): small heads on what the frozen teacher sees inside, at a random noise level,
under the same text. From the noise levels at which its sampler stops, and no other, the student predicts the picture in
one go. Hinge loss; the discriminator's gradient on real images is held down (R1), at the heads' inputs, as ADD does,
since the way back to the pixels costs a second pass through the teacher. The teacher's own guided prediction from the
noised picture draws the student too, the less the noisier (ADD, eq. 4, with c = alpha).

Only the adapter ships; the discriminator and its optimizer are in the checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from diffusers.models.embeddings import get_timestep_embedding
from torch import nn
from torch.nn import functional

from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.distill.method import Setting
from vesalius.finetune.distill.pairs import cache_pairs
from vesalius.finetune.distill.sampler import make_levels, make_scheduler
from vesalius.finetune.running.checkpoint import optimizer_tensors, restore_optimizer
from vesalius.models.base import Base

WIDTH = 64
"""Channels inside a head."""
PREFIX = "discriminator."


class Head(nn.Module):
    """What one depth of the teacher says of a picture: a logit at each place, and one of picture and text together
    (a projection discriminator, Miyato & Koyama 2018, arXiv 1802.05637)."""

    def __init__(self, channels: int, text_width: int) -> None:
        super().__init__()
        self.told = nn.Linear(text_width + WIDTH, WIDTH)
        self.seen = nn.Sequential(nn.Conv2d(channels, WIDTH, 3, padding=1), nn.GroupNorm(8, WIDTH), nn.SiLU())
        self.logit = nn.Conv2d(WIDTH, 1, 1)

    def forward(self, feature: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
        """feature [N, C, h, w], told [N, text_width + WIDTH] -> logits [N, 1, h, w]."""
        seen = self.seen(feature)
        together = (seen * self.told(told)[:, :, None, None]).sum(1, keepdim=True) / WIDTH
        logits: torch.Tensor = self.logit(seen) + together
        return logits


class Discriminator(nn.Module):
    """A head on each of the teacher's down blocks, and on its middle."""

    def __init__(self, channels: Sequence[int], text_width: int) -> None:
        super().__init__()
        self.heads = nn.ModuleList(Head(c, text_width) for c in (*channels, channels[-1]))

    def forward(
        self, features: Sequence[torch.Tensor], timesteps: torch.Tensor, text: torch.Tensor
    ) -> list[torch.Tensor]:
        """Logits of each head, above 0 for real. timesteps int64 [N], text [N, L, C]."""
        told = torch.cat([text.mean(1), get_timestep_embedding(timesteps, WIDTH)], 1)
        return [head(feature, told) for head, feature in zip(self.heads, features, strict=True)]


class Adversarial:
    def __init__(self, setting: Setting) -> None:
        config, self.setting, self.levels = setting.config, setting, make_levels(setting.base)
        self.pairs = cache_pairs(config, setting.base, setting.pairs, setting.accelerator)
        self.stops = setting.student.scheduler.timesteps.to(setting.accelerator.device)
        self.unet = setting.base.pipeline.unet
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(config.seed)
            shape = self.unet.config
            self.discriminator = Discriminator(shape.block_out_channels, shape.cross_attention_dim)
        self.discriminator.to(setting.accelerator.device)
        self.optimizer = torch.optim.AdamW(
            self.discriminator.parameters(), lr=config.discriminator_rate, weight_decay=0.0, betas=(0.0, 0.99)
        )

    @staticmethod
    def scheduler(config: DistillConfig, base: Base) -> Any:
        """DDIM in trailing steps."""
        make_levels(base)
        return make_scheduler(base, config.sampling_steps)

    def loss(self, denoiser: Any, step: int) -> torch.Tensor:
        """The student's loss, after one step of the discriminator against the same pictures."""
        config, levels = self.setting.config, self.levels
        batch = self.pairs.batch(config, step, self.setting.accelerator.device)
        text = self.setting.condition(batch.texts)

        # The student's pictures, from the levels at which its sampler stops
        start = self.stops[(batch.chance * len(self.stops)).long()]
        noisy = levels.add_noise(batch.latents, batch.noise, start)
        drawn, _ = levels.split(self.setting.student.predict(denoiser, start, noisy, text), noisy, start)

        # What the teacher sees in them and in the real ones, both noised anew alike
        timesteps = (batch.levels * self.levels.scheduler.config.num_train_timesteps).long()
        again = levels.add_noise(drawn, batch.more_noise, timesteps)
        with denoiser.disable_adapter():
            told, fake = self.look(denoiser, again, timesteps, text)
            with torch.no_grad():
                _, real = self.look(
                    denoiser, levels.add_noise(batch.latents, batch.more_noise, timesteps), timesteps, text
                )
                guided = self.guided(denoiser, told.detach(), again.detach(), timesteps, text)
        self.teach([f.detach() for f in fake], real, timesteps, text)

        # Pass for real, and be what the teacher makes of them
        self.discriminator.requires_grad_(False)
        fooled = -mean_of(self.discriminator(fake, timesteps, text))
        self.discriminator.requires_grad_(True)
        alpha, _ = levels.of(timesteps)
        return fooled + config.teacher_weight * (alpha * (drawn - guided).pow(2)).mean()

    def look(
        self, denoiser: Any, noisy: torch.Tensor, timesteps: torch.Tensor, text: torch.Tensor
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The teacher's prediction, and what it sees inside, float32 [N, C, h, w] each, of unit size over a picture."""
        with watched(self.unet) as seen:
            predicted = self.setting.student.predict(denoiser, timesteps, noisy, text)
        return predicted, [functional.group_norm(f.float(), 1) for f in seen]

    def guided(
        self, denoiser: Any, told: torch.Tensor, noisy: torch.Tensor, timesteps: torch.Tensor, text: torch.Tensor
    ) -> torch.Tensor:
        """The picture that the teacher under guidance sees in noisy ones. told: its prediction under the text."""
        teacher = self.setting.teacher
        assert teacher.blank is not None
        without = self.setting.student.predict(denoiser, timesteps, noisy, teacher.blank.expand_as(text))
        clean, _ = self.levels.split(without + teacher.guidance * (told - without), noisy, timesteps)
        return clean

    def teach(
        self, fake: list[torch.Tensor], real: list[torch.Tensor], timesteps: torch.Tensor, text: torch.Tensor
    ) -> None:
        """One step of the discriminator: hinge loss, and R1 at the heads' inputs."""
        self.optimizer.zero_grad(set_to_none=True)
        of_fake = self.discriminator(fake, timesteps, text)
        real = [f.requires_grad_(True) for f in real]
        of_real = self.discriminator(real, timesteps, text)
        hinge = mean_of([functional.relu(1 + x) for x in of_fake]) + mean_of([functional.relu(1 - x) for x in of_real])
        slopes = torch.autograd.grad(sum(x.sum() for x in of_real), real, create_graph=True)
        (hinge + self.setting.config.penalty * mean_of([s.pow(2).sum(1) for s in slopes])).backward()
        self.optimizer.step()

    def tensors(self) -> dict[str, torch.Tensor]:
        of_weights = {PREFIX + k: v for k, v in self.discriminator.state_dict().items()}
        return of_weights | {PREFIX + k: v for k, v in optimizer_tensors(self.optimizer).items()}

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        mine = {k.removeprefix(PREFIX): v for k, v in tensors.items() if k.startswith(PREFIX)}
        restore_optimizer(self.optimizer, mine)
        self.discriminator.load_state_dict({k: v for k, v in mine.items() if not k.startswith("optimizer.")})


@contextmanager
def watched(unet: Any) -> Iterator[list[torch.Tensor]]:
    """Fills a list with what the down blocks and the middle of a UNet give, in order, at its next pass."""
    seen: list[torch.Tensor] = []

    def keep(_: nn.Module, __: object, given: Any) -> None:
        seen.append(given[0] if isinstance(given, tuple) else given)

    hooks = [block.register_forward_hook(keep) for block in (*unet.down_blocks, unet.mid_block)]
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()


def mean_of(logits: Sequence[torch.Tensor]) -> torch.Tensor:
    """The mean over the heads of each one's mean."""
    return torch.stack([x.mean() for x in logits]).mean()
