"""Wordings: the text of a record told anew, in any language, as often as training asks; and texts made false.

    reword(findings, modality, rng)         the report or the caption of a phantom's findings
    draw_words(modality, rng)               what a drawing would settle beside them
    reword_record(record, rng, language)    any record, from its row
    hard_negatives(findings)                the same findings with one side or one presence changed

Every choice comes from the generator that is passed, so a text is a function of it.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from vesalius.data.phantoms.phantom import ORGANS, RULES
from vesalius.data.phantoms.report import LANGUAGES, Writer
from vesalius.data.record import Finding, Record, Side
from vesalius.data.texts.captions import GREY, UNLABELLED, caption_of, facts_of, is_grey, labels_of
from vesalius.data.texts.phrases import pick
from vesalius.data.texts.prompt import is_chinese, prompts_of

SCENES: dict[str, dict[str, tuple[str, ...]]] = {
    "CT": {"level": ("heart", "hilum")},
    "MRI": {"level": ("ventricles", "centrum semiovale"), "sequence": ("T1", "T2", "FLAIR")},
    "pathology": {},
}
"""What a drawing settles beside its findings, by modality: columns of a phantom's row, and their values."""

_ORIGINAL = 0.25
_RULES = {kind: rule for rules in RULES.values() for kind, rule in rules.items()}


def reword(
    findings: tuple[Finding, ...],
    modality: str,
    rng: np.random.Generator,
    *,
    language: str = "en",
    kind: str = "report",
    unseen: bool = False,
    words: Mapping[str, str] | None = None,
) -> str:
    """Findings of a phantom as a report, or as a caption, which says for certain only what is present.

    words: what the drawing settled beside them (as `draw_words`); what is not given is not said. unseen: in the
    phrasing that no model is trained on. ValueError for a modality that no phantom has, and for an unknown
    language or kind.
    """
    if modality not in ORGANS or language not in LANGUAGES or kind not in ("report", "caption"):
        raise ValueError(
            f"{modality} {kind} in '{language}': expected a modality of {', '.join(ORGANS)}, report or caption, and a "
            f"language of {', '.join(LANGUAGES)}"
        )
    writer = Writer(rng, modality, {"organ": ORGANS[modality], **(words or {})}, language=language, unseen=unseen)
    return writer.report(findings) if kind == "report" else writer.caption(findings)


def draw_words(modality: str, rng: np.random.Generator) -> dict[str, str]:
    """What some drawing of the modality would settle: the words for texts that are told without an image."""
    return {slot: pick(rng, values) for slot, values in SCENES[modality].items()}


def reword_record(record: Record, rng: np.random.Generator, language: str = "en", *, unseen: bool = False) -> str:
    """A text of a record in a language, true to its row: a phantom's from its findings, another's from its columns.

    A text of its own that is in that language is returned now and then, and mostly where the label is not a known one;
    never where its source forbids it (`UNLABELLED`).
    """
    if record.origin == "phantom":
        words = {slot: str(record.extra.get(slot) or "") for slot in SCENES.get(record.modality, ())}
        kind = "report" if rng.random() < 0.5 else "caption"
        text = reword(record.findings, record.modality, rng, language=language, kind=kind, unseen=unseen, words=words)
        return GREY[language] + text if is_grey(record) else text
    if record.source not in UNLABELLED and not unseen:
        quoted = any(role == "named" for _, role in labels_of(record, facts_of(record)))
        known = not quoted and record.extra.get("text_origin")
        if rng.random() < (_ORIGINAL if known else 0.8):
            own = [w for w in prompts_of(record) if is_chinese(w) == (language == "zh")]
            if own:
                return own[int(rng.integers(len(own)))]
    return caption_of(record, rng, language, unseen=unseen)


def hard_negatives(findings: tuple[Finding, ...]) -> list[tuple[str, tuple[Finding, ...]]]:
    """Every way of making findings false by one change, each with the name of the change.

    "side": one finding on the other side (of both sides, on one). "size": one finding of another size. "denial": one
    present finding denied. "claim": one denied finding present, with a side and size that its kind can have. What is
    drawn is a function of the findings.
    """
    rng = np.random.default_rng(zlib.crc32(repr(findings).encode()))
    false: list[tuple[str, tuple[Finding, ...]]] = []

    def put(change: str, index: int, finding: Finding) -> None:
        changed = (*findings[:index], finding, *findings[index + 1 :])
        false.append((change, tuple(sorted(changed, key=lambda f: not f.present))))

    for index, finding in enumerate(findings):
        drawn: Side = "left" if rng.random() < 0.5 else "right"
        if not finding.present:
            put("claim", index, _claimed(finding.kind, drawn, rng))
            continue
        if finding.side is not None:
            others: dict[str, Side] = {"left": "right", "right": "left"}
            put("side", index, replace(finding, side=others.get(finding.side, drawn)))
        if finding.size_mm is not None and finding.kind in _RULES:
            put("size", index, replace(finding, size_mm=_resized(finding.kind, finding.size_mm, rng)))
        put("denial", index, Finding(kind=finding.kind, present=False))
    return false


def _resized(kind: str, size_mm: float, rng: np.random.Generator) -> float:
    """Another size in whole millimetres that the kind can have; half of them within a quarter of the true one."""
    smallest, largest = _RULES[kind].size_mm or (size_mm, size_mm + 1)
    others = [float(s) for s in range(int(smallest), int(largest) + 1) if s != size_mm]
    near = [s for s in others if abs(s - size_mm) < 0.25 * size_mm]
    far = [s for s in others if s not in near]
    choices = (near or far) if rng.random() < 0.5 else (far or near)
    return choices[int(rng.integers(len(choices)))]


def _claimed(kind: str, side: Side, rng: np.random.Generator) -> Finding:
    """One finding of a kind, as small as one among others is."""
    rule = _RULES.get(kind)
    if rule is None:
        return Finding(kind=kind)
    size = float(rng.integers(rule.size_mm[0], min(rule.size_mm[1], 26) + 1)) if rule.size_mm else None
    return Finding(kind=kind, side=side if rule.sides else None, size_mm=size)
