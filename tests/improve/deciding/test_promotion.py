from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vesalius.improve.deciding.facts import Facts, difference, halves_of
from vesalius.improve.deciding.measures import answer_fact
from vesalius.improve.deciding.promotion import compare, decide, finished, lines_of, table_of

MakeFacts = Callable[..., Facts]
DECISIVE = [
    "obedience/finding present/reader", "worst stratum", "hard prompts/all", "validation", "kid/CT", "coverage",
    "copies",
]  # fmt: skip
GAIN, LOSS = 0.05, -0.05
CALM = settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
changes = st.dictionaries(st.sampled_from(DECISIVE), st.floats(-0.08, 0.08), max_size=len(DECISIVE))


@pytest.mark.parametrize("name", DECISIVE)
def test_one_clear_gain_and_nothing_worse_is_promoted(make_facts: MakeFacts, name: str) -> None:
    first = make_facts()
    found = compare(first, first, make_facts({name: GAIN}), 1)
    assert found["promoted"]
    assert found["champion"] == 1
    assert found["gains"] == [f"The {name} of a round"]
    assert found["reasons"] == [next(r["words"] for r in found["rows"] if r["told"] == "better")]


@pytest.mark.parametrize("name", DECISIVE)
def test_one_clear_loss_is_rolled_back_whatever_else_is_better(make_facts: MakeFacts, name: str) -> None:
    first = make_facts()
    better = {n: GAIN for n in DECISIVE if n != name}
    found = compare(first, first, make_facts({**better, name: LOSS}), 1)
    assert not found["promoted"]
    assert found["champion"] == 0
    assert found["losses"] == [f"The {name} of a round"]
    assert found["reasons"][0].endswith("now: worse")


@pytest.mark.parametrize("name", DECISIVE)
def test_a_loss_to_round_0_is_one_although_the_champion_is_no_better(make_facts: MakeFacts, name: str) -> None:
    first, champion = make_facts(), make_facts({name: LOSS})
    other = next(n for n in DECISIVE if n != name)
    found = compare(first, champion, make_facts({name: LOSS, other: GAIN}), 2, 1)
    assert not found["promoted"]
    assert found["champion"] == 1
    assert found["reasons"][0].endswith("worse than in round 0")


def test_what_is_better_than_round_0_alone_is_no_gain_over_the_champion(make_facts: MakeFacts) -> None:
    first, champion = make_facts(), make_facts({"coverage": GAIN})
    found = compare(first, champion, champion, 2, 1)
    assert not found["promoted"]
    assert found["reasons"] == ["nothing is clearly better than in round 1, which stays"]


def test_a_lucky_number_promotes_nothing(make_facts: MakeFacts) -> None:
    """Beyond its own interval, but not beyond the one that is widened for all that are compared."""
    first = make_facts()
    noise = 0.01
    lucky = make_facts({"kid/CT": 2.3 * noise}, noise=noise)
    kid = next(r for r in compare(first, first, lucky, 1)["rows"] if r["name"] == "kid/CT")
    alone = difference(lucky.by_name["kid/CT"], first.by_name["kid/CT"], paired=True)
    assert alone.told == "better"
    assert kid["told"] == "no clear difference"


def test_the_same_size_of_harm_is_harm_without_being_widened(make_facts: MakeFacts) -> None:
    first = make_facts()
    noise = 0.01
    found = compare(first, first, make_facts({"kid/CT": -2.3 * noise, "coverage": GAIN}, noise=noise), 1)
    assert found["losses"] == ["The kid/CT of a round"]


@pytest.mark.parametrize(("change", "promoted"), [(0.002, False), (0.01, True)])
def test_a_difference_that_is_sure_but_tiny_is_luck_of_the_training(
    make_facts: MakeFacts, change: float, promoted: bool
) -> None:
    first = make_facts()
    found = compare(first, first, make_facts({"validation": change}, noise=1e-5), 1)
    row = next(r for r in found["rows"] if r["name"] == "validation")
    assert row["differences"]["champion"]["low"] > 0
    assert found["promoted"] is promoted


def test_what_two_trainings_differ_by_is_no_gain(make_facts: MakeFacts) -> None:
    first, better = make_facts(), make_facts({"validation": 0.01}, noise=1e-5)
    margin = [dataclasses.replace(f, margin=0.05) if f.name == "validation" else f for f in better.facts]
    assert not compare(first, first, dataclasses.replace(better, facts=tuple(margin)), 1)["promoted"]


def test_what_the_champion_was_measured_by_and_this_round_was_not_rolls_back(make_facts: MakeFacts) -> None:
    first, better = make_facts(), make_facts({"coverage": GAIN})
    less = dataclasses.replace(better, facts=tuple(f for f in better.facts if f.name != "copies"))
    found = compare(first, first, less, 1)
    assert not found["promoted"]
    assert "not measured" in found["reasons"][0]


@pytest.mark.parametrize(("name", "words"), [("kid/CT", "distance"), ("coverage", "reach"), ("validation", "loss")])
def test_a_round_of_which_distance_coverage_or_validation_is_not_known_is_not_promoted(
    make_facts: MakeFacts, name: str, words: str
) -> None:
    first, better = (
        dataclasses.replace(f, facts=tuple(each for each in f.facts if each.name != name))
        for f in (make_facts(), make_facts({"hard prompts/all": GAIN}))
    )
    found = compare(first, first, better, 1)
    assert not found["promoted"]
    assert words in found["reasons"][0]
    assert found["reasons"][0].endswith("not measured in this round")


def test_usefulness_is_held_against_nothing_in_round_0(make_facts: MakeFacts) -> None:
    first, same = make_facts(), make_facts()

    def with_use(value: float) -> Facts:
        fact = dataclasses.replace(
            first.by_name["validation"], name="usefulness", group="usefulness", up=True, value=value, low=value - 0.02,
            high=value + 0.02, halves=(), told="What samples add",
        )  # fmt: skip
        return dataclasses.replace(same, facts=(*same.facts, fact))

    assert compare(first, first, with_use(0.05), 1)["gains"] == ["What samples add"]
    assert compare(first, first, with_use(-0.05), 1)["losses"] == ["What samples add"]
    assert not compare(first, first, with_use(0.01), 1)["promoted"]
    assert not compare(first, with_use(0.05), make_facts(), 2, 1)["losses"]


def test_rounds_of_other_prompts_are_not_pairs_and_their_intervals_are_wider(make_facts: MakeFacts) -> None:
    first = make_facts()
    change = {"worst stratum": 0.03}
    pair = compare(first, first, make_facts(change), 1)
    apart = compare(first, first, make_facts(change, paired="other prompts"), 1)
    one, other = (
        next(r for r in d["rows"] if r["name"] == "worst stratum")["differences"]["champion"] for d in (pair, apart)
    )
    assert pair["promoted"]
    assert not apart["promoted"]
    assert not other["paired"]
    assert other["high"] - other["low"] > 3 * (one["high"] - one["low"])


@CALM
@given(changed=changes)
def test_a_round_equal_to_the_champion_is_never_promoted(make_facts: MakeFacts, changed: dict[str, float]) -> None:
    first, champion = make_facts(), make_facts(changed)
    assert not compare(first, champion, champion, 2, 1)["promoted"]


@CALM
@given(changed=changes, name=st.sampled_from(DECISIVE))
def test_what_is_worse_in_one_is_never_promoted(make_facts: MakeFacts, changed: dict[str, float], name: str) -> None:
    first = make_facts()
    found = compare(first, first, make_facts({**changed, name: LOSS}), 1)
    assert not found["promoted"]


@CALM
@given(changed=changes, name=st.sampled_from(DECISIVE), more=st.floats(0, 0.1))
def test_being_better_in_one_more_never_loses_a_promotion(
    make_facts: MakeFacts, changed: dict[str, float], name: str, more: float
) -> None:
    first, facts = make_facts(), make_facts({**dict.fromkeys(DECISIVE, 1e-9), **changed})
    if not compare(first, first, facts, 1)["promoted"]:
        return
    raised = []
    for fact in facts.facts:
        step = (more if fact.up else -more) if fact.name == name else 0.0
        raised.append(
            dataclasses.replace(
                fact, value=fact.value + step, low=fact.low + step, high=fact.high + step,
                halves=tuple(h + step for h in fact.halves),
            )
        )  # fmt: skip
    assert compare(first, first, dataclasses.replace(facts, facts=tuple(raised)), 1)["promoted"]


def test_the_decision_is_words_that_a_clinician_reads(make_facts: MakeFacts) -> None:
    first = make_facts()
    found = compare(first, first, make_facts({"hard prompts/all": GAIN}), 1)
    lines = lines_of(found)
    assert lines[0] == "round 1: promoted"
    assert "  The hard prompts/all of a round: 70.0 % before, 75.0 % now: better" in lines
    assert any(line.endswith("no clear difference") for line in lines)
    assert not any("gates" in line for line in lines)
    table = table_of(found)
    assert table[-1][0].endswith("(shown, decides nothing)")
    assert {len(row) for row in table} == {5}
    json.dumps(found, allow_nan=False)


def test_decisions_are_made_of_the_files_of_rounds(tmp_path: Path, make_facts: MakeFacts) -> None:
    for number, facts in enumerate([make_facts(), make_facts({"coverage": GAIN}), make_facts({"kid/CT": LOSS})]):
        (tmp_path / f"round-{number:02d}").mkdir()
        facts.write(tmp_path / f"round-{number:02d}")
    first, second, third = (tmp_path / f"round-{i:02d}" for i in range(3))
    assert decide(first, first, second, 1)["promoted"]
    assert decide(first, second, third, 2)["champion"] == 1
    forced = decide(first, second, third, 2, guard=False)
    assert (forced["promoted"], forced["champion"]) == (True, 2)
    assert "without the guard" in forced["reasons"][0]
    assert "The kid/CT of a round" in forced["losses"]
    (third / "facts.json").unlink()
    with pytest.raises(ValueError, match="no facts of a round"):
        decide(first, second, third, 2)


@pytest.mark.parametrize(
    ("promoted", "patience", "ends"),
    [
        ([], 1, False), ([True], 1, False), ([False], 1, True), ([False], 2, False), ([False, False], 2, True),
        ([False, True, False], 2, False), ([True, False, False], 2, True), ([False, True], 1, False),
        ([True, True, False], 3, False),
    ],
)  # fmt: skip
def test_rounds_without_gain_in_a_row_end_the_loop(promoted: list[bool], patience: int, ends: bool) -> None:
    rows = [{"round": 0, "promoted": True, "champion": 0}]
    rows += [{"round": i, "promoted": p, "champion": 0} for i, p in enumerate(promoted, start=1)]
    told = finished(rows, patience)
    assert (told is not None) is ends
    assert told is None or "without gain" in told


def test_halves_depend_on_names_alone_and_keep_a_patient_together() -> None:
    units, groups = ["a", "a", "b", "c", "d", "e"], ["CT"] * 5 + ["MRI"]
    found = halves_of(units, groups, 3)
    order = [4, 2, 0, 5, 1, 3]
    again = halves_of([units[i] for i in order], [groups[i] for i in order], 3)
    assert (again == found[:, order]).all()
    assert (found[:, 0] == found[:, 1]).all()
    assert set(found[:, [0, 2, 3, 4]].sum(1)) == {2}


def test_pairs_tell_more_than_two_numbers_apart() -> None:
    """The same prompts are hard for both rounds: what they share cancels."""
    rng = np.random.default_rng(0)
    hard = rng.random(300)
    before, now = ((hard < level).astype(float) for level in (0.6, 0.66))
    ones = np.ones(300)
    halves = halves_of([str(i) for i in range(300)], ["CT"] * 300, 0)
    facts = [answer_fact("x", "x", "obedience", each, ones, halves) for each in (now, before)]
    assert difference(*facts, paired=True).told == "better"
    assert difference(*facts, paired=False).told == "no clear difference"


def test_two_answers_more_are_no_certainty() -> None:
    ones = np.ones(60)
    halves = halves_of([str(i) for i in range(60)], ["CT"] * 60, 0)
    before = answer_fact("x", "x", "obedience", np.where(np.arange(60) < 40, 1.0, 0.0), ones, halves)
    for more, told in ((2, "no clear difference"), (4, "no clear difference"), (8, "better")):
        now = answer_fact("x", "x", "obedience", np.where(np.arange(60) < 40 + more, 1.0, 0.0), ones, halves)
        assert difference(now, before, paired=True).told == told
