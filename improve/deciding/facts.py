"""Facts of a round: what it is worth, each number with its interval, and two rounds compared number by number.

Every round draws the same prompts with the same seeds and is held against the same real images, so two rounds are
compared in pairs: each fact is kept for the same random halves of prompts and real images too, and the spread of the
difference over them is that of the whole (delete-half jackknife, Shao & Wu 1989; patients and equal prompts stay
together). What one prompt has harder than another cancels, so these intervals are much narrower than those of the two
numbers apart.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from vesalius.data.datasets.split import place_of
from vesalius.data.record import write_json

Bool = NDArray[np.bool_]
Float64 = NDArray[np.float64]
Group = Literal[
    "validation", "distance", "coverage", "copies", "obedience", "stratum", "hard prompts", "usefulness", "gates"
]
DRAWS = 100
"""Halves of the prompts and of the real images."""
LEAST = 0.25
"""Share of half the interval that a number has alone below which a difference is none, however sure: two adapters of
the same data, too, differ by something in pairs."""
MIN_PROMPTS = 5
"""Prompts below which a stratum is not looked at on its own."""
NAME = "facts.json"


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One number of a round with its 95 % interval, and how many samples, answers or images it rests on.

    told: in words. up: whether more is better. share: whether it is one of 0 to 1, told in per cent. decides: whether a
    promotion rests on it; the others are shown. margin: share of the number below which a difference is luck of the
    training and tells nothing. halves: the number of each of `DRAWS` halves, the same halves in every round.
    """

    name: str
    told: str
    group: Group
    value: float
    low: float
    high: float
    num: int
    up: bool
    share: bool = False
    decides: bool = True
    margin: float = 0.0
    halves: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stratum:
    """What of one stratum was right, over all questions: share and number of answers, and of prompts."""

    name: str
    value: float
    num: int
    num_prompts: int


@dataclass(frozen=True, kw_only=True)
class Facts:
    """All facts of a round. paired: a digest of what was asked, shown and asked by; rounds of one are pairs. notes:
    what could not be measured, and why."""

    paired: str
    facts: tuple[Fact, ...]
    strata: tuple[Stratum, ...] = ()
    notes: tuple[str, ...] = ()

    @cached_property
    def by_name(self) -> dict[str, Fact]:
        return {f.name: f for f in self.facts}

    def of(self, *groups: Group) -> list[Fact]:
        """The facts of some groups, in order."""
        return [f for f in self.facts if f.group in groups]

    def write(self, folder: Path) -> None:
        """FOLDER/facts.json."""
        row = dataclasses.asdict(self)
        for fact in row["facts"]:
            fact["halves"] = [float(f"{v:.8g}") for v in fact["halves"]]
        write_json(folder / NAME, row)


def read_facts(folder: Path) -> Facts:
    """The facts of a round's folder. ValueError where there are none, as of a loop of an earlier release."""
    try:
        row = json.loads((folder / NAME).read_text())
        facts = tuple(Fact(**{**f, "halves": tuple(f["halves"])}) for f in row["facts"])
        strata = tuple(Stratum(**s) for s in row["strata"])
        return Facts(paired=row["paired"], facts=facts, strata=strata, notes=tuple(row["notes"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / NAME}: no facts of a round there ({type(error).__name__}); remove {folder / 'eval'} and run "
            "the loop's line again, which measures them anew"
        ) from None


def halves_of(units: Sequence[str], groups: Sequence[str], seed: int, draws: int = DRAWS) -> Bool:
    """Random halves of N members, bool [draws, N], of each group as many; members of one unit stay together.

    A pure function of names and seed, whatever the order.
    """
    chosen = np.zeros((draws, len(units)), dtype=bool)
    for group in sorted(set(groups)):
        mine = [i for i, g in enumerate(groups) if g == group]
        known = sorted({units[i] for i in mine}, key=place_of)
        place = {name: k for k, name in enumerate(known)}
        where = np.array([place[units[i]] for i in mine])
        rng = np.random.default_rng([seed, *group.encode()])
        for draw in range(draws):
            half = np.zeros(len(known), dtype=bool)
            half[rng.permutation(len(known))[: max(1, len(known) // 2)]] = True
            chosen[draw, mine] = half[where]
    return chosen


def spread_of(halves: Iterable[float]) -> float:
    """The standard error of the whole by its halves."""
    values = np.array(list(halves), dtype=np.float64)
    values = values[np.isfinite(values)]
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def quantile(num: int, confidence: float = 0.95) -> float:
    """Student's factor of an interval that rests on `num` members."""
    from scipy.stats import t

    return float(t.ppf(0.5 + confidence / 2, max(1, num - 1)))


@dataclass(frozen=True, kw_only=True)
class Difference:
    """How much better a fact is than in another round (above 0: better, whichever way it counts), with its interval at
    a confidence. told: better, worse, or no clear difference."""

    value: float
    low: float
    high: float
    paired: bool
    told: Literal["better", "worse", "no clear difference"]


def difference(now: Fact, before: Fact, *, paired: bool, confidence: float = 0.95) -> Difference:
    """A fact of two rounds compared.

    Where both were measured on the same halves their differences give the interval; else the two spreads are added.
    To a share half a pair is added each way, so that two answers more are no certainty (Agresti & Min 2005). The
    interval holds the luck of prompts and real images, and not that of the training, so a difference has to have a size
    too: `margin`, and `LEAST`.
    """
    sign = 1 if now.up else -1
    value = sign * (now.value - before.value) + 0.0  # no -0.0
    paired = paired and len(now.halves) == len(before.halves) > 1
    num = min(now.num, before.num)
    if paired:
        spread = spread_of(sign * (a - b) for a, b in zip(now.halves, before.halves, strict=True))
        if now.share:
            spread = math.hypot(spread, 1 / max(1, num))
    else:
        spread = math.hypot(*((f.high - f.low) / 2 / quantile(f.num) for f in (now, before)))
    half = quantile(num, confidence) * spread
    least = max(now.margin * abs(before.value), LEAST * (before.high - before.low) / 2)
    low, high = value - half, value + half
    told: Literal["better", "worse", "no clear difference"] = "no clear difference"
    if low > 0 and value > least:
        told = "better"
    elif high < 0 and value < -least:
        told = "worse"
    return Difference(value=value, low=low, high=high, paired=paired, told=told)


def number(fact: Fact, value: float | None = None) -> str:
    """A number as people read it: 83 %, 0.4312."""
    value = fact.value if value is None else value
    if fact.share:
        return f"{100 * value:.1f} %" if fact.num > 200 or 0 < value < 0.1 else f"{100 * value:.0f} %"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.1f}"
