"""What can be asked for by choosing: what the base was trained on, and beside it what it was not, with the reason.

A `Wish` is one state of the builder. `settled` makes it one that can be, `Menu` says what stands to choose from it, and
`wording` puts it into words as the base has read them in training.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, cast

import numpy as np

from vesalius.data.findings.read import as_findings, findings_in
from vesalius.data.modality import MODALITIES, modality_in
from vesalius.data.phantoms.canvas import FindingRule
from vesalius.data.phantoms.phantom import ORGANS, RULES
from vesalius.data.phantoms.terms_en import TERMS
from vesalius.data.phantoms.terms_zh import TERMS_ZH
from vesalius.data.record import Finding, Record, Side
from vesalius.data.tables.labels import LABEL_WORDS, bare
from vesalius.data.texts.captions import caption_of
from vesalius.data.texts.wording import draw_words, reword
from vesalius.demo.sentences import Refusal
from vesalius.improve.asking.grammar import MOST_BESIDE_MM, MOST_SEVERAL_MM
from vesalius.models.base import EMBEDDED, base_folder
from vesalius.models.support import SIDES, WEAK, Shown, Support

ENOUGH = 10
"""Training images below which a combination is not offered: what so few show is not drawn."""
USUAL_MM = 22
NORMAL = "normal"
WORDINGS = 24
"""Wordings that are made of one wish, of which those are kept that are read back as they were meant."""
CHEST = ("chest", "lung")
"""Two names of one region."""
Reason = Literal["", "modality", "place", "none", "few", "side", "together", "size", "count"]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """One thing to choose. num: training images that show it with all that was chosen before, None where that is not
    known. reason: why it cannot be chosen, "" where it can."""

    value: str
    num: int | None = None
    reason: Reason = ""

    @property
    def is_weak(self) -> bool:
        return not self.reason and self.num is not None and self.num < WEAK


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What was chosen. "": left open. size_mm: of the finding, where it is one that has a size. second: another finding
    beside it. wording: which of the wordings."""

    modality: str = "CT"
    organ: str = ""
    finding: str = ""
    side: str = ""
    size_mm: int | None = None
    count: int = 1
    second: str = ""
    second_side: str = ""
    wording: int = 0


class Menu:
    """What a base can be asked for. support: what it has seen; of a base that does not say, the embedded one's choices
    are offered, none with a number, and nothing is greyed out."""

    def __init__(self, support: Support | None) -> None:
        self.is_told = support is not None
        known = support or Support.load(base_folder(EMBEDDED, weights=False))
        assert known is not None, "the embedded base says what it has seen"
        self.support = known

    @cached_property
    def modalities(self) -> list[Choice]:
        seen = self.support.modalities
        known = [(m, seen.get(m, 0)) for m in MODALITIES]
        return self._kept(sorted(known, key=lambda pair: pair[1] == 0), "modality")

    def organs(self, wish: Wish) -> list[Choice]:
        """Regions and organs of the modality, then those that other modalities show."""
        counts = _sums((s.organ, s.num) for s in self._rows(wish.modality) if s.organ)
        grey = MODALITIES[wish.modality].channels == 1
        others = _sums((s.organ, s.num) for s in self.support.shown if MODALITIES[s.modality].channels == 1)
        rest = [
            (organ, counts.get(organ, 0))
            for organ, num in others.items()
            if counts.get(organ, 0) < ENOUGH and num >= 2 * WEAK and (grey or organ in counts)
        ]
        return self._kept([*((o, n) for o, n in counts.items() if n >= ENOUGH), *rest], "place")

    def findings(self, wish: Wish) -> list[Choice]:
        """Findings of modality and organ, then those that another modality shows of that organ; "" is none named."""
        rows = self._rows(wish.modality, wish.organ)
        counts = _sums((kind, s.num) for s in rows for kind in {f.kind for f in s.findings})
        bare_rows = sum(s.num for s in rows if not s.findings)
        elsewhere = _sums(
            (f.kind, s.num)
            for s in self.support.shown
            for f in s.findings
            if s.modality != wish.modality and _same_region(s.organ, wish.organ) and f.kind != NORMAL
        )
        rest = [(k, counts.get(k, 0)) for k, n in elsewhere.items() if counts.get(k, 0) < ENOUGH and n >= WEAK]
        few = [(k, n) for k, n in counts.items() if n < ENOUGH and k not in dict(rest)]
        offered = [(k, n) for k, n in counts.items() if n >= ENOUGH]
        return self._kept([*([("", bare_rows)] if bare_rows >= ENOUGH else []), *offered, *rest, *few], "none")

    def sides(self, wish: Wish) -> list[Choice]:
        """Sides of the finding; [] where no training image names one."""
        return self._sides(wish, wish.finding, beside=None)

    def counts(self, wish: Wish) -> list[Choice]:
        """How many there can be; [] where they are not counted."""
        rule = rule_of(wish, wish.finding)
        if rule is None or rule.max_count == 1:
            return []
        most = 1 if wish.second and rule.size_mm else rule.max_count
        least = 2 if wish.side == "bilateral" and rule.size_mm else 1
        return [
            Choice(value=str(n), reason="" if least <= n <= most else "count") for n in range(1, rule.max_count + 1)
        ]

    def sizes(self, wish: Wish) -> tuple[int, int] | None:
        """The range of sizes in mm; None where the finding has none."""
        rule = rule_of(wish, wish.finding)
        if rule is None or rule.size_mm is None:
            return None
        low, high = rule.size_mm
        high = min(high, MOST_SEVERAL_MM) if wish.count > 1 else high
        return low, min(high, MOST_BESIDE_MM) if wish.second else high

    def seconds(self, wish: Wish) -> list[Choice]:
        """Findings that training images show beside the first one."""
        if rule_of(wish, wish.finding) is None or wish.count > 1:
            return []
        rows = self._with(wish, wish.finding, wish.side)
        counts = _sums((f.kind, s.num) for s in rows for f in s.findings if f.kind != wish.finding)
        every = [kind for kind in RULES[wish.modality] if kind != wish.finding]
        told = self._kept([(kind, counts.get(kind, 0)) for kind in every], "together")
        return [Choice(value=""), *told] if any(not c.reason for c in told) else []

    def second_sides(self, wish: Wish) -> list[Choice]:
        """Sides of the second finding beside the first one."""
        return self._sides(wish, wish.second, beside=(wish.finding, wish.side)) if wish.second else []

    def _sides(self, wish: Wish, kind: str, *, beside: tuple[str, str] | None) -> list[Choice]:
        rows = self._with(wish, *beside) if beside else self._rows(wish.modality, wish.organ)
        counts = _sums((f.side, s.num) for s in rows for f in s.findings if f.kind == kind and f.side)
        ever = {f.side for s in self._rows(wish.modality, wish.organ) for f in s.findings if f.kind == kind}
        if not ever - {None}:
            return []
        return [Choice(value=""), *self._kept([(side, counts.get(side, 0)) for side in SIDES], "side")]

    def _rows(self, modality: str, organ: str = "") -> list[Shown]:
        return [s for s in self.support.shown if s.modality == modality and organ in ("", s.organ)]

    def _with(self, wish: Wish, kind: str, side: str) -> list[Shown]:
        return [
            s
            for s in self._rows(wish.modality, wish.organ)
            if any(f.kind == kind and side in ("", f.side) for f in s.findings)
        ]

    def _kept(self, counted: Iterable[tuple[str, int]], reason: Reason) -> list[Choice]:
        """Choices of values and their numbers; of a base that does not say, those that there are."""
        if not self.is_told:
            return [Choice(value=value) for value, num in counted if num >= ENOUGH]
        why: dict[bool, Reason] = {True: "few", False: reason}
        return [Choice(value=value, num=num, reason="" if num >= ENOUGH else why[num > 0]) for value, num in counted]


def rule_of(wish: Wish, kind: str) -> FindingRule | None:
    """What a finding can be, where it is one of the phantoms', whose sizes and counts are in the training texts."""
    rules = RULES.get(wish.modality, {})
    return rules.get(kind) if ORGANS.get(wish.modality) == wish.organ else None


def settled(menu: Menu, wish: Wish) -> Wish:
    """The nearest wish that can be: what cannot is left open, or set to the first that can."""
    wish = replace(wish, modality=_one(menu.modalities, wish.modality))
    wish = replace(wish, organ=_one(menu.organs(wish), wish.organ))
    wish = replace(wish, finding=_one(menu.findings(wish), wish.finding))
    wish = replace(wish, side=_one(menu.sides(wish), wish.side))
    rule = rule_of(wish, wish.finding)
    if rule is not None and rule.size_mm and wish.side == "bilateral":
        wish = replace(wish, second="")  # it takes two already
    least = 2 if rule is not None and rule.size_mm and wish.side == "bilateral" else 1
    wish = replace(wish, count=min(max(wish.count, least), rule.max_count if rule else 1))
    wish = replace(wish, second=_one(menu.seconds(wish), wish.second))
    wish = replace(wish, second_side=_one(menu.second_sides(wish), wish.second_side))
    bounds = menu.sizes(wish)
    size = None if bounds is None else min(max(wish.size_mm or USUAL_MM, bounds[0]), bounds[1])
    return replace(wish, size_mm=size)


def _one(choices: list[Choice], value: str) -> str:
    """The value where it can be chosen, else the first that can; "" where there is nothing to choose."""
    there = [c.value for c in choices if not c.reason]
    return value if value in there else next(iter(there), "")


def unmet(menu: Menu, wish: Wish) -> list[tuple[str, str, Choice | None]]:
    """What of a wish cannot be had: the name of the field, its value, and the choice that says why (None where there is
    no such choice)."""
    best = settled(menu, wish)
    menus = {
        "modality": menu.modalities, "organ": menu.organs(best), "finding": menu.findings(best),
        "side": menu.sides(best), "count": menu.counts(best), "second": menu.seconds(best),
        "second_side": menu.second_sides(best),
    }  # fmt: skip
    found: list[tuple[str, str, Choice | None]] = []
    for name, choices in menus.items():
        asked = str(getattr(wish, name))
        if asked not in ("", str(getattr(best, name))):
            found.append((name, asked, next((c for c in choices if c.value == asked), None)))
    if wish.size_mm not in (None, best.size_mm):
        found.append(("size_mm", f"{wish.size_mm} mm", None))
    return found


def findings_of(wish: Wish) -> tuple[Finding, ...]:
    """The findings of phantoms that a settled wish asks for."""
    return tuple(_phantom_findings(wish))


def _phantom_findings(wish: Wish) -> Iterator[Finding]:
    pairs = ((wish.finding, wish.side, wish.size_mm, wish.count), (wish.second, wish.second_side, None, 1))
    for kind, side, size, count in pairs:
        rule = rule_of(wish, kind)
        if rule is None:
            continue
        if rule.size_mm and size is None:
            size = min(USUAL_MM, MOST_BESIDE_MM)
        millimetres = None if size is None else float(size)
        yield Finding(kind=kind, side=cast(Side | None, side or None), size_mm=millimetres, count=count)


@lru_cache(maxsize=512)
def wordings(wish: Wish, language: str) -> tuple[str, ...]:
    """Texts of a settled wish as training has them, the plainest first."""
    findings = findings_of(wish)
    is_phantom = bool(findings) or (wish.finding == NORMAL and ORGANS.get(wish.modality) == wish.organ)
    texts = []
    for seed in range(WORDINGS):
        rng = np.random.default_rng(seed)
        if is_phantom:
            words = draw_words(wish.modality, rng)
            text = reword(findings, wish.modality, rng, language=language, kind="caption", words=words)
            if as_read(text) != told(findings):
                continue
        else:
            text = caption_of(_record(wish), rng, language)
        if modality_in(text) is MODALITIES[wish.modality]:
            texts.append(text)
    names = [_plain_names(f.kind) for f in findings]

    def plainness(text: str) -> tuple[int, int, str]:
        return sum(not any(name in text.lower() for name in each) for each in names), len(text), text

    return tuple(sorted(dict.fromkeys(texts), key=plainness))


def _plain_names(kind: str) -> tuple[str, ...]:
    """What a finding is called first in each language, and in the plural."""
    return (kind, TERMS[kind].one[0], (TERMS[kind].many or TERMS[kind].one)[0], TERMS_ZH[kind].one[0])


def wording(wish: Wish, language: str) -> str:
    """The text of a settled wish. ValueError where no text says it."""
    texts = wordings(replace(wish, wording=0), language)
    if not texts:
        raise Refusal(
            f"no training text says this of {wish.modality}; describe it in your own words",
            f"没有{wish.modality}训练文字这样描述；请用自己的话描述",
        )
    return texts[wish.wording % len(texts)]


def told(findings: Iterable[Finding]) -> set[tuple[Any, ...]]:
    """What findings say, to be compared."""
    return {(f.kind, f.side, f.size_mm, f.count) for f in findings if f.present}


def as_read(text: str) -> set[tuple[Any, ...]]:
    """The findings that a text is read to state."""
    mentions = [m for m in findings_in(text) if m.status == "present"]
    return set() if any(m.count is None for m in mentions if m.side != "bilateral") else told(as_findings(mentions))


def _record(wish: Wish) -> Record:
    """A real image's row, of which a caption can be written."""
    return Record(
        file_name="none.png", text="", modality=wish.modality, organ=wish.organ or None, label=_label(wish), sha256=""
    )


def _label(wish: Wish) -> str | None:
    """The label of real images that a finding's name stands for."""
    if wish.finding in ("", NORMAL):
        return wish.finding or None
    keys = [key for key, phrases in LABEL_WORDS["en"].items() if bare(phrases[0]) == wish.finding]
    own = [key for key in keys if key.startswith(f"{wish.modality}/")] or [k for k in keys if "/" not in k] or keys
    return own[0].rpartition("/")[2] if own else wish.finding


def _sums(pairs: Iterable[tuple[str | None, int]]) -> dict[str, int]:
    """Numbers by name, most first."""
    sums: dict[str, int] = {}
    for name, num in pairs:
        if name:
            sums[name] = sums.get(name, 0) + num
    return dict(sorted(sums.items(), key=lambda pair: (-pair[1], pair[0])))


def _same_region(one: str | None, other: str) -> bool:
    return one == other or (one in CHEST and other in CHEST)
