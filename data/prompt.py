"""From records to prompts: the one text path that training and drawing share."""

from __future__ import annotations

import re

from vesalius.data.record import Record

SECTIONS = (
    "indication",
    "clinical history",
    "history",
    "technique",
    "comparison",
    "findings",
    "impression",
    "conclusion",
)
_HEADING = re.compile(rf"(?im)(?:^|(?<=[.\s]))({'|'.join(SECTIONS)})\s*:\s*")
# A Latin mark ends a sentence only before a space (1.8 cm), a Chinese one anywhere.
_SENTENCE = re.compile(r"(?<=[.!?;])\s+(?=\S)|(?<=[。！？；])\s*(?=\S)")
_SIDES = re.compile(r"\b(left|right)(?=(?:wards?|most|sided)?\b)", re.IGNORECASE)
_MARKS = re.compile(r"_{2,}|\[\*\*.*?\*\*\]")


def clean(text: str) -> str:
    """One line of text without the marks (`___`) that de-identification left: models memorise them most."""
    return " ".join(_MARKS.sub(" ", text).split())


def sections(report: str) -> dict[str, str]:
    """A report's sections by lower-case heading; empty where it has no headings."""
    marks = list(_HEADING.finditer(report))
    ends = [*(m.start() for m in marks[1:]), len(report)][: len(marks)]
    return {m.group(1).lower(): report[m.end() : end].strip() for m, end in zip(marks, ends, strict=True)}


def sentences(text: str) -> list[str]:
    """Sentences in order; decimal points (1.8 cm) do not end one."""
    return [s for s in (p.strip() for p in _SENTENCE.split(text)) if s]


def prompts_of(record: Record) -> tuple[str, ...]:
    """Every wording of a record that a model may be trained on, without doubles: caption, report, impression, findings.

    A section alone is preceded by modality and organ, so that no prompt is ambiguous.
    """
    parts = sections(record.text)
    wordings = [record.caption or "", record.text]
    for name in ("impression", "findings"):
        if parts.get(name):
            organ = f"{record.organ} " if record.organ else ""
            wordings.append(f"{record.modality} {organ}{name}: {parts[name]}")
    return tuple(dict.fromkeys(w for w in map(clean, wordings) if w))


def swap_sides(text: str) -> str | None:
    """The text with left and right exchanged, case kept, or None where it names no side: the contrast for a score."""
    if not _SIDES.search(text):
        return None

    def other(match: re.Match[str]) -> str:
        word = "right" if match.group().lower() == "left" else "left"
        if match.group().isupper():
            return word.upper()
        return word.capitalize() if match.group()[0].isupper() else word

    return _SIDES.sub(other, text)
