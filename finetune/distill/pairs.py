"""What a distillation learns from: records with a wording each, and the latents of their images."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from vesalius.data.record import Record, digest_file
from vesalius.data.texts.wording import reword_record
from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.feeding.examples import gather
from vesalius.finetune.feeding.latents import Latents, cached_latents
from vesalius.finetune.feeding.stream import balanced_weights, batch_indices, slot_generator, slot_seed
from vesalius.models.base import Base

Pair = tuple[tuple[Path, Record], str]
"""A record in its dataset folder, and a wording of it."""


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What a step sees. latents, noise and more noise: float32 [B, C, H, W]; levels: in [0, 1), one in each of B equal
    parts, so that a batch sees all noise levels (Kingma et al. 2021, I.1); chance: uniform [B]; texts of the B."""

    latents: torch.Tensor
    noise: torch.Tensor
    more_noise: torch.Tensor
    levels: torch.Tensor
    chance: torch.Tensor
    texts: list[str]


@dataclass(frozen=True, kw_only=True)
class Pairs:
    """Images as latents, with their texts. places: where the image of each text lies in the latents, int64 [N]."""

    latents: Latents
    places: torch.Tensor
    texts: list[str]

    def batch(self, config: DistillConfig, step: int, device: torch.device) -> Batch:
        """The batch of a step: a function of seed, step and place alone."""
        picked = batch_indices(config.seed, step, config.batch_size, len(self.texts)).tolist()
        mean, deviation = self.latents.of(self.places[picked])
        chances = [slot_generator(config.seed, step, slot) for slot in range(config.batch_size)]
        uniform = torch.stack([torch.rand(2, generator=g) for g in chances])
        spread, noise, more = (torch.stack([torch.randn(mean.shape[1:], generator=g) for g in chances]) for _ in "abc")
        levels = (torch.arange(config.batch_size) + uniform[:, 0]) / config.batch_size
        latents, noise, more, levels, chance = (
            x.to(device) for x in (mean + deviation * spread, noise, more, levels, uniform[:, 1])
        )
        texts = [self.texts[i] for i in picked]
        return Batch(latents=latents, noise=noise, more_noise=more, levels=levels, chance=chance, texts=texts)


def choose_pairs(config: DistillConfig, split: str, tokenizer: Any) -> list[Pair]:
    """The pairs of a split: records with wordings that one context of the text encoder holds."""
    members = gather(config.data, split, config.exclude)
    weights = balanced_weights([r for _, r in members], {"real": config.real_share, "phantom": 1 - config.real_share})
    learnt = config.num_trajectories if config.method == "trajectory" else config.num_pairs
    num = learnt if split == "train" else config.num_validation
    pairs: list[Pair] = []
    for step in range(100):
        for slot, i in enumerate(batch_indices(config.seed, step, num, len(members), weights).tolist()):
            rng = np.random.default_rng(slot_seed(config.seed, step, slot))
            text = reword_record(members[i][1], rng, "zh" if rng.random() < config.chinese_share else "en")
            if len(tokenizer(text, verbose=False).input_ids) <= tokenizer.model_max_length:
                pairs.append((members[i], text))
        if len(pairs) >= num:
            return pairs[:num]
    raise ValueError(
        f"{config.data[0]}: hardly a text of split '{split}' fits the text encoder's context; shorten them"
    )


def cache_pairs(config: DistillConfig, base: Base, pairs: Sequence[Pair], accelerator: Accelerator) -> Pairs:
    """The pairs with latents of their images, made once and kept in `out/cache`. ValueError as `cached_latents`."""
    members = {(folder, record.file_name): (folder, record) for (folder, record), _ in pairs}
    place = {key: i for i, key in enumerate(members)}
    half = accelerator.mixed_precision == "bf16"
    latents = cached_latents(
        base.pipeline.vae.to(accelerator.device), base.digest, list(members.values()), (base.image_size,) * 2,
        config.out / "cache", device=accelerator.device, quiet=config.json, half=half,
    )  # fmt: skip
    base.pipeline.vae.to("cpu")  # its work is done
    places = torch.tensor([place[folder, record.file_name] for (folder, record), _ in pairs])
    return Pairs(latents=latents, places=places, texts=[text for _, text in pairs])


def digest_pairs(config: DistillConfig, pairs: Sequence[Pair]) -> str:
    """sha256 of what is learnt from: of trajectory the texts, of the other methods the images too."""
    texts = [text for _, text in pairs]
    if config.method == "trajectory":
        return digest_texts(texts)
    return digest_texts([*texts, *(r.sha256 or digest_file(folder / r.file_name) for (folder, r), _ in pairs)])


def digest_texts(texts: Sequence[str]) -> str:
    """sha256 of texts in order."""
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()
