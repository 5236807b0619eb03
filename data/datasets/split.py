"""Splits by patient: a pure function of the seed and the patient, so that they survive additions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

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


def place_of(text: str) -> float:
    """A number in [0, 1) that the text alone decides."""
    digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def hashed_split(key: str, *, seed: int, val: float, test: float) -> tuple[str, float]:
    """The split of a patient, and the number in [0, 1) that decides it; `val` and `test` are shares of patients."""
    place = place_of(f"{seed}/{key}")
    return ("test" if place < test else "val" if place < test + val else "train"), place


class Patients:
    """Which patients and groups lie in more than one split. Holds a 64-bit hash of each, not its name."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self._splits: dict[int, str] = {}
        self._divided: set[str] = set()
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        key = patient_key(record)
        if key is not None and self._splits.setdefault(hash(key), record.split) != record.split:
            self._divided.add(key)

    def divided(self) -> list[str]:
        """The patients and groups in more than one split, sorted."""
        return sorted(self._divided)


def divided(records: Iterable[Record]) -> list[str]:
    """The patients and groups that lie in more than one split."""
    return Patients(records).divided()
