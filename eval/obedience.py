"""The part `obedience`: whether pictures show what their prompts say, by the judge, beside real images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from vesalius.eval.context import Context
from vesalius.eval.pictures import histogram_svg
from vesalius.eval.report import Section, Table
from vesalius.eval.scores import Case, Scores


def measure(context: Context) -> dict[str, Any]:
    """Agreement per modality, and the scores of each picture of both sets."""
    return {
        "judge": context.judge.digest,
        "agreement": {
            m: {
                "samples": agreement(m, context.samples.cases, context.scores),
                "real": agreement(m, context.real.cases, context.real_scores),
            }
            for m in context.modalities
        },
        "scores": [{"file_name": s.file_name, **row} for s, row in zip(context.drawn, context.scores, strict=True)],
    }


def agreement(modality: str, cases: Sequence[Case], scores: Sequence[Scores]) -> dict[str, Any]:
    """Obedience of the pictures of a modality; of real images with their own captions it is the judge's own error."""
    members = [s for c, s in zip(cases, scores, strict=True) if c.modality == modality]
    sided = [s["side_margin"] > 0 for s in members if "side_margin" in s]
    found = [s["findings"] >= 0.5 for s in members if "findings" in s]
    return {
        "num": len(members),
        "modality_right": float(np.mean([s["modality"] >= 0.5 for s in members])) if members else None,
        "agreement": float(np.mean([s["agreement"] for s in members])) if members else None,
        "side_right": float(np.mean(sided)) if sided else None,
        "findings_right": float(np.mean(found)) if found else None,
    }


def sections(result: Mapping[str, Any], context: Context) -> list[Section]:
    agreements = {
        "samples": [s["agreement"] for s in context.scores],
        "unseen real images": [s["agreement"] for s in context.real_scores],
    }
    return [
        Section(
            title="Obedience to the prompt", tables=[agreement_table(result)],
            text=[
                "Measured by the embedded judge. Its row on real images is its own error: "
                "no sample can be trusted more than that."
            ],
            plots=[histogram_svg(agreements, x="agreement of picture and prompt", title="Agreement")],
        )
    ]  # fmt: skip


def agreement_table(result: Mapping[str, Any]) -> Table:
    rows = []
    for modality, pair in result["agreement"].items():
        for name in ("samples", "real"):
            row = pair[name]
            cells = [
                share_told(row["modality_right"]), number_told(row["agreement"]), share_told(row["side_right"]),
                share_told(row["findings_right"]),
            ]  # fmt: skip
            rows.append([f"{modality}, {name}", *cells, str(row["num"])])
    return Table(head=("images", "modality right", "agreement", "side right", "findings right", "n"), rows=rows)


def share_told(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def number_told(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
