"""The card of a dataset folder: what is in it, from where, under which licence; once checked, what was measured."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from vesalius.data.command.counted import counted
from vesalius.data.datasets.split import Patients
from vesalius.data.record import SPLITS, Record

MOST_ROWS = 40
"""Rows of one table of a card; the rest are told in one line."""


class Tally:
    """What a card counts, record by record; of patients it keeps 64-bit hashes."""

    def __init__(self, records: Iterable[Record] = ()) -> None:
        self.num_records = 0
        self.splits: Counter[str] = Counter()
        self.modalities: Counter[str] = Counter()
        self.labels: Counter[str] = Counter()
        self.origins: Counter[str] = Counter()
        self.sources: Counter[str] = Counter()
        self.licenses: Counter[str] = Counter()
        self.patients = Patients()
        self._named: set[int] = set()
        for record in records:
            self.add(record)

    def add(self, record: Record) -> None:
        self.num_records += 1
        self.splits[record.split] += 1
        self.modalities[record.modality] += 1
        self.origins[record.origin] += 1
        if record.label:
            self.labels[f"{record.modality} / {record.label}"] += 1
        if record.license:
            self.licenses[record.license] += 1
        self.sources[f"{record.source or 'not named'}, {record.license or 'licence not named'}"] += 1
        self.patients.add(record)
        if record.patient_id:
            self._named.add(hash(record.patient_id))

    @property
    def num_patients(self) -> int:
        return len(self._named)


def write_card(
    name: str, tally: Tally, num_quarantined: int = 0, notes: Sequence[str] = (), measured: Sequence[str] = ()
) -> str:
    """Markdown with the front matter that dataset hubs read.

    notes: what whoever made the folder has to say. measured: what a check found, a line each.
    """
    shares = ", ".join(f"{s} {tally.splits[s]}" for s in SPLITS if tally.splits[s])
    made = ", ".join(f"{n} {o}" for o, n in tally.origins.most_common())
    who = (
        f"{tally.num_patients} patients are named; splits are meant to keep each whole."
        if tally.num_patients
        else "No patient is named."
    )
    lines = [
        *("---", f"pretty_name: {name}", "task_categories:", "- text-to-image", "tags:", "- medical", "---", ""),
        *(f"# {name}", "", f"{counted(tally.num_records, 'image')} with texts ({shares}); {made}. {who}", ""),
        'Open it with `datasets.load_dataset("imagefolder", data_dir=...)`; check it with `vesalius data check`.',
        "",
        *table("Modality", tally.modalities),
        *table("Source and licence", tally.sources),
        "Carry the attribution that these licences ask for wherever the images, or weights trained on them, go.",
        "",
    ]
    if num_quarantined:
        lines += [
            f"{num_quarantined} rows were set aside; `quarantine.jsonl` says why. It names the files of the "
            "sources, which may name patients: leave it out where you share the folder.",
            "",
        ]
    lines += [f"- {note}" for note in notes]
    if measured:
        lines += [
            *([""] if notes else []),
            "## Measured by `vesalius data check`",
            "",
            *(f"- {line}" for line in measured),
        ]
    return "\n".join(lines).rstrip() + "\n"


def table(title: str, counts: Counter[str]) -> list[str]:
    """A Markdown table of counts, the most frequent first, and an empty line."""
    rest = len(counts) - MOST_ROWS
    return [
        f"| {title} | Images |",
        "|---|---:|",
        *(f"| {k.replace('|', '/')} | {n} |" for k, n in counts.most_common(MOST_ROWS)),
        *([f"| {rest} more | {sum(sorted(counts.values())[:rest])} |"] if rest > 0 else []),
        "",
    ]
