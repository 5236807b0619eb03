"""The phantoms' grammar as prompts: every stratum that phantoms can have, each asked for in new words.

for stratum, want in wants(("CT", "MRI")).items():
    findings = findings_of(want, rng, denials=2)
    text, told = worded(findings, want.modality, rng, language="zh", kind="report")
"""

from __future__ import annotations

import itertools
from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, cast

import numpy as np

from vesalius.data.phantoms.canvas import FindingRule
from vesalius.data.phantoms.phantom import RULES
from vesalius.data.record import Finding, Side
from vesalius.data.texts.wording import reword
from vesalius.improve.asking.strata import MOST_NAMED, SMALL_MM, strata

MOST_SEVERAL_MM, MOST_BESIDE_MM, MOST_OF_THREE_MM = 24, 26, 20
"""Longest diameter of several of a kind, of one beside another kind, and beside two, so that all have room."""
BOTH_SIDES = 0.12
"""Share of findings among others that are on both sides, where their kind can be."""

Kind = Literal["caption", "report"]


@dataclass(frozen=True, kw_only=True)
class Want:
    """What a stratum settles; the rest is drawn. kinds: () is the normal picture. small: whether what has a size is a
    small one."""

    modality: str
    kinds: tuple[str, ...] = ()
    side: Side | None = None
    several: bool = False
    small: bool | None = None


def wants(modalities: Collection[str] = tuple(RULES)) -> dict[str, Want]:
    """Every stratum of the phantoms' findings, of up to three kinds at once, by its name."""
    rng = np.random.default_rng(0)
    found = [Want(modality=m, kinds=kinds) for m in RULES if m in modalities for kinds in _combinations(m)]
    named = [each for want in found for each in (_narrow(want) if len(want.kinds) == 1 else [want])]
    return {strata(w.modality, findings_of(w, rng, denials=1))[0]: w for w in named}


def _combinations(modality: str) -> list[tuple[str, ...]]:
    kinds = RULES[modality]
    return [chosen for num in range(MOST_NAMED + 1) for chosen in itertools.combinations(kinds, num)]


def _narrow(want: Want) -> list[Want]:
    """One kind on each side, in each coarse size, one and several of it."""
    rule = RULES[want.modality][want.kinds[0]]
    found = []
    for side in rule.sides or (None,):
        single = Want(modality=want.modality, kinds=want.kinds, side=cast(Side | None, side))
        if rule.size_mm is None:
            found.append(single)
        elif side != "bilateral":  # one that has a size is on one side
            found += [_replace(single, small=small) for small in (True, False)]
        if rule.max_count > 1:
            found.append(_replace(single, several=True))
    return found


def _replace(want: Want, *, several: bool = False, small: bool | None = None) -> Want:
    return Want(modality=want.modality, kinds=want.kinds, side=want.side, several=several, small=small)


def findings_of(want: Want, rng: np.random.Generator, *, denials: int = 0) -> tuple[Finding, ...]:
    """Findings of a stratum, then up to `denials` kinds that are denied: of a normal picture all of its modality."""
    rules = RULES[want.modality]
    alone = want if len(want.kinds) == 1 else None
    most_mm = MOST_BESIDE_MM if len(want.kinds) < 3 else MOST_OF_THREE_MM
    present = [_finding(kind, rules[kind], alone, most_mm, rng) for kind in want.kinds]
    rest = [kind for kind in rules if kind not in want.kinds]
    if want.kinds:
        rest = [rest[i] for i in rng.permutation(len(rest))[:denials]]
    return (*present, *(Finding(kind=kind, present=False) for kind in rest))


def _finding(kind: str, rule: FindingRule, want: Want | None, most_mm: int, rng: np.random.Generator) -> Finding:
    """One kind as it is wanted; beside others (want is None) it is one, on any side, of at most so many mm."""
    side: str | None = want.side if want else None
    if want is None and rule.sides:
        both = "bilateral" in rule.sides and rule.size_mm is None and rng.random() < BOTH_SIDES
        side = "bilateral" if both else ("left", "right")[int(rng.integers(2))]
    count = int(rng.integers(2, rule.max_count + 1)) if want and want.several else 1
    size = None
    if rule.size_mm:
        low, high = rule.size_mm
        if want is None or count > 1:
            high = min(high, MOST_SEVERAL_MM if count > 1 else most_mm)
        elif want.small is not None:
            low, high = (low, min(high, int(SMALL_MM) - 1)) if want.small else (max(low, int(SMALL_MM)), high)
        size = float(rng.integers(low, high + 1))
    return Finding(kind=kind, side=cast(Side | None, side), size_mm=size, count=count)


def worded(
    findings: tuple[Finding, ...], modality: str, rng: np.random.Generator, *, language: str = "en", kind: Kind
) -> tuple[str, tuple[Finding, ...]]:
    """A text, and the findings that it tells: a caption says for certain what is present alone, or that all is normal;
    a report says what is denied too."""
    present = tuple(f for f in findings if f.present)
    told = present if kind == "caption" and present else findings
    return reword(present if kind == "caption" else told, modality, rng, language=language, kind=kind), told
