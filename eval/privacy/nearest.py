"""The nearest of a set of pictures to each of another, in features of any kind, in flat memory.

distances, indices = nearest(features, others)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import torch

ROWS, COLUMNS = 1024, 4096
"""Distances held at once: 16 MB, whatever the sets' sizes."""

Views = Sequence[torch.Tensor]
"""Features of the same pictures in one or several views, each float NC."""


class Few(NamedTuple):
    """The few nearest references of N queries, each [N, few] and rising: squared distances, float32 and infinite where
    no reference is left, the references' places, and which views of query and reference lay so near, int64."""

    squares: torch.Tensor
    places: torch.Tensor
    of_query: torch.Tensor
    of_reference: torch.Tensor


def nearest(
    queries: torch.Tensor,
    references: torch.Tensor,
    *,
    query_patients: Sequence[str | None] = (),
    reference_patients: Sequence[str | None] = (),
    same: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Euclidean distance of each query to its nearest reference, float64 [N], and that one's index, int64 [N].

    References of the query's own patient are passed over where patients are given (None: not known). same: the two are
    one set, and a picture is not its own neighbour. Where no reference is left the distance is infinite, and the index
    -1. Found in float32, in blocks of 1024 x 4096, and then computed anew in float64 for the one that was found.
    """
    distances = torch.full((len(queries),), torch.inf, dtype=torch.float64)
    indices = torch.full((len(queries),), -1, dtype=torch.int64)
    if not len(references):
        return distances, indices
    found = nearest_few(
        [queries], [references], 1, query_patients=query_patients, reference_patients=reference_patients, same=same
    )
    met = found.squares[:, 0].isfinite().nonzero()[:, 0]
    indices[met] = found.places[met, 0]
    for rows in met.split(ROWS):
        distances[rows] = (queries[rows].double() - references[indices[rows]].double()).norm(dim=1)
    return distances, indices


def nearest_few(
    queries: Views,
    references: Views,
    few: int,
    *,
    query_patients: Sequence[str | None] = (),
    reference_patients: Sequence[str | None] = (),
    same: bool = False,
) -> Few:
    """The few nearest references of each query, or as many as there are, over all pairs of views; patients and `same`
    as in `nearest`."""
    num, count = len(queries[0]), len(references[0])
    few = min(few, count)
    ours, theirs = _numbers(query_patients, reference_patients) if query_patients else (None, None)
    centre = references[0].float().mean(0)  # moves no distance, and float32 loses less
    parts = []
    for start in range(0, num, ROWS):
        rows = slice(start, min(num, start + ROWS))
        least, at = torch.empty(rows.stop - start, 0), torch.empty(2, rows.stop - start, 0, dtype=torch.int64)
        for first in range(0, count, COLUMNS):
            columns = slice(first, min(count, first + COLUMNS))
            squares, pairs = _least_squares(queries, references, rows, columns, centre)
            if ours is not None and theirs is not None:
                squares[ours[rows, None] == theirs[None, columns]] = torch.inf
            if same:
                squares[torch.arange(start, rows.stop)[:, None] == torch.arange(first, columns.stop)] = torch.inf
            near, order = squares.topk(min(few, squares.shape[1]), largest=False)
            least = torch.cat([least, near], 1)
            at = torch.cat([at, torch.stack([order + first, pairs.gather(1, order).long()])], 2)
            least, order = least.topk(min(few, least.shape[1]), largest=False)
            at = at.gather(2, order.expand(2, *order.shape))
        parts.append((least, *at))
    whole = [torch.cat(each) for each in zip(*parts, strict=True)] if parts else [torch.empty(0, few)] * 3
    return Few(whole[0], whole[1].long(), whole[2].long() // len(references), whole[2].long() % len(references))


def _least_squares(
    queries: Views, references: Views, rows: slice, columns: slice, centre: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared distances of a block, the least over the pairs of views, float32, and the number of that pair."""
    least = torch.full((rows.stop - rows.start, columns.stop - columns.start), torch.inf)
    pairs = torch.zeros_like(least, dtype=torch.int16)
    for number, (query, reference) in enumerate(product(queries, references)):
        one, other = query[rows].float() - centre, reference[columns].float() - centre
        norms = one.square().sum(1)[:, None] + other.square().sum(1)
        squares = torch.addmm(norms, one, other.T, alpha=-2)
        pairs.masked_fill_(squares < least, number)
        least = torch.minimum(least, squares)
    return least, pairs


def _numbers(first: Sequence[str | None], second: Sequence[str | None]) -> tuple[torch.Tensor, torch.Tensor]:
    """Patients as numbers, the same in both; one that is not known is like no other."""
    known = {name: i for i, name in enumerate(dict.fromkeys(p for p in (*first, *second) if p is not None))}
    return (
        torch.tensor([-1 if p is None else known[p] for p in first]),
        torch.tensor([-2 if p is None else known[p] for p in second]),
    )
