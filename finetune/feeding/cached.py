"""What a run sees of its pictures, made once before its first step: latents in the shapes of buckets, and masks."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from accelerate import Accelerator

from vesalius.finetune.config import FinetuneConfig
from vesalius.finetune.feeding.buckets import Member, Views, choose_buckets, make_views
from vesalius.finetune.feeding.masks import lesion_grids
from vesalius.finetune.feeding.trainset import Trainset
from vesalius.models.base import Base


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Latents of the records that are trained on, with those of rated rivals, and of the held-out ones. masks: where
    findings are shown, None where they weigh no more than all else."""

    train: Views
    held_out: Views
    masks: Sequence[torch.Tensor] | None


def cache_pictures(
    base: Base, trainset: Trainset, config: FinetuneConfig, accelerator: Accelerator, *, half: bool, quiet: bool
) -> Pictures:
    """Encode what is not in the run's cache yet, shared out over the processes. The autoencoder is left on their
    device."""
    autoencoder = base.pipeline.vae.to(accelerator.device)

    def views_of(members: Sequence[Member], num: int) -> Views:
        return make_views(
            autoencoder, base.digest, members, choose_buckets(members, base, config.aspect_buckets), num,
            folder=config.out / "cache", device=accelerator.device, quiet=quiet, accelerator=accelerator, half=half,
        )  # fmt: skip

    train, held_out = views_of(trainset.train, config.views), views_of(trainset.held_out, 1)
    rivals = views_of(trainset.rivals, 1).latents
    return Pictures(
        train=dataclasses.replace(train, rivals=rivals if trainset.rivals else None), held_out=held_out,
        masks=lesion_grids(trainset.train, train.buckets, base.pipeline.vae_scale_factor)
        if config.mask_weight != 1 else None,
    )  # fmt: skip
