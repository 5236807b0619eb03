"""The nearest of a set of pictures to each of another, in features of any kind, over views, in flat memory.

    distances, indices = nearest([features], [others])

A copy may come back mirrored, cropped, brighter or noisier. `PixelDetector` does not see brightness and hardly noise;
`flips` and `crops` make the views in which a mirrored or cropped copy is met again.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Literal

import torch
from torch.nn import functional

ROWS, COLUMNS = 1024, 4096
"""Distances held at once: 16 MB, whatever the sets' sizes."""
CROPS = (1.0, 0.975, 0.95, 0.925, 0.9, 0.875, 0.85, 0.825, 0.8)
"""Shares of the edges that `crops` keep."""

Views = Sequence[torch.Tensor]
"""Features of the same pictures in one or several views, each float NC; the first of the pictures as they are."""


class PixelDetector:
    """The picture itself, as a grey thumbnail of 16 x 16 with a mean of 0 and a norm of 1.

    So the square of a distance is 2 - 2 r, with Pearson's correlation r of two thumbnails: brightness and contrast have
    no say. It has no weights, so it cannot be blind to what a network was not taught.
    """

    name = "pixels"
    digest = "pixels-1"
    size = 16

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W], or its grey [N, 1, H, W] -> float32 [N, 256]. A picture without contrast has zeros."""
        shape = (self.size, self.size)
        parts = [
            functional.interpolate(part.float().mean(1, keepdim=True), size=shape, mode="bilinear", antialias=True)
            for part in images.split(256)
        ]
        flat = torch.cat(parts).flatten(1) if parts else torch.empty(0, self.size**2)
        flat = flat - flat.mean(1, keepdim=True)
        flat[flat.square().mean(1) < 0.25] = 0  # half a grey level: what is left is rounding
        return functional.normalize(flat, dim=1)


def flips(images: torch.Tensor) -> list[torch.Tensor]:
    """NCHW -> the pictures, mirrored, upside down, and both."""
    return [images, images.flip(3), images.flip(2), images.flip((2, 3))]


def crops(images: torch.Tensor) -> list[torch.Tensor]:
    """NCHW -> the pictures, and the middle of them (`CROPS` of each edge), which a cropped copy shows."""
    height, width = images.shape[2:]
    views = []
    for share in CROPS:
        inner = max(1, round(height * share)), max(1, round(width * share))
        top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
        views.append(images[:, :, top : top + inner[0], left : left + inner[1]])
    return views


class PixelViews:
    """The views of `PixelDetector` in one row of features, so that they are computed and kept as any detector's are.

    mirrored: `flips`, of what is searched; else `crops`, of what is searched in.
    """

    resize = "bilinear, antialiased"
    window: Literal["model", "display"] = "model"

    def __init__(self, *, mirrored: bool) -> None:
        self.name = "pixels, mirrored" if mirrored else "pixels, cropped"
        self.image_size, self._turn, self._pixels = 128, flips if mirrored else crops, PixelDetector()
        self.digest = f"{self._pixels.digest}, {4 if mirrored else len(CROPS)} views"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W] -> float32 [N, V * 256]."""
        grey = images.float().mean(1, keepdim=True)  # once for all views
        return torch.cat([self._pixels(view) for view in self._turn(grey)], 1)

    def split(self, features: torch.Tensor) -> list[torch.Tensor]:
        """The views out of the row."""
        return list(features.split(self._pixels.size**2, 1))


def nearest(
    queries: Views,
    references: Views,
    *,
    query_patients: Sequence[str | None] = (),
    reference_patients: Sequence[str | None] = (),
    same: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Euclidean distance of each query to its nearest reference, float64 [N], and that one's index, int64 [N].

    The least over the pairs of views of which one is the picture as it is. References of the query's own patient are
    passed over where patients are given (None: not known). same: the two are one set, and a picture is not its own
    neighbour. Where no reference is left the distance is infinite, and the index -1.

    Found in float32, in blocks of 1024 x 4096, and then computed anew in float64 for the one that was found.
    """
    num, count = len(queries[0]), len(references[0])
    distances = torch.full((num,), torch.inf, dtype=torch.float64)
    indices = torch.full((num,), -1, dtype=torch.int64)
    if not count:
        return distances, indices
    ours, theirs = _numbers(query_patients, reference_patients) if query_patients else (None, None)
    centre = references[0].float().mean(0)  # moves no distance, and float32 loses less
    for start in range(0, num, ROWS):
        rows = slice(start, min(num, start + ROWS))
        least, at = torch.full((rows.stop - start,), torch.inf), torch.full((rows.stop - start,), -1)
        for first in range(0, count, COLUMNS):
            columns = slice(first, min(count, first + COLUMNS))
            squares = _least_squares(queries, references, rows, columns, centre)
            if ours is not None and theirs is not None:
                squares[ours[rows, None] == theirs[None, columns]] = torch.inf
            if same:
                squares[torch.arange(start, rows.stop)[:, None] == torch.arange(first, columns.stop)] = torch.inf
            found = squares.min(1)
            nearer = found.values < least
            least, at = torch.where(nearer, found.values, least), torch.where(nearer, found.indices + first, at)
        met = at >= 0
        indices[rows] = at
        exact = [
            (one[rows][met].double() - other[at[met]].double()).norm(dim=1)
            for one, other in _pairs(queries, references)
        ]
        distances[start + met.nonzero()[:, 0]] = torch.stack(exact).amin(0)
    return distances, indices


def nearest_few(queries: Views, references: Views, few: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The few nearest references of each query, or as many as there are, over all pairs of views: their indices, and
    which views of query and reference lay so near, each int64 [N, few]."""
    num, count = len(queries[0]), len(references[0])
    few = min(few, count)
    centre, found = references[0].float().mean(0), []
    for start in range(0, num, ROWS):
        rows = slice(start, min(num, start + ROWS))
        least, at = torch.empty(rows.stop - start, 0), torch.empty(3, rows.stop - start, 0, dtype=torch.int64)
        for first in range(0, count, COLUMNS):
            columns = slice(first, min(count, first + COLUMNS))
            squares = torch.full((rows.stop - start, columns.stop - first), torch.inf)
            pair = torch.zeros_like(squares, dtype=torch.int16)
            for number, (query, reference) in enumerate(product(queries, references)):
                other = _squares(query[rows].float() - centre, reference[columns].float() - centre)
                nearer = other < squares
                squares, pair = torch.where(nearer, other, squares), pair.masked_fill_(nearer, number)
            place = torch.arange(first, columns.stop).expand_as(squares)
            told = torch.stack([place, pair // len(references), pair % len(references)])
            least = torch.cat([least, squares], 1)
            least, order = least.topk(min(few, least.shape[1]), largest=False)
            at = torch.cat([at, told], 2).gather(2, order.expand(3, *order.shape))
        found.append(at)
    whole = torch.cat([torch.empty(3, 0, few, dtype=torch.int64), *found], 1)
    return whole[0], whole[1], whole[2]


def _least_squares(
    queries: Views, references: Views, rows: slice, columns: slice, centre: torch.Tensor
) -> torch.Tensor:
    """Squared distances of a block, the least over the views, float32."""
    least = None
    for query, reference in _pairs(queries, references):
        squares = _squares(query[rows].float() - centre, reference[columns].float() - centre)
        least = squares if least is None else torch.minimum(least, squares)
    assert least is not None
    return least


def _squares(one: torch.Tensor, other: torch.Tensor) -> torch.Tensor:
    norms = one.square().sum(1)[:, None] + other.square().sum(1)
    return torch.addmm(norms, one, other.T, alpha=-2)


def _pairs(queries: Views, references: Views) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [*((query, references[0]) for query in queries), *((queries[0], other) for other in references[1:])]


def _numbers(first: Sequence[str | None], second: Sequence[str | None]) -> tuple[torch.Tensor, torch.Tensor]:
    """Patients as numbers, the same in both; one that is not known is like no other."""
    known = {name: i for i, name in enumerate(dict.fromkeys(p for p in (*first, *second) if p is not None))}
    return (
        torch.tensor([-1 if p is None else known[p] for p in first]),
        torch.tensor([-2 if p is None else known[p] for p in second]),
    )
