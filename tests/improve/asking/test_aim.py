from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.improve.asking.aim import (
    MOST_TIMES,
    RARE_TIMES,
    Aim,
    Group,
    Right,
    allot,
    even_shares,
    shares_of,
    shortfall,
)

GROUPS = {
    f"{m}: {kind}": Group(modality=m, wider=(m,)) for m, kinds in (("CT", "abcd"), ("MRI", "ab")) for kind in kinds
}
names = st.sampled_from(["CT: a", "CT: b", "MRI: a", "MRI: b", "X: a", "X: b", "X: c"])
groups = st.dictionaries(names, st.one_of(st.none(), st.integers(1, 20)), min_size=1).map(
    lambda most: {s: Group(modality=s.split(":")[0], wider=(s.split(":")[0],), most=n) for s, n in most.items()}
)


@given(
    aim=st.sampled_from(["even", "weak", "rare"]), own=groups, num=st.integers(0, 500), turn=st.integers(0, 9),
    found=st.dictionaries(names, st.builds(Right, value=st.floats(0, 1), num=st.integers(1, 500))),
    counts=st.dictionaries(names, st.integers(0, 500)),
)  # fmt: skip
def test_all_prompts_are_allotted_and_none_over_its_most_while_others_have_room(
    aim: Aim, own: dict[str, Group], num: int, turn: int, found: dict[str, Right], counts: dict[str, int]
) -> None:
    shares = shares_of(aim, own, found=found, counts=counts)
    assert math.fsum(shares.values()) == pytest.approx(1)
    assert min(shares.values()) > 0
    parts = allot(num, shares, own, turn=turn)
    assert sum(parts.values()) == num
    limited = {s: g.most for s, g in own.items() if g.most is not None}
    if len(limited) < len(own) or sum(limited.values()) >= num:
        room = {m: [g.most for g in own.values() if g.modality == m] for m in {g.modality for g in own.values()}}
        if all(None in most or sum(n or 0 for n in most) >= num for most in room.values()):
            assert all(parts[s] <= most for s, most in limited.items())
    if not limited:
        assert all(abs(parts[s] - num * shares[s]) < 2 for s in own)


@given(num=st.integers(0, 300), turn=st.integers(0, 5))
def test_modalities_come_in_turn_and_strata_within_each(num: int, turn: int) -> None:
    parts = allot(num, even_shares(GROUPS), GROUPS, turn=turn)
    for modality, strata in (("CT", 4), ("MRI", 2)):
        own = [n for s, n in parts.items() if s.startswith(modality)]
        assert abs(sum(own) - num / 2) < 1
        assert max(own) - min(own) <= 1
        assert len(own) == strata


def test_what_is_left_over_goes_to_others_in_another_turn() -> None:
    served = {s for turn in range(20) for s, n in allot(1, even_shares(GROUPS), GROUPS, turn=turn).items() if n}
    assert served == set(GROUPS)


def test_a_weak_stratum_is_asked_for_more_often_the_weaker_it_is_but_never_alone() -> None:
    found = {"CT: a": Right(0.2, 60), "CT: b": Right(0.5, 60), "CT: c": Right(0.9, 400), "MRI: a": Right(0.92, 400)}
    shares, even = shares_of("weak", GROUPS, found=found, counts={}), even_shares(GROUPS)
    assert shares["CT: a"] > shares["CT: b"] > shares["CT: c"] == shares["CT: d"] > 0
    assert shares["CT: a"] <= MOST_TIMES * even["CT: a"]
    assert shares["CT: c"] >= even["CT: c"] / 2
    assert shares_of("weak", GROUPS, found={}, counts={}) == even
    assert shares_of("weak", GROUPS, found={"CT: a": Right(0.2, 60)}, counts={}) == even  # there is no rest


def test_two_images_that_went_wrong_count_for_less_than_many() -> None:
    found = {"CT: a": Right(0.0, 2), "CT: b": Right(0.3, 40), "CT: c": Right(0.9, 400)}
    few, many = (shortfall(s, GROUPS[s], found) for s in ("CT: a", "CT: b"))
    assert many > 2 * few


def test_what_is_known_of_a_wider_stratum_counts_for_those_within() -> None:
    inner = Group(modality="CT", wider=("CT: nodule", "CT"))
    found = {"CT: nodule": Right(0.2, 80), "CT: normal": Right(0.95, 200)}
    assert shortfall("CT: nodule, left", inner, found) > 0.4
    assert shortfall("CT: nodule, left", inner, found | {"CT: nodule, left": Right(0.0, 1)}) > 0.4
    assert shortfall("CT: nodule, left", inner, found | {"CT": Right(0.7, 280)}) == pytest.approx(
        shortfall("CT: nodule, left", inner, found)
    )  # what it lies in is not the rest
    assert shortfall("CT: mass", Group(modality="CT", wider=("CT",)), found) == 0


def test_a_rare_stratum_is_asked_for_more_often_within_bounds() -> None:
    counts = {"CT: a": 1000, "CT: b": 100, "CT: c": 1, "MRI: a": 5, "MRI: b": 5}
    shares, even = shares_of("rare", GROUPS, found={}, counts=counts), even_shares(GROUPS)
    times = {s: shares[s] / shares["MRI: a"] * even["MRI: a"] / even[s] for s in GROUPS}
    assert times["MRI: b"] == pytest.approx(1)
    assert times["CT: a"] < 1 < times["CT: b"] < times["CT: c"] == pytest.approx(RARE_TIMES) == times["CT: d"]
