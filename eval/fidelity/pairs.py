"""Likeness of pictures of one prompt, beside that of real pictures of one label: a generator that repeats itself is
above it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from vesalius.eval.context import Context
from vesalius.eval.fidelity.metrics import mean_with_interval
from vesalius.eval.gates.scores import Case
from vesalius.eval.scorecard.reconstruction import ms_ssim
from vesalius.eval.strata import kinds_of

PAIR_SIZE = 128
"""Pixels along an edge at which pictures are compared."""
MOST_GROUPS = 60
MOST_PAIRS = 4
"""Pairs of each group, and groups of each modality: more would cost much and narrow the interval little."""

Pair = tuple[int, int]


def pick_pairs(groups: Sequence[str | None], persons: Sequence[str | None], *, seed: int) -> dict[str, list[Pair]]:
    """Up to four pairs of each of up to sixty groups that have two members, at random, no two of the same person.

    Members of no group are None.
    """
    rng = np.random.default_rng(seed)
    members: dict[str, list[int]] = defaultdict(list)
    for i, group in enumerate(groups):
        if group is not None:
            members[group].append(i)
    found: dict[str, list[Pair]] = {}
    for group in rng.permutation(sorted(members)).tolist():
        mine = members[group]
        pairs: set[Pair] = set()
        for _ in range(4 * MOST_PAIRS if len(mine) > 1 else 0):
            i, j = sorted(rng.choice(len(mine), 2, replace=False).tolist())
            one, other = mine[i], mine[j]
            if len(pairs) < MOST_PAIRS and (persons[one] is None or persons[one] != persons[other]):
                pairs.add((one, other))
        if pairs:
            found[group] = sorted(pairs)
        if len(found) == MOST_GROUPS:
            break
    return found


def likeness_within(
    groups: Sequence[str | None], read: Callable[[Sequence[int]], torch.Tensor], *, seed: int = 0,
    persons: Sequence[str | None] | None = None,
) -> list[float]:  # fmt: skip
    """MS-SSIM of pairs within each group, the mean of each group that has a pair.

    read: the pictures of some places, uint8 [n, 3, H, W].
    """
    picked = pick_pairs(groups, persons or [None] * len(groups), seed=seed)
    return [
        float(ms_ssim(*(read([pair[side] for pair in pairs]).float() / 255 for side in (0, 1))).mean())
        for pairs in picked.values()
    ]


def measure_pairs(context: Context) -> list[dict[str, Any]]:
    """For each modality: likeness within a prompt, and of real images of one label that the prompts have.

    Where no label is known the real images of the modality stand for it, and `by` says so.
    """
    rows = []
    for modality in context.modalities:
        ours, theirs = context.samples.of(modality), context.real.of(modality)
        samples, real = [context.samples.cases[i] for i in ours], [context.real.cases[i] for i in theirs]
        asked = {kinds for c in samples if (kinds := kinds_of(c))}
        labels = ["+".join(kinds) if (kinds := kinds_of(c)) in asked else None for c in real]
        by = "label" if any(labels) else "modality"
        seed = context.config.seed
        within = likeness_within([c.text for c in samples], _reader(samples), seed=seed)
        beside = likeness_within(
            labels if by == "label" else [modality] * len(real), _reader(real), seed=seed,
            persons=[c.patient for c in real],
        )  # fmt: skip
        row: dict[str, Any] = {"modality": modality, "by": by}
        for name, values in (("samples", within), ("real", beside)):
            row[name] = vars(mean_with_interval(values)) if values else None
        if not within:
            row["note"] = "no prompt has two samples: draw with --num 2 or more"
        rows.append(row)
    return rows


def _reader(cases: Sequence[Case]) -> Callable[[Sequence[int]], torch.Tensor]:
    from vesalius.eval.features import read_square

    def read(places: Sequence[int]) -> torch.Tensor:
        return torch.from_numpy(np.stack([read_square(cases[i], PAIR_SIZE, "display") for i in places]))

    return read
