"""Which classifiers are trained on what: a pure function of the pictures, the settings and a seed.

Arms of one seed share their real images, their order of synthetic ones, their first weights and their number of
updates, so that they differ in what they are to be compared by, and in nothing else.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.data.datasets.split import place_of
from vesalius.eval.usefulness.config import UsefulnessConfig
from vesalius.eval.usefulness.data import Pool

Kind = Literal["real", "synthetic", "both", "repeated", "then", "unlabelled"]
NAMES: dict[Kind, str] = {
    "real": "real alone",
    "synthetic": "synthetic alone",
    "both": "real + synthetic",
    "repeated": "real, repeated",
    "then": "synthetic, then real",
    "unlabelled": "synthetic without labels, then real",
}
Places = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """What a classifier is trained on. share: of the real patients. ratio: images added for each real one."""

    kind: Kind
    share: float = 1.0
    ratio: float = 0.0

    @property
    def name(self) -> str:
        return NAMES[self.kind] + (f" x {self.ratio:g}" if self.kind in ("both", "repeated") else "")


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training. train: places in the pool, repeated ones several times. first: those of a stage before it.

    key: of all that decides its result.
    """

    arm: Arm
    seed: int
    train: Places
    first: Places
    num_real: int
    num_synthetic: int
    key: str


def plan_trainings(
    config: UsefulnessConfig, pool: Pool, classifier: dict[str, str], *, stages: bool
) -> tuple[list[Training], list[str]]:
    """All trainings, those of one seed together, and notes on arms that could not be. ValueError where a ratio makes no
    image at all.

    classifier: what names it, for the keys. stages: whether it can be trained in two.
    """
    notes: list[str] = []
    arms: list[Arm] = []
    num_synthetic = len(pool.of("synthetic"))
    for share in (1.0, *sorted(set(config.shares), reverse=True)):
        sizes = [len(choose_real(pool, share, seed)) for seed in range(config.seeds)]
        larger = {a.share for a in arms}
        if any(np.array_equal(choose_real(pool, share, 0), choose_real(pool, other, 0)) for other in larger):
            notes.append(
                f"{_percent(share)} of the patients are those of a larger share already; that share is left out."
            )
            continue
        asked = config.ratios if share == 1 else config.share_ratios
        ratios = fitting_ratios(asked, num_synthetic, max(sizes))
        if not ratios:
            told = f"{', '.join(f'{r:g}' for r in asked)} of {max(sizes)} {pool.origin} images makes no image"
            if share == 1:
                raise ValueError(f"--ratios {told}; give a larger one, such as 1")
            notes.append(f"With {_percent(share)} of the {pool.origin} patients, ratio {told}; that share is left out.")
            continue
        if beyond := [r for r in asked if r not in ratios]:
            told = ", ".join(f"{r:g}" for r in sorted(beyond))
            need = math.ceil(max(beyond) * max(sizes))
            notes.append(
                f"With {_percent(share)} of the {pool.origin} patients, ratio {told} needs more samples than there "
                f"are: up to {need} in place of {num_synthetic}."
            )
        arms.append(Arm(kind="real", share=share))
        if share == 1:
            arms.append(Arm(kind="synthetic"))
        for kind in ("both", "repeated"):
            arms += [Arm(kind=kind, share=share, ratio=r) for r in ratios]
        if stages:
            arms.append(Arm(kind="then", share=share, ratio=ratios[-1]))
            if config.self_supervised:
                arms.append(Arm(kind="unlabelled", share=share, ratio=ratios[-1]))
    if not stages:
        notes.append("This classifier is not trained in two stages, so 'synthetic, then real' is left out.")
    held = _hash([pool.digests[i] for i in pool.of("val")])
    trainings = []
    for seed in range(config.seeds):
        for arm in arms:
            train, first, counts = choose(pool, arm, seed)
            decides = {
                "classifier": classifier, "task": config.task, "size": config.size, "updates": config.updates,
                "batch_size": config.batch_size, "seed": seed, "val": held, "unlabelled": arm.kind == "unlabelled",
                "classes": len(pool.classes), "test": _hash([pool.digests[i] for i in pool.of("test")]),
                "train": _hash([pool.digests[i] for i in train]), "first": _hash([pool.digests[i] for i in first]),
            }  # fmt: skip
            key = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()
            trainings.append(
                Training(
                    arm=arm, seed=seed, train=train, first=first, num_real=counts[0], num_synthetic=counts[1], key=key
                )
            )
    return trainings, notes


def fitting_ratios(asked: Sequence[float], num_synthetic: int, num_real: int) -> list[float]:
    """The ratios for which there are samples enough, and where some lack, the one that takes all of them."""
    fit = sorted({r for r in asked if round(r * num_real) <= num_synthetic and round(r * num_real) > 0})
    most = math.floor(100 * num_synthetic / num_real) / 100 or num_synthetic / num_real
    if len(fit) < len(set(asked)) and most < max(asked) and most > 1.1 * max(fit, default=0.0):
        fit.append(most)
    return fit


def choose(pool: Pool, arm: Arm, seed: int) -> tuple[Places, Places, tuple[int, int]]:
    """What an arm is trained on, in its last stage and in the one before it; counts of real and synthetic images."""
    none = np.zeros(0, dtype=np.int64)
    real, drawn = choose_real(pool, arm.share, seed), order_synthetic(pool, seed)
    if arm.kind == "synthetic":
        return drawn, none, (0, len(drawn))
    added = drawn[: round(arm.ratio * len(real))]
    if arm.kind == "real":
        return real, none, (len(real), 0)
    if arm.kind == "both":
        return np.concatenate([real, added]), none, (len(real), len(added))
    if arm.kind == "repeated":
        return np.concatenate([real, repeat_like(pool, real, added, seed)]), none, (len(real), 0)
    return real, added, (len(real), len(added))


def choose_real(pool: Pool, share: float, seed: int) -> Places:
    """All real training images of a share of the patients: of each class as large a share, of one patient at least.

    Smaller shares lie within larger ones of the same seed.
    """
    real = pool.of("real")
    if share == 1:
        return real
    patients = dict(zip(real.tolist(), pool.names(real), strict=True))
    chosen = set[str]()
    for label in range(len(pool.classes)):
        own = {patients[i] for i in real.tolist() if pool.labels[i] == label}
        order = sorted(own, key=lambda patient: place_of(f"{seed}/{patient}"))
        chosen.update(order[: max(1, round(share * len(own)))])
    return np.array([i for i in real.tolist() if patients[i] in chosen], dtype=np.int64)


def order_synthetic(pool: Pool, seed: int) -> Places:
    """The synthetic images in an order of which every beginning has the classes in the shares of the whole."""
    drawn = pool.of("synthetic").tolist()
    places = dict[int, float]()
    for label in range(len(pool.classes)):
        own = [i for i in drawn if pool.labels[i] == label]
        own.sort(key=lambda i: place_of(f"{seed}/{pool.pictures[i].name}"))
        places.update({i: (rank + 0.5) / len(own) for rank, i in enumerate(own)})
    return np.array(sorted(drawn, key=lambda i: (places[i], pool.labels[i])), dtype=np.int64)


def repeat_like(pool: Pool, real: Places, added: Places, seed: int) -> Places:
    """Real images in place of the added ones: as many of each class, each repeated as often as any other, or once more.

    So this control has all that synthetic images bring, a better balance of the classes too, but for their content.
    """
    rng, repeated = np.random.default_rng([seed, 17]), []
    for label in range(len(pool.classes)):
        num, own = int((pool.labels[added] == label).sum()), real[pool.labels[real] == label]
        while num > 0:
            repeated.append(rng.permutation(own)[:num])
            num -= len(own)
    return np.concatenate(repeated) if repeated else np.zeros(0, dtype=np.int64)


def _hash(digests: Sequence[str]) -> str:
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _percent(share: float) -> str:
    return f"{100 * share:g} %"
