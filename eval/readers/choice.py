"""Which images a reader study shows, and in which order: as many real as synthetic ones in each modality and label."""

from __future__ import annotations

import dataclasses
import random
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.modality import find_modality
from vesalius.data.record import Finding, Record, digest_file
from vesalius.data.texts.prompt import clean, prompts_of
from vesalius.eval.strata import patient_of
from vesalius.inference.sample import Sample

_DENIED = re.compile(r"\b(?:no|not|without|negative for|absence of)\b[^.,;]*$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An image that may be shown.

    label: its diagnosis or first finding; it and organ are "" where they are not known. sha256: by which its folder
    knows it. digest: what the sha256 of `path` should be; both "" where nothing says it. hounsfield: whether `path`
    holds Hounsfield units.
    """

    path: Path
    origin: str
    modality: str
    label: str
    text: str
    sha256: str
    hounsfield: bool
    organ: str = ""
    digest: str = ""
    patient: str = ""

    @property
    def is_synthetic(self) -> bool:
        return self.origin == "synthetic"

    @property
    def stratum(self) -> str:
        """What is balanced within a modality."""
        return ", ".join(filter(None, (self.organ, self.label)))


class Strata:
    """What a dataset's records say of organ and label, by which samples are told apart that say neither."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.texts: dict[tuple[str, str], set[tuple[str, str]]] = {}
        self.known: dict[str, set[tuple[str, str]]] = {}
        for record in records:
            if record.origin == "synthetic":
                continue
            modality, stratum = find_modality(record.modality).name, (record.organ or "", label_of(record))
            self.known.setdefault(modality, set()).add(stratum)
            for text in prompts_of(record):
                self.texts.setdefault((modality, text), set()).add(stratum)

    def find(self, modality: str, text: str, findings: Sequence[Finding]) -> tuple[str, str]:
        """Organ and label of a prompt: those of the records whose caption it is; else those whose label it asks for by
        its findings, or names and does not deny. Two empty texts where that leaves none or several."""
        exact = self.texts.get((modality, text), set())
        if len(exact) == 1:
            return next(iter(exact))
        known = self.known.get(modality, set())
        asked = findings_label(findings)
        fitting = {s for s in known if asked and s[1] == asked} or {s for s in known if _names(text, s[1])}
        longest = max((len(label) for _, label in fitting), default=0)  # "viral pneumonia" rather than "pneumonia"
        fitting = {s for s in fitting if len(s[1]) == longest}
        if len(fitting) > 1:
            fitting = {s for s in fitting if _names(text, s[0])}
        return next(iter(fitting)) if len(fitting) == 1 else ("", asked)


def _names(text: str, words: str) -> bool:
    """Whether a text has these words, undenied."""
    found = re.search(rf"(?<!\w){re.escape(words)}(?!\w)", text, re.IGNORECASE) if words else None
    return found is not None and not _DENIED.search(text[: found.start()])


def findings_label(findings: Iterable[Finding]) -> str:
    """What findings amount to: the kind of the first that is present, "normal" where all are denied, "" of none."""
    told = list(findings)
    present = [f.kind for f in told if f.present]
    return present[0] if present else "normal" if told else ""


def label_of(record: Record) -> str:
    """A record's label, or what its findings amount to."""
    return record.label or findings_label(record.findings)


def of_record(folder: Path, record: Record) -> Candidate:
    path = folder / record.file_name
    return Candidate(
        path=path, origin=record.origin, modality=find_modality(record.modality).name, label=label_of(record),
        organ=record.organ or "", text=next(iter(prompts_of(record)), ""), sha256=record.sha256 or "",
        digest=record.sha256 or "", hounsfield=record.hounsfield, patient=patient_of(record) or "",
    )  # fmt: skip


def of_sample(folder: Path, sample: Sample, strata: Strata) -> Candidate:
    """ValueError where its picture is no PNG."""
    path = sample.picture(folder)
    text = clean(sample.text)
    organ, label = strata.find(sample.modality, text, sample.findings)
    return Candidate(
        path=path, origin="synthetic", modality=sample.modality, label=label, organ=organ, text=text,
        sha256=sample.sha256, hounsfield=sample.raw16 is not None,
        digest=(sample.raw16_sha256 or "") if sample.raw16 else sample.sha256,
    )  # fmt: skip


def whole(candidate: Candidate) -> Candidate:
    """With the digest of its file. ValueError where that lacks, or was changed since its folder was written."""
    if not candidate.path.is_file():
        raise ValueError(f"{candidate.path}: no such image file; copy the folder whole, or make it again")
    found = digest_file(candidate.path)
    if candidate.digest and found != candidate.digest:
        raise ValueError(f"{candidate.path}: was changed since its folder was written; run the line that made it again")
    return dataclasses.replace(candidate, sha256=candidate.sha256 or found)


def choose(
    real: Sequence[Candidate], synthetic: Sequence[Candidate], num: int, seed: int
) -> tuple[list[Candidate], list[str]]:
    """`num` images, or as many as there are, in each modality and label as many real as synthetic, spread as evenly as
    they allow; and notes.

    Of a patient one image is shown where there are others. Where the labels of a modality have nothing in common, it is
    balanced as a whole. ValueError where there are none.
    """
    notes: list[str] = []
    pairs: dict[str, dict[str, list[tuple[Candidate, Candidate]]]] = {}
    for modality in sorted({c.modality for c in real} & {c.modality for c in synthetic}):
        sides = [[c for c in side if c.modality == modality] for side in (real, synthetic)]
        sides, told = _alike_in_units(modality, sides)
        shared = {c.stratum for c in sides[0]} & {c.stratum for c in sides[1]}
        groups = [(label, [[c for c in side if c.stratum == label] for side in sides]) for label in sorted(shared)]
        if not shared or shared == {""}:
            told.append(f"{modality}: no organ and label is of real and synthetic ones both, so neither is balanced")
            groups = [("", sides)]
        elif left := sum(c.stratum not in shared for c in sides[1]):
            told.append(f"{modality}: {left} of {len(sides[1])} synthetic images have no real ones of their kind")
        notes += told
        pairs[modality] = {
            label: list(
                zip(*(_shuffled(s, f"{seed}/{modality}/{label}/{i}") for i, s in enumerate(both)), strict=False)
            )
            for label, both in groups
        }
    room = sum(len(p) for groups in pairs.values() for p in groups.values())
    if not room:
        raise ValueError(
            f"no real and synthetic images are of the same modality ({len(real)} real and {len(synthetic)} synthetic "
            "in all); give images that are"
        )
    if room < num // 2:
        notes.append(
            f"{2 * room} images are shown in place of --num {num}: so many agree in modality and label, half of them "
            f"real ({len(real)} real and {len(synthetic)} synthetic in all)"
        )
    taken = {(m, label): 0 for m, groups in pairs.items() for label in groups}
    for _ in range(min(num // 2, room)):  # to the modality, and in it to the label, that has least so far
        free = [(m, label) for m, label in taken if taken[m, label] < len(pairs[m][label])]
        least = min(free, key=lambda k: (sum(n for (m, _), n in taken.items() if m == k[0]), taken[k]))
        taken[least] += 1
    return [c for (m, label), n in taken.items() for pair in pairs[m][label][:n] for c in pair], notes


def _alike_in_units(modality: str, sides: list[list[Candidate]]) -> tuple[list[list[Candidate]], list[str]]:
    """CT of known and of unknown units differ in tone: where both sides have units, or both lack them, only those."""
    for known in (True, False):
        alike = [[c for c in side if c.hounsfield == known] for side in sides]
        if all(alike):
            return alike, []
    return sides, [f"{modality}: Hounsfield units are known on one side alone, so tones may give the answer away"]


def _shuffled(candidates: Sequence[Candidate], seed: str) -> list[Candidate]:
    """In an order of chance, with the second image of a patient after the first ones of all."""
    mixed = list(candidates)
    random.Random(seed).shuffle(mixed)
    turn, seen = [], Counter[str]()
    for each in mixed:
        turn.append(seen[each.patient] if each.patient else 0)
        seen[each.patient] += 1
    return [c for _, c in sorted(zip(turn, mixed, strict=True), key=lambda pair: pair[0])]


def arrange(chosen: Sequence[Candidate], num_repeats: int, seed: int) -> list[Candidate]:
    """All in an order of chance; so many come a second time, half of them real, with a third of all between where that
    leaves room."""
    rng = random.Random(f"{seed}/order")
    sides = [[c for c in chosen if c.is_synthetic is wanted] for wanted in (True, False)]
    rng.shuffle(sides)
    for side in sides:
        rng.shuffle(side)
    again = [c for pair in zip(*sides, strict=True) for c in pair][:num_repeats]
    gap = min(len(chosen) // 3, len(chosen) - len(again))
    early = len(chosen) - gap
    others = [c for c in chosen if not any(c is each for each in again)]
    rng.shuffle(others)
    head = [*again, *others[: early - len(again)]]
    rng.shuffle(head)
    order = [*head, *others[early - len(again) :]]
    before: list[list[Candidate]] = [
        [] for _ in range(len(order) + 1)
    ]  # what comes again, by the place it stands before
    for each in again:
        first = next(i for i, c in enumerate(order) if c is each)
        before[rng.randint(first + gap + 1, len(order)) if first + gap < len(order) else len(order)].append(each)
    return [c for i, more in enumerate(before) for c in [*more, *order[i : i + 1]]]


def balance_of(chosen: Sequence[Candidate]) -> dict[str, int]:
    """Images by "modality, organ, label", half of them real each; by modality where labels have nothing in common."""
    found: dict[str, int] = {}
    for modality in sorted({c.modality for c in chosen}):
        counts = Counter((c.stratum, c.is_synthetic) for c in chosen if c.modality == modality)
        strata = sorted({stratum for stratum, _ in counts})
        if all(counts[s, True] == counts[s, False] for s in strata):
            found |= {f"{modality}, {s}" if s else modality: 2 * counts[s, True] for s in strata}
        else:
            found[modality] = counts.total()
    return found
