"""What a record says in the words that name a field on the command line: a label, what is balanced, a group."""

from __future__ import annotations

from vesalius.data.modality import find_modality
from vesalius.data.record import Record

FIELDS = ("modality", "organ", "label", "source", "license", "origin", "split", "patient_id")
"""Fields of a record that have names, beside any further column that a dataset has."""
FINDING = "finding:"
"""Before the kind of a finding that is told apart by whether it is there."""


def value_of(record: Record, field: str) -> str:
    """What a record says of a field, or "". A finding is known where any finding is listed or denied.

    >>> value_of(Record(file_name="a.png", text="Normal.", modality="MR", label="normal"), "modality")
    'MRI'
    """
    if field.startswith(FINDING):
        kind = field.removeprefix(FINDING)
        if not record.findings:
            return ""
        return kind if any(f.kind == kind and f.present for f in record.findings) else f"no {kind}"
    if field == "modality":
        return find_modality(record.modality).name
    value = getattr(record, field) if field in FIELDS else record.extra.get(field)
    return "" if value is None else str(value)


def told_field(field: str) -> str:
    """A field in a sentence: the column 'label', the finding 'nodule'."""
    return f"the finding '{field.removeprefix(FINDING)}'" if field.startswith(FINDING) else f"the column '{field}'"
