"""What a run trains on: the records it may see, their wordings, and how often each is drawn."""

from __future__ import annotations

import dataclasses
import hashlib
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.command.counted import counted
from vesalius.data.datasets.streamed import dataset_records, place_of
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, digest_file
from vesalius.data.texts.prompt import clean, prompts_of, sections
from vesalius.finetune.config import WEIGHT, FinetuneConfig
from vesalius.finetune.feeding.pairs import load_pairs
from vesalius.models.text import split_chunks

Member = tuple[Path, Record]
MAX_DEPTH = 3


@dataclass(frozen=True, kw_only=True)
class Trainset:
    """Records to train on and to validate on, as (dataset folder, record). weights None: every record once an epoch.

    rivals: of rated pairs the worse picture of each record.
    """

    train: list[Member]
    held_out: list[Member]
    wordings: list[tuple[str, ...]]
    weights: NDArray[np.float64] | None
    rivals: list[Member] = dataclasses.field(default_factory=list)

    @property
    def depth(self) -> int:
        """The deepest generation depth among the training records."""
        return max(r.depth for _, r in (*self.train, *self.rivals))

    @property
    def texts(self) -> set[str]:
        """All texts that a run shows: every wording, none, and those of the held-out images."""
        asked = {self.prompt_of_held_out(i) for i in range(len(self.held_out))}
        return {w for ws in self.wordings for w in ws} | asked | {""}

    def prompt_of_held_out(self, index: int) -> str:
        return prompts_of(self.held_out[index][1])[0]

    def say_text_coverage(self, tokenizer: Any, section: str | None, *, quiet: bool) -> int:
        """Print how the texts fit the text encoder: all their tokens are kept, longer texts fill several contexts.

        Returns the most contexts that one text fills. section: the only part of reports that is shown.
        """
        texts = list(dict.fromkeys(w for ws in self.wordings for w in ws))
        room = tokenizer.model_max_length - 2
        # A text of as many bytes as there is room for tokens fits: a token is at least a byte
        long = [t for t in texts if len(t.encode()) > room]
        ids = tokenizer(long, add_special_tokens=False, verbose=False).input_ids if long else []
        chunks = [len(split_chunks(tokenizer, t)) for t, i in zip(long, ids, strict=True) if len(i) > room]
        if not quiet:
            shown = [sum(map(len, (r.text for _, r in self.train))), sum(len(w[-1]) for w in self.wordings)]
            part = f", {shown[1] / max(shown[0], 1):.0%} of the reports' letters shown" if section else ""
            print(
                f"{len(self.train)} training and {counted(len(self.held_out), 'validation record')}; "
                f"{counted(len(texts), 'text')}, "
                f"{len(chunks) / len(texts):.1%} need more than one context of {tokenizer.model_max_length}, "
                f"100 % of tokens kept{part}",
                file=sys.stderr,
            )
        return max(chunks, default=1)


def choose_trainset(config: FinetuneConfig) -> Trainset:
    """Read and check the records of a run. ValueError where nothing is left, or a sample is too deep.

    Without a validation split a tenth of the patients (by a hash, so that more data moves none) is held out.
    """
    wanted = {find_modality(m).name for m in config.modalities}
    members = [
        (folder, dataclasses.replace(record, modality=find_modality(record.modality).name))
        for folder in config.data
        for record in dataset_records(folder)
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
            + "; give another dataset"
        )
    if not held_out:
        held_out = [m for m in train if m[1].origin != "synthetic" and _held_out(m[1])]
        train = [m for m in train if m[1].origin == "synthetic" or not _held_out(m[1])]
        if not held_out or not train:
            raise ValueError(f"{config.data[0]}: too few records to hold some out for validation; add a val split")
    if config.synthetic_alone:
        train = [m for m in train if m[1].origin == "synthetic"]
        if not train:
            raise ValueError(f"--synthetic-alone: {config.data[0]} has no synthetic training record")
    rivals: list[Member] = []
    if config.pairs:
        train, rivals = load_pairs(config.pairs)
    too_deep = [r for _, r in (*train, *rivals) if r.depth > MAX_DEPTH]
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
        wordings=[wordings_of(r, config.section) for _, r in train],
        weights=None if rivals or config.synthetic_alone else sampling_weights(train, config),
        rivals=rivals,
    )


def wordings_of(record: Record, section: str | None) -> tuple[str, ...]:
    """The texts that a record is trained on: all its wordings, or the named section of its report where it has it."""
    part = clean(sections(record.text).get(section, "")) if section else ""
    return (part,) if part else prompts_of(record)


def sampling_weights(members: Sequence[Member], config: FinetuneConfig) -> NDArray[np.float64] | None:
    """Sampling weights float64 [N], sum 1: by the records' own, by dataset, each value of a field as often as others,
    and then with real and phantom records at no less than their share. None where every record comes once an epoch.

    ValueError where the field to balance by is empty in every record, or records' own weights are none.
    """
    records = [r for _, r in members]
    own = own_weights(members)
    if own is None and config.balance == "none" and not config.data_weights:
        return origin_weights(records, config.real_share)
    weights = np.ones(len(members)) if own is None else own
    if config.balance != "none":
        values = [getattr(r, config.balance) for r in records]
        if not any(values):
            raise ValueError(f"--balance {config.balance}: no training record has a {config.balance}; leave it out")
        sizes = Counter[Any]()
        for value, weight in zip(values, weights.tolist(), strict=True):
            sizes[value] += weight
        weights = weights / [sizes[v] or 1 for v in values]
    for folder, share in zip(config.data, config.data_weights, strict=False):
        mine = np.array([f == folder for f, _ in members])
        if not weights[mine].any():
            raise ValueError(f"--data-weights: {folder} has no training record to be drawn")
        weights[mine] *= share / weights[mine].sum()
    weights /= weights.sum()
    synthetic = np.array([r.origin == "synthetic" for r in records])
    real = 1 - float(weights[synthetic].sum())
    if synthetic.any() and real < config.real_share:
        origin_weights(records, config.real_share)  # says what is wrong where all are synthetic
        if not weights[~synthetic].any():
            raise ValueError(f"all real training records have a {WEIGHT} of 0, so none would be drawn; raise some")
        weights[synthetic] *= (1 - config.real_share) / weights[synthetic].sum()
        weights[~synthetic] *= config.real_share / weights[~synthetic].sum()
    shares: NDArray[np.float64] = weights
    return shares


def own_weights(members: Sequence[Member]) -> NDArray[np.float64] | None:
    """The weights that records bring in their column `sampling_weight`, float64 [N], 1 of those without; None where all
    are alike. ValueError names a record whose weight is no number from 0 to a million."""
    found = np.ones(len(members))
    for place, (folder, record) in enumerate(members):
        value = record.extra.get(WEIGHT, 1.0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e6:
            raise ValueError(f"{folder / record.file_name}: {WEIGHT} is {value!r}; expected 0 to 1,000,000, 1 as usual")
        found[place] = value
    if not found.any():
        raise ValueError(f"all training records have a {WEIGHT} of 0, so none would be drawn; raise some")
    return None if (found == found[0]).all() else found


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
    """sha256 over the images, modalities, captions, texts and own weights of a training set, in order."""
    total = hashlib.sha256()
    for folder, record in members:
        parts = (
            record.sha256 or digest_file(place_of(folder, record.file_name)),
            record.modality,
            record.caption or "",
            record.text,
            *([repr(record.extra[WEIGHT])] if WEIGHT in record.extra else []),
        )
        total.update("\0".join(parts).encode())
    return total.hexdigest()
