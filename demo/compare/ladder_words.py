"""The words of a ladder: one thing changed in a start's own words, or all steps told anew by the phantoms' grammar."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

import numpy as np

from vesalius.data.findings.read import as_findings, findings_in
from vesalius.data.hounsfield import window_named
from vesalius.data.modality import modality_in
from vesalius.data.phantoms.phantom import RULES
from vesalius.data.phantoms.report import LANGUAGES
from vesalius.data.record import Finding
from vesalius.data.texts.captions import GREY
from vesalius.data.texts.prompt import is_chinese, section_spans, swap_sides
from vesalius.data.texts.wording import SCENES, reword
from vesalius.demo.page import Language

TELLINGS = 60
"""Draws of the grammar among which the wording is chosen."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a ladder starts from. findings: of the prompt, of the kinds that the grammar has, () where it has none.
    organ: what the prompt names. is_grammar: whether the grammar could have made it."""

    prompt: str
    modality: str
    seed: int
    findings: tuple[Finding, ...] = ()
    organ: str | None = None
    is_grammar: bool = False

    @property
    def language(self) -> Language:
        return "zh" if is_chinese(self.prompt) else "en"

    @property
    def target(self) -> Finding | None:
        """The finding that is changed: the first one that is there."""
        return next((f for f in self.findings if f.present), None)


def read(text: str, modality: str) -> tuple[Finding, ...]:
    """The findings that the project's reader finds in a text, of the kinds that the grammar has of a modality."""
    return tuple(f for f in as_findings(findings_in(text)) if f.kind in RULES.get(modality, {}))


@lru_cache(maxsize=256)
def worded(start: Start, wanted: tuple[tuple[Finding, ...], ...]) -> tuple[str, ...] | None:
    """A text for each step; None where none was found in which the reader reads just what is wanted."""
    own = [start.prompt if set(w) == set(start.findings) else _edited(start, w) for w in wanted]
    if all(own):
        return tuple(cast(list[str], own))
    kind = "report" if section_spans(start.prompt) else "caption"
    words = _scene(start)
    best: tuple[int, tuple[str, ...]] | None = None
    for telling in range(TELLINGS):
        texts = tuple(
            _dressed(start, reword(w, start.modality, np.random.default_rng(telling), language=start.language,
                                   kind=kind, words=words))
            for w in wanted
        )  # fmt: skip
        if len(set(texts)) < len(texts) or not all(_reads(t, start, w) for t, w in zip(texts, wanted, strict=True)):
            continue
        cost = sum(_apart(a, b) for a, b in itertools.pairwise(texts))
        if best is None or cost < best[0]:
            best = cost, texts
        if best[0] <= 2 * (len(texts) - 1):  # one word for another, from each to the next
            break
    return best[1] if best else None


def _reads(text: str, start: Start, wanted: tuple[Finding, ...]) -> bool:
    found = modality_in(text)
    return found is not None and found.name == start.modality and set(read(text, start.modality)) == set(wanted)


_LENGTH = re.compile(r"\d+(?:\.\d+)?[ -]?(?:mm|cm|毫米|厘米)(?![a-z])", re.IGNORECASE)
_GRADE = re.compile(r"\b(?:tiny|small|medium-sized|moderate|large|huge)\b|较小|中等大小|较大|微小|巨大", re.IGNORECASE)


def _edited(start: Start, wanted: tuple[Finding, ...]) -> str | None:
    """The start's own words with one side or size exchanged; None where that does not say what is wanted."""
    edits: list[Callable[[], str | None]] = [lambda: swap_sides(start.prompt)]
    size = next((f.size_mm for f in wanted if f.present), None)
    if size is not None and len(_LENGTH.findall(start.prompt)) == 1 and not _GRADE.search(start.prompt):
        unit = f"{size:g}毫米" if "毫米" in start.prompt else f"{size:g} mm"
        edits.append(lambda: _LENGTH.sub(unit, start.prompt))
    return next((text for edit in edits if (text := edit()) and _reads(text, start, wanted)), None)


def _scene(start: Start) -> dict[str, str]:
    """What a start says beside its findings that the grammar has words for: sequence and level."""
    said, words = start.prompt.lower(), LANGUAGES[start.language].words
    return {
        slot: value
        for slot, values in SCENES[start.modality].items()
        for value in values
        if words.get(value, value).lower() in said or (slot == "sequence" and value.lower() in said)
    }


def _dressed(start: Start, text: str) -> str:
    """A wording with what the start says of its greys: no units, or a window."""
    grey, window = GREY[start.language], window_named(start.prompt)
    if window is not None:
        names = {"lung": "肺窗", "soft tissue": "软组织窗", "bone": "骨窗", "brain": "脑窗"}
        text = f"{text.rstrip('。')}，{names[window]}。" if start.language == "zh" else f"{text[:-1]}, {window} window."
    return grey + text if start.prompt.startswith(grey) else text


def _apart(first: str, second: str) -> int:
    """Words (of Chinese characters) that one text has and the other does not."""
    a, b = (re.findall(r"[^\W\u4e00-\u9fff]+|[\u4e00-\u9fff]", each.lower()) for each in (first, second))
    return sum(abs(a.count(w) - b.count(w)) for w in {*a, *b})
