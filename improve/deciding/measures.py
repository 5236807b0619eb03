"""What a set of samples is worth beside real images, fact by fact, from what an evaluation has opened.

By the witness's features: distance and coverage, and with the pixels the rate of copies. By the witness's heads and the
phantom reader: obedience, over all and per stratum. By the denoiser: its loss on the real images. The judge, which
chose what was trained on, is asked for one number alone, on which no promotion rests: how well it likes the samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vesalius.data.texts.prompt import clean
from vesalius.eval.context import Context
from vesalius.eval.fidelity.diversity import NEAREST_DENSE, radii
from vesalius.eval.fidelity.frechet import frechet_distance, images_needed
from vesalius.eval.fidelity.metrics import MIN_IMAGES, share
from vesalius.eval.gates.scores import Case
from vesalius.eval.obedience import questions as obedience
from vesalius.eval.privacy import limits as privacy
from vesalius.eval.privacy.membership import losses
from vesalius.eval.privacy.membership_part import group
from vesalius.eval.privacy.part import set_of
from vesalius.improve.asking.strata import strata_of_case
from vesalius.improve.deciding.facts import (
    MIN_PROMPTS,
    Bool,
    Fact,
    Float64,
    Group,
    Stratum,
    halves_of,
    quantile,
    spread_of,
)
from vesalius.inference.generator import Generator
from vesalius.models.detectors.detector import Detector
from vesalius.models.networks.reader import Reader
from vesalius.models.networks.witness import Witness

MOST_REAL = 2000
"""Real images of a modality, at random, that distances and coverage are measured against."""
MIN_ANSWERS = 10
"""Answers below which a share is not measured."""
LUCK, LUCK_OF_DISTANCE = 0.005, 0.1
"""Shares of the validation loss and of a distance by which adapters of the same data differ by the luck of their start,
a convention."""
ASKED = "unseen is wrong"
"""How pictures are asked. Facts of rounds that were asked in another way are no pairs."""
TOLD = {
    "modality": "The modality is the one asked for",
    "finding present": "Findings asked for are shown",
    "finding absent": "Findings denied are not shown",
    "side": "Findings are on the side asked for",
    "size within 25 %": "Sizes are as asked for, within 25 %",
    "count": "As many are shown as asked for",
}


@dataclass(frozen=True, kw_only=True)
class Sets:
    """Samples and real images with the halves of each, bool [draws, N], the same in every round."""

    context: Context
    witness: Detector
    ours: Bool
    theirs: Bool


def open_sets(context: Context, witness: Detector, seed: int) -> Sets:
    """The halves: of prompts those of one text together, of real images those of one patient; within modalities."""
    samples, real = context.samples, context.real
    return Sets(
        context=context, witness=witness,
        ours=halves_of([c.text for c in samples.cases], samples.families, seed),
        theirs=halves_of(
            [c.patient or f"image {d}" for c, d in zip(real.cases, real.digests, strict=True)], real.families, seed + 1
        ),
    )  # fmt: skip


def pairing(context: Context, networks: Sequence[str]) -> str:
    """A digest of prompts, seeds, real images and what measures: rounds that share it are pairs."""
    asked = [[s.text, s.seed, s.guidance, s.steps] for s in context.drawn]
    told = json.dumps([ASKED, asked, context.real.digests, list(networks)])
    return hashlib.sha256(told.encode()).hexdigest()


def distance_facts(sets: Sets, notes: list[str]) -> list[Fact]:
    """KID, the Frechet distance where there are images enough, and coverage, by the witness's features."""
    context, found = sets.context, list[Fact]()
    ours, theirs = (context.features(which, sets.witness) for which in ("samples", "real"))
    covered: list[tuple[Float64, float, int]] = []
    for family in sorted(set(context.samples.families)):
        mine, real = context.samples.of_family(family), context.real.of_family(family)
        rng = np.random.default_rng([context.config.seed, len(real)])
        real = sorted(rng.permutation(real)[:MOST_REAL].tolist())
        if min(len(mine), len(real)) < MIN_IMAGES:
            notes.append(
                f"{family}: distance and coverage need {MIN_IMAGES} samples and real images, got {len(mine)} and "
                f"{len(real)} (--num-eval gives more samples)"
            )
            continue
        a, b, masks, others = ours[mine], theirs[real], sets.ours[:, mine], sets.theirs[:, real]
        num = min(len(mine), len(real))
        value, halves = kernel_halves(a, b, masks, others)
        told = f"Distance of {family} to real images (KID, by the witness)"
        found.append(number_fact(f"kid/{family}", told, "distance", value, halves, num, margin=LUCK_OF_DISTANCE))
        if num >= images_needed(a.shape[1]):
            told = f"Distance of {family} to real images (Fréchet, by the witness)"
            drawn = [frechet_distance(a[m], b[o]) for m, o in zip(masks[:20], others[:20], strict=True)]
            found.append(
                number_fact(
                    f"fd/{family}",
                    told,
                    "distance",
                    frechet_distance(a, b),
                    np.array(drawn),
                    num,
                    margin=LUCK_OF_DISTANCE,
                )
            )
        share_of, per_half = coverage_halves(a, b, masks, others)
        covered.append((per_half, share_of, len(real)))
        told = f"Kinds of real {family} that samples reach (coverage, by the witness)"
        found.append(
            number_fact(f"coverage/{family}", told, "coverage", share_of, per_half, num, up=True, share=True,
                        decides=False)
        )  # fmt: skip
    if covered:
        weights = np.array([n for *_, n in covered]) / sum(n for *_, n in covered)
        value = float(sum(w * v for w, (_, v, _) in zip(weights, covered, strict=True)))
        halves = np.sum([w * h for w, (h, _, _) in zip(weights, covered, strict=True)], axis=0)
        told = "Kinds of real images that samples reach (coverage, by the witness)"
        num = sum(n for *_, n in covered)
        found.append(number_fact("coverage", told, "coverage", value, halves, num, up=True, share=True))
    return found


def kernel_halves(a: torch.Tensor, b: torch.Tensor, masks: Bool, others: Bool) -> tuple[float, Float64]:
    """KID of float [N, C] and [M, C] (`vesalius.eval.fidelity.metrics.kernel_distance`), and of each half, [draws]."""
    x, y = a.numpy().astype(np.float64), b.numpy().astype(np.float64)

    def kernel(one: Float64, two: Float64, *, same: bool) -> Float64:
        found: Float64 = (one @ two.T / one.shape[1] + 1) ** 3
        if same:
            np.fill_diagonal(found, 0.0)
        return found

    own, real, both = kernel(x, x, same=True), kernel(y, y, same=True), kernel(x, y, same=False)

    def of(m: Float64, n: Float64) -> Float64:
        p, q = m.sum(1), n.sum(1)
        with np.errstate(divide="ignore", invalid="ignore"):
            made: Float64 = (
                ((m @ own) * m).sum(1) / (p * (p - 1)) + ((n @ real) * n).sum(1) / (q * (q - 1))
                - 2 * ((m @ both) * n).sum(1) / (p * q)
            )  # fmt: skip
        return made

    whole = of(np.ones((1, len(x))), np.ones((1, len(y))))
    return float(whole[0]), of(masks.astype(np.float64), others.astype(np.float64))


def coverage_halves(a: torch.Tensor, b: torch.Tensor, masks: Bool, others: Bool) -> tuple[float, Float64]:
    """The share of real images with a sample within the distance of their fifth real neighbour (Naeem et al. 2020),
    and of each half. It grows with the number of samples, which is the same in every round."""
    reach = radii(b.numpy(), min(NEAREST_DENSE, len(b) - 1))[0]
    within = (torch.cdist(a.double(), b.double()).numpy() <= reach).astype(np.float64)
    covered = (masks.astype(np.float64) @ within > 0) & others
    return float((within.sum(0) > 0).mean()), covered.sum(1) / np.maximum(others.sum(1), 1)


def copy_facts(sets: Sets, notes: list[str]) -> list[Fact]:
    """The share of samples that are nearer to a training image than 99 % of unseen real images are, by the witness's
    features or by the pixels."""
    context = sets.context
    ours, real, train = (set_of(context, which) for which in ("samples", "real", "train"))
    copied, known = np.zeros(len(ours), dtype=bool), np.zeros(len(ours), dtype=bool)
    for modality in sorted(set(ours.modalities)):
        (mine, places), (held_out, _), (seen, _) = (s.of(modality) for s in (ours, real, train))
        if not len(seen) or len(held_out) < privacy.MIN_HELD_OUT:
            notes.append(
                f"{modality}: the rate of copies needs training images and {privacy.MIN_HELD_OUT} unseen real ones, "
                f"got {len(seen)} and {len(held_out)}"
            )
            continue
        known[places] = True
        for detector in (privacy.PIXELS, sets.witness.name):
            _, limit = privacy.limit_of(held_out, seen, detector)
            if limit is None:
                continue
            near, _ = privacy.distances_of(mine, seen, detector)
            copied[np.array(places)[near.numpy() < limit]] = True
    if known.sum() < MIN_ANSWERS:
        return []
    told = "Samples nearer to a training image than unseen real images are (possible copies)"
    fact = answer_fact("copies", told, "copies", copied.astype(float), known.astype(float), sets.ours, up=False)
    return [fact]


def validation_facts(sets: Sets, generator: Generator) -> list[Fact]:
    """The denoiser's loss on the real images, at most 300 of a modality, at fixed timesteps with fixed noise."""
    context = sets.context
    asked = group(context, context.real.cases, generator.base.image_size)
    rows = losses(
        generator.base, asked.images, asked.texts, precision=generator.precision, device=generator.device,
        seed=context.config.seed, what="validation losses", quiet=context.config.json,
    ).mean(1)  # fmt: skip
    names = [p or f"image {i}" for i, p in enumerate(asked.patients)]
    masks = halves_of(names, asked.modalities, context.config.seed + 2)
    halves = (masks @ rows) / masks.sum(1)
    told = "How well unseen images are predicted (validation loss)"
    return [number_fact("validation", told, "validation", float(rows.mean()), halves, len(rows), margin=LUCK)]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Answers about pictures, counted: by (attribute, network), right and asked of each picture, float [N]."""

    rows: Mapping[tuple[str, str], tuple[Float64, Float64]]
    num: int

    @property
    def whole(self) -> tuple[Float64, Float64]:
        """Over all questions."""
        none = np.zeros(self.num)
        return (
            sum((r for r, _ in self.rows.values()), none),
            sum((c for _, c in self.rows.values()), none),
        )  # fmt: skip


def ask(
    cases: Sequence[Case], images: torch.Tensor, witness: Witness | None, reader: Reader, phantoms: Collection[str]
) -> Asked:
    """What witness and reader answer of pictures, uint8 [N, 3, H, W]; the judge is not asked.

    A finding that is not seen has no right side, size or count: else a round that shows more would be asked more, and
    one that hides what it cannot draw well would look better.
    """
    net = obedience.Networks(agreement={}, witness=witness, reader=reader)
    rows: dict[tuple[str, str], tuple[Float64, Float64]] = {}
    for answer in obedience.answers(cases, images, net, phantoms=phantoms, unseen_is_wrong=True):
        empty = np.zeros(len(cases)), np.zeros(len(cases))
        right, asked = rows.setdefault((answer.attribute, answer.network), empty)
        right[answer.place] += answer.right
        asked[answer.place] += 1
    return Asked(rows=rows, num=len(cases))


def obedience_facts(asked: Asked, halves: Bool) -> list[Fact]:
    """A fact per question and network that had answers enough; all together is shown."""
    order = {name: i for i, name in enumerate(TOLD)}
    found = []
    for attribute, network in sorted(asked.rows, key=lambda key: (order.get(key[0], len(order)), key[1])):
        right, count = asked.rows[attribute, network]
        if count.sum() >= MIN_ANSWERS:
            told, name = f"{TOLD.get(attribute, attribute)}, by the {network}", f"obedience/{attribute}/{network}"
            found.append(answer_fact(name, told, "obedience", right, count, halves))
    right, count = asked.whole
    if count.sum() >= MIN_ANSWERS:
        told = "All that prompts ask for is so, all questions together"
        found.append(answer_fact("obedience/all", told, "obedience", right, count, halves, decides=False))
    return found


def hard_facts(asked: Asked, sources: Sequence[str], halves: Bool) -> list[Fact]:
    """All questions about hard prompts together, and the prompts of which everything is so, decide; each question, and
    what is hard about them, are shown.

    Both, for samples that show too much (a lesion on each side to be sure of one) gain in the first and lose in the
    second. sources: of each prompt, what is hard about it.
    """
    (right, count), found = asked.whole, list[Fact]()
    if count.sum() < MIN_ANSWERS:
        return []
    told = "Hard prompts: what they ask for is so, by the reader"
    found.append(answer_fact("hard prompts", told, "hard prompts", right, count, halves))
    whole, known = ((right == count) & (count > 0)).astype(float), (count > 0).astype(float)
    told = "Hard prompts of which everything is so, by the reader"
    found.append(answer_fact("hard prompts/whole", told, "hard prompts", whole, known, halves))
    for (attribute, _), (own, asked_of) in sorted(asked.rows.items()):
        if asked_of.sum() >= MIN_ANSWERS:
            told = f"Hard prompts: {TOLD.get(attribute, attribute)[0].lower()}{TOLD.get(attribute, attribute)[1:]}"
            name = f"hard prompts/{attribute}"
            found.append(answer_fact(name, told, "hard prompts", own, asked_of, halves, decides=False))
    for source in sorted(set(sources)):
        mine = np.array([s == source for s in sources], dtype=float)
        if (mine * count).sum() >= MIN_ANSWERS:
            told, name = f"Hard prompts ({source}): what they ask for is so", f"hard prompts/{source}"
            found.append(answer_fact(name, told, "hard prompts", mine * right, mine * count, halves, decides=False))
    return found


def stratum_facts(asked: Asked, cases: Sequence[Case], halves: Bool) -> tuple[list[Fact], list[Stratum]]:
    """The worst stratum as a fact, and what was right of each stratum, narrow and wide."""
    right, count = asked.whole
    members: dict[str, list[int]] = {}
    for i, case in enumerate(cases):
        for name in strata_of_case(case):
            members.setdefault(name, []).append(i)
    known = {name: places for name, places in members.items() if count[places].sum() > 0}
    strata = [
        Stratum(
            name=name, value=float(right[p].sum() / count[p].sum()), num=int(count[p].sum()), num_prompts=len(p)
        )
        for name, p in sorted(known.items())
    ]  # fmt: skip
    large = [s for s in strata if s.num_prompts >= MIN_PROMPTS and s.num >= MIN_ANSWERS]
    if len(large) < 2:
        return [], strata
    worst = min(large, key=lambda s: (s.value, s.name))
    drawn = []
    for stratum in large:
        places = known[stratum.name]
        told = halves[:, places] @ count[places]
        drawn.append(np.where(told > 0, halves[:, places] @ right[places] / np.maximum(told, 1), 1.0))
    fact = number_fact(
        "worst stratum", f"The stratum that is obeyed least ({worst.name})", "stratum", worst.value,
        np.min(drawn, axis=0), worst.num, up=True, share=True,
    )  # fmt: skip
    return [fact], strata


def gates_facts(sets: Sets) -> list[Fact]:
    """How well the gates' network likes the samples under their prompts, on which no promotion rests."""
    context = sets.context
    texts = context.judge.embed_texts([clean(c.text) for c in context.samples.cases])
    rows = (context.embeddings("samples") * texts).sum(1).double().numpy()
    halves = (sets.ours @ rows) / sets.ours.sum(1)
    told = "Agreement with the prompt, by the network of the gates"
    return [number_fact("gates", told, "gates", float(rows.mean()), halves, len(rows), up=True, decides=False)]


def number_fact(
    name: str, told: str, of: Group, value: float, halves: Float64, num: int, *, up: bool = False, share: bool = False,
    **more: Any,
) -> Fact:  # fmt: skip
    """A fact whose interval is that of its halves; of a share within 0 and 1."""
    halves = np.where(np.isfinite(halves), halves, value)
    half = quantile(num) * spread_of(halves)
    low, high = value - half, value + half
    if share:
        low, high = max(0.0, low), min(1.0, high)
    return Fact(
        name=name, told=told, group=of, value=value, low=low, high=high, num=num, up=up, share=share,
        halves=tuple(halves.tolist()), **more,
    )  # fmt: skip


def answer_fact(
    name: str, told: str, of: Group, right: Float64, count: Float64, halves: Bool, *, up: bool = True,
    decides: bool = True,
) -> Fact:  # fmt: skip
    """The share of answers that are right, with Wilson's interval, and of each half."""
    num, true = round(float(count.sum())), round(float(right.sum()))
    whole = share([1.0] * true + [0.0] * (num - true))
    told_of = halves @ count
    drawn = np.where(told_of > 0, halves @ right / np.maximum(told_of, 1), whole.value)
    return Fact(
        name=name, told=told, group=of, value=whole.value, low=whole.low, high=whole.high, num=num, up=up, share=True,
        decides=decides, halves=tuple(drawn.tolist()),
    )  # fmt: skip
