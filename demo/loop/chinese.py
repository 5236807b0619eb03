"""What a loop says of itself in English, told in Chinese: by its sentences, whose parts are told in turn.

    told("round 2: rolled back to round 1")      第 2 轮：已回退到第 1 轮
    table(refusal_tables(path)[0])               the same of heads and cells

The loop's files, its page and its terminal speak English alone, and so does a decision once it is written: here it is
read back. What no sentence knows stays as it is, as do names of files, of people, and texts of prompts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from vesalius.demo.loop.phrases import GATES, NETWORKS, PHRASES, SENTENCES, SOURCES
from vesalius.demo.terms import term
from vesalius.eval.gates.gates import GREYSCALE
from vesalius.eval.report import Table
from vesalius.improve.asking.strata import OTHER

_PATTERNS = tuple((re.compile(pattern), words) for pattern, words in SENTENCES)
_DETAIL = re.compile(
    r"(?: (?P<few>under|of) (?P<mm>\d+) mm(?: or more)?)?(?P<several>, several)?(?:, (?P<side>left|right|both sides))?$"
)
_SIDES = {"left": "左侧", "right": "右侧", "both sides": "双侧"}
_NUMBERS = {"two": "两", "three": "三", "four": "四", "five": "五", "six": "六"}


def told(text: str) -> str:
    """A sentence, a fact's name or a cell in Chinese; as it is where nobody knows it."""
    inner = text.strip()
    if inner in PHRASES:
        return PHRASES[inner]
    for pattern, words in _PATTERNS:
        if match := pattern.fullmatch(inner):
            return words.format(**{name: _part(name, value) for name, value in match.groupdict().items()})
    return text


def table(shown: Table) -> Table:
    """A table of a round in Chinese."""
    columns = [_COLUMNS.get(name, told) for name in shown.head]
    rows = [[tell(cell) for tell, cell in zip(columns, row, strict=True)] for row in shown.rows]
    return replace(shown, head=[told(name) for name in shown.head], rows=rows, folded=told(shown.folded))


def gate(name: str) -> str:
    """What a gate looks at."""
    return GATES.get(name, name)


def family(name: str) -> str:
    """A modality, or one of its families."""
    modality = name.removesuffix(GREYSCALE)
    return term(modality, "zh") + ("（灰度）" if modality != name else "")


def stratum(name: str) -> str:
    """The name of a stratum (`vesalius.improve.asking.strata`): CT：结节，小于 20 毫米，左侧."""
    modality, _, rest = name.removesuffix(OTHER).partition(": ")
    parts = [family(modality), *([_kinds(rest)] if rest else [])]
    return "：".join(parts) + ("，其余" if name.endswith(OTHER) else "")


def _kinds(rest: str) -> str:
    if rest == "not told":
        return "未说明"
    if number := re.fullmatch(r"(over )?(\w+) findings", rest):
        return f"{_NUMBERS.get(number[2], number[2])}种{'以上' if number[1] else ''}病变"
    match = _DETAIL.search(rest)
    assert match is not None  # of nothing, where a stratum tells no more than its kinds
    details = ["、".join(term(kind, "zh") for kind in re.split(r", | and ", rest[: match.start()]))]
    if match["mm"]:
        details.append(f"小于 {match['mm']} 毫米" if match["few"] == "under" else f"{match['mm']} 毫米及以上")
    details += ["多个", _SIDES.get(match["side"], "")] if match["several"] else [_SIDES.get(match["side"], "")]
    return "，".join(filter(None, details))


def _counts(text: str) -> str:
    """Gates with how many each refused."""
    each = [part.rpartition(" ") for part in text.split(", ")]
    return "，".join(f"{gate(name)} {num}" for name, _, num in each)


def _small(text: str) -> str:
    return told(text[0].upper() + text[1:])


def _aside(text: str) -> str:
    return f"（{text}）"


_COLUMNS: Mapping[str, Callable[[str], str]] = {"gate": gate, "stratum": stratum, "stratum that was skipped": stratum}
"""Columns by their heads, whose cells are names."""
_PARTS: Mapping[str, Callable[[str], str]] = {
    "told": told, "also": told, "gate": gate, "gates": _counts, "stratum": stratum, "family": family, "small": _small,
    "kind": lambda text: term(text, "zh"), "network": lambda text: NETWORKS.get(text, text),
    "source": lambda text: SOURCES.get(text, text), "by": _aside, "why": _aside,
}  # fmt: skip
"""How parts of sentences are told, by their names in the patterns; others, as numbers are, stay as they are."""


def _part(name: str, value: str | None) -> str:
    return "" if value is None else _PARTS[name](value) if name in _PARTS else value
