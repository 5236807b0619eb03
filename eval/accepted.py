"""The part `gates`: which samples would be refused, and why, and what they look like."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from vesalius.eval.context import Context
from vesalius.eval.pictures import image_uri
from vesalius.eval.report import Figure, Section

MOST_SHOWN = 60


def measure(context: Context) -> dict[str, Any]:
    """Counts, limits, and a verdict of each sample."""
    return {
        "accepted": sum(v.reason is None for v in context.verdicts),
        "num": len(context.verdicts),
        "thresholds": {m: asdict(t) for m, t in context.thresholds.items()},
        "reasons": {s.file_name: v.reason for s, v in zip(context.drawn, context.verdicts, strict=True)},
    }


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    shown = list(zip(context.samples.cases, context.verdicts, strict=True))[:MOST_SHOWN]
    return [
        Section(
            title=f"Samples: {result['accepted']} of {result['num']} pass the gates",
            figures=[
                Figure(
                    image=image_uri(c.path), caption=c.text[:140], alt=c.text,
                    note=v.reason or "accepted", bad=v.reason is not None,
                )
                for c, v in shown
            ],
        )
    ]  # fmt: skip
