"""Texts without what names a person: names, numbers, addresses, dates, and the marks of earlier de-identification.

Rules, not a network: nothing to download, the same answer every time, and time linear in the length of a text. What
they take out leaves nothing, or everyday words ("the physician", "an earlier date"), never a token of its own: one that
stands in a third of all reports is what models draw from first. Years alone and relative dates ("3 months ago") stay.
A name without a label, a title or a common given name is not found: read a sample of the texts before you share them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from vesalius.data.record import Record, changed
from vesalius.data.scrub import words as words
from vesalius.data.scrub.dates import AGES, BIRTHS, DATES, DAYS, GAP, MONTHS, age, date
from vesalius.data.scrub.names import NAMES
from vesalius.data.scrub.numbers import ADDRESSES, CARDS, EMAILS, PHONES, RECORDS, URLS, Rule
from vesalius.data.sources.draft import Draft, Refused
from vesalius.data.tables.names import key_of
from vesalius.data.texts.prompt import CHINESE_SECTIONS, is_chinese

MOST_PASSES = 8
"""What is taken out may bring the ends of another identifier together; so many times it is looked again."""

SHORT = 200
"""Characters up to which a text that was scrubbed is remembered."""

_H = "\u4e00-\u9fff"
_MARKS = re.compile(
    r"\[\*\*[^\]\n]{0,80}\*\*\]|_{2,}(?:[/-]_{2,}){0,2}(?:[ -]?(?:years?|yrs?)[ -]old|[ ]?y/?o\b)?"
    r"|(?<![A-Za-z0-9])(?:X{2,4}[/-]X{2,4}[/-]X{2,4}|X{4,}|x{4,})(?![A-Za-z0-9])"
    r"(?:[ -](?:years?|yrs?)[ -]old)?"
    rf"|[×✕╳█■]{{2,}}|(?<![\w*])\*{{3,}}(?![\w*])|(?<=[{_H}])\*{{2,}}(?!\w)"
    rf"|(?:\[|<{{1,2}}|\{{{{1,2}})[ ]?(?i:{words.PLACEHOLDERS})(?:[ _-]?(?:\d{{1,4}}|[A-Z]))?[ ]?"
    r"(?:\]|>{1,2}|\}{1,2})"
)


def _gone(match: re.Match[str]) -> str:
    return GAP


RULES: tuple[tuple[str, tuple[Rule, ...]], ...] = (
    ("marks", ((_MARKS, _gone),)),
    ("web addresses", URLS),
    ("e-mail addresses", EMAILS),
    ("identity cards", CARDS),
    ("dates", ((DATES, date), (BIRTHS, _gone), (MONTHS, _gone), (DAYS, _gone))),
    ("phone numbers", PHONES),
    ("record numbers", RECORDS),
    ("postal addresses", ADDRESSES),
    ("names", NAMES),
    ("ages over 89", ((AGES, age),)),
)
"""By kind, in the order in which they are used."""

_G = GAP
_SECTIONS = "|".join(CHINESE_SECTIONS)
_SOON = r"(?=[ ]{0,2}(?:[.,;:)\n]|$))"
_MARKED = r"[ \t,;:.|，。；、：-]{0,8}"
SEAMS = tuple(
    (re.compile(pattern, re.MULTILINE), instead)
    for pattern, instead in (
        (rf"{_G}(?:[ \t,/;|，、-]{{0,4}}{_G})+", _G),
        (rf"[ ]?[(（\[【][ ]{{0,2}}{_G}[ ,;，；]{{0,2}}[)）\]】]", _G),
        (rf"[ ]\b(?:on|dated|at|by|from|since|of|in|to|with|and|for|as of)[ ]{_G}{_SOON}", _G),
        (rf"[ ]\b(?:on|dated|since)[ ]{_G}", _G),
        # a heading that has lost all that stood under it
        (rf"^[ \t]{{0,8}}[A-Za-z][A-Za-z ]{{0,30}}:[ \t]{{0,4}}{_G}[ \t.]{{0,4}}$\n?", _G),
        (rf"(?:^|(?<=[。；]))[{_H}]{{2,8}}[:：][ ]{{0,2}}{_G}[。；]?[ ]{{0,4}}$\n?", _G),
        (rf"(?:^|(?<=[。；]))(?!(?:{_SECTIONS})[:：])[{_H}]{{2,8}}[:：][ ]{{0,2}}{_G}[。；]?", _G),
        (rf"(?<=：)[ ]{{0,2}}{_G}[ ]{{0,2}}[，。；]?", ""),  # what is left of the section follows
        (rf"^[ \t]{{0,8}}{_G}{_MARKED}\n", ""),
        (rf"^[ \t]{{0,8}}{_G}{_MARKED}", ""),
        (rf"(?<=[.。!?])[ ]{{0,2}}{_G}[ ]{{0,2}}[.,;:，。；]", ""),
        (rf"[ ]{{0,4}}[,;|，；、][ ]{{0,4}}{_G}[ ]{{0,4}}(?=[,;.|，；、。)）\n]|$)", ""),
        (rf"[ ]{{0,4}}{_G}[ ]{{0,4}}(?=[,:;.)，；、。）\n]|$)", ""),
        (rf"(?<=[ (（]){_G}[ ]{{1,4}}|{_G}[ ]{{1,4}}(?=[ ])", ""),
        (rf"(?<=[{_H}，。；、：])[ ]?{_G}[ ]?(?=[{_H}])", ""),
        (rf"(?<=[^\s]){_G}(?=[A-Za-z0-9])", " "),
        (_G, ""),
    )
)
"""What stood around a gap, mended in this order; repetitions are bounded, so that no text is slow."""


_PERSONAL = re.compile(
    r"(?:(?:patient|person|full|first|last|middle|given|family|sur|doctor|physician|referring_physician|operator)_?s?_?)?name"
    r"|(?:patient_)?(?:date_of_birth|birth_?(?:date|day))|dob|mrn|medical_record(?:_n\w+)?|record_number"
    r"|(?:hospital|nhs|insurance|social_security)_number|ssn|accession(?:_?n\w+)?"
    r"|(?:tele|mobile_|home_)?phone(?:_n\w+)?|mobile|fax|e_?mail"
    r"|(?:home_|street_|postal_|patient_)?address|street|postcode|zip(?:_code)?"
    r"|(?:(?:referring|reporting|performing|attending)_)?(?:physician|doctor)"
    r"|referrer|radiologist|attending|operator|technician"
    r"|(?:患者|病人|受检者|医生|医师)?姓名|医[生师]|(?:报告|审核|检查|申请|送检|主治|记录|诊断)(?:医师|医生|技师|人|者)"
    r"|出生(?:日期|年月日?)"
    rf"|{words.ZH_NUMBER_LABELS}|{words.ZH_PHONE_LABELS}|{words.ZH_ADDRESS_LABELS}"
)
"""Columns whose every value names a person, as `names.key_of` makes their names."""


@dataclass(frozen=True, kw_only=True)
class Scrubbed:
    """A text without identifiers, and how many of each kind were taken out."""

    text: str
    removed: Counter[str]
    """how many of each kind were taken out"""


def scrub_text(text: str) -> Scrubbed:
    """Take out what names a person. A text without identifiers comes back as it is, to the last blank."""
    removed = Counter(marks=text.count(GAP))  # no text has any use for a NUL
    text = text.replace(GAP, "")
    for _ in range(MOST_PASSES):
        after = text
        for kind, rules in RULES:
            for pattern, put in rules:
                after = pattern.sub(_counted(put, removed, kind), after)
        if after == text:
            break
        for pattern, instead in SEAMS:
            after = pattern.sub(instead, after)
        text = after.strip()
    return Scrubbed(text=text, removed=+removed)


@lru_cache(maxsize=4096)
def _scrub_short(text: str) -> Scrubbed:
    """As `scrub`. The lines that are made of headers and labels are few, and come again with every slice."""
    return scrub_text(text)


def _counted(
    put: Callable[[re.Match[str]], str | None], removed: Counter[str], kind: str
) -> Callable[[re.Match[str]], str]:
    """What to put in place of each match, counted unless it holds a gap, which was counted when it was made."""

    def one(match: re.Match[str]) -> str:
        new = put(match)
        if new is None or new == match[0]:
            return match[0]
        removed[kind] += GAP not in match[0]
        return new

    return one


def scrub_record(record: Record) -> tuple[Record, Counter[str]]:
    """A record whose text, caption and columns of free text are scrubbed, without columns that name people, and what
    was taken out."""
    removed: Counter[str] = Counter()

    def clean(text: str) -> str:
        result = _scrub_short(text) if len(text) <= SHORT else scrub_text(text)
        removed.update(result.removed)
        return result.text

    def free(value: Any) -> Any:
        if isinstance(value, list):
            return [free(each) for each in value]
        if isinstance(value, dict):
            return {key: free(each) for key, each in value.items() if not _is_personal(key)}
        return clean(value) if isinstance(value, str) and _is_free(value) else value

    extra = {k: free(v) for k, v in record.extra.items() if not _is_personal(k)}
    removed["identifying columns"] = len(record.extra) - len(extra)
    caption = record.caption and clean(record.caption)
    return changed(record, text=clean(record.text), caption=caption, extra=extra), +removed


@lru_cache(maxsize=4096)
def _is_personal(column: str) -> bool:
    return bool(_PERSONAL.fullmatch(key_of(column)))


def _is_free(value: str) -> bool:
    """Whether a column's value is running text rather than a word, a code or a shifted date."""
    return value.count(" ") > 1 or (is_chinese(value) and len(value) > 6)


def scrub_drafts(drafts: Iterable[Draft | Refused], removed: Counter[str]) -> Iterator[Draft | Refused]:
    """Drafts with scrubbed texts; what was taken out is added to `removed`. Refused where nothing is left of a text."""
    for each in drafts:
        if isinstance(each, Refused):
            yield each
            continue
        record, found = scrub_record(each.record)
        if found and each.record.text.strip() and not record.text.strip(" \n\t.,;:。，；："):
            yield each.refused(
                f"{each.where}: nothing is left of its text without {', '.join(found)}; tell what the image shows, "
                "or pass --keep-identifiers"
            )
            continue
        removed.update(found)
        # A file's name may be its patient's: what is written is named for what it shows.
        yield changed(each, record=changed(record, file_name=""))


def told(removed: Counter[str]) -> list[str]:
    """How many of each kind were taken out, for people: no line where there was nothing."""
    kinds = ", ".join(f"{count} {kind}" for kind, count in removed.most_common())
    return [f"taken out of the texts that were read: {kinds}"] if kinds else []
