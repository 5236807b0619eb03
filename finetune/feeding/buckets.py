"""Aspect-ratio buckets: images keep their shape, and the images of a step have one shape.

Shapes have about as many pixels as the square that the base was made for, so that a step costs the same whichever it
draws (NovelAI 2022, "Improvements on Stable Diffusion", as most trainers have taken it up).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.data.datasets.streamed import place_of
from vesalius.data.images.image import Shape, image_shape
from vesalius.data.record import Record
from vesalius.finetune.feeding.latents import Latents, cached_views
from vesalius.finetune.feeding.stream import batch_indices
from vesalius.models.base import Base

Int64 = NDArray[np.int64]
Member = tuple[Path, Record]

WIDEST = 2.0
"""Longest edge of a bucket beside its shortest; what is longer still is padded or cropped, as its modality says."""


@dataclass(frozen=True)
class Buckets:
    """Which shape each of N records is shown in. shapes: (height, width) in pixels; of: each record's, int64 [N]."""

    shapes: Sequence[Shape]
    of: Int64

    @cached_property
    def members(self) -> list[Int64]:
        """The records of each shape, in order."""
        return [np.flatnonzero(self.of == number) for number in range(len(self.shapes))]

    def picked(self, seed: int, step: int, batch_size: int, weights: NDArray[np.float64] | None) -> Int64:
        """Which records the global batch of a step holds, int64 [batch_size], all of one shape.

        A shape is drawn as often as its records are, and its records in turn as `batch_indices` says.
        """
        shares = np.bincount(self.of, weights, len(self.shapes)).cumsum()
        drawn = np.searchsorted(shares, _points(seed, step + 1) * shares[-1], side="right")
        drawn = np.minimum(drawn, len(self.shapes) - 1)
        mine = self.members[drawn[-1]]
        turn = int((drawn[:-1] == drawn[-1]).sum())
        chosen = batch_indices(seed, turn, batch_size, len(mine), None if weights is None else weights[mine])
        picked: Int64 = mine[chosen]
        return picked


@dataclass(frozen=True, kw_only=True)
class Views:
    """Latents of all views of some records. places: where those of each view lie in them, int64 [views, records];
    buckets: the shape of each record; rivals: of rated pairs those of the worse pictures."""

    latents: Latents
    places: Int64
    buckets: Buckets
    rivals: Latents | None = None


def _points(seed: int, num: int) -> NDArray[np.float64]:
    """One uniform number for each of the first steps."""
    return np.random.default_rng([seed, 2]).random(num)


def choose_buckets(members: Sequence[Member], base: Base, aspect: bool = False) -> Buckets:
    """Buckets for records. aspect: whether images keep their shape; else all are shown in the base's square.

    ValueError as `image_shape`.
    """
    size = base.image_size
    shapes = bucket_shapes(size, base.size_unit) if aspect else [(size, size)]
    logs = np.log([height / width for height, width in shapes])
    ratios = [0.0] * len(members)
    if aspect:
        for i, (folder, record) in enumerate(members):
            height, width = image_shape(place_of(folder, record.file_name))
            ratios[i] = math.log(height / width)
    of: Int64 = np.abs(np.array(ratios)[:, None] - logs).argmin(1)
    used = np.unique(of)
    return Buckets([shapes[i] for i in used], np.searchsorted(used, of))


def bucket_shapes(size: int, unit: int) -> list[Shape]:
    """(height, width) of all buckets, from the square to WIDEST to both sides: multiples of `unit`, and at most
    size x size pixels."""
    shapes = [(size, size)]
    for long in range(size + unit, 2 * size + 1, unit):
        short = size * size // long // unit * unit
        if short and long / short <= WIDEST:
            shapes += [(long, short), (short, long)]
    return shapes


def make_views(
    autoencoder: Any, digest: str, members: Sequence[Member], buckets: Buckets, num: int = 1, **how: Any
) -> Views:
    """As `cached_views`, each record in the shape of its bucket. num: views of each real image."""
    shards: list[Any] = []
    places = np.zeros((num, len(members)), dtype=np.int64)
    for shape, mine in zip(buckets.shapes, buckets.members, strict=True):
        latents, where = cached_views(autoencoder, digest, [members[i] for i in mine], shape, num, **how)
        places[:, mine] = where + sum(len(mean) for mean, _ in shards)
        shards += latents.shards
    return Views(latents=Latents(shards), places=places, buckets=buckets)
