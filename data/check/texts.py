"""Texts that do not differ: of one modality, more than half of the records with the same words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from vesalius.data.record import Record

TOO_MANY = 0.5
"""Share of a modality's records above which one text of theirs is told."""
FEWEST = 4
"""Records of a modality below which nothing is said."""
MOST = 80
"""Characters of a text that are told."""


class Texts:
    """The texts of records by modality; of each a 64-bit hash is kept."""

    def __init__(self) -> None:
        self._counts: dict[str, Counter[int]] = {}

    def add(self, record: Record) -> None:
        self._counts.setdefault(record.modality, Counter())[hash(record.text.strip())] += 1

    def told(self, records: Iterable[Record]) -> list[str]:
        """A line for each modality of which one text is in too many records. records: the same, read once more as far
        as that text; a text that is empty is passed over."""
        shared: dict[str, tuple[int, int, int]] = {}
        for modality, counts in self._counts.items():
            (text, count), num = counts.most_common(1)[0], counts.total()
            if num >= FEWEST and count > TOO_MANY * num and text != hash(""):
                shared[modality] = text, count, num
        lines: list[str] = []
        if not shared:
            return lines
        for record in records:
            own = record.text.strip()
            text, count, num = shared.get(record.modality, (hash(""), 0, 0))
            if own and hash(own) == text:
                del shared[record.modality]
                shown = own if len(own) <= MOST else f"{own[:MOST].rstrip()} ..."
                lines.append(
                    f"{count} of {num} {record.modality} records have one text, '{shown}': from words that do not "
                    "differ no picture is learnt; give each image its own"
                )
                if not shared:
                    break
        return lines
