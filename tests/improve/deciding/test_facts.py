"""Intervals of pairs hold what they promise, on answers whose truth is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import norm

from vesalius.improve.deciding.facts import Facts, Stratum, difference, halves_of, number, read_facts
from vesalius.improve.deciding.measures import answer_fact, number_fact

NUM, DRAWN = 120, 150


def answered(right: float, hard: np.ndarray[tuple[int], np.dtype[np.float64]], rng: np.random.Generator) -> object:
    """Answers to prompts that are as hard for every round, of which a share is right."""
    luck = hard + 0.7 * rng.normal(size=len(hard))
    return (luck < norm.ppf(right) * np.sqrt(1.49)).astype(float)


@pytest.mark.parametrize("gain", [0.0, 0.08])
def test_the_interval_of_pairs_holds_the_true_difference_in_about_95_of_100_cases(gain: float) -> None:
    rng = np.random.default_rng(0)
    halves, ones = halves_of([str(i) for i in range(NUM)], ["CT"] * NUM, 0), np.ones(NUM)
    held, worse = 0, 0
    for _ in range(DRAWN):
        hard = rng.normal(size=NUM)
        before, now = (
            answer_fact("x", "x", "obedience", answered(right, hard, rng), ones, halves)  # type: ignore[arg-type]
            for right in (0.7, 0.7 + gain)
        )
        found = difference(now, before, paired=True)
        held += found.low <= gain <= found.high
        worse += found.told == "worse"
    assert 0.91 <= held / DRAWN <= 1.0
    assert worse / DRAWN <= 0.04


def test_numbers_are_written_as_people_read_them() -> None:
    def told(value: float, num: int, *, share: bool) -> str:
        return number(number_fact("x", "x", "obedience", value, np.full(3, value), num, share=share))

    assert told(0.834, 60, share=True) == "83 %"
    assert told(0.834, 600, share=True) == "83.4 %"
    assert told(0.021, 60, share=True) == "2.1 %"
    assert told(0.04321, 60, share=False) == "0.0432"


def test_facts_are_read_as_they_were_written_and_others_are_refused(tmp_path: Path) -> None:
    fact = number_fact("kid/CT", "Distance", "distance", 0.05, np.linspace(0.04, 0.06, 9), 20)
    stratum = Stratum(name="CT: nodule", value=0.5, num=8, num_prompts=4)
    Facts(paired="x", facts=(fact,), strata=(stratum,), notes=("few",)).write(tmp_path)
    found = read_facts(tmp_path)
    assert found.by_name["kid/CT"].halves == pytest.approx(fact.halves)
    assert (found.strata, found.notes, found.paired) == ((stratum,), ("few",), "x")
    (tmp_path / "facts.json").write_text("{}")
    with pytest.raises(ValueError, match=r"facts\.json: no facts of a round there .* run the loop's line again"):
        read_facts(tmp_path)
