"""The README.md of a dataset folder: what is in it, from where, under which licence."""

from __future__ import annotations

from collections import Counter

from vesalius.data.record import SPLITS, Record


def write_card(name: str, records: list[Record], num_quarantined: int = 0, notes: list[str] | None = None) -> str:
    """Markdown with the front matter that dataset hubs read."""
    splits = Counter(r.split for r in records)
    patients = {r.patient_id for r in records if r.patient_id}
    origins = Counter(r.origin for r in records)
    shares = ", ".join(f"{s} {splits[s]}" for s in SPLITS if splits[s])
    made = ", ".join(f"{n} {o}" for o, n in origins.most_common())
    who = (
        f"{len(patients)} patients are named; splits are meant to keep each whole."
        if patients
        else "No patient is named."
    )
    sources = Counter(f"{r.source or 'not named'}, {r.license or 'licence not named'}" for r in records)
    lines = [
        *("---", f"pretty_name: {name}", "task_categories:", "- text-to-image", "tags:", "- medical", "---", ""),
        *(f"# {name}", "", f"{len(records)} images with texts ({shares}); {made}. {who}", ""),
        'Open it with `datasets.load_dataset("imagefolder", data_dir=...)`; check it with `vesalius data check`.',
        "",
        *_table("Modality", Counter(r.modality for r in records)),
        *_table("Source and licence", sources),
        "Carry the attribution that these licences ask for wherever the images, or weights trained on them, go.",
        "",
    ]
    if num_quarantined:
        lines += [f"{num_quarantined} rows were set aside; `quarantine.jsonl` says why.", ""]
    lines += [f"- {note}" for note in notes or []]
    return "\n".join(lines).rstrip() + "\n"


def _table(title: str, counts: Counter[str]) -> list[str]:
    return [
        f"| {title} | Images |",
        "|---|---:|",
        *(f"| {k.replace('|', '/')} | {n} |" for k, n in counts.most_common()),
        "",
    ]
