"""The part `gates`: which samples would be refused, and why, and what they look like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vesalius.eval.context import Context
from vesalius.eval.pictures import image_uri, shortened
from vesalius.eval.report import Figure, Section, Table

MOST_SHOWN = 60
FIRST_SHOWN = 18
"""Of them before those that are folded."""


def measure(context: Context) -> dict[str, Any]:
    """Counts, limits, and of each sample its scores and a verdict."""
    return {
        "accepted": sum(v.reason is None for v in context.verdicts),
        "num": len(context.verdicts),
        "thresholds": {m: asdict(t) for m, t in context.thresholds.items()},
        "scores": [{"file_name": s.file_name, **row} for s, row in zip(context.drawn, context.scores, strict=True)],
        "reasons": {s.file_name: v.reason for s, v in zip(context.drawn, context.verdicts, strict=True)},
    }


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    shown = list(zip(context.samples.cases, context.verdicts, strict=True))[:MOST_SHOWN]
    asked, refused = Counter(c.modality for c in context.samples.cases), Counter[tuple[str, str]]()
    for case, verdict in zip(context.samples.cases, context.verdicts, strict=True):
        if verdict.reason is not None:
            refused[case.modality, verdict.reason.split(":")[0]] += 1
    rows = []
    for modality, num in sorted(asked.items()):
        own = {gate: n for (of, gate), n in refused.most_common() if of == modality}
        why = ", ".join(f"{gate} {n}" for gate, n in own.items())
        rows.append([modality, f"{num - sum(own.values())} of {num}", why or "-"])
    return [
        Section(
            title=f"Samples: {result['accepted']} of {result['num']} pass the gates",
            text=[
                "What the loop of `vesalius improve` would keep. The judge alone decides it, so it is no measure of "
                "quality. One sample in twenty of a perfect generator would be refused for its agreement."
            ],
            tables=[Table(head=("modality", "pass", "refused by the gate"), rows=rows)],
            figures=[
                Figure(
                    image=image_uri(c.path), caption=shortened(c.text, 140), alt=c.text,
                    note=v.reason or "accepted", bad=v.reason is not None,
                )
                for c, v in shown
            ],
            shown=FIRST_SHOWN,
        )
    ]  # fmt: skip
