"""Near-duplicates among accepted samples, of this round and of earlier ones, in blocks.

    found = distinct(embeddings, prompts, limit=0.1, pool=earlier)

The order is that of a plain loop, in which each accepted one keeps later ones out; matrix products only tell which
pairs need no second look, so the answer is the loop's own, whatever the size of a block.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save

from vesalius.data.record import write_atomic

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]
BLOCK, REFERENCES = 512, 8192
"""Samples, and those that they are compared with, whose distances are in memory at once."""
SLACK = 1e-9
"""Of a squared distance by matrix products, as a share of the squared norms: far over its rounding error."""
NAME = "accepted.safetensors"


@dataclass(frozen=True, kw_only=True)
class Double:
    """What a sample is a near-duplicate of: its place among those of this round, None where it is of an earlier one."""

    of: int | None
    distance: float


def distinct(
    embeddings: NDArray[np.float32],
    prompts: Sequence[int],
    *,
    limit: float,
    pool: NDArray[np.float32] | None = None,
    block: int = BLOCK,
) -> list[Double | bool]:
    """Of each sample in turn: True (accepted), False (one of its prompt was accepted before), or what it doubles.

    embeddings: float32 [N, C], in the order in which they may be accepted. pool: float32 [P, C], accepted before.
    A double lies nearer than `limit`; the first such one is told.
    """
    pool = embeddings[:0] if pool is None else pool
    num, before = len(embeddings), len(pool)
    rows = np.concatenate([pool, embeddings]).astype(np.float64)
    accepted = list(range(before))  # places in `rows`
    answered: set[int] = set()
    found: list[Double | bool] = []
    for start in range(0, num, block):
        own = range(before + start, before + min(start + block, num))
        first = _first_near(rows, own, accepted, limit)
        sure, unsure = _near(rows[own.start : own.stop], rows[own.start : own.stop], limit)
        taken = np.zeros(len(own), dtype=bool)
        for i, place in enumerate(own):
            near = first[i] if first[i] >= 0 else _first_taken(rows, own, i, taken, sure | unsure, sure, limit)
            if prompts[place - before] in answered:
                found.append(False)
            elif near >= 0:
                apart = float(np.sqrt(_squared(rows[place], rows[near])))
                found.append(Double(of=near - before if near >= before else None, distance=apart))
            else:
                taken[i] = True
                answered.add(prompts[place - before])
                found.append(True)
        accepted += [own[i] for i in np.flatnonzero(taken)]
    return found


def _first_near(rows: Float64, own: range, accepted: Sequence[int], limit: float) -> NDArray[np.int64]:
    """The first of the accepted places that each own one is near to, -1 where there is none."""
    first = np.full(len(own), -1, dtype=np.int64)
    mine = rows[own.start : own.stop]
    for start in range(0, len(accepted), REFERENCES):
        places = np.array(accepted[start : start + REFERENCES])
        sure, unsure = _near(mine, rows[places], limit)
        for i, j in np.argwhere(unsure):  # so few that each is looked at
            sure[i, j] = _squared(mine[i], rows[places[j]]) < limit * limit
        hit = sure.any(1) & (first < 0)
        first[hit] = places[sure[hit].argmax(1)]
    return first


def _first_taken(rows: Float64, own: range, i: int, taken: Bool, maybe: Bool, sure: Bool, limit: float) -> int:
    """The first of the block's accepted ones that its i-th is near to, -1 where there is none."""
    for j in np.flatnonzero(maybe[i] & taken):
        if sure[i, j] or _squared(rows[own[i]], rows[own[j]]) < limit * limit:
            return own[j]
    return -1


def _near(mine: Float64, other: Float64, limit: float) -> tuple[Bool, Bool]:
    """Which pairs are nearer than the limit for certain, and which may be, bool [N, M] each."""
    if limit <= 0:
        return np.zeros((len(mine), len(other)), dtype=bool), np.zeros((len(mine), len(other)), dtype=bool)
    norms = np.square(mine).sum(1)[:, None] + np.square(other).sum(1)[None]
    squared = norms - 2 * (mine @ other.T)
    slack = SLACK * norms
    sure = squared < limit * limit - slack
    return sure, ~sure & (squared < limit * limit + slack)


def _squared(a: Float64, b: Float64) -> float:
    return float(np.square(a - b).sum())


def write_seen(folder: Path, embeddings: Mapping[str, torch.Tensor]) -> None:
    """Keep a round's embeddings of what it accepted, float32 [N, C] by modality, for later rounds."""
    held = {name: each.contiguous().float() for name, each in embeddings.items()}
    write_atomic(folder / NAME, save(held))


def read_seen(folders: Iterable[Path]) -> dict[str, torch.Tensor]:
    """What rounds accepted, float32 [N, C] by modality; nothing of a round that kept none."""
    parts: dict[str, list[torch.Tensor]] = {}
    for folder in folders:
        if (folder / NAME).is_file():
            for name, each in load_file(folder / NAME).items():
                parts.setdefault(name, []).append(each)
    return {name: torch.cat(each) for name, each in sorted(parts.items())}
