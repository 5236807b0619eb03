"""The order of the data and the noise as pure functions of (seed, step, place in the batch): state is one integer.

What a step sees depends neither on the number of processes or workers nor on where a run was interrupted.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.record import Record
from vesalius.data.texts.captions import UNLABELLED

Int64 = NDArray[np.int64]


def batch_indices(
    seed: int, step: int, batch_size: int, num_records: int, weights: NDArray[np.float64] | None = None
) -> Int64:
    """Which records the global batch of a step holds, int64 [batch_size].

    Without weights every record comes once per epoch, in a fresh order each epoch; with weights, draws with
    replacement.
    """
    if weights is not None:
        cumulative = np.cumsum(weights)
        points = np.random.default_rng([seed, step]).random(batch_size) * cumulative[-1]
        points = np.minimum(points, np.nextafter(cumulative[-1], 0))  # rounding may reach the end, where no record is
        drawn: Int64 = np.searchsorted(cumulative, points, side="right").astype(np.int64)
        return drawn
    places = np.arange(step * batch_size, (step + 1) * batch_size)
    epochs = (divmod(place, num_records) for place in places.tolist())
    return np.array([_order(seed, epoch, num_records)[i] for epoch, i in epochs], dtype=np.int64)


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, num_records: int) -> Int64:
    order: Int64 = np.random.default_rng([seed, 1, epoch]).permutation(num_records)
    return order


def slot_seed(seed: int, step: int, slot: int) -> int:
    """The seed of one place in one step's global batch."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{step}/{slot}".encode(), digest_size=7).digest(), "big")


def slot_generator(seed: int, step: int, slot: int) -> torch.Generator:
    """All chance that one place of a batch needs (timestep, noise, caption dropout), on the CPU."""
    return torch.Generator().manual_seed(slot_seed(seed, step, slot))


def balanced_weights(records: list[Record], shares: dict[str, float], weigh: Sequence[str] = ()) -> NDArray[np.float64]:
    """Sampling weights, float64 [N], that give each origin its share and soften imbalance inside it.

    Inside an origin a group (modality, organ, label) of n records weighs sqrt(n): between by-class and by-record.
    Shares of origins that are absent go to the others in proportion. weigh: "NAME=FACTOR", by which phantoms of a
    modality, or real records of a label or source, count more or less among those of their origin. ValueError where one
    of them names no record, or is no such thing.
    """
    told = [_factor(each) for each in weigh]
    factors = dict(told)
    if len(factors) < len(told):
        name = next(name for name, count in Counter(name for name, _ in told).items() if count > 1)
        raise ValueError(f"--weigh {name}: is named twice; give it one factor")
    named = [{r.modality} if r.origin == "phantom" else {r.label or "", r.source or ""} for r in records]
    if unknown := factors.keys() - {name for names in named for name in names}:
        raise ValueError(
            f"--weigh {sorted(unknown)[0]}: no phantom is of that modality, and no real record of that label or source"
        )
    groups = [(r.origin, r.modality, r.organ, None if r.source in UNLABELLED else r.label) for r in records]
    sizes = Counter(groups)
    raw = np.array([sizes[g] ** -0.5 for g in groups], dtype=np.float64)
    raw *= [math.prod(factors[name] for name in names & factors.keys()) for names in named]
    for origin in {r.origin for r in records}:
        members = np.array([r.origin == origin for r in records])
        raw[members] *= shares.get(origin, 1.0) / raw[members].sum()
    weights: NDArray[np.float64] = raw / raw.sum()
    return weights


def _factor(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    try:
        factor = float(number)
    except ValueError:
        factor = -1.0
    if not name or not 0 < factor < math.inf:
        raise ValueError(f"--weigh {text}: expected NAME=FACTOR, such as MRI=2, with a factor above 0")
    return name, factor
