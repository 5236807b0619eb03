"""Phrases with slots, and what a language must bring to say findings.

A phrase is text with slots, "{the} {is} <seen|noted>[ {where}].": one of the words in angle brackets is drawn, and a
part in square brackets is left out where one of its slots is empty or unknown. Nothing here knows a word of any
language.
"""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


Phrases = tuple[str, ...]
Headings = tuple[str, str, str, str]
"""Of indication, technique, findings and impression."""

_CHOICE = re.compile(r"<([^<>]*)>")
_BRACKETS = re.compile(r"\[([^\[\]]*)\]")
_SLOT = re.compile(r"\{(\w+)\}")


@functools.cache
def _choices(phrase: str) -> tuple[Phrases, ...]:
    """The pieces of a phrase: text, alone, and the words of which one is drawn."""
    pieces = _CHOICE.split(phrase)
    return tuple(tuple(p.split("|")) if i % 2 else (p,) for i, p in enumerate(pieces))


def variants(phrase: str) -> tuple[str, ...]:
    """Every way in which a phrase can be drawn."""
    return tuple("".join(drawn) for drawn in itertools.product(*_choices(phrase)))


@functools.cache
def _parts(phrase: str) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The pieces of a phrase: text and the slots without which it is left out."""
    pieces = _BRACKETS.split(phrase)
    return tuple((p, tuple(_SLOT.findall(p)) if i % 2 else ()) for i, p in enumerate(pieces) if p)


def fill(phrase: str, words: Mapping[str, str]) -> str:
    """The phrase with its slots filled. KeyError where a slot outside of brackets is unknown."""
    return "".join(text.format_map(words) for text, slots in _parts(phrase) if all(words.get(s) for s in slots))


def pick(rng: np.random.Generator, phrases: Sequence[str]) -> str:
    """One of the phrases, each as likely, with its words drawn."""
    phrase = phrases[int(rng.random() * len(phrases))]
    if "<" not in phrase:
        return phrase
    drawn = (words[int(rng.random() * len(words))] if len(words) > 1 else words[0] for words in _choices(phrase))
    return "".join(drawn)


@dataclass(frozen=True, kw_only=True)
class Term:
    """How one kind of finding is said.

    one, many: noun phrases, the same synonym at the same place; a language without plural leaves `many` out. absent:
    the noun of a denial, and denied: its synonyms. place: what a side is of. unit: measure words. present: sentences
    of its own beside those of the phrasing. detail: remarks that may follow, true of every phantom of the kind.
    """

    one: Phrases
    absent: str
    denied: Phrases = ()
    many: Phrases = ()
    place: Phrases = ()
    unit: Phrases = ()
    present: Phrases = ()
    detail: Phrases = ()


@dataclass(frozen=True, kw_only=True)
class Phrasing:
    """One way of speaking a language. Tables of modalities are by its name.

    Noun phrases, of {one} {many} {unit} {number} (a word) {digits} {side} (an adjective) {size} {mm} {cm} {grade}
    {largest}: single (one, without size), sized, several, several_sized, both (of two sides, not counted). The first
    of each is the plainest.
    sizes, largest: of {mm} {cm}. grades: up to how many mm an adjective goes. sides: where, of {place}, by side.
    present, conclusion: sentences, of {the} (a noun phrase) {where} {is}. found: the same of what has no side. item:
    the same as a part of a list, joined by `joint`.
    absent: sentences of {one}; absent_list and without of {list}, which `comma` and `either` join.
    scan, technique: of the words that a drawing settles. captions, scan_normal: of {scan} {list} {without}.
    headings: sets of headings. orders: the places of `Headings` as they follow each other. heading: one section.
    """

    terms: dict[str, Term]
    single: Phrases
    sized: Phrases
    several: Phrases
    several_sized: Phrases
    both: Phrases
    sizes: Phrases
    largest: Phrases
    grades: tuple[tuple[float, str], ...]
    sides: dict[str, Phrases]
    adjectives: dict[str, Phrases] = field(default_factory=dict)
    present: Phrases
    found: Phrases
    conclusion: Phrases
    item: Phrases
    absent: Phrases
    absent_list: Phrases
    normal: dict[str, Phrases]
    background: dict[str, Phrases]
    indication: dict[str, Phrases]
    technique: dict[str, Phrases]
    scan: dict[str, Phrases]
    scan_normal: Phrases
    captions: Phrases
    without: Phrases
    joint: Phrases
    comma: str
    either: Phrases
    headings: dict[str, tuple[Headings, ...]]
    orders: tuple[tuple[int, int, int, int], ...]
    heading: Phrases


@dataclass(frozen=True, kw_only=True)
class Language:
    """A language: its grammar, the phrasing that models are trained on, and another that they never see.

    The unseen phrasing arranges words of the seen one in new sentences: a model trained from scratch cannot know a
    word that it never met, but should understand the words that it did.

    numbers: words by count. verbs: {is} of one and of many. words: names of what a drawing settles (sequence, level,
    organ), where they differ from those in the drawing. gap: what stands between sentences. polish: what makes a
    filled phrase a sentence (articles, capitals, doubled marks).
    """

    seen: Phrasing
    unseen: Phrasing
    numbers: Phrases
    verbs: tuple[str, str]
    words: dict[str, str]
    gap: str
    polish: Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class CaptionFrames:
    """Frames of captions of real images. scan: of facts, by modality ("" for any other).

    finding, case, named, normal, plain: captions of {scan} {what} {where} {more}, where the label is in the image, is
    of the patient, has no words here (and is quoted), is healthy, or is none.
    """

    scan: dict[str, Phrases]
    finding: Phrases
    case: Phrases
    named: Phrases
    normal: Phrases
    plain: Phrases


@dataclass(frozen=True, kw_only=True)
class Captions:
    """What a language calls that which the rows of real images state.

    labels: noun phrases by label, of {size}. regions: adjective and noun of a part of the body in radiology. organs:
    names of organs, where they differ from the row's. names: words by kind of fact and its value; a value that is not
    there names itself. who: words for a patient by sex; aged: of {age} {person}. times, lens: magnification, of {n}
    {about}. extras: how a fact is said that the scan does not name, in the order in which they are said. quotes: what
    stands around a label without words. both: what stands before the last of several labels.
    """

    labels: dict[str, Phrases]
    regions: dict[str, tuple[str, str]]
    organs: dict[str, str]
    modalities: dict[str, str] = field(default_factory=dict)
    names: dict[str, dict[str, Phrases]]
    who: dict[str, Phrases]
    aged: str
    person: dict[str, str]
    times: Phrases
    lens: Phrases
    extras: dict[str, str]
    comma: str
    quotes: tuple[str, str]
    both: str
    seen: CaptionFrames
    unseen: CaptionFrames
