"""Whether a round is promoted: nothing worse than round 0 and the champion beyond the interval, something better."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from vesalius.eval.fidelity import kid_by_modality
from vesalius.eval.obedience_page import shares
from vesalius.improve.evaluation import GATED_BY, validation_of


def decide(first: Path, champion: Path, challenger: Path, index: int) -> dict[str, Any]:
    """Promote a round only where nothing is worse than in round 0 and in the champion beyond the interval.

    Compared are the validation loss (1 % of it is its tolerance: the questions are fixed, but the adapters' luck is
    not), the witness's KID to the test split, per modality, and over all the obedience to the prompt by witness and
    reader; the judge has no say.
    """
    reasons: list[str] = []
    ours = facts_of(challenger)
    for other in dict.fromkeys((first, champion)):
        theirs = facts_of(other)
        if ours["validation"] > theirs["validation"] * 1.01:
            reasons.append(
                f"validation loss {ours['validation']:.4f} is worse than {theirs['validation']:.4f} of {other.name}"
            )
        for modality, kid in ours["kid"].items():
            former = theirs["kid"].get(modality)
            if former is not None and kid["low"] > former["high"]:
                reasons.append(f"{modality} KID {kid['value']:.4f} is worse than {former['value']:.4f} of {other.name}")
        for question, share in ours["obedience"].items():
            former = theirs["obedience"].get(question)
            if former is not None and share["high"] < former["low"]:
                reasons.append(
                    f"{question}: {share['value']:.1%} right is less than {former['value']:.1%} of {other.name}"
                )
    promoted = not reasons
    return {
        "round": index, "promoted": promoted, "reasons": reasons or ["nothing is worse than round 0 or the champion"],
        "champion": index if promoted else int(champion.name.removeprefix("round-")),
        "validation": ours["validation"], "kid": {m: k["value"] for m, k in ours["kid"].items()},
        "obedience": {question: share["value"] for question, share in ours["obedience"].items()},
    }  # fmt: skip


def facts_of(folder: Path) -> dict[str, Any]:
    """Validation loss of a round, its KID per modality by the witness, and its obedience by what filtered none of its
    pictures; empty where an earlier release wrote the report."""
    report = json.loads((folder / "eval" / "report.json").read_text())
    obeyed = report.get("obedience", {})
    return {
        "validation": validation_of(folder / "run"),
        "kid": kid_by_modality(report, "witness"),
        "obedience": shares(obeyed) if set(GATED_BY) <= set(obeyed.get("gated_by", ())) else {},
    }
