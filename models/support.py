"""What a base was trained on: how many images show what, so that a prompt for what it never saw can be told.

`support.json` lies in the base's folder. `vesalius.finetune.base.support` counts it from the training data.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from vesalius.data.command.counted import counted
from vesalius.data.modality import find_modality
from vesalius.data.record import Finding, read_state, write_atomic
from vesalius.models.adapters.adapter import EMBEDDED
from vesalius.models.adapters.mix import Words, parse_adapters
from vesalius.models.base import base_folder

FILE = "support.json"
FORMAT = "vesalius-support-1"
WEAK = 30
"""Fewer training images than this support a prompt weakly; none, not at all."""
SIDES = ("left", "right", "bilateral")
MOST_LINES = 5
"""Weak prompts of one run that are told one by one."""
MOST_PROMPTS = 10_000
"""Distinct prompts of a list that are looked at; what those tell of it, millions would too."""
MOST_WORDS = 6
"""Words of a prompt that nobody read, which are told."""

_WORD = re.compile(r"[A-Za-z][A-Za-z-]{2,}")
_SIDE = re.compile(r"\b(left|right)(?=(?:wards?|most|-?sided)?\b)|\b(bilateral)|(双侧|两侧)|([左右])")
_SIDE_NAMES = {"双侧": "bilateral", "两侧": "bilateral", "左": "left", "右": "right"}
# What is denied is not asked for. A denial goes on to the end of its clause, over the commas of a list.
_DENIED = re.compile(
    r"\b(?:no|not|without|absent|negative for|free of|nor)\b.*?(?=[.;:]|\bbut\b|\bwith\b|$)|"
    r"[^.;:,]*\b(?:is|are) (?:absent|not)\b|(?:无|未见|没有|不伴)[^。；，,.;]*",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """Training images that show the same.

    findings: kinds with the sides that the records name, or a real image's label. example: one wording of the images.
    """

    modality: str
    organ: str | None = None
    findings: tuple[Finding, ...] = ()
    num_real: int = 0
    num_phantom: int = 0
    example: str = ""

    @property
    def num(self) -> int:
        return self.num_real + self.num_phantom

    def to_json(self) -> dict[str, Any]:
        return {
            "modality": self.modality,
            "organ": self.organ,
            "findings": [[f.kind, f.side] for f in self.findings],
            "num_real": self.num_real,
            "num_phantom": self.num_phantom,
            "example": self.example,
        }

    @staticmethod
    def from_json(row: dict[str, Any]) -> Shown:
        findings = tuple(Finding(kind=str(kind), side=side) for kind, side in row["findings"])
        return Shown(**{**row, "findings": findings})


@dataclass(frozen=True, kw_only=True)
class Weakness:
    """What of a prompt a base has hardly seen.

    modality: of the prompt, with its number of images. seen: the other modalities with theirs, where that one is hardly
    seen itself; else weak: findings with their numbers of images, a finding's side where that alone is weak; unread:
    words that no training text has, each with the nearest that one has or ""; nearest: rows of what was seen instead;
    and most: the findings of the modality that were seen most, where there is nothing near.
    """

    modality: tuple[str, int]
    seen: tuple[tuple[str, int], ...] = ()
    weak: tuple[tuple[Finding, int], ...] = ()
    unread: tuple[tuple[str, str], ...] = ()
    nearest: tuple[Shown, ...] = ()
    most: tuple[tuple[str, int], ...] = ()

    def __str__(self) -> str:
        """The same in a sentence."""
        name, count = self.modality
        if count < WEAK:
            rest = ", ".join(f"{m} ({n})" for m, n in self.seen)
            return f"the base has hardly seen {name} ({_images(count)}). It has seen {rest or 'nothing else'}"
        weak = ", ".join(
            f"{f.kind} in {name}{f', side {f.side}' if f.side else ''} ({_images(num)})" for f, num in self.weak
        )
        words = ", ".join(f"'{w}' (did you mean '{near}'?)" if near else f"'{w}'" for w, near in self.unread)
        told = [f"hardly seen {weak}"] if weak else []
        told += [f"not read of {words} with {name}"] if words else []
        if self.nearest:
            rows = (f"{s.modality} with {_told(s.findings[0])} ({_images(s.num)})" for s in self.nearest)
            rest = f"Nearest that it has seen: {'; '.join(rows)}"
        else:
            most = ", ".join(f"{kind} ({num})" for kind, num in self.most)
            rest = f"Of {name} it has seen {most or 'no finding by name'}"
        return f"the base has {' and has '.join(told)}. {rest}"


@dataclass(frozen=True, kw_only=True)
class Support:
    """How many training images a base has seen, of what.

    shown: each training image in exactly one row. terms: the phrases that name each finding, lower case. words: per
    modality, how many images have a training text with a word.
    """

    shown: tuple[Shown, ...]
    terms: dict[str, tuple[str, ...]]
    words: dict[str, dict[str, int]]

    @staticmethod
    def load(folder: Path) -> Support | None:
        """The support of a base folder, or None where it says none. ValueError where the file is damaged."""
        path = folder / FILE
        if not path.is_file():
            return None
        remedy = "make it again with `python -m vesalius.finetune.base.support`, or delete it"
        state = read_state(path, remedy)
        try:
            return Support(
                shown=tuple(Shown.from_json(row) for row in state["shown"]),
                terms={kind: tuple(phrases) for kind, phrases in state["terms"].items()},
                words={modality: dict(counts) for modality, counts in state["words"].items()},
            )
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ValueError(f"{path}: is no {FORMAT}; {remedy}") from None

    def save(self, folder: Path) -> None:
        """Write `support.json`, one row a line."""

        def lines(rows: Iterable[str]) -> str:
            return ",\n".join(f"  {row}" for row in rows)

        def told(value: Any) -> str:
            return json.dumps(value, ensure_ascii=False)

        shown = lines(told(s.to_json()) for s in self.shown)
        terms = lines(f"{told(k)}: {told(v)}" for k, v in sorted(self.terms.items()))
        words = lines(f"{told(k)}: {told(dict(sorted(v.items())))}" for k, v in sorted(self.words.items()))
        text = (
            f'{{"format": "{FORMAT}",\n"shown": [\n{shown}\n],\n"terms": {{\n{terms}\n}},\n"words": {{\n{words}\n}}}}\n'
        )
        write_atomic(folder / FILE, text.encode())

    def ask(self, modality: str, organ: str | None = None, finding: str | None = None, side: str | None = None) -> int:
        """How many training images show all of this; None is any. Sides are the patient's. ValueError: no modality."""
        return sum(s.num for s in self._rows(find_modality(modality).name, organ, finding, side))

    def _rows(self, modality: str, organ: str | None, finding: str | None, side: str | None) -> Iterator[Shown]:
        for row in self.shown:
            if row.modality != modality or organ not in (None, row.organ):
                continue
            if (finding is None and side is None) or any(
                finding in (None, f.kind) and side in (None, f.side) for f in row.findings
            ):
                yield row

    def findings(self, modality: str) -> dict[str, int]:
        """Every finding of a modality with its number of images, most first."""
        kinds = {f.kind for s in self.shown if s.modality == modality for f in s.findings}
        return _descending({kind: self.ask(modality, finding=kind) for kind in kinds})

    def sides(self, modality: str, finding: str) -> dict[str, int]:
        """The sides of a finding that training images name, with their numbers."""
        named = {f.side for s in self.shown if s.modality == modality for f in s.findings if f.kind == finding}
        return {
            side: self.ask(modality, None, finding, side) for side in ("left", "right", "bilateral") if side in named
        }

    @cached_property
    def modalities(self) -> dict[str, int]:
        """Every modality with its number of images, most first."""
        return _descending({m: self.ask(m) for m in {s.modality for s in self.shown}})

    def example(self, modality: str, finding: str | None = None, side: str | None = None) -> str:
        """A training wording of images that show this, and as little else as there is; "" where none does."""
        rows = list(self._rows(modality, None, finding, side))
        fewest = min(rows, key=lambda s: (len(s.findings), -s.num), default=None)
        return fewest.example if fewest else ""

    def findings_in(self, text: str) -> dict[str, Finding]:
        """The known findings that a text asks for by the phrase that names each, on the side that it names.

        Where a text names two sides, no finding has one.
        """
        asked = _DENIED.sub(" ", text).lower()
        sides = {_SIDE_NAMES.get(name := "".join(groups), name) for groups in _SIDE.findall(asked)}
        side: Any = sides.pop() if len(sides) == 1 else None
        found: dict[str, Finding] = {}
        for phrase in sorted(self._kinds, key=len, reverse=True):
            if phrase not in asked:  # hundreds are not, and a pattern of each would take longer than all the rest
                continue
            pattern = re.compile(rf"(?<![a-z0-9]){re.escape(phrase)}(?:s|es)?(?![a-z0-9])")
            if pattern.search(asked):
                asked = pattern.sub(" ", asked)  # a "lung nodule" is not a "nodule" beside it
                found[phrase] = Finding(kind=self._kinds[phrase], side=side)
        return found

    @cached_property
    def _kinds(self) -> dict[str, str]:
        """The finding that a phrase names."""
        return {phrase: kind for kind, phrases in self.terms.items() for phrase in phrases}

    # What a prompt asks for beyond that

    def warn(self, prompt: str, modality: str, findings: tuple[Finding, ...] = ()) -> str | None:
        """Which parts of a prompt the base has hardly seen, and what it has seen instead, in a sentence; None where all
        is well.

        findings: what the prompt asks for, where that is known; else its known words are looked for.
        """
        found = self.weakness(prompt, modality, findings)
        return None if found is None else str(found)

    def weakness(self, prompt: str, modality: str, findings: tuple[Finding, ...] = ()) -> Weakness | None:
        """The same as facts."""
        name = find_modality(modality).name
        if (count := self.ask(name)) < WEAK:
            return Weakness(modality=(name, count), seen=tuple((m, n) for m, n in self.modalities.items() if m != name))
        asked = {f.kind: f for f in findings if f.present}
        said = {} if asked else self.findings_in(prompt)
        weak: list[tuple[Finding, int]] = []
        for phrase, finding in (asked or said).items():
            num = self.ask(name, finding=finding.kind)
            if not num and said:  # a word for a finding elsewhere may be another's here: a tumor is a mass in MRI
                num = min((_count(self.words.get(name, {}), w) for w in words_of(phrase)), default=0)
            elif num >= WEAK and finding.side and (sided := self.ask(name, None, finding.kind, finding.side)) < WEAK:
                weak.append((finding, sided))
            if num < WEAK:
                weak.append((Finding(kind=finding.kind), num))
        unread = self.unread(prompt, name)[:MOST_WORDS]
        if not weak and not unread:
            return None
        nearest = self._nearest(name, tuple((asked or said).values()))
        most = [] if nearest else [pair for pair in self.findings(name).items() if pair[1] >= WEAK][:4]
        return Weakness(
            modality=(name, count), weak=tuple(weak), unread=tuple(unread), nearest=nearest, most=tuple(most)
        )

    def unread(self, prompt: str, modality: str) -> list[tuple[str, str]]:
        """Words of a prompt that no training text has, each with the nearest that one has or "", and organs and sides
        that none of this modality has."""
        known = self.words.get(modality, {})
        everywhere = dict.fromkeys((w for counts in self.words.values() for w in counts), 1)
        bound = {w for s in self.shown for w in (s.organ or "").lower().split()} | {*SIDES}
        words: list[tuple[str, str]] = []
        for word in dict.fromkeys(words_of(prompt)):
            if _count(known, word):
                continue
            if not any(_count(everywhere, part) for part in (word, *_parts(word))):
                near = difflib.get_close_matches(word, everywhere, n=1, cutoff=0.8)
                words.append((word, near[0] if near else ""))
            elif word in bound:
                words.append((word, ""))
        return words

    def _nearest(self, modality: str, asked: tuple[Finding, ...]) -> tuple[Shown, ...]:
        """What is well supported and has most in common with what is asked for; () where nothing has."""
        kinds, sides = {f.kind for f in asked}, {f.side for f in asked}

        def nearness(row: Shown) -> tuple[bool, bool, int]:
            return row.modality == modality, row.findings[0].side in sides, row.num

        rows = [s for s in self.shown if len(s.findings) == 1 and s.findings[0].kind in kinds and s.num >= WEAK]
        return tuple(sorted(rows, key=nearness, reverse=True)[:2])


def words_of(text: str) -> list[str]:
    """The words of a text in Latin letters, lower case, of three letters or more."""
    return [word for found in _WORD.findall(text) if len(word := found.lower().strip("-")) > 2]


def _parts(word: str) -> list[str]:
    """The parts of a hyphenated word, if all have three letters."""
    parts = word.split("-")
    return parts if len(parts) > 1 and all(len(p) > 2 for p in parts) else []


def _count(counts: dict[str, int], word: str) -> int:
    """The count of a word, in the singular or in the plural."""
    return max(counts.get(form, 0) for form in (word, f"{word}s", word.removesuffix("s")))


def _descending(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))


def _images(count: int) -> str:
    return counted(count, "image") if count else "no image"


def _told(finding: Finding) -> str:
    return f"{finding.kind}, {finding.side}" if finding.side else finding.kind


def weak_prompts(support: Support | None, prompts: Iterable[tuple[str, str, tuple[Finding, ...]]]) -> list[str]:
    """One line for each distinct weak prompt, of (text, modality, findings); after `MOST_LINES` of them a count.

    A base that does not say what it has seen has no weak prompts. Of a longer list the first `MOST_PROMPTS` are looked
    at.
    """
    if support is None:
        return []
    lines: list[str] = []
    weak, seen = 0, set[tuple[str, str, tuple[Finding, ...]]]()
    for each in prompts:
        if each in seen:
            continue
        if len(seen) == MOST_PROMPTS:
            break
        seen.add(each)
        told = support.warn(*each)
        if told is None:
            continue
        weak += 1
        if weak <= MOST_LINES:
            text = each[0]
            short = text if len(text) <= 60 else f"{text[:57]}..."
            lines.append(f"'{' '.join(short.split())}': {told}")
    rest = weak - MOST_LINES
    return lines if rest <= 0 else [*lines, f"and {rest} more prompts of which the base has seen little"]


def support_of(base: str, adapter: Words = None) -> Support | None:
    """What a base has seen; None where it does not say, or where an adapter of the user's own has taught it more.

    ValueError as `base_folder` and `Support.load`.
    """
    if any(share.adapter not in EMBEDDED for share in parse_adapters(adapter)):
        return None
    return Support.load(base_folder(base))
