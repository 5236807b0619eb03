"""The Frechet distance of two sets of features, as measured and as it would be of endless sets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from vesalius.eval.features import side_by_side
from vesalius.eval.fidelity.metrics import Estimate, Indices, over_draws

PER_FEATURE = 2
"""Images for each feature on each side below which covariances say too little to be extrapolated."""
NUM_BLOCKS = 20
"""Blocks of images of which subsets are drawn: their sums add up, so that no subset is read again."""
SHARES = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Parts of both sets through whose distances the line is laid."""


@dataclass(frozen=True, kw_only=True)
class Frechet:
    """measured: of the sets as they are, biased upwards by how few they are. endless: extrapolated, with interval."""

    measured: float
    endless: Estimate


def frechet_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """|m_a - m_b|^2 + tr(S_a + S_b - 2 (S_a S_b)^(1/2)) of means and covariances (Dowson & Landau 1982). NC each."""
    one = np.array([0])
    return _between(_Moments(a, 1), one, _Moments(b, 1), one)


def images_needed(num_features: int) -> int:
    """Images on each side without which the distance is not extrapolated."""
    return PER_FEATURE * num_features


def frechet_endless(a: torch.Tensor, b: torch.Tensor, *, seed: int = 0, draws: int = 10) -> Frechet:
    """The distance, and what it tends to as both sets grow (Chong & Forsyth 2020, arXiv 1911.07023).

    The bias of the distance is linear in 1/N: a line through the distances of smaller and smaller parts of both sets is
    followed to 1/N = 0. There the first paper lets one set grow, here both do, as the real one is as small. The
    interval is that of the delete-half jackknife (see `kernel_distance_with_interval`). ValueError where a side has
    fewer than two images for each feature.
    """
    least = images_needed(a.shape[1])
    if min(len(a), len(b)) < least:
        raise ValueError(
            f"the Frechet distance of {a.shape[1]} features needs at least {least} images on each side, got {len(a)} "
            f"and {len(b)}"
        )
    rng = np.random.default_rng(seed)
    x, y = _Moments(a, NUM_BLOCKS, rng), _Moments(b, NUM_BLOCKS, rng)
    every = np.arange(NUM_BLOCKS)
    value = _endless(x, every, y, every, rng, repeats=3)
    half = NUM_BLOCKS // 2
    halves = [
        _endless(x, rng.permutation(every)[:half], y, rng.permutation(every)[:half], rng, repeats=2)
        for _ in range(draws)
    ]
    spread = 1.96 * float(np.std(halves, ddof=1))
    endless = Estimate(value=value, low=value - spread, high=value + spread, num_a=len(a), num_b=len(b))
    return Frechet(measured=_between(x, every, y, every), endless=endless)


def frechet_floor(real: torch.Tensor, *, seed: int = 0, draws: int = 10) -> Frechet:
    """The same of one half of the real images against the other, over random halves. ValueError where a half is too
    small."""
    least = 2 * images_needed(real.shape[1])
    if len(real) < least:
        raise ValueError(
            f"the real-against-real Frechet distance of {real.shape[1]} features needs at least {least} images, got "
            f"{len(real)}"
        )
    rng = np.random.default_rng(seed)
    moments = _Moments(real, 2 * NUM_BLOCKS, rng)
    measured, endless = [], []
    for _ in range(draws):
        i, j = np.split(rng.permutation(2 * NUM_BLOCKS), 2)
        measured.append(_between(moments, i, moments, j))
        endless.append(_endless(moments, i, moments, j, rng, repeats=2))
    half = len(real) // 2
    return Frechet(measured=float(np.mean(measured)), endless=over_draws(endless, num_a=half, num_b=len(real) - half))


def _endless(x: _Moments, i: Indices, y: _Moments, j: Indices, rng: np.random.Generator, *, repeats: int) -> float:
    """The intercept of distance over 1/N, N being the share of the blocks i and j that is taken."""
    some = [
        (rng.permutation(i)[: round(share * len(i))], rng.permutation(j)[: round(share * len(j))])
        for share in SHARES
        for _ in range(repeats if share < 1 else 1)
    ]
    # One thread each, side by side: matrices of a few hundred rows are too small for two threads to share.
    distances = list(side_by_side(lambda each: _between(x, each[0], y, each[1]), some))
    return float(np.polynomial.Polynomial.fit([len(i) / len(k) for k, _ in some], distances, 1)(0.0))


class _Moments:
    """Sums and sums of products of features in random blocks, about the mean of all, in float64."""

    def __init__(self, features: torch.Tensor, num: int, rng: np.random.Generator | None = None) -> None:
        rows = features.double()
        self.centre = rows.mean(0)
        rows = rows - self.centre  # so that products lose no digits
        order = np.arange(len(rows)) if rng is None else rng.permutation(len(rows))
        parts = [rows[torch.from_numpy(part)] for part in np.array_split(order, num)]
        self.sizes = torch.tensor([len(p) for p in parts])
        self.sums = torch.stack([p.sum(0) for p in parts])
        self.products = torch.stack([p.T @ p for p in parts])

    def of(self, blocks: Indices) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and covariance of the images of some blocks."""
        num, total = int(self.sizes[blocks].sum()), self.sums[blocks].sum(0)
        covariance = (self.products[blocks].sum(0) - torch.outer(total, total) / num) / (num - 1)
        return self.centre + total / num, covariance


def _between(x: _Moments, i: Indices, y: _Moments, j: Indices) -> float:
    (mean_x, cov_x), (mean_y, cov_y) = x.of(i), y.of(j)
    # tr (S_x S_y)^(1/2) from the symmetric R' S_y R with R R' = S_x, whose eigenvalues are the same and not negative.
    root = _root(cov_x)
    shared = torch.linalg.eigvalsh(root.T @ cov_y @ root).clamp(min=0).sqrt().sum()
    difference = mean_x - mean_y
    return float(difference @ difference + cov_x.trace() + cov_y.trace() - 2 * shared)


def _root(covariance: torch.Tensor) -> torch.Tensor:
    """R with R R' the covariance: Cholesky's, a tenth of the work of the symmetric one, which is taken where features
    hang together, or are more than the images."""
    lower: torch.Tensor
    lower, broke = torch.linalg.cholesky_ex(covariance)
    if not broke and lower.diagonal().min() > 1e-6 * lower.diagonal().max():
        return lower
    values, vectors = torch.linalg.eigh(covariance)
    root: torch.Tensor = vectors * values.clamp(min=0).sqrt()
    return root
