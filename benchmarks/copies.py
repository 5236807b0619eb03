"""Seconds of processor and peak memory of a search for copies, from features of chance that are as wide as the real.

    OMP_NUM_THREADS=1 python -m benchmarks.copies [--num 10000] [--held-out 1000]

All pictures are of one modality, which is the slowest; beside it scikit-learn's search of nearest pairs, of pictures
by one thumbnail of each.
"""

from __future__ import annotations

import json
import resource
import time
from dataclasses import dataclass

import torch

from vesalius.eval.privacy.copies import FRAMES, SIZE, THUMBNAIL
from vesalius.eval.privacy.limits import PIXELS, PictureSet, find_copies

WIDTHS = {"judge": 96, "witness": 320}


@dataclass(frozen=True, kw_only=True)
class CopiesConfig:
    """Time a search for copies."""

    num: int = 10_000
    """samples, and training images"""
    held_out: int = 1000
    """held-out images that set the limits"""


def chance(num: int, views: int, generator: torch.Generator) -> PictureSet:
    """Pictures of one modality, whose features are normally distributed."""
    widths = {PIXELS: views * THUMBNAIL**2 + SIZE**2, **WIDTHS}
    drawn = {name: torch.randn(num, width, generator=generator) for name, width in widths.items()}
    return PictureSet(features=drawn, modalities=["CT"] * num)


def run(config: CopiesConfig) -> dict[str, float]:
    from sklearn.metrics import pairwise_distances_argmin_min

    generator = torch.Generator().manual_seed(0)
    samples, held_out = (chance(n, 1, generator) for n in (config.num, config.held_out))
    train = chance(config.num, len(FRAMES), generator)
    before, begun = _peak(), time.process_time()
    find_copies(samples, held_out, train)
    ours, peak = time.process_time() - begun, _peak()
    begun = time.process_time()
    for name, rows in samples.features.items():
        width = THUMBNAIL**2 if name == PIXELS else rows.shape[1]
        pairwise_distances_argmin_min(rows[:, :width].numpy(), train.features[name][:, :width].numpy())
    return {
        "seconds": round(ours, 1), "peak_gb": round(peak, 2), "features_gb": round(before, 2),
        "scikit_learn_seconds_of_one_view": round(time.process_time() - begun, 1),
    }  # fmt: skip


def _peak() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    import tyro

    print(json.dumps(run(tyro.cli(CopiesConfig))))
