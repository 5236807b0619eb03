"""What a page says of obedience: how it was asked, and a row per attribute and network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from vesalius.eval.report import Section, Table


def shares(result: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """What was right of all samples, with its interval, by "attribute by network"; empty where nothing was measured."""
    rows = result.get("rows", ())
    whole = [r for r in rows if r["of"] == "all"] or rows  # of one modality there is no other row
    return {f"{row['attribute']} by {row['network']}": row["samples"] for row in whole}


ORDER = (
    "modality", "finding present", "finding absent", "side", "side exchanged", "negation exchanged",
    "finding exchanged", "other prompt exchanged", "size within 25 %", "count",
)  # fmt: skip
"""Of the rows of the table."""


def tables(result: Mapping[str, Any]) -> list[Table]:
    """A row per attribute and network; then, folded, one per modality too."""
    order = {name: i for i, name in enumerate(ORDER)}
    rows = sorted(result["rows"], key=lambda r: order.get(r["attribute"], len(order)))
    whole = [row for row in rows if row["of"] == "all"]
    if not whole:
        return [_table(rows)]
    apart = [row for row in rows if row["of"] != "all"]
    return [_table(whole), replace(_table(apart), folded=f"By modality ({len(apart)} rows)")]


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    cells = [
        [
            row["attribute"], row["network"], row["of"], _told(row["samples"]),
            _told(row["real"]) if row["real"] else "-",
            compared(row),
        ]
        for row in rows
    ]  # fmt: skip
    head = ("attribute", "by", "of", "samples right (95 %), n", "real images right (95 %), n", "compared")
    return Table(head=head, rows=cells)


def sections(result: Mapping[str, Any]) -> list[Section]:
    """What a page says of obedience."""
    gated = ", ".join(result["gated_by"])
    told = ", ".join(f"{name} ({digest[:12]})" for name, digest in result["networks"].items())
    by_text = result.get("told_by_text", {})
    return [
        Section(
            title="Obedience to the prompt",
            text=[
                f"Measured by {told}. Each number stands beside the same network's on real images under their own "
                "captions, which is its own error: no sample can be trusted more than that. Intervals are Wilson's.",
                *(
                    [f"These samples were gated by the {gated}, which therefore measures nothing here."]
                    if gated
                    else []
                ),
                *(
                    [
                        f"{by_text['samples']} of {result['num_samples']} samples and {by_text['real']} of "
                        f"{result['num_real']} real images have no findings on record, and are asked for those that "
                        "their text states."
                    ]
                    if any(by_text.values())
                    else []
                ),
                *(
                    ["As the pictures are many, networks computed in bfloat16, by which a few answers in 1000 turn."]
                    if result.get("bfloat16")
                    else []
                ),
            ],
            more=[
                "Exchanged: the picture agrees better with the true text than with one that is false in its side, a "
                "negation or a finding, or than with another prompt of the modality; half is chance. Agreement is "
                "weak on negation, so look at the findings beside it. Where real images are no better than chance the "
                "network cannot tell, and nothing is concluded.",
                "Side, size and count are asked of findings that are seen. The reader measures where real images are "
                "phantoms; beside it stands its rate on phantoms that have the very findings.",
            ],
            tables=tables(result),
        )
    ]


def compared(row: Mapping[str, Any]) -> str:
    """ "less" where samples fall below real images beyond both intervals; "cannot tell" where real images are no better
    than chance in an exchange, so that the network measures nothing there; "" where neither is so."""
    real = row["real"]
    if not real or (row["attribute"].endswith("exchanged") and real["low"] <= 0.5):
        return "cannot tell"
    return "less" if row["samples"]["high"] < real["low"] else ""


def _told(row: Mapping[str, Any]) -> str:
    return f"{row['value']:.1%} ({row['low']:.1%} to {row['high']:.1%}), {row['num']}"
