"""Facts of rounds, made by hand."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest

from vesalius.improve.deciding.facts import DRAWS, Fact, Facts
from vesalius.improve.deciding.measures import number_fact

KINDS: Mapping[str, tuple[str, bool, bool, bool, float]] = {
    "obedience/finding present/reader": ("obedience", True, True, True, 0.8),
    "worst stratum": ("stratum", True, True, True, 0.6),
    "hard prompts/all": ("hard prompts", True, True, True, 0.7),
    "validation": ("validation", False, False, True, 0.5),
    "kid/CT": ("distance", False, False, True, 0.05),
    "coverage": ("coverage", True, True, True, 0.7),
    "copies": ("copies", False, True, True, 0.02),
    "gates": ("gates", True, False, False, 0.3),
}
"""Name -> group, whether more is better, a share, deciding, and the value of round 0."""
MakeFacts = Callable[..., Facts]


def make_fact(name: str, change: float = 0.0, *, noise: float = 0.0, num: int = 400) -> Fact:
    """A fact `change` better than round 0's, whose halves differ by `noise` from those of round 0."""
    group, up, is_share, decides, value = KINDS[name]
    place = sorted(KINDS).index(name)
    shared = np.random.default_rng(place).normal(size=DRAWS)
    own = np.random.default_rng([place, round(abs(change) * 1e12)]).normal(size=DRAWS)
    value += change if up else -change
    halves = value + 0.012 * shared + noise * own
    told = f"The {name} of a round"
    return number_fact(name, told, group, value, halves, num, up=up, share=is_share, decides=decides)  # type: ignore[arg-type]


@pytest.fixture
def make_facts() -> MakeFacts:
    """Facts of a round that is better than round 0 by name -> change; noise: of its halves."""

    def make(changes: Mapping[str, float] | None = None, *, noise: float = 0.002, paired: str = "same") -> Facts:
        found = dict(changes or {})
        return Facts(
            paired=paired,
            facts=tuple(make_fact(n, found.get(n, 0.0), noise=noise if found.get(n) else 0.0) for n in KINDS),
        )

    return make
