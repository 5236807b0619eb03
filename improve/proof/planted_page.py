"""The page of planted faults: what passes of each kind, what slipped through, and what the limits rest on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.data.record import write_atomic
from vesalius.eval.gates.part import HOW, limits_table
from vesalius.eval.pictures import image_uri, shortened
from vesalius.eval.report import Figure, Section, Table, to_markdown, write_page

MOST_SHOWN = 8
"""Pictures of a kind that slipped through."""
SUBTITLE = "Pictures and texts with one thing wrong, shown to the gates of the self-improvement loop"


def write_planted_page(folder: Path, result: Mapping[str, Any]) -> Path:
    """Write planted.html and, with its tables alone, planted.md; returns the first."""
    sections = [
        *_counts(result),
        *_slipped(folder, result),
        Section(title="Limits", text=[HOW], tables=[limits_table(result["thresholds"])]),
    ]
    write_atomic(folder / "planted.md", to_markdown("Planted faults", SUBTITLE, sections).encode())
    path = folder / "planted.html"
    write_page(path, "Planted faults", SUBTITLE, sections)
    return path


def _counts(result: Mapping[str, Any]) -> list[Section]:
    modalities = sorted({row["modality"] for row in result["kinds"]} - {"all"})
    found = {(row["kind"], row["modality"]): row for row in result["kinds"]}
    kinds = list(dict.fromkeys(row["kind"] for row in result["kinds"]))
    rows, narrow = [], []
    for kind in kinds:
        row = found[kind, "all"]
        gates = ", ".join(f"{gate} {num}" for gate, num in list(row["gates"].items())[:4])
        own = "-" if kind == "honest" else f"{row['by_own_gate']['value']:.0%}"
        rows.append([kind, result["what"][kind], str(row["num"]), _share(row["passes"]), own, gates or "-"])
        each = [found.get((kind, modality)) for modality in modalities]
        narrow.append([kind, *("-" if r is None else f"{_share(r['passes'])}, n {r['num']}" for r in each)])
    told = (
        "Honest pictures that do not pass are refused in error; planted ones that pass are let in in error. Intervals "
        "are Wilson's, 95 %."
    )
    unread = [] if result["is_read"] else ["Writing was not searched for: tesseract is not installed here."]
    head = ("planted", "what it is", "n", "passes", "found by its own gate", "refused by (several may object)")
    return [
        Section(title="What passes the gates", text=[told, *unread], tables=[Table(head=head, rows=rows)]),
        Section(title="What passes, by modality", tables=[Table(head=("planted", *modalities), rows=narrow)]),
    ]


def _share(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.1%} ({row['low']:.1%} to {row['high']:.1%})"


def _slipped(folder: Path, result: Mapping[str, Any]) -> list[Section]:
    sections = []
    for kind in dict.fromkeys(row["kind"] for row in result["rows"]):
        honest = kind == "honest"
        mine = [r for r in result["rows"] if r["kind"] == kind and (r["reason"] is None) != honest]
        if mine:
            title = "Honest pictures that were refused" if honest else f"{kind}: what slipped through"
            figures = [_figure(folder, row, honest=honest) for row in spread(mine, MOST_SHOWN)]
            sections.append(Section(title=f"{title} ({len(mine)})", figures=figures))
    return sections


def spread(rows: Sequence[dict[str, Any]], num: int) -> list[dict[str, Any]]:
    """So many of them, modalities in turn."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault(row["modality"], []).append(row)
    turns = [group[i] for i in range(len(rows)) for group in groups.values() if i < len(group)]
    return turns[:num]


def _figure(folder: Path, row: Mapping[str, Any], *, honest: bool) -> Figure:
    return Figure(
        image=image_uri(folder / row["file_name"]), caption=shortened(row["text"], 140), alt=row["text"], real=True,
        note=row["reason"] or "passes", bad=not honest,
    )  # fmt: skip
