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

Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
BLOCK, REFERENCES, PAIRS = 512, 8192, 16_384
"""Samples, those that they are compared with, and pairs that are looked at twice, in memory at once."""
SLACK = 1e-4
"""Of a squared distance in single precision, as a share of the largest squared norm: far over its rounding error."""
NAME = "accepted.safetensors"


@dataclass(frozen=True, kw_only=True)
class Double:
    """What a sample is a near-duplicate of: its place among those of this round, None where it is of an earlier one."""

    of: int | None
    distance: float


def distinct(
    embeddings: Float32,
    prompts: Sequence[int],
    *,
    limit: float,
    pool: Float32 | None = None,
    block: int = BLOCK,
) -> list[Double | bool]:
    """Of each sample in turn: True (accepted), False (one of its prompt was accepted before), or what it doubles.

    embeddings: float32 [N, C], in the order in which they may be accepted. pool: float32 [P, C], accepted before.
    A double lies nearer than `limit`; the first such one is told.
    """
    pool = embeddings[:0] if pool is None else pool
    num, before = len(embeddings), len(pool)
    rows = np.concatenate([pool, embeddings]).astype(np.float32, copy=False)
    accepted = list(range(before))  # places in `rows`
    answered: set[int] = set()
    found: list[Double | bool] = []
    for start in range(0, num, block):
        own = np.arange(before + start, before + min(start + block, num))
        first = _first_near(rows, own, accepted, limit)
        left = np.flatnonzero(first < 0)
        i, j = _near(rows, own[left], own[left], limit)
        beside = np.zeros((len(own), len(own)), dtype=bool)
        beside[left[i], left[j]] = True
        taken = np.zeros(len(own), dtype=bool)
        for number, place in enumerate(own.tolist()):
            near = int(first[number])
            if near < 0 and (beside[number] & taken).any():
                near = int(own[(beside[number] & taken).argmax()])
            if prompts[place - before] in answered:
                found.append(False)
            elif near >= 0:
                apart = float(np.sqrt(_squared(rows, np.array([place]), np.array([near]))[0]))
                found.append(Double(of=near - before if near >= before else None, distance=apart))
            else:
                taken[number] = True
                answered.add(prompts[place - before])
                found.append(True)
        accepted += own[taken].tolist()
    return found


def _first_near(rows: Float32, own: Int64, accepted: Sequence[int], limit: float) -> Int64:
    """The first of the accepted places that each own one is near to, -1 where there is none."""
    first = np.full(len(own), -1, dtype=np.int64)
    for start in range(0, len(accepted), REFERENCES):
        places = np.array(accepted[start : start + REFERENCES])
        left = np.flatnonzero(first < 0)
        i, j = _near(rows, own[left], places, limit)
        named, at = np.unique(i, return_index=True)
        first[left[named]] = places[j[at]]
    return first


def _near(rows: Float32, mine: Int64, other: Int64, limit: float) -> tuple[Int64, Int64]:
    """The pairs (i, j) of which row `mine[i]` lies nearer than the limit to row `other[j]`, in order."""
    if limit <= 0:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    a, b = rows[mine], rows[other]
    one, two = np.square(a).sum(1), np.square(b).sum(1)
    # |a - b|^2 as one product, so that most pairs are passed over without a second look
    left = np.concatenate([-2 * a, one[:, None], np.ones_like(one)[:, None]], 1)
    right = np.concatenate([b, np.ones_like(two)[:, None], two[:, None]], 1)
    bound = limit * limit + SLACK * float(max(one.max(initial=0), two.max(initial=0)))
    i, j = np.nonzero(left @ right.T < bound)
    sure = [
        _squared(rows, mine[i[k : k + PAIRS]], other[j[k : k + PAIRS]]) < limit * limit for k in range(0, len(i), PAIRS)
    ]
    certain = np.concatenate(sure) if sure else np.empty(0, bool)
    return i[certain], j[certain]


def _squared(rows: Float32, mine: Int64, other: Int64) -> NDArray[np.float64]:
    """Squared distances of pairs of rows, exact enough to be the same in any company."""
    squared: NDArray[np.float64] = np.square(rows[mine].astype(np.float64) - rows[other]).sum(1)
    return squared


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
