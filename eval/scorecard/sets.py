"""Drawings as a set: how far from real images (KID), and how near to single training images."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from vesalius.eval.fidelity.metrics import (
    MIN_IMAGES,
    Estimate,
    Measure,
    kernel_distance_with_interval,
    share_with_bound,
)
from vesalius.eval.privacy.limits import PERCENTILE
from vesalius.eval.privacy.nearest import nearest
from vesalius.eval.scorecard.material import Material, Missing, Pictures
from vesalius.eval.scorecard.prompts import caption_prompts
from vesalius.eval.scorecard.table import Bar, Part, Row
from vesalius.models.detectors.detector import DETECTORS, Detector, JudgeDetector, WitnessDetector

MIN_TEST = 50
"""Test images of a family below which its KID is not measured."""
COPY_BAR = Bar(most=0.01, most_high=0.02)


def drawn_captions(material: Material) -> tuple[Pictures, tuple[str, ...]]:
    """Drawings of the captions of test records, and the families that have too few of them."""
    tested = material.by_family("test")
    enough = {name: records for name, records in tested.items() if len(records) >= MIN_TEST}
    if not enough:
        raise Missing(f"{material.config.real}: no modality has {MIN_TEST} test images")
    num = max(1, round(0.3 * material.config.num)) * len(enough)
    pictures = material.draw("captions", caption_prompts(enough, num, material.config.seed))
    return pictures, tuple(name for name in material.by_family("train", "val", "test") if name not in enough)


def detectors(material: Material) -> tuple[list[Detector], list[str]]:
    """The feature networks that are there, and why others are not."""
    loaded: dict[str, Callable[[], Detector]] = {
        "judge": lambda: JudgeDetector(material.judge), "witness": lambda: WitnessDetector(material.witness),
    }  # fmt: skip
    found, why = [], []
    for name, make in (DETECTORS | loaded).items():
        try:
            found.append(make())
        except ValueError as error:
            why.append(f"{name} ({error})")
    return found, why


def measure_fidelity(material: Material) -> Part:
    """KID of drawings to the test split, beside that of the training split to it."""
    there, lacking = detectors(material)
    drawn, few = drawn_captions(material)
    train, test = material.by_family("train"), material.by_family("test")
    rows, families = [], list(dict.fromkeys(a.family for a in drawn.asked))
    for family in families:
        mine = [i for i, a in enumerate(drawn.asked) if a.family == family]
        if len(mine) < MIN_IMAGES or len(train.get(family, ())) < MIN_IMAGES:
            few = (*few, family)
            continue
        for detector in there:
            real = detector(material.read(test[family]))
            kid = kernel_distance_with_interval(detector(drawn.images[mine]), real, seed=material.config.seed)
            floor = kernel_distance_with_interval(
                detector(material.read(train[family])), real, seed=material.config.seed
            )
            measured, beside = _measure(kid), _measure(floor)
            rows.append(Row(what=f"KID, {detector.name}", of=family, measured=measured, beside=(beside,), unit=""))
    return Part(
        title="Fidelity",
        text=(
            f"KID of drawings of the captions of the test split ({len(drawn.asked)} in all) to its images, beside that "
            "of the training images to them, which is not zero where patients differ. n counts the first of the two "
            "sets.",
            *([f"Too few images: {', '.join(few)}."] if few else []),
            *([f"Detectors that are not there: {'; '.join(lacking)}."] if lacking else []),
        ),
        beside=("train against test",),
        rows=tuple(rows),
    )


def _measure(estimate: Estimate) -> Measure:
    return Measure(value=estimate.value, low=estimate.low, high=estimate.high, num=estimate.num_a)


def measure_copies(material: Material) -> Part:
    """Share of drawings that lie nearer to a training image than all but one in a hundred unseen real ones do."""
    witness = material.witness
    drawn = [material.drawn_classes(), drawn_captions(material)[0]]
    asked = [a for pictures in drawn for a in pictures.asked]
    images = torch.cat([pictures.images for pictures in drawn])
    train, unseen = material.by_family("train"), material.by_family("val", "test")
    rows, counts = [], {}
    for name, embed in (("witness", witness.embed), ("judge", material.judge.embed_images)):
        nearer: list[bool] = []
        for family in sorted({a.family for a in asked} & set(train) & set(unseen)):
            references = embed(material.read(train[family]))
            usual, _ = nearest(embed(material.read(unseen[family])), references)
            limit = float(np.percentile(usual.numpy(), PERCENTILE))
            mine = [i for i, a in enumerate(asked) if a.family == family]
            distances, _ = nearest(embed(images[mine]), references)
            near = (distances < limit).tolist()
            rows.append(Row(what=f"nearer, {name}", of=family, measured=share_with_bound(near), bar=COPY_BAR))
            nearer += near
            counts[family] = len(usual)
        rows.append(Row(what=f"nearer, {name}", of="all", measured=share_with_bound(nearer), bar=COPY_BAR))
    told = ", ".join(f"{family} {num}" for family, num in counts.items())
    return Part(
        title="Nearest training images",
        text=(
            "Share of drawings that lie nearer to a training image of their kind than the 1st percentile of unseen "
            "real images (validation and test) does; the upper end is the one-sided 95 % bound of Clopper and Pearson. "
            f"Unseen images behind each limit: {told}; where they are fewer than a hundred, the limit lies between the "
            "two nearest of them.",
        ),
        rows=tuple(rows),
    )
