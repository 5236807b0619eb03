"""Findings out of free reports, English and Chinese: what is there, what is denied, and what is left open.

    findings_in(report)      every finding that a report speaks of, with status, side, size and count
    as_findings(mentions)    what of these a record can hold
    left_open(mentions)      the kinds that are held possible

The rules are those of NegEx (Chapman et al., J Biomed Inform 2001) and ConText (Harkema et al., J Biomed Inform
2009): cues with a direction, and scopes that end at conjunctions. All that is a word lies in `findings_en` and
`findings_zh`; of the phrases that begin at a place the longest is read, in one pass for both languages, since no word
of one is a word of the other. Indications, history and advice speak of no image and give nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from vesalius.data.findings.en import ENGLISH
from vesalius.data.findings.rules import Item, Status, settle
from vesalius.data.findings.words import Cue, Words
from vesalius.data.findings.zh import CHINESE
from vesalius.data.record import Finding, Side
from vesalius.data.texts.prompt import is_chinese, section_spans

LANGUAGES: tuple[Words, ...] = (ENGLISH, CHINESE)

_UNREAD = (
    "indication", "clinical history", "history", "technique", "comparison", "examination", "procedure",
    "recommendation",
)  # fmt: skip
_LONGEST = 2000  # letters of a sentence; one that goes on is cut, so that time stays linear in the text
_TOKEN = re.compile(r"[^\W\d_\u4e00-\u9fff]+(?:['’][a-z]+)?|\d+(?:\.\d+)?|[\u4e00-\u9fff]|[^\w\s-]", re.IGNORECASE)
_BREAK = re.compile(
    r"(?<=[!;。！；])|(?<=\?)(?=\s)|(?<=？)|(?<=\.)(?<!\bvs\.)(?<!\bDr\.)(?<!\bca\.)(?<!approx\.)(?<!e\.g\.)(?<!i\.e\.)(?=\s|[A-Z][a-z]|[\u4e00-\u9fff])"
    r"|\n(?=\s*\n|\s*(?:\d+[.)、]|[-*•])|\s*[A-Z][a-z]|\s*[\u4e00-\u9fff])"
)
_GENERIC = ("lesion", "opacity")
_THIS = ("the", "this", "these", "该", "此")
_SIDE = re.compile("[左右]")
_NUMBER = r"\d{1,4}(?:\.\d{1,3})?"
_UNIT = r"(?:mm|cm|毫米|厘米|millimet(?:er|re)s?|centimet(?:er|re)s?)(?![a-z])"
_SIZE = re.compile(
    rf"(?<![\d.])({_NUMBER})\s?-?({_UNIT})?(?:\s?(?:[x×*X]|by|to|-|–|~|～|至)\s?({_NUMBER})\s?-?({_UNIT})?)?"
    rf"(?:\s?(?:[x×*X]|by)\s?({_NUMBER})\s?-?({_UNIT})?)?",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Mention:
    """One finding as a report speaks of it.

    side: the patient's. size_mm: longest diameter in millimetres; of what is denied none is told. count: the number
    said, 1 for a singular, None for several. start, end: where in the report its words stand.
    """

    kind: str
    """name of the finding, as phantoms and judge have it"""
    status: Status
    """present, absent or uncertain"""
    side: Side | None = None
    size_mm: float | None = None
    count: int | None = 1
    start: int
    end: int


def findings_in(text: str) -> tuple[Mention, ...]:
    """The findings that a report speaks of, in the order of its words; linear in its length."""
    mentions: list[Mention] = []
    for start, end in _read_spans(text):
        before: list[Mention] = []  # of the sentence before, for one that says how large "it" is
        for first, last in _sentences(text, start, end):
            items = _items(text[first:last], first)
            if mentions:
                _point_back(items)
            settle(items, is_chinese(text[first:last]))
            read = [_mention(item) for item in items if item.role in ("kind", "normal") and item.status]
            size = next((i.value for i in items if i.role == "size"), None)
            if not read and before and isinstance(size, float) and any(i.has("it") for i in items[:4]):
                if before[-1].status != "absent" and before[-1].size_mm is None:
                    mentions[-1] = replace(before[-1], size_mm=size)
                before = []
                continue
            mentions += read
            before = read
    return tuple(mentions)


def as_findings(mentions: Iterable[Mention]) -> tuple[Finding, ...]:
    """The findings that a record holds, one for each kind and side, those present first.

    Uncertain mentions are left out, and a kind of which one is present is not denied too ("no other nodule"). Of
    several mentions of one finding the largest size and count stand. Where a report says "several", the count is 1,
    as it is where none is known.
    """
    kept: dict[tuple[str, Side | None], Finding] = {}
    said = list(mentions)
    for mention in (m for m in said if m.status == "present"):
        key = (mention.kind, mention.side)
        if mention.side is None:  # told again without its side: "the nodule" of a nodule on the left
            key = next((k for k in kept if k[0] == mention.kind), key)
        elif (mention.kind, None) in kept:
            unsided = kept.pop((mention.kind, None))
            kept[key] = replace(unsided, side=mention.side)
        old = kept.get(key, Finding(kind=key[0], side=key[1]))
        sizes = [s for s in (old.size_mm, mention.size_mm) if s is not None]
        kept[key] = replace(old, size_mm=max(sizes, default=None), count=max(old.count, mention.count or 1))
    present = {kind for kind, _ in kept}
    denied = dict.fromkeys(m.kind for m in said if m.status == "absent" and m.kind not in present)
    return (*kept.values(), *(Finding(kind=kind, present=False) for kind in denied))


def left_open(mentions: Iterable[Mention]) -> tuple[str, ...]:
    """The kinds that a report holds possible, in the order of its words; none that it finds present elsewhere."""
    said = list(mentions)
    present = {m.kind for m in said if m.status == "present"}
    return tuple(dict.fromkeys(m.kind for m in said if m.status == "uncertain" and m.kind not in present))


# ------------------------------------------------------------------------------------------------ text to phrases


def _point_back(items: list[Item]) -> None:
    """Make "the lesion" a word for the finding before, as "it" is."""
    for before, item in zip([None, *items], items, strict=False):
        if item.value in _GENERIC and (before.text in _THIS if before else not item.text.isascii()):
            item.role, item.cues = "word", frozenset({"it"})


def _mention(item: Item) -> Mention:
    """What was settled of a finding; a denied one has no size."""
    assert item.status is not None
    size = None if item.status == "absent" else item.size_mm
    side = cast(Side | None, item.side)
    return Mention(
        kind=str(item.value), status=item.status, side=side, size_mm=size, count=item.count, start=item.start,
        end=item.end,
    )  # fmt: skip


def _read_spans(text: str) -> Iterator[tuple[int, int]]:
    """The parts of a report that speak of the image."""
    spans = section_spans(text)
    yield 0, spans[0][1] if spans else len(text)
    for heading, _, start, end in spans:
        if heading not in _UNREAD:
            yield start, end


def _sentences(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    for match in _BREAK.finditer(text, start, end):
        yield from _cut(start, match.end())
        start = match.end()
    yield from _cut(start, end)


def _cut(start: int, end: int) -> Iterator[tuple[int, int]]:
    for first in range(start, end, _LONGEST):
        yield first, min(first + _LONGEST, end)


def _plain(word: str) -> str:
    """One spelling of English: oedema, haemorrhage and tumour as edema, hemorrhage and tumor."""
    return word.lower().replace("ae", "e").replace("oe", "e").replace("mour", "mor").replace("’", "'")


def _words(phrase: str) -> tuple[str, ...]:
    return tuple(_plain(m[0]) for m in _TOKEN.finditer(phrase))


def _plurals(phrase: str) -> Iterator[str]:
    if phrase.isascii() and phrase[-1].isalpha():
        yield f"{phrase[:-1]}ies" if phrase.endswith("y") else f"{phrase}s"
        if phrase.endswith(("s", "x", "sh", "ch")):
            yield f"{phrase}es"
        if phrase.endswith("is"):
            yield f"{phrase[:-2]}es"


_MANY = (
    "opacities", "masses", "bullae", "calculi", "metastases", "foci", "mitoses", "emboli", "densities", "thrombi",
    "stones", "intensities",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class _Phrase:
    role: str = "word"
    value: str | int = ""
    many: bool = False
    cues: frozenset[Cue] = frozenset()


@functools.cache
def _lexicon() -> tuple[dict[tuple[str, ...], _Phrase], dict[str, int]]:
    """All phrases; and by first word the length of the longest."""
    phrases: dict[tuple[str, ...], _Phrase] = {}
    for words in LANGUAGES:
        for kind, names in words.kinds.items():
            for name in (kind, *names):
                for plural in _plurals(name):
                    phrases.setdefault(_words(plural), _Phrase(role="kind", value=kind, many=True))
        for kind, names in words.kinds.items():
            for name in (kind, *names):
                phrases[_words(name)] = _Phrase(role="kind", value=kind, many=name.endswith(_MANY))
        tables: tuple[tuple[str, Mapping[Any, tuple[str, ...]]], ...] = (
            ("normal", words.normal), ("side", words.sides), ("count", words.counts),
        )  # fmt: skip
        for role, table in tables:
            for value, names in table.items():
                phrases |= {_words(name): _Phrase(role=role, value=value) for name in names}
        for cue, names in words.cues.items():
            for name in names:
                old = phrases.get(_words(name), _Phrase())
                phrases[_words(name)] = replace(old, cues=old.cues | {cue})
    longest: dict[str, int] = {}
    for phrase in phrases:
        longest[phrase[0]] = max(longest.get(phrase[0], 0), len(phrase))
    return phrases, longest


def _items(sentence: str, offset: int) -> list[Item]:
    """The phrases of a sentence, the longest from each place on, and all other words."""
    phrases, longest = _lexicon()
    sizes = {m.start(): (size, m.end()) for m in _SIZE.finditer(sentence) if (size := _millimetres(m)) is not None}
    tokens = [(m.start(), m.end(), _plain(m[0])) for m in _TOKEN.finditer(sentence)]
    items: list[Item] = []
    index = 0
    while index < len(tokens):
        start, end, word = tokens[index]
        stop, phrase = index + 1, _Phrase(value=word)
        value: str | int | float = word
        if start in sizes:
            phrase = _Phrase(role="size")
            value, end = sizes[start]
            while stop < len(tokens) and tokens[stop][0] < end:
                stop += 1
        else:
            for length in range(min(longest.get(word, 0), len(tokens) - index), 0, -1):
                found = phrases.get(tuple(t[2] for t in tokens[index : index + length]))
                if found:
                    stop, phrase, value, end = index + length, found, found.value, tokens[index + length - 1][1]
                    break
            else:
                if word in (",", "，"):
                    phrase = _Phrase(role="comma")
                elif word.isdecimal() and 0 < int(word) < 21:
                    phrase, value = _Phrase(role="count"), int(word)
        said = sentence[start:end].lower()
        named = _SIDE.search(said) if phrase.role == "kind" else None  # 中线向左移位
        items.append(Item(
            role=phrase.role, value=value, cues=phrase.cues, many=phrase.many, text=said, start=start + offset,
            end=end + offset, side=("left" if named[0] == "左" else "right") if named else None,
        ))  # fmt: skip
        index = stop
    return items


def _millimetres(match: re.Match[str]) -> float | None:
    """The longest of the lengths "1.2 x 0.8 cm"; None where no unit is said."""
    numbers = [(float(match[i]), match[i + 1]) for i in (1, 3, 5) if match[i]]
    units = [unit for _, unit in numbers if unit]
    if not units:
        return None
    scales = [10.0 if (unit or units[-1]).lower().startswith(("c", "厘")) else 1.0 for _, unit in numbers]
    return round(max(number * scale for (number, _), scale in zip(numbers, scales, strict=True)), 2)
