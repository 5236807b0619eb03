"""Strata: the parts of what is asked for, by which prompts are planned, samples are kept, and the worst is found.

    stratum_of(record)       "CT: nodule under 20 mm, left"
    strata_of_case(case)     the same and the wider ones that it lies in: "CT: nodule", "CT"

A stratum is what a picture should show: its modality, its findings with side, number and coarse size, or the label of a
set that has no findings. Size and number are in it because gates refuse what is small or many more often than what is
large: where each stratum keeps its share, no such refusal changes what a model learns to be usual. Language is not in
it. Everything here is a pure function of one record or prompt; which strata a dataset has plays no part.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from vesalius.data.findings.read import as_findings, findings_in
from vesalius.data.modality import find_modality
from vesalius.data.record import Finding, Record
from vesalius.data.tables.labels import is_normal, labels_in, plain

if TYPE_CHECKING:
    from vesalius.eval.gates.scores import Case

SMALL_MM = 20.0
"""Longest diameter below which a finding is a small one."""
MOST_NAMED = 3
"""Kinds that a stratum names; beyond them it tells their number, or each picture would be a stratum of its own."""
GENERAL = ("lesion", "opacity")
"""Words that a text has for a finding which it names elsewhere."""
SIDES = {"left": "left", "right": "right", "bilateral": "both sides"}
OTHER = ", other"
NUMBERS = ("no", "one", "two", "three", "four", "five", "six")
_DETAIL = re.compile(r"( (under|of) \d+ mm( or more)?)?(, several)?(, (left|right|both sides))?$")


def stratum_of(record: Record) -> str:
    """The stratum of a record, as of the prompt for which it would be the answer."""
    return strata(find_modality(record.modality).name, record.findings, label=record.label)[0]


def strata_of_case(case: Case) -> tuple[str, ...]:
    """The stratum of a picture that is scored, sample or record alike, then the wider ones in which it lies."""
    told = strata(case.modality, case.findings, label=case.label)
    if told[0] == untold(case.modality) and case.shows:
        return strata(case.modality, [Finding(kind=kind) for kind in case.shows])
    return told


def prompt_strata(text: str, modality: str, findings: Sequence[Finding] = ()) -> tuple[str, ...]:
    """Stratum and wider ones of a prompt; where its findings are not given, of those that its words tell."""
    if findings:
        return strata(modality, findings)
    said = as_findings(findings_in(text))
    return strata(modality, [f for f in said if f.kind not in GENERAL] or said)


def strata(modality: str, findings: Iterable[Finding], *, label: str | None = None) -> tuple[str, ...]:
    """From the narrowest stratum to the whole modality.

    Present findings decide; without any the label does; with neither, what is only denied is normal.
    """
    findings = tuple(findings)
    present = [f for f in findings if f.present]
    labels = () if present else labels_in(label)
    told = {plain(word).removeprefix(f"{modality.lower()} ") for word in labels if not is_normal(word)}
    named = sorted({plain(f.kind) for f in present} or told)
    if len(named) > 1:
        number = f"{_number(len(named))} findings"
        if len(named) > MOST_NAMED:
            return f"{modality}: over {NUMBERS[MOST_NAMED]} findings", modality
        return f"{modality}: {', '.join(named[:-1])} and {named[-1]}", f"{modality}: {number}", modality
    if named:
        whole = f"{modality}: {named[0]}"
        narrow = f"{whole}{_detail(present)}"
        return (narrow, whole, modality) if narrow != whole else (whole, modality)
    if labels or findings:
        return f"{modality}: normal", modality
    return untold(modality), modality


def wider_of(stratum: str) -> str | None:
    """The next wider stratum by its name: of one kind, of as many kinds, the modality; None of that."""
    modality, _, told = stratum.partition(": ")
    if not told:
        return None
    whole = _DETAIL.sub("", told)
    if whole != told:
        return f"{modality}: {whole}"
    number = 1 + told.count(", ") + told.count(" and ")
    return f"{modality}: {_number(number)} findings" if number > 1 else modality


def pooled(asked: Mapping[str, int], least: int) -> dict[str, str]:
    """The stratum under which each is counted: its own where at least so many were asked, else, together with others
    that are as thin, the next wider one in which they are as many, or the modality.

    Such a rest is told apart from a stratum of the same name: "CT: nodule, other".
    """
    place = {s: s for s in asked}
    for _ in range(len(NUMBERS)):
        counts = Counter[str]()
        for s, num in asked.items():
            counts[place[s]] += num
        thin = [s for s in asked if counts[place[s]] < least and wider_of(place[s].removesuffix(OTHER)) is not None]
        if not thin:
            break
        place |= {s: f"{wider_of(place[s].removesuffix(OTHER))}{OTHER}" for s in thin}
    return place


def untold(modality: str) -> str:
    """The stratum of what has neither findings nor a label."""
    return f"{modality}: not told"


def _number(num: int) -> str:
    return NUMBERS[num] if num < len(NUMBERS) else str(num)


def _detail(present: Sequence[Finding]) -> str:
    """Number or size, and side, of the findings of one kind; "" where neither is known."""
    sides = {f.side for f in present if f.side}
    several = sum(max(1, f.count) for f in present) > 1
    sizes = [f.size_mm for f in present if f.size_mm is not None]
    size = f"under {SMALL_MM:g} mm" if max(sizes, default=0) < SMALL_MM else f"of {SMALL_MM:g} mm or more"
    number = ", several" if several else f" {size}" if sizes else ""
    side = SIDES["bilateral"] if len(sides) > 1 else SIDES[sides.pop()] if sides else ""
    return f"{number}{f', {side}' if side else ''}"
