"""What a prompt asks for, as questions that a network can answer of a picture."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from vesalius.data.phantoms.phantom import KINDS, ORGANS, RULES
from vesalius.data.phantoms.terms_en import TERMS
from vesalius.data.record import Finding
from vesalius.data.tables.label_text import organ_in
from vesalius.data.tables.labels import bare
from vesalius.data.texts.captions_en import ENGLISH_CAPTIONS
from vesalius.data.texts.captions_zh import CHINESE_CAPTIONS
from vesalius.models.support import Support

Attribute = Literal["modality", "organ", "finding", "side", "size", "count", "absence"]
Domain = Literal["phantom", "real"]
"""What a picture is like: the digital reference objects of `vesalius.data.phantoms`, or photographs of patients."""

NO_FINDING = "no finding"
ORGAN_WORDS = {
    "kidney": r"\bkidney|\brenal\b|glomerul|肾", "bone": r"\bbone\b|osteosarcoma|骨肉瘤", "pelvis": r"\bpelvi|盆",
    "oral cavity": r"\boral\b|口腔",
}  # fmt: skip
"""Organs beyond those of `organ_in`."""
_NORMAL = re.compile(
    r"\bnormal\b|\bunremarkable\b|\bno (?:abnormal|focal|acute)|\bwithout abnormal|\bhealthy\b"
    r"|正常|(?:未见|无)[^，。]{0,4}异常",
    re.IGNORECASE,
)
_POWER = re.compile(r"_\d+x$")


@dataclass(frozen=True, kw_only=True)
class Question:
    """One thing that a prompt asks for.

    about: what its answer is filed under, such as "CT/nodule". words: how a reader is told. finding: as it was asked
    for, where it is about one.
    """

    attribute: Attribute
    about: str
    words: str
    domain: Domain
    finding: Finding | None = None


def questions(prompt: str, modality: str) -> list[Question]:
    """All that a prompt settles and a picture could be asked, in the order of a report."""
    stated, uncounted = _phantom_findings(prompt, modality)
    organ = organ_named(prompt)
    labelled = [f for f in _reader().findings_in(prompt).values() if f.kind not in KINDS.get(modality, ())]
    at_home = organ in (None, ORGANS.get(modality))
    normal = not [f for f in stated if f.present] and not labelled and _NORMAL.search(prompt) is not None
    phantom = modality in RULES and at_home and (bool(stated) or normal)
    domain: Domain = "phantom" if phantom else "real"
    found = [Question(attribute="modality", about=modality, words=modality, domain=domain)]
    if organ is not None:
        found.append(Question(attribute="organ", about=f"{modality}/{organ}", words=organ, domain=domain))
    if phantom:
        for finding in stated:
            found += _of_finding(finding, modality, counted=not uncounted)
        if normal:
            found.append(Question(attribute="absence", about=f"{modality}/normal", words=NO_FINDING, domain="phantom"))
    for finding in labelled:
        about = f"{modality}/{finding.kind}"
        found.append(Question(attribute="finding", about=about, words=finding.kind, domain="real", finding=finding))
        if finding.side:
            words = f"{finding.kind}, {finding.side}"
            found.append(Question(attribute="side", about=about, words=words, domain="real", finding=finding))
    if normal and not phantom:
        found.append(Question(attribute="finding", about=f"{modality}/normal", words="normal", domain="real"))
    return found


def _of_finding(finding: Finding, modality: str, *, counted: bool) -> Iterator[Question]:
    about, rule = f"{modality}/{finding.kind}", RULES[modality][finding.kind]

    def question(attribute: Attribute, words: str) -> Question:
        return Question(attribute=attribute, about=about, words=words, domain="phantom", finding=finding)

    if not finding.present:
        yield question("absence", f"no {finding.kind}")
        return
    yield question("finding", finding.kind)
    if finding.side is not None and rule.sides:
        yield question("side", f"{finding.kind}, {finding.side}")
    if finding.size_mm is not None and rule.size_mm is not None:
        yield question("size", f"{finding.kind}, {finding.size_mm:g} mm")
    if counted and rule.max_count > 1:
        yield question("count", f"{finding.kind}, count {finding.count}")


def organ_named(prompt: str) -> str | None:
    """The first part of the body that a prompt names."""
    for organ, pattern in ORGAN_WORDS.items():
        if re.search(pattern, prompt, re.IGNORECASE):
            return organ
    return organ_in(prompt)


def kind_of(place: str, label: str) -> str:
    """A class of real images, "MODALITY/organ" and its label, as texts of training name it."""
    plain = _POWER.sub("", label)
    told = ENGLISH_CAPTIONS.labels.get(f"{place}/{label}") or ENGLISH_CAPTIONS.labels.get(plain)
    return bare(told[0]) if told else plain


@cache
def _reader() -> Support:
    """Reads the classes of real images out of texts; it stands for no base."""
    terms: dict[str, tuple[str, ...]] = {}
    of_phantoms = {phrase for term in TERMS.values() for phrase in term.one}
    for label, phrases in ENGLISH_CAPTIONS.labels.items():
        if bare(phrases[0]) in of_phantoms:  # a lung nodule, which the phantom reader is asked for
            continue
        told = [bare(p).lower() for p in (*phrases, *CHINESE_CAPTIONS.labels.get(label, ()))]
        kind = bare(phrases[0])
        terms[kind] = tuple(dict.fromkeys((*terms.get(kind, ()), *told)))
    return Support(shown=(), terms=terms, words={})


def _phantom_findings(prompt: str, modality: str) -> tuple[tuple[Finding, ...], bool]:
    """Findings of phantoms that a prompt states or denies; and whether one is told without its number."""
    from vesalius.eval.gates.scores import Case
    from vesalius.eval.obedience.told import told_by_text

    known = {f"{modality}/{kind}" for kind in KINDS.get(modality, ())}
    told = told_by_text([Case(path=Path(), text=prompt, modality=modality)], known)
    return told.cases[0].findings, bool(told.uncounted)
