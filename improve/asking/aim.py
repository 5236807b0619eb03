"""How often a round asks for each stratum: evenly, for what is weak, or for what is rare.

Modalities come in turn, and within each its strata in turn; an aim changes how often. Half of the prompts of an aim at
what is weak stay even, so that nothing is forgotten for it, and no aim is at one stratum alone.
"""

from __future__ import annotations

import functools
import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

from vesalius.improve.asking.strata import wider_of

Aim = Literal["even", "weak", "rare"]
MOST_TIMES = 8.0
"""How much more often than evenly a weak stratum is asked for at most."""
DEVIATIONS = 3.0
"""Of the interval within which a share could be bad luck: 99.7 %."""
RARE_TIMES = 4.0
"""How much more often a rare one is asked for at most; a common one is asked for down to a quarter as often."""


class Right(NamedTuple):
    """The share of a stratum's prompts that an evaluation found right, 0 to 1, and how many prompts it rests on."""

    value: float
    num: int


@dataclass(frozen=True, kw_only=True)
class Group:
    """What a source can ask of one stratum. wider: the strata in which it lies, its modality last. most: how often it
    may be asked for in one round; none: as often as you like. listed: prompts of it in a list of a user's, whose own
    proportions are even ones."""

    modality: str
    wider: tuple[str, ...] = ()
    most: int | None = None
    listed: int = 0


def shares_of(
    aim: Aim, groups: Mapping[str, Group], *, found: Mapping[str, Right], counts: Mapping[str, int]
) -> dict[str, float]:
    """The share of the prompts that each stratum should have; they sum to 1.

    found: of the last evaluation, by stratum or a wider one. counts: records of each stratum in the data.
    """
    even = even_shares(groups)
    if aim == "rare":
        return normal({s: share * rarity(s, groups, counts) for s, share in even.items()})
    if aim == "weak":
        short = {s: even[s] * shortfall(s, group, found) for s, group in groups.items()}
        if total := math.fsum(short.values()):
            return _capped(even, {s: v / total for s, v in short.items()})
    return even


def even_shares(groups: Mapping[str, Group]) -> dict[str, float]:
    """The same share for each modality, and within it for each stratum; of a list for each prompt."""
    if listed := sum(group.listed for group in groups.values()):
        return {s: group.listed / listed for s, group in groups.items()}
    each: dict[str, int] = {}
    for group in groups.values():
        each[group.modality] = each.get(group.modality, 0) + 1
    return {s: 1 / len(each) / each[group.modality] for s, group in groups.items()}


def rarity(stratum: str, groups: Mapping[str, Group], counts: Mapping[str, int]) -> float:
    """The mean count of its modality's strata over its own count, within 1 / RARE_TIMES and RARE_TIMES."""
    own = [counts.get(s, 0) for s, group in groups.items() if group.modality == groups[stratum].modality]
    mean, count = sum(own) / len(own), counts.get(stratum, 0)
    return min(RARE_TIMES, max(1 / RARE_TIMES, mean / count)) if count else RARE_TIMES if mean else 1.0


def shortfall(stratum: str, group: Group, found: Mapping[str, Right]) -> float:
    """How far a stratum, or a wider one in which it lies, is below the rest for certain, 0 where it is not or nothing
    is known: the rest's share right less the upper end of its own interval, so that few images, which could be bad
    luck, count for little."""
    return max((_below_rest(s, found) for s in (stratum, *group.wider) if s in found and found[s].num), default=0.0)


def _below_rest(name: str, found: Mapping[str, Right]) -> float:
    """The rest is all that neither lies in the stratum nor has it in it."""
    others = [r for s, r in found.items() if name not in _line(s) and s not in _line(name)]
    num = sum(r.num for r in others)
    return max(0.0, sum(r.value * r.num for r in others) / num - upper(found[name])) if num else 0.0


@functools.cache
def _line(stratum: str) -> tuple[str, ...]:
    """A stratum and the wider ones in which it lies."""
    wider = wider_of(stratum)
    return (stratum,) if wider is None else (stratum, *_line(wider))


def upper(right: Right) -> float:
    """The upper end of Wilson's interval of a share."""
    square = DEVIATIONS**2 / right.num
    middle = right.value + square / 2
    half = math.sqrt(square * right.value * (1 - right.value) + square**2 / 4)
    return min(1.0, (middle + half) / (1 + square))


def _capped(even: Mapping[str, float], aimed: Mapping[str, float]) -> dict[str, float]:
    """Half even and half aimed, none over MOST_TIMES its even share; what is cut goes back to all, evenly."""
    mixed = {s: min(MOST_TIMES * share, (share + aimed[s]) / 2) for s, share in even.items()}
    left = 1 - math.fsum(mixed.values())
    return normal({s: value + left * even[s] for s, value in mixed.items()})


def normal(weights: Mapping[str, float]) -> dict[str, float]:
    """The same in proportion, with the sum 1."""
    total = math.fsum(weights.values())
    return {s: w / total for s, w in weights.items()}


def allot(num: int, shares: Mapping[str, float], groups: Mapping[str, Group], *, turn: int = 0) -> dict[str, int]:
    """`num` prompts by these shares, first to the modalities, then to the strata of each, as evenly as whole numbers
    allow, none over its most; where all are too few for `num`, each may be asked for more often.

    turn: of equal claims to what is left another is served first in another turn.
    """
    modalities = sorted({group.modality for group in groups.values()})
    own = {m: [s for s, group in groups.items() if group.modality == m] for m in modalities}
    most = {s: group.most for s, group in groups.items()}
    room = {m: None if any(most[s] is None for s in own[m]) else sum(most[s] or 0 for s in own[m]) for m in modalities}
    each = _parts(num, {m: math.fsum(shares[s] for s in own[m]) for m in modalities}, room, turn)
    found: dict[str, int] = {}
    for m in modalities:
        found |= _parts(each[m], {s: shares[s] for s in own[m]}, {s: most[s] for s in own[m]}, turn)
    return {s: found[s] for s in groups}


def _parts(num: int, shares: Mapping[str, float], most: Mapping[str, int | None], turn: int) -> dict[str, int]:
    """Whole numbers in proportion to the shares, with the sum `num`, by the largest remainders, within the most of
    each."""
    times = 1
    while None not in most.values() and times * sum(m or 0 for m in most.values()) < num:
        times *= 2
    room = {s: num if m is None else times * m for s, m in most.items()}
    exact: dict[str, float] = {}
    while len(exact) < len(shares):  # those that are full leave more to the others
        free = [s for s in shares if s not in exact]
        left, total = num - math.fsum(exact.values()), math.fsum(shares[s] for s in free)
        wanted = {s: left * (shares[s] / total if total else 1 / len(free)) for s in free}
        exact |= {s: float(room[s]) for s in free if wanted[s] >= room[s]} or wanted
    parts = {s: int(value + 1e-9) for s, value in exact.items()}
    claims = sorted(
        (s for s in parts if parts[s] < room[s]),
        key=lambda s: (-round(exact[s] - parts[s], 9), zlib.crc32(f"{turn}/{s}".encode()), s),
    )
    for s in claims[: num - sum(parts.values())]:
        parts[s] += 1
    return parts
