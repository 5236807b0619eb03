"""What a run trains on: the records it may see, their wordings, and how often each is drawn."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.modality import find_modality
from vesalius.data.prompt import prompts_of
from vesalius.data.record import Record, digest_file, load_records
from vesalius.finetune.config import FinetuneConfig

Member = tuple[Path, Record]
MAX_DEPTH = 3


@dataclass(frozen=True, kw_only=True)
class Trainset:
    """Records to train on and to validate on, as (dataset folder, record). weights None: every record once an epoch."""

    train: list[Member]
    held_out: list[Member]
    wordings: list[tuple[str, ...]]
    weights: NDArray[np.float64] | None

    @property
    def depth(self) -> int:
        """The deepest generation depth among the training records."""
        return max(r.depth for _, r in self.train)

    def prompt_of_held_out(self, index: int) -> str:
        return prompts_of(self.held_out[index][1])[0]

    def say_text_coverage(self, tokenizer: Any, *, quiet: bool) -> None:
        """Print how the texts fit the text encoder: all tokens are kept, longer texts fill several contexts."""
        if quiet:
            return
        texts = list(dict.fromkeys(w for ws in self.wordings[:2000] for w in ws))
        room = tokenizer.model_max_length - 2
        lengths = np.array([len(x) for x in tokenizer(texts, add_special_tokens=False, verbose=False).input_ids])
        print(
            f"{len(self.train)} training and {len(self.held_out)} validation records; texts of up to {lengths.max()} "
            f"tokens, {(lengths > room).mean():.1%} need more than one context of {tokenizer.model_max_length}, "
            "100 % of tokens kept",
            file=sys.stderr,
        )


def choose_trainset(config: FinetuneConfig) -> Trainset:
    """Read and check the records of a run. ValueError where nothing is left, or a sample is too deep.

    Without a validation split a tenth of the patients (by a hash, so that more data moves none) is held out.
    """
    wanted = {find_modality(m).name for m in config.modalities}
    members = [
        (folder, dataclasses.replace(record, modality=find_modality(record.modality).name))
        for folder in config.data
        for record in load_records(folder)
        if record.split in ("train", "val")
    ]
    members = [
        m
        for m in members
        if (not wanted or m[1].modality in wanted) and (not config.organs or m[1].organ in config.organs)
    ]
    train = [m for m in members if m[1].split == "train"]
    held_out = [m for m in members if m[1].split == "val" and m[1].origin != "synthetic"]
    if not train:
        raise ValueError(
            f"{', '.join(map(str, config.data))}: no training records"
            + (f" of {', '.join((*config.modalities, *config.organs))}" if wanted or config.organs else "")
        )
    if not held_out:
        held_out = [m for m in train if m[1].origin != "synthetic" and _held_out(m[1])]
        train = [m for m in train if m[1].origin == "synthetic" or not _held_out(m[1])]
        if not held_out or not train:
            raise ValueError(f"{config.data[0]}: too few records to hold some out for validation; add a val split")
    too_deep = [r for _, r in train if r.depth > MAX_DEPTH]
    if too_deep:
        raise ValueError(
            f"{too_deep[0].file_name}: generation depth {too_deep[0].depth} is over {MAX_DEPTH}; "
            "train on less derived records"
        )
    mute = [folder / r.file_name for folder, r in (*train, *held_out) if not prompts_of(r)]
    if mute:
        raise ValueError(
            f"{mute[0]}: has no text to train on, as {len(mute)} records in all; fill in `text` or remove the row"
        )
    order = np.random.default_rng(config.seed).permutation(len(held_out))[: config.num_validation]
    return Trainset(
        train=train,
        held_out=[held_out[i] for i in sorted(order.tolist())],
        wordings=[prompts_of(r) for _, r in train],
        weights=origin_weights([r for _, r in train], config.real_share),
    )


def _held_out(record: Record) -> bool:
    key = record.patient_id or record.file_name
    return int.from_bytes(hashlib.sha256(key.encode()).digest()[:4], "big") % 10 == 0


def origin_weights(records: Sequence[Record], real_share: float) -> NDArray[np.float64] | None:
    """Sampling weights float64 [N], sum 1, in which real and phantom records have at least `real_share`.

    None where no record is synthetic, or where they are few enough for an even draw to keep the share: then every
    record comes once an epoch. ValueError where all are synthetic.
    """
    synthetic = np.array([r.origin == "synthetic" for r in records])
    if not synthetic.any():
        return None
    if synthetic.all():
        raise ValueError(
            "all training records are synthetic; add the real ones: replacing real data makes a model collapse"
        )
    if 1 - synthetic.mean() >= real_share:
        return None
    shares: NDArray[np.float64] = np.where(
        synthetic, (1 - real_share) / synthetic.sum(), real_share / (~synthetic).sum()
    )
    return shares


def choose_wording(wordings: Sequence[str], chance: torch.Tensor, config: FinetuneConfig) -> str:
    """The text that one sample shows: none (dropped), the caption, or any wording. chance: uniform numbers."""
    if chance[0] < config.caption_dropout:
        return ""
    if chance[1] < config.caption_share:
        return wordings[0]
    return wordings[int(chance[2] * len(wordings))]


def data_digest(members: Sequence[Member]) -> str:
    """sha256 over the images, modalities, captions and texts of a training set, in order."""
    total = hashlib.sha256()
    for folder, record in members:
        parts = (
            record.sha256 or digest_file(folder / record.file_name),
            record.modality,
            record.caption or "",
            record.text,
        )
        total.update("\0".join(parts).encode())
    return total.hexdigest()
