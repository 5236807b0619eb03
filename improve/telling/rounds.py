"""What the page says of a round's candidates: refusals by gate, strata asked for, kept and skipped."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

from vesalius.data.record import read_rows
from vesalius.eval.pictures import image_uri, shortened
from vesalius.eval.report import Figure, Table
from vesalius.improve.telling.status import gate_of

MOST_FIGURES = 6
"""Pictures of each reason."""
MOST_STRATA = 200
ACCEPTED = "accepted"


def refusal_tables(path: Path, *, most: int = 120) -> list[Table]:
    """Refusals of a round by gate, with the reason of one, of which so many characters are shown."""
    counts, reasons = Counter[str](), dict[str, str]()
    for row in read_rows(path / "verdicts.jsonl"):
        gate = ACCEPTED if row["reason"] is None else gate_of(row["reason"])
        counts[gate] += 1
        if row["reason"] is not None:
            reasons.setdefault(gate, row["reason"].partition(": ")[2] or row["reason"])
    total = counts.total()
    rows = [
        [gate, str(count), f"{count / total:.0%}", shortened(reasons.get(gate, ""), most)]
        for gate, count in counts.most_common()
    ]
    return [Table(head=("gate", "samples", "share", "for one of them"), rows=rows)] if rows else []


def refusal_sheets(path: Path) -> list[tuple[str, list[Figure]]]:
    """Some pictures that were accepted, and some of each gate that refused, each with its reason."""
    chosen: dict[str, list[dict[str, Any]]] = {}
    for row in read_rows(path / "verdicts.jsonl"):
        mine = chosen.setdefault(ACCEPTED if row["reason"] is None else gate_of(row["reason"]), [])
        if len(mine) < MOST_FIGURES:
            mine.append(row)
    texts = texts_of(path, {row["prompt"] for rows in chosen.values() for row in rows})
    sheets = []
    for gate, rows in sorted(chosen.items(), key=lambda each: each[0] != ACCEPTED):
        figures = [
            Figure(
                image=image_uri(path / "samples" / row["file_name"]),
                caption=shortened(texts.get(row["prompt"], row["stratum"]), 160),
                alt=texts.get(row["prompt"], row["stratum"]), note=row["reason"] or ACCEPTED,
                bad=row["reason"] is not None,
            )
            for row in rows
            if (path / "samples" / row["file_name"]).is_file()
        ]  # fmt: skip
        title = "Some that were accepted" if gate == ACCEPTED else f"Some that the gate '{gate}' refused"
        sheets.append((title, figures))
    return sheets


def texts_of(path: Path, wanted: set[int]) -> dict[int, str]:
    """The prompts of a round at some places."""
    if not (path / "prompts.jsonl").is_file():
        return {}
    return {i: row["text"] for i, row in enumerate(read_rows(path / "prompts.jsonl")) if i in wanted}


def asked_tables(path: Path) -> list[Table]:
    """Strata, those that were filled worst first: prompts asked for, answered by a sample that passed, and kept; then
    those that were skipped, and why."""
    told = read_json(path / "selection.json")
    strata: dict[str, dict[str, Any]] = told.get("strata", {})
    rows = [
        [name, *(str(strata[name][key]) for key in ("asked", "passed", "answered", "kept"))]
        for name in sorted(strata, key=lambda name: (strata[name]["kept"] / max(1, strata[name]["asked"]), name))
    ]
    head = ("stratum", "prompts", "samples that passed", "prompts answered", "kept")
    folded = f"Strata: {len(rows)} asked for, {sum(row[-1] == '0' for row in rows)} of which nothing was kept"
    tables = [Table(head=head, rows=rows[:MOST_STRATA], folded=folded)] if rows else []
    skipped = {**read_json(path / "plan.json").get("skipped", {}), **told.get("skipped", {})}
    if skipped:
        rows = [[name, str(why)] for name, why in sorted(skipped.items())[:MOST_STRATA]]
        tables.append(
            Table(
                head=("stratum that was skipped", "why"), rows=rows, folded=f"Strata that were skipped: {len(skipped)}"
            )
        )
    return tables


def read_json(path: Path) -> dict[str, Any]:
    """What a file tells; empty where there is none."""
    told: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return told
