"""Findings that a text states, of cases that have none of their own: so that obedience has something to ask of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from vesalius.data.findings.read import as_findings, findings_in
from vesalius.data.phantoms.phantom import KINDS
from vesalius.data.record import Finding
from vesalius.data.tables.label_text import organ_in
from vesalius.eval.gates.scores import Case

PARTS = {"CT": ("chest", "heart"), "MRI": ("brain",)}
"""Parts of the body in which networks learnt the kinds of phantoms: an infarct of the heart is another thing to them
than one of the brain. Tissue has its kinds anywhere."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """Cases, with what their texts state where they had no findings. by_text: places of those that got some.
    uncounted: places of those of whose findings a text says "several", so that no count can be asked."""

    cases: list[Case]
    by_text: tuple[int, ...]
    uncounted: frozenset[int]


def told_by_text(cases: Sequence[Case], known: Collection[str]) -> Told:
    """The findings that texts state to be present or absent, with their sides and sizes, by the rules of `vesalius data
    build --read-findings`. known: "MODALITY/kind" of those that some network can be asked of; others are left out, as
    are kinds of phantoms in a text that names another part of the body first."""
    names = frozenset(known)
    found: list[Case] = []
    told: list[int] = []
    uncounted: set[int] = set()
    for place, case in enumerate(cases):
        findings, counted = ((), True) if case.findings else _stated(case.text, case.modality, names)
        found.append(replace(case, findings=findings) if findings else case)
        if findings:
            told.append(place)
            uncounted |= set() if counted else {place}
    return Told(cases=found, by_text=tuple(told), uncounted=frozenset(uncounted))


@lru_cache(maxsize=4096)
def _stated(text: str, modality: str, known: frozenset[str]) -> tuple[tuple[Finding, ...], bool]:
    """The findings, and whether all that are present are counted."""
    organ = organ_in(text)
    elsewhere = organ is not None and organ not in PARTS.get(modality, (organ,))
    unlike = KINDS.get(modality, ()) if elsewhere else ()
    mentions = [m for m in findings_in(text) if f"{modality}/{m.kind}" in known and m.kind not in unlike]
    return as_findings(mentions), all(m.count is not None for m in mentions if m.status == "present")
