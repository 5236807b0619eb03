"""How well readers tell synthetic images from real ones, agree with each other and themselves, and know what they know.

Only first showings count, save for a reader's agreement with himself: an image that comes again is no new one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from itertools import combinations
from statistics import NormalDist, median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.eval.fidelity.metrics import Measure, bootstrap, mean_with_interval, share
from vesalius.eval.readers.answers import ANSWERS, ARTEFACTS, Answer
from vesalius.eval.readers.study import Shown

Answers = Mapping[str, Answer]
DRAWS = 1000
SCALE = range(1, 6)


def stated(confidence: int) -> float:
    """The probability of being right that a confidence of 1 to 5 stands for, as the page says: 50 % to 100 %."""
    return 0.5 + (confidence - 1) / 8


def d_prime(hits: int, positives: int, false_alarms: int, negatives: int) -> float:
    """Sensitivity index z(H) - z(F) (Green and Swets 1966), rates by the log-linear rule (Hautus 1995), so that none is
    0 or 1. ValueError where a class is empty."""
    if not (positives and negatives):
        raise ValueError(f"d' needs items of both kinds, got {positives} positive and {negatives} negative")
    normal = NormalDist()
    return normal.inv_cdf((hits + 0.5) / (positives + 1)) - normal.inv_cdf((false_alarms + 0.5) / (negatives + 1))


def fleiss_kappa(counts: NDArray[Any]) -> float | None:
    """Agreement of many raters beyond chance (Fleiss 1971, Psychological Bulletin 76, 378-382).

    counts: [N, K], how many raters put item i into category j. None where all chose one category, of which chance alone
    makes as much. ValueError where raters per item differ or are fewer than two.
    """
    table = np.asarray(counts, float)
    raters = table.sum(1)
    if not len(table) or raters[0] < 2 or (raters != raters[0]).any():
        raise ValueError("Fleiss' kappa needs items that were each judged by the same number of raters, at least two")
    num = raters[0]
    agreed = ((table**2).sum(1) - num) / (num * (num - 1))
    by_chance = float(((table.sum(0) / table.sum()) ** 2).sum())
    return None if by_chance == 1 else float((agreed.mean() - by_chance) / (1 - by_chance))


def cohen_kappa(first: Sequence[Any], second: Sequence[Any], *, ordered: bool = False) -> float | None:
    """Agreement of two raters beyond chance (Cohen 1960), scikit-learn's; on the scales from 1 to 5 with quadratic
    weights (Cohen 1968). None where neither ever changed his answer."""
    from sklearn.metrics import cohen_kappa_score

    if len({*first, *second}) < 2:
        return None
    # All steps of a scale are named: scikit-learn would count an unused one as none at all.
    more: dict[str, Any] = {"weights": "quadratic", "labels": list(SCALE)} if ordered else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        value = float(cohen_kappa_score(first, second, **more))
    return None if np.isnan(value) else value


def resampled(
    num: int, measure: Callable[[NDArray[Any]], float | None], *, seed: int, value: float | None
) -> dict[str, Any] | None:
    """A value with the interval of its measure by bootstrap over `num` items, as JSON; None where there is no value.
    low and high are None where there is no interval."""
    if value is None:
        return None
    low, high = bootstrap(measure, num, draws=DRAWS, seed=seed) or (None, None)
    return {"value": value, "low": low, "high": high, "num": num}


def kappa_with_interval(
    first: Sequence[Any], second: Sequence[Any], *, ordered: bool = False, seed: int = 0
) -> dict[str, Any] | None:
    """`cohen_kappa` with its interval by bootstrap. The draws are of the same formula, 1 - sum(w o) / sum(w e) over the
    table of pairs, without scikit-learn's checks, which cost a hundred times as much."""
    classes, codes = np.unique([*first, *second], return_inverse=True)
    num, kinds = len(first), len(classes)
    a, b = codes[:num], codes[num:]
    apart = np.subtract.outer(classes, classes) ** 2 if ordered else 1 - np.eye(kinds)

    def drawn(at: NDArray[Any]) -> float | None:
        table = np.bincount(a[at] * kinds + b[at], minlength=kinds**2).reshape(kinds, kinds)
        expected = float((apart * np.outer(table.sum(1), table.sum(0))).sum() / num)
        return None if expected == 0 else 1 - float((apart * table).sum()) / expected

    return resampled(num, drawn, seed=seed, value=cohen_kappa(first, second, ordered=ordered))


def score_reader(answers: Answers, shown: Mapping[str, Shown], *, seed: int = 0) -> dict[str, Any]:
    """All numbers of one reader. A synthetic image that is called so is a hit."""
    first = {i: a for i, a in answers.items() if not shown[i].repeat_of}
    right = {i: a.answer == called(shown[i]) for i, a in first.items()}
    kinds = {kind: [i for i in first if called(shown[i]) == kind] for kind in ANSWERS}
    hits, alarms = sum(right[i] for i in kinds["synthetic"]), sum(not right[i] for i in kinds["real"])
    both = all(kinds.values())
    sure = [stated(a.confidence) for a in first.values()]
    return {
        "num": len(first),
        "accuracy": _share(list(right.values())),
        "sensitivity": _share([right[i] for i in kinds["synthetic"]]),
        "specificity": _share([right[i] for i in kinds["real"]]),
        "d_prime": d_prime(hits, len(kinds["synthetic"]), alarms, len(kinds["real"])) if both else None,
        "modalities": {m: _share([right[i] for i in first if shown[i].modality == m]) for m in modalities(shown)},
        "realism": {kind: _mean([first[i].realism for i in kinds[kind]]) for kind in ANSWERS},
        "agreement": {kind: _mean([first[i].agreement for i in kinds[kind]]) for kind in ANSWERS},
        "artefacts": {
            kind: {a: sum(first[i].artefact == a for i in kinds[kind]) for a in ARTEFACTS} for kind in ANSWERS
        },
        "calibration": {
            "levels": [
                {"confidence": c, "stated": stated(c), **(_share([right[i] for i in mine]) or {})}
                for c in range(1, 6)
                if (mine := [i for i, a in first.items() if a.confidence == c])
            ],
            "overconfidence": float(np.mean(sure) - np.mean(list(right.values()))) if first else None,
            "brier": _brier(sure, list(right.values())) if first else None,
        },
        "repeats": _repeats(answers, shown, seed),
        "median_seconds": median(a.seconds for a in first.values()) if first else None,
    }  # fmt: skip


def _repeats(answers: Answers, shown: Mapping[str, Shown], seed: int) -> dict[str, Any] | None:
    """Agreement of a reader with himself on what he saw twice; None where there is nothing."""
    twice = [(answers[s.repeat_of], answers[i]) for i, s in shown.items() if s.repeat_of in answers and i in answers]
    if not twice:
        return None
    first, again = ([pair[i].answer for pair in twice] for i in (0, 1))
    return {
        "num": len(twice),
        "same": _share([a.answer == b.answer for a, b in twice]),
        "kappa": kappa_with_interval(first, again, seed=seed),
        "realism_difference": float(np.mean([abs(a.realism - b.realism) for a, b in twice])),
    }  # fmt: skip


def score_pairs(readers: Mapping[str, Answers], shown: Mapping[str, Shown], *, seed: int = 0) -> list[dict[str, Any]]:
    """Cohen's kappa of every two readers, over what both answered: real or synthetic, and the two scales, weighted."""
    rows = []
    for one, other in combinations(readers, 2):
        both = [i for i, s in shown.items() if not s.repeat_of and i in readers[one] and i in readers[other]]

        def kappa(name: str, one: str = one, other: str = other, both: list[str] = both) -> dict[str, Any] | None:
            first, second = ([getattr(readers[r][i], name) for i in both] for r in (one, other))
            return kappa_with_interval(first, second, ordered=name != "answer", seed=seed)

        rows.append(
            {"readers": [one, other], "num": len(both)}
            | ({name: kappa(name) for name in ("answer", "realism", "agreement")} if both else {})
        )
    return rows


def score_all(readers: Mapping[str, Answers], shown: Mapping[str, Shown], *, seed: int = 0) -> dict[str, Any] | None:
    """All readers together, over what all of them answered; None of one reader, or where nothing is common.

    Accuracy is the mean over readers. Readers of one image are not independent, so its interval is Wilson's with the
    number of images alone: means in [0, 1] vary at most as much as single answers do (Bhatia and Davis 2000). It speaks
    for these readers on other images, not for other readers.
    """
    common = [i for i, s in shown.items() if not s.repeat_of and all(i in answers for answers in readers.values())]
    if len(readers) < 2 or not common:
        return None
    right = np.array([[a[i].answer == called(shown[i]) for a in readers.values()] for i in common], float).mean(1)
    counts = np.array([[sum(a[i].answer == kind for a in readers.values()) for kind in ANSWERS] for i in common])

    def accuracy(members: Sequence[str]) -> dict[str, Any] | None:
        places = [common.index(i) for i in members]
        return asdict(share(right[places].tolist())) if places else None

    return {
        "num": len(common),
        "accuracy": accuracy(common),
        "sensitivity": accuracy([i for i in common if shown[i].is_synthetic]),
        "specificity": accuracy([i for i in common if not shown[i].is_synthetic]),
        "modalities": {m: accuracy([i for i in common if shown[i].modality == m]) for m in modalities(shown)},
        "fleiss": resampled(len(common), lambda at: fleiss_kappa(counts[at]), seed=seed, value=fleiss_kappa(counts)),
    }  # fmt: skip


def recognised(readers: Mapping[str, Answers], shown: Mapping[str, Shown]) -> dict[str, float]:
    """The share of readers who called each synthetic image so, by item, first showings alone."""
    found = {}
    for item, each in shown.items():
        said = [a[item].answer == "synthetic" for a in readers.values() if item in a]
        if each.is_synthetic and not each.repeat_of and said:
            found[item] = sum(said) / len(said)
    return found


def called(shown: Shown) -> str:
    """What the right answer is: phantoms stand for real images."""
    return "synthetic" if shown.is_synthetic else "real"


def modalities(shown: Mapping[str, Shown]) -> list[str]:
    return sorted({s.modality for s in shown.values()})


def _brier(stated: Sequence[float], right: Sequence[bool]) -> float:
    """The mean squared error of probabilities (Brier 1950)."""
    return float(np.mean([(s - r) ** 2 for s, r in zip(stated, right, strict=True)]))


def _share(right: Sequence[bool]) -> dict[str, Any] | None:
    return asdict(share(right)) if right else None


def _mean(values: Sequence[float]) -> dict[str, Any] | None:
    return asdict(mean_with_interval(values)) if values else None


def verdict(accuracy: Measure | Mapping[str, Any]) -> str:
    """What an accuracy says, and no more than its interval carries."""
    row = asdict(accuracy) if isinstance(accuracy, Measure) else accuracy
    value, low, high, num = row["value"], row["low"], row["high"], row["num"]
    told = f"{value:.0%} of {num} images right"
    if low is None or low <= 0.5 <= high:
        between = (
            ""
            if low is None
            else f"; anything from {low:.0%} to {high:.0%} would fit, so this is no proof that they look alike"
        )
        return f"{told}, which is not shown to differ from chance{between}"
    side = (
        "tells them apart better than chance" if low > 0.5 else "takes one for the other more often than chance would"
    )
    return f"{told}: {side} (95 % interval {low:.0%} to {high:.0%})"
