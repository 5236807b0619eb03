"""Identifiers of patients, studies and series -> keyed hashes; dates -> dates shifted by the patient's own offset."""

from __future__ import annotations

import csv
import datetime
import hashlib
import os
from io import StringIO
from pathlib import Path

from vesalius.data.record import write_atomic

OPEN_SALT = "vesalius"
"""The salt that everybody knows: under it a shifted date could be shifted back, so none is kept."""
MAX_SHIFT_DAYS = 3650


class Pseudonyms:
    """What stands for identifiers, as a pure function of a secret and the identifier.

    keep: remember every pair, for `write`. Without it nothing of an identifier stays.
    """

    def __init__(self, salt: str = OPEN_SALT, *, keep: bool = False) -> None:
        self.salt = salt
        self._key = hashlib.sha256(salt.encode()).digest()
        self._kept: dict[tuple[str, str], str] | None = {} if keep else None

    @property
    def kept(self) -> bool:
        """Whether pairs are remembered, so that this object must see them all."""
        return self._kept is not None

    def hashed(self, kind: str, value: str) -> str:
        """16 hex digits for an identifier; kind ("patient", "study" ...) is told in the mapping alone."""
        pseudonym = hashlib.blake2b(value.encode("utf-8", "replace"), key=self._key, digest_size=8).hexdigest()
        if self._kept is not None:
            self._kept[kind, value] = pseudonym
        return pseudonym

    def own(self, patient: str | None) -> str | None:
        """What stands for the patient that a table names: itself under the open salt, else as of DICOM."""
        return patient if patient is None or self.salt == OPEN_SALT else self.hashed("patient", patient)

    def shifted(self, date: str, patient: str) -> str | None:
        """A DICOM date (YYYYMMDD) of a patient, 1 to 3650 days earlier, as YYYY-MM-DD; the same days for all of them.

        None where it is no date, or where the salt is the open one.
        """
        if self.salt == OPEN_SALT:
            return None
        digest = hashlib.blake2b(f"days/{patient}".encode("utf-8", "replace"), key=self._key, digest_size=8).digest()
        days = 1 + int.from_bytes(digest, "big") % MAX_SHIFT_DAYS
        try:
            moved = datetime.datetime.strptime(date, "%Y%m%d").date() - datetime.timedelta(days=days)
        except (ValueError, OverflowError):
            return None
        if self._kept is not None:
            self._kept["days", patient] = f"-{days}"
        return moved.isoformat()

    def write(self, path: Path) -> None:
        """The pairs as a CSV (kind, original, stands_for) that its owner alone may read."""
        assert self._kept is not None
        text = StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(("kind", "original", "stands_for"))
        rows.writerows((kind, value, pseudonym) for (kind, value), pseudonym in sorted(self._kept.items()))
        mask = os.umask(0o077)
        try:
            write_atomic(path, text.getvalue().encode("utf-8", "replace"))
        finally:
            os.umask(mask)
