from __future__ import annotations

import dataclasses
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.improve.people.agreement import BAR, LEAST, describe, one_way, rewarded, sentence, told_scores, two_way
from vesalius.improve.people.ratings import Level, Rating
from vesalius.improve.people.rewards import MOST_WEIGHT, preferred, vetoes, weights

SHROUT_FLEISS = np.array(
    [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]], dtype=float
)
"""Table 2 of Shrout and Fleiss (1979): six targets, four judges."""


def digest(i: int) -> str:
    return f"{i:064x}"


def ratings_of(truth: list[int], *, noise: int = 0, raters: str = "AB", seed: int = 0) -> list[Rating]:
    """Ratings of samples by raters who see the truth, save for some noise."""
    rng = random.Random(seed)
    return [
        Rating(sha256=digest(i), rater=r, realism=min(5, max(3, t + rng.randint(-noise, noise))))
        for i, t in enumerate(truth)
        for r in raters
    ]


AGREEING = ratings_of([3 + i % 3 for i in range(3 * LEAST)])
steps = st.integers(1, 5)
some_ratings = st.lists(
    st.builds(
        Rating, sha256=st.integers(0, 45).map(digest), rater=st.sampled_from("ABCD"), realism=steps,
        agreement=st.none() | steps, artefact=st.sampled_from([None, "none", "minor", "major"]),
        teach=st.sampled_from([None, True, False]),
        level=st.sampled_from(["student", "resident", "attending"]), repeat=st.booleans(),
    ),
    max_size=60,
)  # fmt: skip


def test_intraclass_correlations_are_those_of_the_published_example() -> None:
    single, mean = two_way(SHROUT_FLEISS)
    assert (round(single.value, 2), round(mean.value, 2)) == (0.29, 0.62)
    assert (round(single.low, 3), round(single.high, 2)) == (0.019, 0.76)
    assert (round(mean.low, 3), round(mean.high, 2)) == (0.071, 0.93)
    found, _ = one_way({digest(i): dict(zip("ABCD", row, strict=True)) for i, row in enumerate(SHROUT_FLEISS.tolist())})
    assert found is not None
    assert (round(found.value, 2), round(found.low, 2), round(found.high, 2)) == (0.17, -0.13, 0.72)


def test_the_bound_without_a_sample_is_that_of_the_others() -> None:
    rng = np.random.default_rng(0)
    scores = {
        digest(i): {r: float(v) for r, v in zip("ABC"[: 2 + i % 2], rng.integers(1, 6, 3), strict=False)}
        for i in range(20)
    }
    _, without = one_way(scores)
    for left_out in (0, 7, 19):
        others, _ = one_way({d: s for d, s in scores.items() if d != digest(left_out)})
        assert others is not None
        assert without[digest(left_out)] == pytest.approx(others.low)


def test_raters_who_agree_weigh_samples_and_their_order_is_kept() -> None:
    found = weights(AGREEING, [digest(i) for i in range(3)])
    assert describe(AGREEING)["role"] == "reward"
    assert found[digest(0)] < found[digest(1)] < found[digest(2)] <= MOST_WEIGHT


def test_few_doubly_rated_samples_are_a_veto_only() -> None:
    few = ratings_of([3 + i % 3 for i in range(LEAST - 1)])
    assert set(weights(few, [digest(i) for i in range(9)]).values()) == {1.0}
    assert describe(few)["role"] == "veto"
    assert f"a reward takes {BAR} and {LEAST}" in sentence(describe(few))


@pytest.mark.parametrize("seed", range(5))
def test_shuffled_ratings_give_no_gain(seed: int) -> None:
    rng = random.Random(seed)
    shuffled = []
    for rater in "AB":
        mine = [r for r in AGREEING if r.rater == rater]
        places = [r.sha256 for r in mine]
        rng.shuffle(places)
        shuffled += [dataclasses.replace(r, sha256=d) for r, d in zip(mine, places, strict=True)]
    assert set(weights(shuffled, [r.sha256 for r in shuffled]).values()) == {1.0}


@settings(max_examples=60, deadline=None)
@given(more=some_ratings, place=st.integers(0, 10**6), lower=steps, scale=st.sampled_from(["realism", "agreement"]))
def test_a_lower_rating_never_raises_its_samples_weight(more: list[Rating], place: int, lower: int, scale: str) -> None:
    everything = [*AGREEING[:80], *more]
    changed = everything[place % len(everything)]
    former = getattr(changed, scale)
    if former is None or lower > former:
        return
    less = [r for i, r in enumerate(everything) if i != place % len(everything)]
    before = weights(everything, [changed.sha256])
    after = weights([*less, dataclasses.replace(changed, **{scale: lower})], [changed.sha256])
    assert after[changed.sha256] <= before[changed.sha256] + 2e-6


def test_a_low_rating_that_spoils_the_agreement_does_not_set_its_sample_free() -> None:
    rng = random.Random(54)  # of which the agreement just passes
    truth = [rng.randint(3, 5) for _ in range(40)]
    said = [
        Rating(sha256=digest(i), rater=r, realism=t if rng.random() > 0.3 else rng.randint(3, 5))
        for i, t in enumerate(truth)
        for r in "AB"
    ]
    spoilt = 0
    for place, each in enumerate(said):
        if each.realism != 3:
            after = [*said[:place], dataclasses.replace(each, realism=3), *said[place + 1 :]]
            spoilt += not rewarded(told_scores(after, "realism"))[0]
            names = [each.sha256]
            assert weights(after, names)[each.sha256] <= weights(said, names)[each.sha256] + 2e-6
    assert describe(said)["role"] == "reward"
    assert spoilt > 5


@settings(max_examples=60, deadline=None)
@given(more=some_ratings, place=st.integers(0, 50), rater=st.sampled_from("ABCDEF"), step=steps)
def test_one_more_rating_below_all_others_never_raises_a_weight(
    more: list[Rating], place: int, rater: str, step: int
) -> None:
    everything = [*AGREEING[:80], *more]
    there = [r.realism for r in everything if r.sha256 == digest(place) and r.realism is not None]
    if not there or step >= min(there):
        return
    before = weights(everything, [digest(place)])
    after = weights([*everything, Rating(sha256=digest(place), rater=rater, realism=step)], [digest(place)])
    assert after[digest(place)] <= before[digest(place)] + 2e-6


@settings(max_examples=60, deadline=None)
@given(more=some_ratings, level=st.sampled_from(["", "student", "resident", "attending"]), step=st.integers(1, 2))
def test_a_low_rating_of_any_level_keeps_a_sample_out_whatever_others_say(
    more: list[Rating], level: Level, step: int
) -> None:
    low = Rating(sha256=digest(0), rater="Z", level=level, agreement=step)
    praise = [Rating(sha256=digest(0), rater=r, level="attending", realism=5, agreement=5) for r in "ABCDE"]
    everything = [*AGREEING, *more, *praise, low]
    assert digest(0) in vetoes(everything)
    assert weights(everything, [digest(0)])[digest(0)] == 0


@settings(max_examples=30, deadline=None)
@given(more=some_ratings)
def test_a_raters_level_weighs_nothing(more: list[Rating]) -> None:
    everything = [*AGREEING[:80], *more]
    names = [digest(i) for i in range(46)]
    junior = [dataclasses.replace(r, level="student") for r in everything]
    assert weights(everything, names) == weights(junior, names)


@settings(max_examples=30, deadline=None)
@given(more=some_ratings, seed=st.integers(0, 99))
def test_the_order_of_ratings_does_not_matter(more: list[Rating], seed: int) -> None:
    everything = [*AGREEING[:80], *more]
    moved = random.Random(seed).sample(everything, len(everything))
    names = [digest(i) for i in range(46)]
    assert weights(moved, names) == pytest.approx(weights(everything, names), abs=2e-6)


def test_a_strict_rater_is_corrected_but_no_step_overtakes_the_next() -> None:
    truth = [3 + i % 2 for i in range(60)]
    strict = [Rating(sha256=digest(i), rater="S", realism=t) for i, t in enumerate(truth)]
    lenient = [Rating(sha256=digest(i), rater="L", realism=t + 1) for i, t in enumerate(truth)]
    extra = [Rating(sha256=digest(100), rater="S", realism=4), Rating(sha256=digest(101), rater="L", realism=4)]
    extra += [Rating(sha256=digest(102), rater="S", realism=3), Rating(sha256=digest(103), rater="L", realism=5)]
    careful = [Rating(sha256=digest(i), rater=r, realism=3 + 2 * (i % 2)) for i in range(60) for r in "XYZ"]
    found = weights([*strict, *lenient, *careful, *extra], [digest(i) for i in range(100, 104)])
    by = [found[digest(i)] for i in range(100, 104)]
    assert by[0] > by[1]  # a 4 of who is strict is worth more
    assert by[2] < min(by[:2]) <= max(by[:2]) < by[3]


def test_doubts_lower_without_agreement_too() -> None:
    few = [
        Rating(sha256=digest(0), rater="A", teach=False), Rating(sha256=digest(1), rater="A", artefact="minor"),
        Rating(sha256=digest(2), rater="A", artefact="major"),
    ]  # fmt: skip
    assert weights(few, [digest(i) for i in range(4)]) == {digest(0): 0.5, digest(1): 0.5, digest(2): 0, digest(3): 1}
    assert vetoes(few) == {digest(2): "ratings: major artefact by A"}


def pair(one: int, other: int, rater: str, preference: str, level: str = "") -> Rating:
    return Rating(sha256=digest(one), other=digest(other), rater=rater, preference=preference, level=level)  # type: ignore[arg-type]


def test_pairs_are_what_most_raters_prefer_without_ties_draws_and_vetoed_ones() -> None:
    said = [
        pair(0, 1, "A", "first"), pair(1, 0, "B", "second"), pair(0, 1, "C", "second", "attending"),
        pair(2, 3, "A", "tie"), pair(4, 5, "A", "first"), pair(4, 5, "B", "second"), pair(6, 7, "A", "first"),
        *[pair(8, 9, "A", "first")] * 5, pair(8, 9, "B", "second"), pair(8, 9, "C", "second", "student"),
    ]  # fmt: skip
    assert preferred(said) == [(digest(0), digest(1)), (digest(6), digest(7)), (digest(9), digest(8))]
    assert (digest(6), digest(7)) not in preferred([*said, Rating(sha256=digest(6), rater="Z", realism=1)])


def test_repeats_tell_how_well_raters_agree_with_themselves_and_are_no_second_rater() -> None:
    again = [dataclasses.replace(r, repeat=True) for r in AGREEING if r.rater == "A"][:10]
    facts = describe([*AGREEING, *again])
    assert facts["repeats"]["A"]["realism"]["difference"] == 0
    assert set(facts["repeats"]) == {"A"}
    assert told_scores(again, "realism") == {}


def test_agreement_on_what_is_bad_or_real_is_none_on_what_is_better() -> None:
    rng = random.Random(0)
    raters = ["A", "B"]
    bad = [Rating(sha256=digest(i), rater=r, realism=1) for i in range(50) for r in raters]
    real = [Rating(sha256=digest(i), rater=r, realism=5, origin="real") for i in range(50, 99) for r in raters]
    noise = [Rating(sha256=digest(i), rater=r, realism=rng.randint(3, 5)) for i in range(100, 200) for r in raters]
    facts = describe([*bad, *real, *noise])
    assert facts["scales"]["realism"]["icc_2_1"]["low"] > BAR
    assert facts["role"] == "veto"
    assert set(weights([*bad, *real, *noise], [digest(i) for i in range(100, 200)]).values()) == {1.0}
