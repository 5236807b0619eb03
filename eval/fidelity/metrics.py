"""Metrics of sets, as pure functions of features (float NC), each with an interval or a floor beside it.

Here are shares, means and the kernel distance; `frechet` has the Frechet distance, `diversity`
precision, recall, density, coverage and the Vendi score.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

MIN_IMAGES = 10
MOST_BLOCKS = 64
"""Blocks of images of which the jackknife draws its halves; where there are fewer images, each is one."""
TILE = 256
"""Images of either set whose kernels are."""

Float64 = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its 95 % interval and the two counts it rests on."""

    value: float
    low: float
    high: float
    num_a: int
    num_b: int


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number of one set with its 95 % interval, low to high, and the count it rests on."""

    value: float
    low: float
    high: float
    num: int


def share(right: Sequence[float]) -> Measure:
    """The share of trues with Wilson's interval (Wilson 1927). ValueError where there is none to count."""
    return _wilson(_mean(right), len(right), len(right))


def balanced_share(right: Sequence[float], classes: Sequence[str]) -> Measure:
    """The share of trues in each class, averaged over the classes, with Wilson's interval.

    The interval rests on Kish's effective count, K^2 / sum(1 / n_k) of K classes, which is all of them where each class
    has as many (Kish 1965). ValueError where there is none to count.
    """
    members = {c: [r for r, k in zip(right, classes, strict=True) if k == c] for c in dict.fromkeys(classes)}
    effective = len(members) ** 2 / sum(1 / len(m) for m in members.values()) if members else 0
    return _wilson(_mean([_mean(m) for m in members.values()]), effective, len(right))


def _wilson(value: float, effective: float, num: int) -> Measure:
    square = 1.96**2 / effective
    centre = (value + square / 2) / (1 + square)
    half = math.sqrt(square * value * (1 - value) + square**2 / 4) / (1 + square)
    return Measure(
        value=value, low=max(0.0, min(value, centre - half)), high=min(1.0, max(value, centre + half)), num=num
    )


def share_with_bound(right: Sequence[bool]) -> Measure:
    """The share of trues from 0 to its one-sided 95 % upper bound (Clopper & Pearson 1934), for what should be rare."""
    from scipy.stats import beta

    num, count = len(right), sum(right)
    high = 1.0 if count == num else float(beta.ppf(0.95, count + 1, num - count))
    return Measure(value=_mean(right), low=0.0, high=high, num=num)


def mean_with_interval(values: Sequence[float]) -> Measure:
    """The mean with Student's interval (none where there is one value). ValueError where there is no value."""
    from scipy.stats import t

    mean, num = _mean(values), len(values)
    half = 0.0
    if num > 1:
        half = float(t.ppf(0.975, num - 1)) * math.sqrt(sum((v - mean) ** 2 for v in values) / (num - 1) / num)
    return Measure(value=mean, low=mean - half, high=mean + half, num=num)


def bootstrap(
    measure: Callable[..., float | None], *units: int | Sequence[str], draws: int = 1000, seed: int = 0
) -> tuple[float, float] | None:
    """The 95 % percentile interval of a measure by bootstrap (Efron 1979); None where over a tenth of draws have none.

    units: of each set that is drawn from, how many members it has, or to which unit (a patient) each belongs, whose
    members are drawn together. The measure is given the places drawn, int64, of each set.
    """
    rng = np.random.default_rng(seed)
    members = [None if isinstance(each, int) else _members_of(each) for each in units]
    sizes = [each if isinstance(each, int) else len(set(each)) for each in units]

    def drawn(size: int, groups: list[Indices] | None) -> Indices:
        picked = rng.integers(size, size=size)
        return picked if groups is None else np.concatenate([groups[k] for k in picked])

    found = [measure(*(drawn(size, groups) for size, groups in zip(sizes, members, strict=True))) for _ in range(draws)]
    known = [value for value in found if value is not None]
    if len(known) < 0.9 * draws:
        return None
    low, high = np.percentile(known, (2.5, 97.5)).tolist()
    return low, high


def _members_of(units: Sequence[str]) -> list[Indices]:
    places: dict[str, list[int]] = {}
    for i, unit in enumerate(units):
        places.setdefault(unit, []).append(i)
    return [np.array(each) for each in places.values()]


def roc_area(positive: NDArray[Any], negative: NDArray[Any]) -> float:
    """Area under the ROC curve: how often a positive score lies above a negative one, ties half (Mann & Whitney 1947).

    Scikit-learn's is the same and checks its input at every call, which takes a bootstrap most of its time.
    """
    lower = np.sort(negative)
    below, within = (np.searchsorted(lower, positive, side).mean() for side in ("left", "right"))
    return float(below + within) / (2 * len(lower))


def paired_auc(positive: torch.Tensor, negative: torch.Tensor, *, seed: int = 0) -> Measure:
    """Area under the ROC curve of two scores of each query, float [N] each; interval by bootstrap over queries."""
    one, two, num = positive.numpy(), negative.numpy(), len(positive)
    if not num:
        raise ValueError("an area under the ROC curve needs at least one pair, got none")
    value = roc_area(one, two)
    low, high = bootstrap(lambda at: roc_area(one[at], two[at]), num, draws=200, seed=seed) or (value, value)
    return Measure(value=value, low=low, high=high, num=num)


def _mean(values: Sequence[float]) -> float:
    if not values:
        raise ValueError("nothing to count: the set is empty")
    return sum(values) / len(values)


def kernel_distance(a: torch.Tensor, b: torch.Tensor) -> float:
    """KID: unbiased squared MMD with the kernel (x.y / C + 1)^3 (Binkowski et al. 2018, arXiv 1801.01401). NC each.

    The formula as it is written, in memory for whole sets, which what follows must agree with. torchmetrics' `poly_mmd`
    is right for sets of equal size only, and ours differ.
    """
    x, y, (m, n) = a.double(), b.double(), (len(a), len(b))
    own, theirs, both = ((p @ q.T / x.shape[1] + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
    apart = [(kernel.sum() - kernel.trace()) / (num * (num - 1)) for kernel, num in ((own, m), (theirs, n))]
    return float(sum(apart) - 2 * both.sum() / (m * n))


def kernel_distance_with_interval(a: torch.Tensor, b: torch.Tensor, *, seed: int = 0, draws: int = 50) -> Estimate:
    """KID of two sets with a 95 % interval by the delete-half jackknife.

    Halves are drawn without replacement (a bootstrap would repeat images, which biases the estimator); the spread over
    halves estimates that of the whole, since (n - d) / d = 1 at d = n / 2 (Shao & Wu 1989). They are halves of up to 64
    random blocks, between which kernels are summed once, a few rows at a time. ValueError under ten images.
    """
    if min(len(a), len(b)) < MIN_IMAGES:
        raise ValueError(f"KID needs at least {MIN_IMAGES} images on each side, got {len(a)} and {len(b)}")
    rng = np.random.default_rng(seed)
    x, y = _Blocks(a, MOST_BLOCKS, rng), _Blocks(b, MOST_BLOCKS, rng)
    own, theirs, both = x.kernels(), y.kernels(), x.kernels(y)

    def of(i: Indices, j: Indices) -> float:
        return _distance(
            own[np.ix_(i, i)], theirs[np.ix_(j, j)], both[np.ix_(i, j)], x.sizes[i].sum(), y.sizes[j].sum()
        )

    value = of(np.arange(x.num), np.arange(y.num))
    halves = [of(rng.permutation(x.num)[: x.num // 2], rng.permutation(y.num)[: y.num // 2]) for _ in range(draws)]
    spread = 1.96 * float(np.std(halves, ddof=1))
    return Estimate(value=value, low=value - spread, high=value + spread, num_a=len(a), num_b=len(b))


def real_floor(real: torch.Tensor, *, seed: int = 0, draws: int = 50) -> Estimate:
    """KID of one half of the real images against the other, over random halves: what a perfect generator scores."""
    if len(real) < 2 * MIN_IMAGES:
        raise ValueError(f"the real-against-real floor needs at least {2 * MIN_IMAGES} images, got {len(real)}")
    rng = np.random.default_rng(seed)
    blocks = _Blocks(real, MOST_BLOCKS, rng)
    sums, values = blocks.kernels(), []
    for _ in range(draws):
        i, j = np.split(rng.permutation(blocks.num), [blocks.num // 2])
        sizes = blocks.sizes[i].sum(), blocks.sizes[j].sum()
        values.append(_distance(sums[np.ix_(i, i)], sums[np.ix_(j, j)], sums[np.ix_(i, j)], *sizes))
    half = len(real) // 2
    return over_draws(values, num_a=half, num_b=len(real) - half)


def over_draws(values: Sequence[float], *, num_a: int, num_b: int) -> Estimate:
    """The mean of a number over its draws (NaN: a draw that has none), and between what bounds 95 % of them lie."""
    low, high = np.nanquantile(values, (0.025, 0.975))
    return Estimate(value=float(np.nanmean(values)), low=float(low), high=float(high), num_a=num_a, num_b=num_b)


def _distance(own: Float64, theirs: Float64, both: Float64, m: int, n: int) -> float:
    """KID of sets of m and n images out of sums of kernels, which are without those of an image with itself."""
    return float(own.sum() / (m * (m - 1)) + theirs.sum() / (n * (n - 1)) - 2 * both.sum() / (m * n))


class _Blocks:
    """A set in random blocks of nearly equal size, and the sums of the cubic kernel between them.

    In float64: the cubic kernel of features of large norm loses the small difference in float32.
    """

    def __init__(self, features: torch.Tensor, most: int, rng: np.random.Generator) -> None:
        rows: Float64 = features.numpy()[rng.permutation(len(features))].astype(np.float64)
        rows /= math.sqrt(rows.shape[1])
        self.rows = np.concatenate([rows, np.ones((len(rows), 1))], 1)  # so that a product is x.y / C + 1
        self.num = min(most, len(features))
        edges = np.linspace(0, len(features), self.num + 1).astype(np.int64)
        self.sizes = edges[1:] - edges[:-1]

    def kernels(self, other: _Blocks | None = None) -> Float64:
        """Sums between each block and each of the other set (or of its own, images with themselves left out).

        Tile by tile, as a processor's cache holds them; of its own, those below the diagonal mirror those above.
        """
        columns = other or self
        sums, above = np.zeros((2, self.num, columns.num))
        for start, part, rows, first in self._tiles():
            for begin, beside, across, second in columns._tiles():
                if other is None and begin < start:
                    continue
                kernel = part @ beside.T
                cube = kernel * kernel
                cube *= kernel
                if other is None and begin == start:
                    np.fill_diagonal(cube, 0)
                told = np.add.reduceat(np.add.reduceat(cube, rows, axis=0), across, axis=1)
                (above if other is None and begin > start else sums)[np.ix_(first, second)] += told
        return sums + above + above.T if other is None else sums

    def _tiles(self) -> Iterator[tuple[int, Float64, Indices, Indices]]:
        """Some rows after others: the place of the first, the rows, where blocks begin among them, and which."""
        blocks = np.repeat(np.arange(self.num), self.sizes)
        for start in range(0, len(self.rows), TILE):
            mine = blocks[start : start + TILE]
            begins = np.flatnonzero(np.diff(mine, prepend=-1))
            yield start, self.rows[start : start + TILE], begins, mine[begins]
