"""Splits by patient: a pure function of the seed and the patient, so that they survive additions."""

from __future__ import annotations

import hashlib

from vesalius.data.record import Record

SPLIT_WORDS = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val",
    "test": "test", "testing": "test",
}  # fmt: skip
"""What sources call the splits."""


def patient_key(record: Record) -> str | None:
    """What must not be divided between splits: the patient, else the group of images with one origin."""
    value = record.patient_id or record.extra.get("group") or record.extra.get("group_id")
    return None if value is None else str(value)


def hashed_split(key: str, *, seed: int, val: float, test: float) -> tuple[str, float]:
    """The split of a patient, and the number in [0, 1) that decides it; `val` and `test` are shares of patients."""
    digest = hashlib.blake2b(f"{seed}/{key}".encode(), digest_size=8).digest()
    place = int.from_bytes(digest, "big") / 2**64
    return ("test" if place < test else "val" if place < test + val else "train"), place


def divided(records: list[Record]) -> list[str]:
    """The patients and groups that lie in more than one split."""
    splits: dict[str, set[str]] = {}
    for record in records:
        if (key := patient_key(record)) is not None:
            splits.setdefault(key, set()).add(record.split)
    return sorted(key for key, where in splits.items() if len(where) > 1)
