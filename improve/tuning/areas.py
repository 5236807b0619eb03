"""What a picture shows as a loss with gradients: how large an area of each finding there is, on which side.

A reader (`vesalius.models.networks.reader`) gives each pixel's probability of each finding. Summed over a side they are
its area there, which tells at once whether a finding is shown, on which side, how large, and how many: seven mitotic
figures cover seven times one. What areas phantoms of a size and number have is learnt from their masks.
"""

from __future__ import annotations

import dataclasses
import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from vesalius.data.phantoms.phantom import KINDS
from vesalius.data.record import Finding, Record
from vesalius.finetune.judges.reader import load_masks
from vesalius.improve.asking.ask import Ask
from vesalius.models.networks.judge import Judge, attribute_names
from vesalius.models.networks.reader import FIELDS, Reader, ReaderConfig

WITHIN = (0.2, 0.8)
"""Quantiles of phantoms' areas between which there is nothing to mend."""
FEWEST = 5
"""Phantoms that the quantiles of a kind rest on at least."""
SPECK = 6.0
"""Pixels (and one) up to which what should not be there is overlooked."""
HALF = math.log(3.0)
"""By how much less than both sides together each side may have, in logarithms: a third."""

Band = tuple[float, float]
"""The least and the most of a logarithm of pixels."""


@dataclass(frozen=True)
class Areas:
    """What areas findings have: (label, number, on both sides) -> band of log(1 + pixels), of kinds with a size less
    twice the logarithm of their diameter in pixels."""

    bands: Mapping[tuple[str, int, bool], Band]
    image_size: int

    def of(self, modality: str, finding: Finding) -> Band | None:
        """The band of a finding; None where phantoms did not tell."""
        key = _key(modality, finding)
        band = self.bands.get(key) or self.bands.get((key[0], 1, False))
        if band is None:
            return None
        more = _scale(modality, finding, self.image_size)
        return band[0] + more, band[1] + more


def learn_areas(members: Sequence[tuple[Path, Record]], config: ReaderConfig) -> Areas:
    """The areas of phantoms that have masks."""
    found: dict[tuple[str, int, bool], list[float]] = defaultdict(list)
    for (_, record), mask in zip(members, load_masks(members, config), strict=True):
        for finding in record.findings:
            if finding.present and finding.kind in KINDS[record.modality]:
                place = 1 + config.labels.index(f"{record.modality}/{finding.kind}")
                area = math.log1p(int((mask == place).sum()))
                scale = _scale(record.modality, finding, config.image_size)
                found[_key(record.modality, finding)].append(area - scale)
    ends = {key: np.quantile(values, WITHIN) for key, values in found.items() if len(values) >= FEWEST}
    return Areas({key: (float(low), float(high)) for key, (low, high) in ends.items()}, config.image_size)


def _key(modality: str, finding: Finding) -> tuple[str, int, bool]:
    return f"{modality}/{finding.kind}", finding.count, finding.side == "bilateral" and finding.size_mm is None


def _scale(modality: str, finding: Finding, image_size: int) -> float:
    return 2 * math.log(finding.size_mm / FIELDS[modality] * image_size) if finding.size_mm else 0.0


def area_loss(
    probabilities: torch.Tensor, asks: Sequence[Ask], reader: Reader, areas: Areas
) -> tuple[torch.Tensor, torch.Tensor]:
    """How far the areas of each picture are from what its prompt asks for, in logarithms, 0 where all is so: the mean
    over all that is asked, and the worst of it, [N] each.

    probabilities: [N, 1 + labels, H, W]. Sides are the halves of the picture, the patient's left on its right: phantoms
    stand in its middle. What a prompt does not speak of should not be there either.
    """
    middle = probabilities.shape[-1] // 2
    right, left = (half.sum((2, 3)) for half in (probabilities[..., :middle], probabilities[..., middle:]))
    places = {label: 1 + i for i, label in enumerate(reader.config.labels)}
    means, worst = [], []
    for i, ask in enumerate(asks):
        told = {f.kind: f for f in ask.findings}
        parts: list[torch.Tensor] = []
        for kind in KINDS[ask.modality]:
            at = places[f"{ask.modality}/{kind}"]
            parts += _misses(right[i, at], left[i, at], told.get(kind), areas, ask.modality)
        means.append(torch.stack(parts).mean())
        worst.append(torch.stack(parts).max())
    return torch.stack(means), torch.stack(worst)


def _misses(
    right: torch.Tensor, left: torch.Tensor, finding: Finding | None, areas: Areas, modality: str
) -> list[torch.Tensor]:
    """What is wrong with the areas of one kind on both sides, each 0 or more."""
    whole, speck = torch.log1p(right + left), math.log(SPECK)
    if finding is None or not finding.present:
        return [functional.relu(whole - speck)]
    low, high = areas.of(modality, finding) or (speck, math.inf)
    wrong = [functional.relu(low - whole) + functional.relu(whole - high)]
    if finding.side in ("left", "right"):
        wrong.append(functional.relu(torch.log1p(right if finding.side == "left" else left) - speck))
    elif finding.side == "bilateral":
        wrong += [functional.relu(low - HALF - torch.log1p(side)) for side in (left, right)]
    return wrong


def judge_loss(judge: Judge, pixels: torch.Tensor, asks: Sequence[Ask]) -> torch.Tensor:
    """How sure the judge is of the contrary of what each prompt asks for and denies, in logits, [N].

    pixels: [N, 3, H, W] in [-1, 1], of the judge's size.
    """
    attributes, index = judge.image(pixels)[2], judge.attribute_index
    losses = []
    for row, ask in zip(attributes, asks, strict=True):
        signs = [sign for finding in ask.findings for sign in _signs(ask.modality, finding) if sign[0] in index]
        wrong = [functional.relu(-sign * row[index[name]]) for name, sign in signs]
        losses.append(torch.stack(wrong).mean() if wrong else row.sum() * 0)
    return torch.stack(losses)


def _signs(modality: str, finding: Finding) -> Iterable[tuple[str, int]]:
    """The judge's attributes that a finding settles, and which sign their logits should have."""
    if not finding.present:
        return [(f"{modality}/{finding.kind}", -1)]
    true = attribute_names(modality, finding)
    every = attribute_names(modality, dataclasses.replace(finding, side="bilateral")) if finding.side else true
    return [(name, 1 if name in true else -1) for name in every]
