"""Gates: why a sample is refused, or silence. Thresholds come from real images that the model never saw."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from vesalius.eval.scores import Scores
from vesalius.inference.sample import Sample


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Limits per modality, each a percentile of the scores of held-out real images.

    agreement: 5th percentile. nearest_low, nearest_high: 1st and 99th of the distance to the training images: nearer is
    a copy, farther is unlike anything real. num: held-out images they rest on.
    """

    agreement: float
    nearest_low: float
    nearest_high: float
    num: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A sample, its scores, and why it was refused (None: accepted)."""

    sample: Sample
    scores: Scores
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "file_name": self.sample.file_name,
            "sha256": self.sample.sha256,
            "reason": self.reason,
            **asdict(self)["scores"],
        }


MIN_REAL = 5


def check_enough(modality: str, num: int, where: str) -> None:
    """ValueError where too few real images of a modality are there to set thresholds by."""
    if num < MIN_REAL:
        raise ValueError(
            f"only {num} {where} images of {modality}; thresholds need at least {MIN_REAL}: add some to that split"
        )


def calibrate(modalities: Sequence[str], scores: Sequence[Scores]) -> dict[str, Thresholds]:
    """Thresholds per modality from the scores of held-out real images. ValueError where a modality has fewer than 5."""
    found: dict[str, Thresholds] = {}
    for name in sorted(set(modalities)):
        mine = [s for m, s in zip(modalities, scores, strict=True) if m == name]
        check_enough(name, len(mine), "held-out")
        near = [s["nearest_train"] for s in mine]
        found[name] = Thresholds(
            agreement=float(np.percentile([s["agreement"] for s in mine], 5)),
            nearest_low=float(np.percentile(near, 1)),
            nearest_high=float(np.percentile(near, 99)),
            num=len(mine),
        )
    return found


def readable(sample: Sample, scores: Scores, limits: Thresholds) -> str | None:
    return f"blank or nearly so (contrast {scores['contrast']:.1f} of 127)" if scores["contrast"] < 4 else None


def right_modality(sample: Sample, scores: Scores, limits: Thresholds) -> str | None:
    told = f"does not look like {sample.modality} (probability {scores['modality']:.2f})"
    return told if scores["modality"] < 0.5 else None


def right_side(sample: Sample, scores: Scores, limits: Thresholds) -> str | None:
    margin = scores.get("side_margin")
    return f"agrees better with the other side (margin {margin:.3f})" if margin is not None and margin <= 0 else None


def right_findings(sample: Sample, scores: Scores, limits: Thresholds) -> str | None:
    obeyed = scores.get("findings", 1.0)
    return f"a finding asked for or denied is not so (probability {obeyed:.2f})" if obeyed < 0.5 else None


def agrees(sample: Sample, scores: Scores, limits: Thresholds) -> str | None:
    score, least = scores["agreement"], limits.agreement
    return f"agrees with its prompt less than real images do ({score:.3f} < {least:.3f})" if score < least else None


def no_copy(sample: Sample, scores: Scores, limits: Thresholds) -> str | None:
    near, least = scores["nearest_train"], limits.nearest_low
    return f"nearer to a training image than unseen real ones are ({near:.3f} < {least:.3f})" if near < least else None


def typical(sample: Sample, scores: Scores, limits: Thresholds) -> str | None:
    far = scores["nearest_train"] > limits.nearest_high
    return f"unlike any real image ({scores['nearest_train']:.3f} > {limits.nearest_high:.3f})" if far else None


def distinct(sample: Sample, scores: Scores, limits: Thresholds) -> str | None:
    near = scores.get("nearest_sample", float("inf")) < limits.nearest_low / 2
    return f"a near-duplicate of an accepted sample (distance {scores['nearest_sample']:.3f})" if near else None


Gate = Callable[[Sample, Scores, Thresholds], str | None]
GATES: dict[str, Gate] = {
    "readable": readable,
    "modality": right_modality,
    "side": right_side,
    "findings": right_findings,
    "agreement": agrees,
    "copy": no_copy,
    "typical": typical,
    "duplicate": distinct,
}


def judge_sample(sample: Sample, scores: Scores, thresholds: dict[str, Thresholds]) -> Verdict:
    """The first gate that objects gives the reason, by name; silence of all is acceptance."""
    limits = thresholds.get(sample.modality)
    if limits is None:
        return Verdict(
            sample=sample, scores=scores, reason=f"modality: no held-out real {sample.modality} images to compare with"
        )
    for name, gate in GATES.items():
        objection = gate(sample, scores, limits)
        if objection is not None:
            return Verdict(sample=sample, scores=scores, reason=f"{name}: {objection}")
    return Verdict(sample=sample, scores=scores, reason=None)
