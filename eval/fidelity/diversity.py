"""How much of the real images a set reaches, and how many unlike pictures it holds, as pure functions of features."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.eval.fidelity.metrics import Estimate, Float64, over_draws

NEAREST = 3
"""The neighbour whose distance is the radius of precision and recall (Kynkaanniemi et al. 2019)."""
NEAREST_DENSE = 5
"""... of density and coverage (Naeem et al. 2020)."""
MIN_SPREAD = 40
"""Images on each side without which no draw has enough neighbours."""
MOST_DRAWN = 2500
"""Most images of a draw."""
NAMES = ("precision", "recall", "density", "coverage", "vendi")

Bool = NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Reach:
    """precision: share of samples within reach of a real image. recall: share of real images within reach of a sample.

    density: real neighbourhoods that a sample lies in, over their number of neighbours; it may exceed one. coverage:
    share of real images with a sample in their neighbourhood. covered: which ones, bool [M].
    """

    precision: float
    recall: float
    density: float
    coverage: float
    covered: Bool


def reach(samples: torch.Tensor, real: torch.Tensor, real_radii: Sequence[NDArray[Any]] | None = None) -> Reach:
    """Precision and recall (arXiv 1904.06991), density and coverage (arXiv 2002.09797) of float NC against MC.

    Neighbourhoods are balls to the third neighbour for the first two and to the fifth for the others, within their own
    set. All depend on how many images there are: compare only at equal numbers. Distances are computed a few rows at a
    time. real_radii: of the real ones to both neighbours (`radii`), where they are known. ValueError below six images.
    """
    from sklearn.metrics import pairwise_distances_chunked

    if min(len(samples), len(real)) <= NEAREST_DENSE:
        raise ValueError(
            f"precision, recall, density and coverage need at least {NEAREST_DENSE + 1} images on each side, got "
            f"{len(samples)} and {len(real)}"
        )
    ours, theirs = samples.numpy(), real.numpy()
    near_ours = radii(ours, NEAREST)[0]
    near_theirs, dense = real_radii or radii(theirs, NEAREST, NEAREST_DENSE)

    start, precise, density = 0, 0, 0
    recalled, covered = np.zeros((2, len(theirs)), dtype=bool)
    for distances in pairwise_distances_chunked(ours, theirs, working_memory=64):
        within = distances <= dense
        precise += int((distances <= near_theirs).any(1).sum())
        recalled |= (distances <= near_ours[start : start + len(distances), None]).any(0)
        density += int(within.sum())
        covered |= within.any(0)
        start += len(distances)
    return Reach(
        precision=precise / len(ours), recall=float(recalled.mean()),
        density=density / len(ours) / NEAREST_DENSE, coverage=float(covered.mean()), covered=covered,
    )  # fmt: skip


def radii(features: NDArray[Any], *nearest: int) -> list[NDArray[Any]]:
    """The distance of each image to its k-th neighbour in its own set, for each k: [N] each."""
    from sklearn.neighbors import NearestNeighbors

    found, _ = NearestNeighbors(n_neighbors=max(nearest), algorithm="brute").fit(features).kneighbors()
    return [found[:, k - 1] for k in nearest]


def vendi_score(features: torch.Tensor) -> float:
    """How many wholly unlike pictures a set amounts to, from 1 to N (Friedman & Dieng 2023, arXiv 2210.02410).

    exp of the entropy of the eigenvalues of K / N, K being cosines of features [N, C]: of the smaller of the two
    products, which has the same ones. ValueError where there is no picture.
    """
    from scipy.linalg import eigvalsh

    if not len(features):
        raise ValueError("the Vendi score needs at least one image, got none")
    rows: Float64 = features.numpy().astype(np.float64)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True).clip(1e-12)
    product = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
    values = eigvalsh(product / len(rows))
    values = values[values > 1e-12]
    return float(np.exp(-(values * np.log(values)).sum()))


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Each of `NAMES` of samples against real images, and its floor, of real images against others, at equal numbers.

    covered, covered_floor: how often each real image was covered in the draws that it was in, NaN where in none, [M].
    """

    ours: dict[str, Estimate]
    floor: dict[str, Estimate]
    covered: Float64
    covered_floor: Float64


def spread_with_floor(
    samples: torch.Tensor, real: torch.Tensor, others: torch.Tensor | None = None, *, seed: int = 0, draws: int = 10
) -> Spread:
    """Precision, recall, density, coverage and Vendi score with intervals, beside those of other real images.

    others: those; without, they are the real images that a draw leaves. All depend on numbers, so each draw has as many
    samples as real images as other real images: half of the smaller of the first two sets, at most 2500. The value is
    the mean over draws; its interval 1.96 of their deviations, as for halves (`kernel_distance_with_interval`).
    ValueError under forty images, or where there are fewer others than a draw takes.
    """
    if min(len(samples), len(real)) < MIN_SPREAD:
        raise ValueError(
            f"precision, recall, density and coverage need at least {MIN_SPREAD} images on each side, got "
            f"{len(samples)} and {len(real)}"
        )
    rng = np.random.default_rng(seed)
    num = min(len(samples), len(real), 2 * MOST_DRAWN) // 2
    if others is not None and len(others) < num:
        raise ValueError(f"the floor of {num} images a draw needs as many other real images, got {len(others)}")
    values: dict[str, list[list[float]]] = {name: [[], []] for name in NAMES}
    counts, seen = np.zeros((2, len(real))), np.zeros(len(real))
    for _ in range(draws):
        first, second = rng.permutation(len(real))[: 2 * num].reshape(2, num)
        target = real[first]
        seen[first] += 1
        beside = real[second] if others is None else others[rng.permutation(len(others))[:num]]
        target_radii = radii(target.numpy(), NEAREST, NEAREST_DENSE)
        for which, drawn in enumerate((samples[rng.permutation(len(samples))[:num]], beside)):
            found = reach(drawn, target, target_radii)
            counts[which, first] += found.covered
            for name in NAMES:
                values[name][which].append(vendi_score(drawn) if name == "vendi" else getattr(found, name))
    with np.errstate(invalid="ignore"):
        ours, floor = counts / seen
    return Spread(
        ours={name: _jackknifed(v[0], num) for name, v in values.items()},
        floor={name: over_draws(v[1], num_a=num, num_b=num) for name, v in values.items()},
        covered=ours, covered_floor=floor,
    )  # fmt: skip


def _jackknifed(values: Sequence[float], num: int) -> Estimate:
    mean, spread = float(np.mean(values)), 1.96 * float(np.std(values, ddof=1))
    return Estimate(value=mean, low=mean - spread, high=mean + spread, num_a=num, num_b=num)
