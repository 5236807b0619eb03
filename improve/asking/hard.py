"""Hard prompts: fixed questions of the phantoms' grammar, by which a loop's obedience is measured round by round.

    asks = hard_prompts(200, seed=0, modalities=("CT", "MRI"))

No round asks for any of them, so what they measure was not trained for word by word. What makes each hard is its
source, as "hard: three findings".
"""

from __future__ import annotations

import functools
from collections.abc import Collection

import numpy as np

from vesalius.data.phantoms.phantom import KINDS, RULES
from vesalius.data.record import Finding
from vesalius.improve.asking.ask import Ask, key_of
from vesalius.improve.asking.grammar import MOST_BESIDE_MM, MOST_SEVERAL_MM, Want, findings_of, wants, worded
from vesalius.improve.asking.strata import strata

FIRST = 11 * 1_000_003
"""The seed of the first; no training set, scorecard or evaluation comes near it."""
CELL = 150
"""Questions of each modality in each way of being hard."""
LANGUAGES = ("en", "zh")
WAYS = ("two findings", "three findings", "rare combination", "small size", "several", "denied")
"""What is hard: kinds together, three of which no phantom of a training set has; several of one beside another, or one
on both sides beside another; a size under 20 mm; a number; one kind shown where others are denied."""


def hard_prompts(
    num: int,
    seed: int = 0,
    modalities: Collection[str] | None = None,
    languages: Collection[str] = LANGUAGES,
) -> list[Ask]:
    """`num` questions, modalities and ways of being hard in turn, the languages in equal parts; more begin with the
    same.

    seed: which of all there are. modalities: those of the phantoms where it is None. ValueError where there are not as
    many.
    """
    cells = [
        [ask for i, ask in enumerate(asks) if LANGUAGES[i % len(LANGUAGES)] in languages]
        for (modality, _), asks in _questions().items()
        if modalities is None or modality in modalities
    ]
    most = sum(map(len, cells))
    if num > most:
        known = ", ".join(modalities or KINDS)
        raise ValueError(f"{num} hard prompts of {known}: there are {most} (of {', '.join(KINDS)}); ask for fewer")
    rows = [
        [asks[i] for i in np.random.default_rng([FIRST, seed, place]).permutation(len(asks))]
        for place, asks in enumerate(cells)
    ]
    return [ask for asks in zip(*rows, strict=True) for ask in asks][:num]


@functools.cache
def hard_keys() -> frozenset[str]:
    """What no round may ask for (`key_of`): all hard prompts, of any seed."""
    return frozenset(key_of(ask.modality, ask.text) for asks in _questions().values() for ask in asks)


@functools.cache
def _questions() -> dict[tuple[str, str], list[Ask]]:
    """All there are, by modality and way; no text is there twice."""
    known: set[str] = set()
    cells: dict[tuple[str, str], list[Ask]] = {}
    for place, way in enumerate(WAYS):
        for number, modality in enumerate(KINDS):
            if not _choices(way, modality):
                continue
            cell = cells.setdefault((modality, way), [])
            turn = 0
            while len(cell) < CELL:
                rng = np.random.default_rng([FIRST, place, number, turn])
                turn += 1
                ask = _question(way, modality, rng, LANGUAGES[len(cell) % len(LANGUAGES)])
                if key_of(modality, ask.text) not in known:
                    known.add(key_of(modality, ask.text))
                    cell.append(ask)
    return cells


def _question(way: str, modality: str, rng: np.random.Generator, language: str) -> Ask:
    choices = _choices(way, modality)
    want = choices[int(rng.integers(len(choices)))]
    findings = findings_of(want, rng, denials=len(KINDS[modality]) if way == "denied" else 0)
    if way == "rare combination":
        findings = _rarer(findings, modality, rng)
    text, told = worded(findings, modality, rng, language=language, kind="report" if way == "denied" else "caption")
    return Ask(
        text=text, modality=modality, findings=told, stratum=strata(modality, told)[0], source=f"hard: {way}"
    )  # fmt: skip


@functools.cache
def _choices(way: str, modality: str) -> list[Want]:
    """What may be asked for; nothing where a modality cannot be hard in that way."""
    found = list(wants((modality,)).values())
    if way in ("two findings", "three findings", "rare combination"):
        num = 3 if way == "three findings" else 2
        found = [w for w in found if len(w.kinds) == num]
        return [w for w in found if _unusual(w, modality)] if way == "rare combination" else found
    if way == "denied":
        return [w for w in found if len(w.kinds) == 1 and not w.several]
    return [w for w in found if (w.small if way == "small size" else w.several)]


def _unusual(want: Want, modality: str) -> list[str]:
    """The kinds of a combination that can be several, or on both sides."""
    rules = RULES[modality]
    return [k for k in want.kinds if rules[k].max_count > 1 or ("bilateral" in rules[k].sides and not rules[k].size_mm)]


def _rarer(findings: tuple[Finding, ...], modality: str, rng: np.random.Generator) -> tuple[Finding, ...]:
    """The same with one of them several, or on both sides; a size stays small enough for all to have room."""
    kinds = _unusual(Want(modality=modality, kinds=tuple(f.kind for f in findings)), modality)
    chosen = kinds[int(rng.integers(len(kinds)))]
    changed = []
    for finding in findings:
        rule = RULES[modality][finding.kind]
        count, side, size = finding.count, finding.side, finding.size_mm
        if finding.kind == chosen and rule.max_count > 1:
            count = int(rng.integers(2, rule.max_count + 1))
        elif finding.kind == chosen:
            side = "bilateral"
        if size is not None:
            size = min(size, float(MOST_SEVERAL_MM if count > 1 else MOST_BESIDE_MM))
        changed.append(Finding(kind=finding.kind, side=side, size_mm=size, count=count))
    return tuple(changed)
