"""How good predictions on the test images are, and what the numbers of several seeds carry.

A difference between two arms varies for two reasons: trainings differ by their seed, and other test patients would have
given another one. Its interval holds both: the variance over seeds of the paired differences, and that over patients by
the influence of each on the mean difference (DeLong et al. 1988, for clustered data Obuchowski 1997); Student's t with
the degrees of freedom of Welch and Satterthwaite.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

BINS = 15
"""Bins of confidence in the expected calibration error."""
RECALLS, RECALL = (1, 5, 10), 5
"""Among how many texts an image's own is looked for; the one that verdicts are about."""
MIN_GROUP = 10
"""Test images under which a subgroup is not measured."""

Float = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """Mean paired difference of two arms, with the interval at `confidence` that holds seeds and test patients."""

    value: float
    low: float
    high: float
    confidence: float
    num_seeds: int
    num_patients: int


def auroc(probabilities: Float, labels: Labels) -> float:
    """Area under the ROC curve, each class against the rest, mean over classes. [N, K], [N]."""
    from sklearn.metrics import roc_auc_score

    return float(np.mean([roc_auc_score(labels == k, probabilities[:, k]) for k in range(probabilities.shape[1])]))


def auroc_influence(probabilities: Float, labels: Labels) -> Float:
    """How much each image moves `auroc` [N], of sum zero; the sum of squares is about its variance over images.

    Of a positive image it is how often it lies above the negatives, less the area, through the number of positives; of
    a negative one the same the other way round.
    """
    num, classes = probabilities.shape
    total: Float = np.zeros(num)
    for k in range(classes):
        positive = labels == k
        above, below = probabilities[positive, k], probabilities[~positive, k]
        placed = _share_below(above, below)
        area = placed.mean()
        total[positive] += (placed - area) / len(above)
        total[~positive] += (1 - _share_below(below, above) - area) / len(below)
    moved: Float = total / classes
    return moved


def _share_below(values: Float, others: Float) -> Float:
    """For each value the share of the others that lie below it, ties half."""
    ordered = np.sort(others)
    below, within = np.searchsorted(ordered, values, "left"), np.searchsorted(ordered, values, "right")
    share: Float = (below + within) / (2 * len(others))
    return share


def calibration_error(probabilities: Float, labels: Labels) -> float:
    """Expected calibration error: |accuracy - confidence| in 15 equal bins of confidence (Guo et al. 2017)."""
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    places = np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)
    counts = np.bincount(places, minlength=BINS)
    gaps = np.bincount(places, weights=right - confidence, minlength=BINS)
    return float(np.abs(gaps[counts > 0]).sum() / len(labels))


def brier(probabilities: Float, labels: Labels) -> float:
    """Brier score of several classes, from 0 to 2: the squared distance to the truth, summed over classes."""
    truth = np.eye(probabilities.shape[1])[labels]
    return float(((probabilities - truth) ** 2).sum(1).mean())


def accuracies(probabilities: Float, labels: Labels, groups: Sequence[str]) -> dict[str, float]:
    """The accuracy in each subgroup of `MIN_GROUP` test images or more."""
    right, names = probabilities.argmax(1) == labels, np.array(groups)
    return {g: float(right[names == g].mean()) for g in sorted({*groups} - {""}) if (names == g).sum() >= MIN_GROUP}


def scores_of(probabilities: Float, labels: Labels) -> dict[str, float]:
    """AUROC, accuracy, calibration error and Brier score of one training."""
    return {
        "auroc": auroc(probabilities, labels),
        "accuracy": float((probabilities.argmax(1) == labels).mean()),
        "ece": calibration_error(probabilities, labels),
        "brier": brier(probabilities, labels),
    }


def dice(found: NDArray[np.uint8], truth: NDArray[np.uint8], num_classes: int) -> Float:
    """Dice [N, K] of masks [N, S, S] for values 1 to K - 1, in column 0 their mean; NaN of what a truth has not."""
    table = np.full((len(truth), num_classes), np.nan)
    for k in range(1, num_classes):
        area = (truth == k).sum((1, 2))
        both = ((found == k) & (truth == k)).sum((1, 2))
        with np.errstate(invalid="ignore"):
            table[:, k] = np.where(area > 0, 2 * both / (area + (found == k).sum((1, 2))), np.nan)
    there = ~np.isnan(table[:, 1:])
    with np.errstate(invalid="ignore"):
        table[:, 0] = np.nansum(table[:, 1:], 1) / np.where(there.any(1), there.sum(1), np.nan)
    return table


def dice_influence(table: Float) -> Float:
    """How much each image moves the mean Dice [N], of sum zero; nothing where its truth is empty."""
    own = table[:, 0]
    there = ~np.isnan(own)
    moved: Float = np.where(there, own - own[there].mean(), 0.0) / there.sum()
    return moved


def recalls(ranks: Float) -> dict[str, float]:
    """The shares of images whose own text is among the first, from ranks [N] of 1 and more."""
    return {f"recall_{k}": float((ranks <= k).mean()) for k in RECALLS}


def recall_influence(ranks: Float) -> Float:
    """How much each image moves the share of `RECALL` [N], of sum zero."""
    hits = ranks <= RECALL
    moved: Float = (hits - hits.mean()) / len(hits)
    return moved


def paired_difference(
    values: Sequence[float], beside: Sequence[float], influence: Float, patients: Sequence[str], *, confidence: float
) -> Difference:
    """The mean of values less `beside`, seed by seed.

    influence: of each test image on that mean difference [N]. patients: of each test image; those of one count as one.
    """
    from scipy.stats import t

    gaps = np.subtract(values, beside)
    _, where = np.unique(np.array(patients), return_inverse=True)
    by_patient = np.bincount(where, weights=influence)
    num_seeds, num_patients = len(gaps), len(by_patient)
    over_seeds = float(gaps.var(ddof=1)) / num_seeds
    over_patients = float((by_patient**2).sum()) * num_patients / max(1, num_patients - 1)
    total = over_seeds + over_patients
    half = 0.0
    if total > 0:
        freedom = total**2 / (over_seeds**2 / (num_seeds - 1) + over_patients**2 / max(1, num_patients - 1))
        half = float(t.ppf(0.5 + confidence / 2, freedom)) * math.sqrt(total)
    value = float(gaps.mean())
    return Difference(
        value=value, low=value - half, high=value + half, confidence=confidence, num_seeds=num_seeds,
        num_patients=num_patients,
    )  # fmt: skip


def simultaneous(num: int) -> float:
    """The confidence of each of `num` intervals that all hold at once in 95 of 100 cases (Bonferroni)."""
    return 1 - 0.05 / max(1, num)


def verdict_of(real: Difference, repeated: Difference | None) -> str:
    """gain: above real alone and above repeating it; harm: below real alone; else "no gain"."""
    if real.low > 0 and (repeated is None or repeated.low > 0):
        return "gain"
    return "harm" if real.high < 0 else "no gain"


def worst_group(by_seed: Sequence[Mapping[str, float]]) -> tuple[str, list[float]] | None:
    """The subgroup of the lowest mean over seeds, and its values; None where there is none."""
    names = list(by_seed[0]) if by_seed else []
    if not names:
        return None
    worst = min(names, key=lambda name: float(np.mean([row[name] for row in by_seed])))
    return worst, [row[worst] for row in by_seed]
