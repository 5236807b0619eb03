"""Splits: pure functions of seed and patient, so that additions move nobody."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.building.placing import Placing
from vesalius.data.datasets.split import divided, hashed_split
from vesalius.data.record import Record

names = st.text(min_size=1, max_size=6)
rows = st.lists(st.tuples(st.sampled_from("abcde"), st.sampled_from(["train", "val", "test"])), max_size=20)


@given(st.sets(names), st.sets(names), st.integers(0, 5), st.floats(0, 0.4), st.floats(0, 0.4))
def test_adding_patients_moves_none(before: set[str], more: set[str], seed: int, val: float, test: float) -> None:
    def splits(patients: set[str]) -> dict[str, str]:
        placing = Placing(Path("."), named={}, resplit=False, seed=seed, val=val, test=test)
        return {patient: placing.split(patient)[0] for patient in sorted(patients)}

    assert splits(before).items() <= splits(before | more).items()


@given(names, st.floats(0, 0.4), st.floats(0, 0.4))
def test_a_larger_share_only_adds_to_the_test_split(patient: str, share: float, more: float) -> None:
    if hashed_split(patient, seed=0, val=0.1, test=share)[0] == "test":
        assert hashed_split(patient, seed=0, val=0.1, test=share + more)[0] == "test"


def test_shares_are_those_asked_for() -> None:
    splits = [hashed_split(f"patient {i}", seed=3, val=0.1, test=0.2)[0] for i in range(5000)]
    assert abs(splits.count("val") / 5000 - 0.1) < 0.02
    assert abs(splits.count("test") / 5000 - 0.2) < 0.02


@given(rows)
def test_divided_patients_are_those_in_two_splits(members: list[tuple[str, str]]) -> None:
    records = [Record(file_name="x", text="t", modality="CT", patient_id=p, split=s) for p, s in members]
    expected = sorted(p for p in set("abcde") if len({s for q, s in members if q == p}) > 1)
    assert divided(records) == expected
