"""The head of the page: a row per modality, with what each part that ran concludes of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from vesalius.eval.obedience.page import compared
from vesalius.eval.privacy.limits import PERCENTILE
from vesalius.eval.report import Section, Table

OBEYS = "obeys the prompt?"


def section(result: Mapping[str, Any], modalities: Sequence[str]) -> Section:
    """In short. result: of an evaluation, with the parts that ran."""
    columns = {
        **(_fidelity(result["fidelity"]) if "fidelity" in result else {}),
        **(_obedience(result["obedience"], modalities) if "obedience" in result else {}),
        **({"copies of training images?": _copies(result["privacy"])} if "privacy" in result else {}),
    }
    names = list(dict.fromkeys([*modalities, *(name for told in columns.values() for name in told)]))
    names = [n for n in names if n != "all" and any(n in told for told in columns.values())]
    if "obedience" in result:
        names = _share_obedience(columns, names)
    rows = [[name, *(told.get(name, "-") for told in columns.values())] for name in names]
    lines = [_apart(name, result[name]) for name in ("membership", "usefulness") if name in result]
    return Section(
        title="In short",
        text=["“No conclusion” says that the numbers do not carry one, not that all is well.", *lines],
        tables=[Table(head=("images", *columns), rows=rows)] if columns else [],
    )


def _fidelity(found: Mapping[str, Any]) -> dict[str, Mapping[str, str]]:
    sizes = {row["modality"]: f"{row['num_samples']}, {row['num_real']}" for row in found["rows"]}
    columns: dict[str, Mapping[str, str]] = {"samples, real": sizes}
    names = [n for n in dict.fromkeys(row["modality"] for row in found["rows"]) if n != "all"]
    for question, head in (("distance", "as near as real images?"), ("diversity", "as diverse?")):
        told = {c["modality"]: c["conclusion"] for c in found["conclusions"] if c["question"] == question}
        columns[head] = {n: told.get(n, "no conclusion: too few images").split(":")[0] for n in names}
    return columns


def _obedience(found: Mapping[str, Any], modalities: Sequence[str]) -> dict[str, Mapping[str, str]]:
    """Of each modality the attributes in which samples fall below real images, beyond both intervals and by every
    network that was asked."""
    told: dict[str, str] = {}
    for name in modalities:
        said: dict[str, list[bool]] = {}
        for row in found["rows"]:
            if row["of"] == name and (answer := compared(row)) != "cannot tell":
                said.setdefault(row["attribute"], []).append(answer == "less")
        short = [attribute for attribute, each in said.items() if all(each)]
        unsettled = [attribute for attribute, each in said.items() if any(each) and not all(each)]
        lines = [f"less than real images in {', '.join(short)}"] if short else []
        lines += [f"networks disagree on {', '.join(unsettled)}"] if unsettled else []
        asked = ", ".join(said)
        told[name] = "; ".join(lines) or (
            f"not told from real images in {asked}" if said else "no conclusion: nothing to ask"
        )
    return {OBEYS: told}


def _share_obedience(columns: dict[str, Mapping[str, str]], names: Sequence[str]) -> list[str]:
    """Rows for those names alone of which more than obedience is told, where it is: "CT, greyscale" and no "CT". What
    is told of obedience is told of a modality, and so stands beside each of its parts."""
    told = columns[OBEYS]
    others = {name for head, each in columns.items() if head != OBEYS for name in each}
    parts = {name: [n for n in names if n.startswith(f"{name}, ") and n in others] for name in told}
    whole = {
        n: f"{told[m]} (of all {m})" if m in others or len(ns) > 1 else told[m] for m, ns in parts.items() for n in ns
    }
    columns[OBEYS] = {**told, **whole}
    return [n for n in names if n in others or not parts.get(n)]


def _copies(found: Mapping[str, Any]) -> dict[str, str]:
    """The verdicts; beside "no conclusion" the detectors that find more copies than among unseen real images, and the
    most samples that one finds close: one copy of a patient is one too many."""
    told = dict(found["verdicts"])
    for name in told:
        measured = [r for r in found["copies"] if r["modality"] == name and "copies" in r]
        more = [r["detector"] for r in measured if r["copies"]["low"] > max(PERCENTILE / 100, r["unseen"]["high"])]
        if told[name] == "no conclusion" and more:
            told[name] += f", but more than unseen real images by {', '.join(more)}"
        close = {r["detector"]: round(r["close"]["value"] * r["close"]["num"]) for r in measured}
        by = max(close, key=lambda detector: close[detector], default=None)
        if by is not None and close[by]:
            told[name] += f"; {close[by]} of {measured[0]['num_samples']} close by {by}"
    return told


def _apart(name: str, found: Mapping[str, Any]) -> str:
    if "note" in found:
        return f"{name.capitalize()}: not measured."
    if name == "usefulness":
        return "Usefulness: " + "; ".join(
            f"{r['share']:.0%} of the real patients: {r['verdict']}" for r in found["regimes"]
        )
    row = found.get("against_reference", found["loss"])[-1]
    return f"Membership inference, {row['modality']}: AUC {row['auc']['value']:.2f} ({row['auc']['low']:.2f} to " + (
        f"{row['auc']['high']:.2f}); 0.5 is chance."
    )
