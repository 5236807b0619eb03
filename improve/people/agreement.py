"""Whether raters agree, with each other and with themselves, and what their ratings may do then.

Intraclass correlations are those of Shrout and Fleiss (1979, Psychological Bulletin 86, 420-428) with the intervals of
McGraw and Wong (1996, Psychological Methods 1, 30-46); they take a screen of arithmetic, and the library that has them
(pingouin) brings statsmodels, seaborn and a compiler of its own.

What decides is the one-way form, ICC(1,1): it holds where not all raters saw all samples, and counts a rater's offset
as disagreement, so it is the most careful of them.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.improve.people.ratings import SCALES, Rating

BAR = 0.5
"""Least value of an ICC's lower bound from which ratings are a reward: below it reliability is poor (Koo and Li 2016,
Journal of Chiropractic Medicine 15, 155-163)."""
LEAST = 30
"""Samples that two or more raters have to have rated: that many the same authors advise for a study of reliability."""
MOST_PAIRS = 20
"""Pairs of raters whose kappa is told, those with the most samples in common."""
Float64 = NDArray[np.float64]
Scores = dict[str, dict[str, float]]
"""Sample's digest -> rater -> value on a scale."""


@dataclass(frozen=True, kw_only=True)
class Icc:
    """An intraclass correlation with its 95 % interval, over num samples."""

    value: float
    low: float
    high: float
    num: int


def weighed(ratings: Iterable[Rating]) -> list[Rating]:
    """Ratings of the samples that ratings may weigh: of none that is kept out, and of no real image that was among them
    to be told from. That raters agree on what is bad, or real, does not say that they agree on what is better."""
    known = list(ratings)
    out = {r.sha256 for r in known if r.low is not None}
    return [r for r in known if r.sha256 not in out and r.origin in ("", "synthetic")]


def told_scores(ratings: Sequence[Rating], scale: str) -> Scores:
    """What each rater said of each sample on a scale, at first sight; the lower of two words of one moment."""
    first: dict[tuple[str, str], tuple[str, int]] = {}
    for each in ratings:
        value = getattr(each, scale)
        if value is not None and not each.repeat:
            key, said = (each.sha256, each.rater), (each.time, value)
            first[key] = min(first.get(key, said), said)
    found: Scores = defaultdict(dict)
    for (digest, rater), (_, value) in sorted(first.items()):
        found[digest][rater] = float(value)
    return dict(found)


def one_way(scores: Scores) -> tuple[Icc | None, dict[str, float]]:
    """ICC(1,1) over the samples that two or more raters rated, and for each of these the lower bound without it.

    With unequal numbers of raters k is their average of Snedecor and Cochran, n0. None where fewer than three samples
    are left, or all values are the same.
    """
    twice = {digest: list(said.values()) for digest, said in scores.items() if len(said) > 1}
    if not twice:
        return None, {}
    sizes = np.array([len(v) for v in twice.values()], float)
    sums = np.array([sum(v) for v in twice.values()], float)
    squares = np.array([sum(x * x for x in v) for v in twice.values()], float)
    parts = np.stack([np.ones(len(sizes)), sizes, sizes**2, sums, squares, sums**2 / sizes], 1)
    everything = parts.sum(0, keepdims=True)
    value, low, high = _one_way(np.concatenate([everything, everything - parts]))
    found = None
    if np.isfinite(low[0]):
        found = Icc(value=float(value[0]), low=float(low[0]), high=float(high[0]), num=len(twice))
    return found, dict(zip(twice, np.nan_to_num(low[1:], nan=-1.0).tolist(), strict=True))


def _one_way(totals: Float64) -> tuple[Float64, Float64, Float64]:
    """ICC(1,1) and its interval from rows of: samples, ratings, sum of squared numbers of raters, sum of values, sum of
    squared values, sum over samples of squared sum by number. NaN where there is none."""
    from scipy.stats import f

    num, count, sizes, total, squares, within = totals.T
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (within - total**2 / count) / (num - 1)
        error = (squares - within) / (count - num)
        k = (count - sizes / count) / (num - 1)
        ratio = between / np.maximum(error, 1e-12)
        least = ratio / f.ppf(0.975, num - 1, count - num)
        most = ratio * f.ppf(0.975, count - num, num - 1)
        value, low, high = ((r - 1) / (r + k - 1) for r in (ratio, least, most))
    none = (num < 3) | (np.abs(between) + np.abs(error) < 1e-9)
    return tuple(np.where(none, np.nan, each) for each in (value, low, high))  # type: ignore[return-value]


def two_way(table: Float64) -> tuple[Icc, Icc]:
    """ICC(2,1) of one rater and ICC(2,k) of the mean of all, absolute agreement, of a table [samples, raters] in which
    none lacks. ValueError where it is too small, or all its values are the same."""
    from scipy.stats import f

    num, k = table.shape
    if num < 3 or k < 2 or np.ptp(table) == 0:
        raise ValueError(f"an ICC needs 3 samples, 2 raters and different values, got {num} and {k}")
    mean = table.mean()
    rows = k * float(((table.mean(1) - mean) ** 2).sum()) / (num - 1)
    columns = num * float(((table.mean(0) - mean) ** 2).sum()) / (k - 1)
    rest = table - table.mean(1, keepdims=True) - table.mean(0) + mean
    error = max(float((rest**2).sum()) / ((num - 1) * (k - 1)), 1e-12)
    value = (rows - error) / (rows + (k - 1) * error + k * (columns - error) / num)
    a = k * value / (num * (1 - value)) if value < 1 else 0.0
    b = 1 + k * value * (num - 1) / (num * (1 - value)) if value < 1 else 1.0
    terms = a * columns, b * error
    degrees = sum(terms) ** 2 / max(terms[0] ** 2 / (k - 1) + terms[1] ** 2 / ((num - 1) * (k - 1)), 1e-300)
    upper, lower = f.ppf(0.975, num - 1, degrees), f.ppf(0.975, degrees, num - 1)
    spread = k * columns + (k * num - k - num) * error
    low = num * (rows - upper * error) / (upper * spread + num * rows)
    high = num * (lower * rows - error) / (spread + num * lower * rows)

    def of_mean(single: float) -> float:  # Spearman and Brown
        return float(k * single / (1 + (k - 1) * single))

    single = Icc(value=value, low=float(low), high=float(high), num=num)
    return single, Icc(value=of_mean(value), low=of_mean(low), high=of_mean(high), num=num)


def rewarded(scores: Scores) -> tuple[bool, set[str]]:
    """Whether a scale is a reward, and the samples for which that would be otherwise were they not rated.

    A sample's own ratings have no say in whether ratings weigh it: else a low one, which spoils the agreement, could
    set its sample free.
    """
    found, without = one_way(scores)
    num = len(without)
    passed = found is not None and found.low >= BAR and num >= LEAST
    alone = {d for d, low in without.items() if (low >= BAR and num - 1 >= LEAST) != passed}
    return passed, alone


def describe(ratings: Sequence[Rating]) -> dict[str, Any]:
    """All numbers on how raters agree, and the role of their ratings: `reward` for scales over the bar, else `veto`.

    icc, which decides, is over the samples that ratings may weigh; icc_2_1, icc_2_k and kappas are over all.
    """
    kept = weighed(ratings)
    scales = {scale: _scale(told_scores(ratings, scale), told_scores(kept, scale)) for scale in SCALES}
    levels: dict[str, set[str]] = defaultdict(set)
    for each in ratings:
        levels[each.level or "unknown"].add(each.rater)
    return {
        "num": len(ratings),
        "samples": len({r.sha256 for r in ratings}),
        "raters": {level: len(names) for level, names in sorted(levels.items())},
        "scales": scales,
        "artefact": _artefact_kappas(ratings),
        "repeats": {rater: _repeats(ratings, rater) for rater in sorted({r.rater for r in ratings if r.repeat})},
        "role": "reward" if any(s["role"] == "reward" for s in scales.values()) else "veto",
    }


def sentence(facts: Mapping[str, Any]) -> str:
    """What the agreement of raters means for the loop, in words."""
    told = []
    for name, row in facts["scales"].items():
        if row["icc"] is None:
            told.append(f"{name}: too few samples rated by two")
            continue
        low, num = row["icc"]["low"], row["icc"]["num"]
        why = f"ICC {row['icc']['value']:.2f}, from {low:.2f}, over {num} samples rated by two or more"
        told.append(f"{name} is a {row['role']} ({why}; a reward takes {BAR} and {LEAST})")
    return "; ".join(told)


def _scale(scores: Scores, kept: Scores) -> dict[str, Any]:
    from vesalius.eval.readers.scores import kappa_with_interval

    found, _ = one_way(kept)
    raters = sorted({rater for said in scores.values() for rater in said})
    shared: dict[tuple[str, str], list[tuple[float, float]]] = defaultdict(list)
    for said in scores.values():
        for one, other in combinations(sorted(said), 2):
            shared[one, other].append((said[one], said[other]))
    pairs = []
    for names, both in sorted(shared.items(), key=lambda row: (-len(row[1]), row[0]))[:MOST_PAIRS]:
        first, second = ([int(pair[i]) for pair in both] for i in (0, 1))
        kappa = kappa_with_interval(first, second, ordered=True)
        pairs.append({"raters": list(names), "num": len(both), "kappa": kappa})
    whole = [[said[r] for r in raters] for said in scores.values() if len(said) == len(raters)]
    try:
        single, mean = (vars(each) for each in two_way(np.array(whole, float).reshape(len(whole), -1)))
    except ValueError:
        single = mean = None  # type: ignore[assignment]
    return {
        "icc": None if found is None else vars(found), "icc_2_1": single, "icc_2_k": mean, "pairs": pairs,
        "role": "reward" if rewarded(kept)[0] else "veto",
    }  # fmt: skip


def _artefact_kappas(ratings: Sequence[Rating]) -> dict[str, Any] | None:
    """Fleiss' kappa of artefacts, over the samples that as many raters rated as most of them; None where none agree to
    that."""
    from vesalius.eval.readers.scores import fleiss_kappa, resampled

    said: dict[str, dict[str, str]] = defaultdict(dict)
    for each in ratings:
        if each.artefact and not each.repeat:
            said[each.sha256].setdefault(each.rater, each.artefact)
    sizes = Counter(len(v) for v in said.values() if len(v) > 1)
    if not sizes:
        return None
    size = max(sizes, key=lambda n: (sizes[n], n))
    kinds = ("none", "minor", "major")
    counts = np.array([[list(v.values()).count(k) for k in kinds] for v in said.values() if len(v) == size])
    return resampled(len(counts), lambda at: fleiss_kappa(counts[at]), seed=0, value=fleiss_kappa(counts))


def _repeats(ratings: Sequence[Rating], rater: str) -> dict[str, Any]:
    """Agreement of a rater with themselves: the mean distance of two words on each scale, and their weighted kappa."""
    from vesalius.eval.readers.scores import kappa_with_interval

    rows: dict[str, Any] = {}
    for scale in SCALES:
        first = {d: said[rater] for d, said in told_scores(ratings, scale).items() if rater in said}
        again = [
            (int(first[r.sha256]), int(getattr(r, scale)))
            for r in ratings
            if r.rater == rater and r.repeat and r.sha256 in first and getattr(r, scale) is not None
        ]
        if again:
            kappa = kappa_with_interval([a for a, _ in again], [b for _, b in again], ordered=True)
            rows[scale] = {
                "num": len(again),
                "difference": float(np.mean([abs(a - b) for a, b in again])),
                "kappa": kappa,
            }
    return rows
