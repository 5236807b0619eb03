from __future__ import annotations

import pytest

from vesalius.data.datasets.fields import told_field, value_of
from vesalius.data.record import Finding, Record

RECORD = Record(
    file_name="a.png", text="A nodule.", modality="MR", label="lung", license="CC0", extra={"sex": "f", "age": 40},
    findings=(Finding(kind="nodule"), Finding(kind="effusion", present=False)),
)  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("label", "lung"), ("modality", "MRI"), ("organ", ""), ("license", "CC0"), ("sex", "f"), ("age", "40"),
        ("colour", ""), ("finding:nodule", "nodule"), ("finding:effusion", "no effusion"), ("finding:mass", "no mass"),
    ],
)  # fmt: skip
def test_a_field_and_a_finding_are_named_by_the_same_words(field: str, value: str) -> None:
    assert value_of(RECORD, field) == value


def test_a_finding_is_not_known_of_a_record_that_lists_none() -> None:
    assert value_of(Record(file_name="a.png", text="A nodule.", modality="CT"), "finding:nodule") == ""


def test_a_sentence_says_whether_it_is_a_column_or_a_finding() -> None:
    assert (told_field("sex"), told_field("finding:mass")) == ("the column 'sex'", "the finding 'mass'")
