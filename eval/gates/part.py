"""The part `gates`: which samples would be refused, and why, what they look like, and what the limits rest on."""

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
    verdicts = context.verdicts
    return {
        "accepted": sum(v.reason is None for v in verdicts),
        "num": len(verdicts),
        "thresholds": {m: asdict(t) for m, t in context.thresholds.items()},
        "scores": [{"file_name": s.file_name, **row} for s, row in zip(context.drawn, context.scores, strict=True)],
        "reasons": {s.file_name: v.reason for s, v in zip(context.drawn, verdicts, strict=True)},
        "abstained": {s.file_name: list(v.abstained) for s, v in zip(context.drawn, verdicts, strict=True)},
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
                "quality: below stands which share of unseen real images each limit would refuse, too. Writing in "
                "pictures is searched for by the loop alone."
            ],
            tables=[
                Table(head=("modality", "pass", "refused by the gate"), rows=rows),
                limits_table(result["thresholds"]),
            ],
            figures=[
                Figure(
                    image=image_uri(c.path), caption=shortened(c.text, 140), alt=c.text,
                    note=v.reason or "accepted", bad=v.reason is not None,
                )
                for c, v in shown
            ],
            shown=FIRST_SHOWN,
            more=[HOW],
        )
    ]  # fmt: skip


HOW = (
    "Each limit is the k-th lowest or highest score of real images, so that a share of k / (n + 1) of unseen ones is "
    "expected beyond it (in brackets the upper end of that, 95 %); limits of pixels rest on the training images too, "
    "and lie a little beyond. A question is not asked of samples where the interval of the judge's rate on real images "
    "reaches one half."
)


def limits_table(thresholds: Mapping[str, Mapping[str, Any]]) -> Table:
    """What each modality is held to, what that rests on, and what is not asked because the judge cannot tell."""
    rows = []
    for modality, told in thresholds.items():
        for name, limit in told["limits"].items():
            ends = [_number(limit[end]) for end in ("least", "most")]
            rows.append(
                [
                    modality, name, f"abstains: {limit['abstains']}" if limit["abstains"] else " to ".join(ends),
                    str(limit["num"]), f"{limit['refused']:.1%} ({limit['refused_at_most']:.0%})",
                    _percent(limit["right"]), _percent(limit["passes_false"]),
                ]
            )  # fmt: skip
    head = (
        "modality", "score", "limits", "real images", "refused of unseen ones", "judge right on them",
        "false answers that would pass",
    )  # fmt: skip
    return Table(head=head, rows=rows, folded="limits of the gates")


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3g}"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.0%}"
