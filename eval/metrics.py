"""Metrics of sets, as pure functions of features (float NC), each with an interval or a floor beside it."""

from __future__ import annotations

from dataclasses import dataclass

import torch

MIN_IMAGES = 10


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval and the two counts it rests on."""

    value: float
    low: float
    high: float
    num_a: int
    num_b: int


def kernel_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """KID: unbiased squared MMD with the kernel (x.y / C + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401). NC each.

    The kernel is scikit-learn's. torchmetrics' `poly_mmd` is right for sets of equal size only, and ours differ.
    """
    from sklearn.metrics.pairwise import polynomial_kernel

    # In float64: the cubic kernel of features of large norm loses the small difference in float32.
    x, y = a.double().numpy(), b.double().numpy()
    within_x, within_y = polynomial_kernel(x, degree=3, coef0=1), polynomial_kernel(y, degree=3, coef0=1)
    m, n = len(x), len(y)
    own = (within_x.sum() - within_x.trace()) / (m * (m - 1)) + (within_y.sum() - within_y.trace()) / (n * (n - 1))
    return float(own - 2 * polynomial_kernel(x, y, degree=3, coef0=1).mean())


def kernel_distance_with_interval(a: torch.Tensor, b: torch.Tensor, *, seed: int = 0, draws: int = 50) -> Estimate:
    """KID of two sets with a 95 % interval by the delete-half jackknife.

    Halves are drawn without replacement (a bootstrap would repeat images, which biases the estimator); the spread over
    halves estimates that of the whole, since (n - d) / d = 1 at d = n / 2 (Shao & Wu 1989). ValueError under
    ten images.
    """
    if min(len(a), len(b)) < MIN_IMAGES:
        raise ValueError(f"KID needs at least {MIN_IMAGES} images on each side, got {len(a)} and {len(b)}")
    generator = torch.Generator().manual_seed(seed)
    value = kernel_distance(a, b)
    halves = [kernel_distance(_half(a, generator), _half(b, generator)) for _ in range(draws)]
    spread = 1.96 * float(torch.tensor(halves).std())
    return Estimate(value=value, low=value - spread, high=value + spread, num_a=len(a), num_b=len(b))


def real_floor(real: torch.Tensor, *, seed: int = 0, draws: int = 50) -> Estimate:
    """KID of one half of the real images against the other, over random halves: what a perfect generator scores."""
    if len(real) < 2 * MIN_IMAGES:
        raise ValueError(f"the real-against-real floor needs at least {2 * MIN_IMAGES} images, got {len(real)}")
    generator = torch.Generator().manual_seed(seed)
    values = []
    for _ in range(draws):
        order = torch.randperm(len(real), generator=generator)
        values.append(kernel_distance(real[order[: len(real) // 2]], real[order[len(real) // 2 :]]))
    sorted_values = torch.tensor(values).sort().values
    return Estimate(
        value=float(sorted_values.mean()), low=float(sorted_values[int(0.025 * draws)]),
        high=float(sorted_values[int(0.975 * draws)]), num_a=len(real) // 2, num_b=len(real) - len(real) // 2,
    )  # fmt: skip


def nearest_distances(queries: torch.Tensor, references: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Euclidean distance of each query to its nearest reference, and that one's index; both [N]."""
    parts = [torch.cdist(part.double(), references.double()).min(1) for part in queries.split(512)]
    return torch.cat([p.values for p in parts]).float(), torch.cat([p.indices for p in parts])


def _half(features: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return features[torch.randperm(len(features), generator=generator)[: len(features) // 2]]
