"""What stands for identifiers and dates."""

from __future__ import annotations

import csv
import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.building.pseudonyms import MAX_SHIFT_DAYS, Pseudonyms


@given(value=st.text(min_size=1), salt=st.text(min_size=1))
def test_hash_depends_on_salt_and_value_alone_and_shows_neither(value: str, salt: str) -> None:
    one, two = Pseudonyms(salt), Pseudonyms(salt, keep=True)
    assert one.hashed("patient", value) == two.hashed("study", value)
    assert one.hashed("patient", value) != Pseudonyms(salt + "x").hashed("patient", value)
    assert len(one.hashed("patient", value)) == 16


@given(
    first=st.dates(datetime.date(1950, 1, 1)), second=st.dates(datetime.date(1950, 1, 1)), patient=st.text(min_size=1)
)
def test_intervals_of_a_patient_survive_the_shift_and_dates_do_not(
    first: datetime.date, second: datetime.date, patient: str
) -> None:
    names = Pseudonyms("secret")
    moved = [datetime.date.fromisoformat(names.shifted(f"{d:%Y%m%d}", patient) or "") for d in (first, second)]
    assert moved[1] - moved[0] == second - first
    assert 1 <= (first - moved[0]).days <= MAX_SHIFT_DAYS


def test_two_patients_are_shifted_differently() -> None:
    names = Pseudonyms("secret")
    assert len({names.shifted("20200101", f"patient {i}") for i in range(20)}) > 15


@pytest.mark.parametrize("date", ["", "2020", "20201301", "none", "20200101-20200201"])
def test_what_is_no_date_is_left_out(date: str) -> None:
    assert Pseudonyms("secret").shifted(date, "p") is None


def test_no_date_is_kept_under_the_salt_that_everybody_knows() -> None:
    assert Pseudonyms().shifted("20200101", "p") is None


def test_mapping_holds_every_pair_and_only_its_owner_may_read_it(tmp_path: Path) -> None:
    names = Pseudonyms("secret", keep=True)
    patient, study = names.hashed("patient", 'MRN "1", x'), names.hashed("study", "1.2.3")
    names.shifted("20200101", 'MRN "1", x')
    names.write(tmp_path / "map.csv")
    with (tmp_path / "map.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["kind", "original", "stands_for"]
    assert ["patient", 'MRN "1", x', patient] in rows
    assert ["study", "1.2.3", study] in rows
    assert rows[1][0] == "days"
    assert (tmp_path / "map.csv").stat().st_mode & 0o077 == 0
