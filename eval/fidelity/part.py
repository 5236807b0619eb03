"""The part `fidelity`: how far samples are from real images, and how much of them they reach, by each detector."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import torch

from vesalius.eval.context import Context, Which
from vesalius.eval.features import ImageSet
from vesalius.eval.fidelity.diversity import MIN_SPREAD, MOST_DRAWN, NAMES, Spread, spread_with_floor
from vesalius.eval.fidelity.frechet import frechet_endless, frechet_floor, images_needed
from vesalius.eval.fidelity.metrics import (
    MIN_IMAGES,
    Float64,
    kernel_distance_with_interval,
    mean_with_interval,
    real_floor,
)
from vesalius.eval.fidelity.page import fidelity_sections
from vesalius.eval.fidelity.pairs import measure_pairs
from vesalius.eval.report import Section
from vesalius.eval.strata import strata_of
from vesalius.models.detectors.detector import WINDOWS_TOLD

WHICH: tuple[Which, ...] = ("samples", "real", "beside")
ALL = "all"
"""The row of all modalities together."""
MOST_STRATA = 12
"""Parts of a modality that are measured on their own, those with most real images first."""


def measure(context: Context) -> dict[str, Any]:
    """Distances, reach and diversity overall, per modality and per part of it, with what may be concluded of them."""
    rows, groups, seed = [], [], context.config.seed
    for which in WHICH:
        context.read(which, context.detectors)
    families = families_of(context)
    pooled = pool(context) if len(families) > 1 else None
    for detector in context.detectors:
        ours, theirs, others = (context.features(which, detector) for which in WHICH)
        named = {"detector": detector.name, "digest": detector.digest}
        if pooled is not None:
            found, _ = compare_features(
                *(f[places] for f, places in zip((ours, theirs, others), pooled, strict=True)), seed=seed
            )
            rows.append({"modality": ALL, **named, **found})
        for modality in families:
            mine, real = context.samples.of_family(modality), context.real.of_family(modality)
            found, spread = compare_features(
                ours[mine], theirs[real], others[context.beside.of_family(modality)], seed=seed
            )
            rows.append({"modality": modality, **named, **found})
            for row in compare_strata(context, modality, (ours, theirs, others), spread):
                groups.append({**row, "detector": detector.name})
    rows.sort(key=lambda row: (row["modality"] != ALL, row["modality"]))
    groups.sort(key=lambda row: (row["modality"], row["group"]))
    return {
        "detectors": [
            {
                "name": d.name, "digest": d.digest, "image_size": d.image_size, "resize": d.resize,
                "window": d.window, "window_told": WINDOWS_TOLD[d.window], "precision": context.precision_of(d),
                "num_features": context.features("real", d).shape[1],
                "num_samples": len(context.samples.cases), "num_real": len(context.real.cases),
            }
            for d in context.detectors
        ],
        "rows": rows, "conclusions": conclude(rows), "lonely": lonely(context),
        "groups": groups, "neglected": neglected(groups), "group_notes": strata_notes(context),
        "within_prompt": measure_pairs(context),
        "sizes": {name: dict(Counter(s.sizes).most_common(20)) for name, s in _sets(context)},
        "modes": {name: dict(Counter(s.modes).most_common(20)) for name, s in _sets(context)},
    }  # fmt: skip


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    return fidelity_sections(result)


def compare_features(
    samples: torch.Tensor, real: torch.Tensor, others: torch.Tensor | None = None, *, seed: int = 0
) -> tuple[dict[str, Any], Spread | None]:
    """All distances and shares of two sets of features, float32 [N, C] and [M, C], each beside its floor.

    others: real images of other patients, float32 [K, C], whose distances to the real ones are the floor; where they
    are too few, it is that of one half of the real ones to the other. Where a set is too small for a metric, that one
    lacks, and `needs` says how many images there should be.
    """
    (num, size), total = samples.shape, len(real)
    there = 0 if others is None else len(others)
    row: dict[str, Any] = {"num_samples": num, "num_real": total, "num_others": there, "needs": {}, "halves": []}

    def beside(what: str, least: int, halves: int) -> torch.Tensor | None:
        """The other real images, or None where halves are the floor, which then is told."""
        if others is not None and there >= least:
            return others
        row["halves"].append(what)
        if total < halves:
            row["needs"][what] = {"samples": least, "real": halves}
        return None

    def enough(what: str, least: int) -> bool:
        if min(num, total) < least:
            row["needs"][what] = {"samples": least, "real": least}
        return what not in row["needs"]

    other = beside("KID", MIN_IMAGES, 2 * MIN_IMAGES)
    if enough("KID", MIN_IMAGES):
        row["kid"] = asdict(kernel_distance_with_interval(samples, real, seed=seed))
        floor = real_floor(real, seed=seed) if other is None else kernel_distance_with_interval(other, real, seed=seed)
        row["floor"] = asdict(floor)
    least = images_needed(size)
    other = beside(f"FD of {size} features", least, 2 * least)
    if enough(f"FD of {size} features", least):
        row["frechet"] = asdict(frechet_endless(samples, real, seed=seed))
        bound = frechet_floor(real, seed=seed) if other is None else frechet_endless(other, real, seed=seed)
        row["frechet_floor"] = asdict(bound)
    spread, what = None, "Reach and diversity"
    other = beside(what, max(MIN_SPREAD, min(num, total, 2 * MOST_DRAWN) // 2), MIN_SPREAD)
    if enough(what, MIN_SPREAD):
        spread = spread_with_floor(samples, real, other, seed=seed)
        for name in NAMES:
            row[name] = {**asdict(spread.ours[name]), "floor": asdict(spread.floor[name])}
    return row, spread


def pool(context: Context) -> tuple[list[int], list[int], list[int]]:
    """Samples of all modalities that have real images; real and other real images in the shares that those samples
    have, as many as there are: else the mixture would be what is compared."""
    rng = np.random.default_rng(context.config.seed)
    ours = {f: context.samples.of_family(f) for f in families_of(context) if context.real.of_family(f)}

    def in_shares(images: ImageSet) -> list[int]:
        there = {f: images.of_family(f) for f in ours}
        times = min((len(there[f]) / len(ours[f]) for f in ours), default=0.0)
        return sorted(i for f in ours for i in rng.permutation(there[f])[: round(times * len(ours[f]))].tolist())

    return sorted(i for mine in ours.values() for i in mine), in_shares(context.real), in_shares(context.beside)


def compare_strata(
    context: Context, modality: str, features: tuple[torch.Tensor, ...], spread: Spread | None
) -> list[dict[str, Any]]:
    """Parts of a modality: KID of the samples that are of it, and the share of its real images that samples cover.

    The second needs to know of real images alone what they show and of whom. features: of the three sets.
    """
    sets = context.samples, context.real, context.beside
    places = [images.of_family(modality) for images in sets]
    strata = [[strata_of(images.cases[i]) for i in p] for images, p in zip(sets, places, strict=True)]
    rows = []
    for name in chosen_strata(strata[1]):
        inside = [[k for k, names in enumerate(each) if name in names] for each in strata]
        a, b, other = (f[[p[k] for k in i]] for f, p, i in zip(features, places, inside, strict=True))
        row: dict[str, Any] = {"modality": modality, "group": name, "num_samples": len(a), "num_real": len(b)}
        if len(a) >= MIN_IMAGES:
            seed, few = context.config.seed, len(other) < MIN_IMAGES
            row["kid"] = asdict(kernel_distance_with_interval(a, b, seed=seed))
            floor = real_floor(b, seed=seed) if few else kernel_distance_with_interval(other, b, seed=seed)
            row["floor"] = asdict(floor)
        if spread is not None:
            row["coverage"] = _mean(spread.covered[inside[1]])
            row["coverage_floor"] = _mean(spread.covered_floor[inside[1]])
        rows.append(row)
    return rows


def chosen_strata(strata: Sequence[tuple[str, ...]]) -> list[str]:
    """Parts that have enough real images and are not all of them, the most frequent first."""
    counts = Counter(name for names in strata for name in names)
    return [n for n, count in counts.most_common() if 2 * MIN_IMAGES <= count < len(strata)][:MOST_STRATA]


def strata_notes(context: Context) -> list[str]:
    """Why a modality has no parts."""
    notes = []
    for modality in families_of(context):
        why = why_no_strata([strata_of(context.real.cases[i]) for i in context.real.of_family(modality)])
        if why:
            notes.append(f"{modality} is not looked at in parts: {why}.")
    return notes


def why_no_strata(strata: Sequence[tuple[str, ...]]) -> str | None:
    """Why there is no part to look at on its own; None where there is one."""
    if chosen_strata(strata):
        return None
    if not strata:
        return "it has no real images"
    counts = Counter(name for names in strata for name in names)
    if not counts:
        return "its real images have no label, no findings and no word on whom they show"
    if set(counts.values()) == {len(strata)}:
        return f"its real images are of one class only ({', '.join(sorted(counts))})"
    return f"none of {len(counts)} findings and groups has {2 * MIN_IMAGES} real images beside others"


def lonely(context: Context) -> list[str]:
    """Families of samples of which there is no real image, though there is of their modality."""
    return [
        f"{family} has nothing to be compared with: no real image is stored so, with or without Hounsfield units."
        for family in families_of(context)
        if not context.real.of_family(family) and context.real.of(family.split(",")[0])
    ]


def families_of(context: Context) -> list[str]:
    return sorted(set(context.samples.families))


UNTOLD = "not told from real images at these numbers"
QUESTIONS = {
    "distance": "farther from real images than other real images are",
    "diversity": "reaches less of real images than other real images do, or is less varied",
}


def conclude(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What detectors agree on, per modality: distance by KID; diversity by recall, coverage and the Vendi score.

    Worse is what lies beyond its own and the floor's interval. Where detectors disagree, or one alone measured it,
    there is no conclusion.
    """
    found = []
    for modality in dict.fromkeys(row["modality"] for row in rows):
        for question, worse in QUESTIONS.items():
            said = {
                row["detector"]: answer
                for row in rows
                if row["modality"] == modality and (answer := is_worse(row, question)) is not None
            }
            if not said:
                continue
            for_it, against = [d for d, a in said.items() if a], [d for d, a in said.items() if not a]
            if len(said) == 1:
                told = f"no conclusion: {next(iter(said))} alone measured it; it takes two detectors"
            elif for_it and against:
                told = f"no conclusion: {', '.join(for_it)} finds it {worse}; {', '.join(against)} does not"
            else:
                told = worse if for_it else UNTOLD
            found.append({"modality": modality, "question": question, "worse": said, "conclusion": told})
    return found


def is_worse(row: Mapping[str, Any], question: str) -> bool | None:
    """Whether a row is worse than its floor beyond both intervals; None where it was not measured."""
    if question == "distance":
        return bool(row["kid"]["low"] > row["floor"]["high"]) if "kid" in row else None
    if "coverage" not in row:
        return None
    return any(row[name]["high"] < row[name]["floor"]["low"] for name in ("recall", "coverage", "vendi"))


def neglected(groups: Sequence[Mapping[str, Any]]) -> list[str]:
    """Groups whose real images samples cover less than real images do, beyond the intervals, by all detectors (at least
    two)."""
    said: dict[str, list[bool]] = {}
    for row in groups:
        ours, floor = row.get("coverage"), row.get("coverage_floor")
        if ours and floor:
            said.setdefault(f"{row['modality']}, {row['group']}", []).append(ours["high"] < floor["low"])
    return [name for name, answers in said.items() if len(answers) > 1 and all(answers)]


def _mean(values: Float64) -> dict[str, Any] | None:
    known = values[~np.isnan(values)]
    if len(known) < MIN_IMAGES:
        return None
    found = mean_with_interval(known.tolist())
    return asdict(replace(found, low=max(0.0, found.low), high=min(1.0, found.high)))


def _sets(context: Context) -> list[tuple[str, Any]]:
    return [("samples", context.samples), ("real", context.real)]
