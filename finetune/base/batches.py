"""What each step of a base's training sees: a pure function of (seed, step, slot of the batch).

Made in this process, or ahead of the loop by the worker processes of torch's DataLoader, which changes nothing in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset

from vesalius.data.record import Record
from vesalius.data.texts.wording import reword_record
from vesalius.finetune.base.config import BaseConfig
from vesalius.finetune.feeding.latents import Latents
from vesalius.finetune.feeding.masks import lesion_grid
from vesalius.finetune.feeding.stream import batch_indices, slot_generator, slot_seed
from vesalius.finetune.running.launch import leave_signals, num_workers
from vesalius.models.text import tokenize

Member = tuple[Path, Record]


class BaseBatch(NamedTuple):
    """One process's part of a step. latents and noise: float32 [B, C, H, W]; timesteps: int64 [B]; emphasis: weight of
    the loss at each place, float32 [B, 1, H, W]; texts of the B, and their tokens, int64 [B, 1, L], or none."""

    latents: torch.Tensor
    noise: torch.Tensor
    timesteps: torch.Tensor
    emphasis: torch.Tensor
    texts: list[str]
    tokens: torch.Tensor


class BaseBatches(Dataset[BaseBatch]):
    """The batches of a run by their step, as one of its processes sees them.

    places: where the latents of each view of each record lie, int64 [views, records]; slots: places of the global batch
    that are this process's; tokenizer: to make the tokens too, where the text encoder does not wait for them.
    """

    def __init__(
        self, config: BaseConfig, members: Sequence[Member], weights: NDArray[np.float64], latents: Latents,
        places: NDArray[np.int64], slots: Sequence[int], tokenizer: Any = None,
    ) -> None:  # fmt: skip
        self.config, self.members, self.weights, self.tokenizer = config, members, weights, tokenizer
        self.latents, self.places, self.slots = latents, torch.from_numpy(places), list(slots)

    def __getitem__(self, step: int) -> BaseBatch:
        config, slots = self.config, self.slots
        picked = batch_indices(config.seed, step, config.batch_size, len(self.members), self.weights)
        mine = torch.from_numpy(picked[slots])
        chances = [slot_generator(config.seed, step, slot) for slot in slots]
        uniform = torch.stack([torch.rand(3, generator=g) for g in chances])
        mean, deviation = self.latents.of(self.places[(uniform[:, 2] * config.views).long(), mine])
        noise, spread = (torch.stack([torch.randn(mean.shape[1:], generator=g) for g in chances]) for _ in range(2))
        # One timestep in each equal part of the schedule: a batch sees all noise levels (Kingma et al. 2021, I.1)
        timesteps = ((torch.tensor(slots) + uniform[:, 0]) * (1000 / config.batch_size)).long()
        dropped = (uniform[:, 1] < config.caption_dropout).tolist()
        texts = [
            "" if without else told(self.members[i][1], config, slot_seed(config.seed, i, step % config.wordings))
            for i, without in zip(mine.tolist(), dropped, strict=True)
        ]
        size = config.sizes.image_size
        lesions = lesion_grid([self.members[i] for i in mine.tolist()], (size, size), size // mean.shape[-1])
        return BaseBatch(
            latents=mean + deviation * spread,
            noise=noise,
            timesteps=timesteps,
            emphasis=1 + (config.lesion_weight - 1) * lesions.float(),
            texts=texts,
            tokens=tokenize(self.tokenizer, texts, 1) if self.tokenizer else torch.empty(0, dtype=torch.long),
        )

    def ahead(self, start: int, device: torch.device) -> Iterator[BaseBatch]:
        """The batches from step `start` on, in order."""
        workers = num_workers(self.config.workers, device)
        loader = DataLoader(
            self, batch_size=None, sampler=range(start, self.config.steps), num_workers=workers,
            pin_memory=device.type == "cuda", prefetch_factor=4 if workers else None,
            worker_init_fn=leave_signals,
        )  # fmt: skip
        return iter(loader)


def told(record: Record, config: BaseConfig, seed: int) -> str:
    """The wording under which a record is seen once."""
    rng = np.random.default_rng(seed)
    return reword_record(record, rng, "zh" if rng.random() < config.chinese_share else "en")
