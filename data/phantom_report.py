"""Words for phantoms: the report and the caption of a list of findings, from tables of phrases.

A second language is a second `Language` in `LANGUAGES`; nothing else knows a word of English.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from vesalius.data.record import Finding

Phrases = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Term:
    """How one kind of finding is said.

    one, many: noun phrases, the same synonym at the same place. absent: the noun after "no". place: what a side is of.
    present: sentences, with {the} for the noun phrase with its article, count and size, {where} for the place, {is} for
    the verb in its number. detail: remarks that may follow, true of every drawing of the kind.
    """

    one: Phrases
    many: Phrases
    absent: str
    place: str
    present: Phrases
    detail: Phrases = ()


@dataclass(frozen=True, kw_only=True)
class Language:
    """All phrases of one language."""

    terms: dict[str, Term]
    numbers: tuple[str, ...]
    sides: dict[str, Phrases]
    sizes: Phrases
    sizes_cm: Phrases
    largest: Phrases
    grades: tuple[tuple[float, str], ...]
    absent: Phrases
    absent_list: Phrases
    normal: dict[str, Phrases]
    background: dict[str, Phrases]
    indication: dict[str, Phrases]
    technique: dict[str, Phrases]
    scan: dict[str, Phrases]
    scan_normal: Phrases
    captions: Phrases
    headings: tuple[str, str, str, str]
    sequences: dict[str, str]
    without: Phrases
    joint: str
    either: str
    verbs: tuple[str, str]
    article: Callable[[str], str]


def _article(noun: str) -> str:
    """The noun with "a" or "an"; a number goes by its sound."""
    vowel = noun[0] in "aeiou8" or noun.startswith(("11 ", "18 "))
    return f"{'an' if vowel else 'a'} {noun}"


_SEEN = (
    "There {is} {the} {where}.",
    "{The} {is} seen {where}.",
    "{The} {is} present {where}.",
    "{Where}, {the} {is} noted.",
)
_FOUND = ("{The} {is} seen.", "There {is} {the} in this field.", "{The} {is} present.")

ENGLISH = Language(
    terms={
        "nodule": Term(
            one=("nodule", "pulmonary nodule", "lung nodule", "rounded opacity", "solid nodule"),
            many=("nodules", "pulmonary nodules", "lung nodules", "rounded opacities", "solid nodules"),
            absent="nodule",
            place="lung",
            present=_SEEN,
            detail=("It is of soft-tissue density.", "No calcification is seen within it."),
        ),
        "pleural effusion": Term(
            one=("pleural effusion", "pleural fluid collection", "layering pleural effusion"),
            many=("pleural effusions", "pleural fluid collections", "layering pleural effusions"),
            absent="pleural effusion",
            place="hemithorax",
            present=_SEEN,
            detail=("The fluid layers dependently.", "The adjacent lung is compressed."),
        ),
        "pneumothorax": Term(
            one=("pneumothorax", "collection of pleural air"),
            many=("pneumothoraces", "collections of pleural air"),
            absent="pneumothorax",
            place="hemithorax",
            present=_SEEN,
            detail=("The visceral pleural line is visible.", "The lung is partly collapsed."),
        ),
        "consolidation": Term(
            one=("consolidation", "airspace consolidation", "airspace opacity"),
            many=("consolidations", "airspace consolidations", "airspace opacities"),
            absent="consolidation",
            place="lung",
            present=_SEEN,
            detail=("Air bronchograms are seen.", "Its margins are ill defined."),
        ),
        "mass": Term(
            one=("mass", "intra-axial mass", "space-occupying lesion", "tumor"),
            many=("masses", "intra-axial masses", "space-occupying lesions", "tumors"),
            absent="mass",
            place="cerebral hemisphere",
            present=_SEEN,
            detail=("Perilesional edema is seen.", "A thick rim surrounds its center."),
        ),
        "infarct": Term(
            one=("infarct", "ischemic infarct", "territorial infarct"),
            many=("infarcts", "ischemic infarcts", "territorial infarcts"),
            absent="infarct",
            place="cerebral hemisphere",
            present=_SEEN,
            detail=("It is wedge-shaped and reaches the cortex.",),
        ),
        "hemorrhage": Term(
            one=("hemorrhage", "intracerebral hemorrhage", "parenchymal hematoma"),
            many=("hemorrhages", "intracerebral hemorrhages", "parenchymal hematomas"),
            absent="hemorrhage",
            place="cerebral hemisphere",
            present=_SEEN,
            detail=("It lies deep in the hemisphere.", "A narrow rim of edema surrounds it."),
        ),
        "mitotic figures": Term(
            one=("mitotic figure", "mitosis", "cell in mitosis"),
            many=("mitotic figures", "mitoses", "cells in mitosis"),
            absent="mitotic figure",
            place="",
            present=_FOUND,
        ),
        "lymphocytic infiltrate": Term(
            one=("lymphocytic infiltrate", "infiltrate of lymphocytes", "lymphoid aggregate"),
            many=("lymphocytic infiltrates", "infiltrates of lymphocytes", "lymphoid aggregates"),
            absent="lymphocytic infiltrate",
            place="",
            present=_FOUND,
            detail=("Its nuclei are small, round and dark.",),
        ),
        "necrosis": Term(
            one=("focus of necrosis", "area of necrosis", "zone of tumor necrosis"),
            many=("necrosis", "necrosis", "tumor necrosis"),
            absent="necrosis",
            place="",
            present=_FOUND,
            detail=("It is eosinophilic with nuclear debris.",),
        ),
        "gland": Term(
            one=("gland", "glandular structure", "gland with an open lumen"),
            many=("glands", "glandular structures", "glands with open lumens"),
            absent="gland",
            place="",
            present=_FOUND,
        ),
    },
    numbers=("no", "one", "two", "three", "four", "five"),
    sides={
        "left": ("in the left {place}", "on the left", "on the left side", "in the {place} on the left"),
        "right": ("in the right {place}", "on the right", "on the right side", "in the {place} on the right"),
        "bilateral": ("on both sides", "bilaterally", "on the left and on the right"),
    },
    sizes=("measuring {mm} mm", "of {mm} mm", "{mm} mm in diameter", "with a diameter of {mm} mm"),
    sizes_cm=("measuring {cm} cm", "of {cm} cm", "{cm} cm in diameter"),
    largest=("the largest measuring {mm} mm", "the largest {mm} mm in diameter", "up to {mm} mm"),
    grades=((20, "small"), (32, "medium-sized"), (1e9, "large")),
    absent=(
        "No {one} is seen.",
        "There is no {one}.",
        "{One} is absent.",
        "There is no evidence of {one}.",
        "Without evidence of {one}.",
    ),
    absent_list=(
        "No {list} is seen.",
        "There is no {list}.",
        "There is no evidence of {list}.",
        "Negative for {list}.",
    ),
    normal={
        "CT": ("No acute abnormality of the chest.", "Normal chest CT.", "Unremarkable chest."),
        "MRI": ("No intracranial abnormality.", "Normal brain MRI.", "Unremarkable brain."),
        "pathology": ("No significant pathologic change.", "Normal stroma.", "Unremarkable fibrous tissue."),
    },
    background={
        "CT": ("The heart and great vessels are unremarkable.", "The airways are patent.", "No rib fracture is seen."),
        "MRI": ("The sulci are preserved.", "The midline is not shifted.", "The skull is intact."),
        "pathology": (
            "The stroma is fibrous with spindle cells.",
            "The stroma is collagenous.",
            "The background is fibrous tissue.",
        ),
    },
    indication={
        "CT": ("Cough.", "Shortness of breath.", "Chest pain.", "Follow-up.", "Fever."),
        "MRI": ("Headache.", "Seizure.", "Sudden weakness.", "Follow-up.", "Confusion."),
        "pathology": ("Biopsy.", "Core biopsy.", "Resection specimen."),
    },
    technique={
        "CT": ("Axial CT of the chest.", "Chest CT, axial slice at the level of the {level}."),
        "MRI": ("Axial {sequence} MRI of the brain.", "Brain MRI, axial {sequence}."),
        "pathology": ("H&E stain, {organ}.", "Hematoxylin and eosin, {organ} tissue."),
    },
    scan={
        "CT": ("chest CT", "axial chest CT", "axial chest CT slice", "axial CT of the chest"),
        "MRI": ("brain MRI", "axial brain MRI", "axial {sequence} brain MRI", "axial {sequence} MRI of the brain"),
        "pathology": (
            "H&E tile",
            "H&E image of {organ} tissue",
            "H&E histopathology of the {organ}",
            "hematoxylin and eosin (H&E) image",
        ),
    },
    scan_normal=(
        "Normal {scan}{without}.",
        "{Scan} without abnormality{without}.",
        "{Scan}, normal{without}.",
        "{Scan} with no abnormal finding{without}.",
    ),
    captions=(
        "{Scan} with {list}{without}.",
        "{Scan} showing {list}{without}.",
        "{Scan}: {list}{without}.",
        "{List} on {scan}{without}.",
    ),
    headings=("INDICATION", "TECHNIQUE", "FINDINGS", "IMPRESSION"),
    sequences={"T1": "contrast-enhanced T1-weighted", "T2": "T2-weighted", "FLAIR": "FLAIR"},
    without=(", no {list}", ", without {list}", "; no {list}"),
    joint=" and ",
    either=" or ",
    verbs=("is", "are"),
    article=_article,
)

LANGUAGES: dict[str, Language] = {"en": ENGLISH}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _tidy(text: str) -> str:
    """Without the gaps and the doubled commas that an empty or a bracketed phrase leaves."""
    return text.replace(" .", ".").replace(",,", ",").replace(",.", ".").replace(" ,", ",").strip()


class Writer:
    """Writes the text of one phantom; every choice comes from `rng`, every fact from the findings and the drawing."""

    def __init__(self, rng: np.random.Generator, modality: str, words: dict[str, str], language: str = "en") -> None:
        self.rng, self.modality, self.talk = rng, modality, LANGUAGES[language]
        self.words = {**words, "sequence": self.talk.sequences.get(words.get("sequence", ""), "")}

    def pick(self, phrases: Sequence[str]) -> str:
        return phrases[int(self.rng.integers(len(phrases)))]

    def chance(self, share: float) -> bool:
        return bool(self.rng.random() < share)

    def size(self, finding: Finding) -> str:
        assert finding.size_mm is not None
        if finding.count > 1:
            return self.pick(self.talk.largest).format(mm=f"{finding.size_mm:g}")
        phrases = self.talk.sizes if self.chance(0.65) else self.talk.sizes_cm
        return self.pick(phrases).format(mm=f"{finding.size_mm:g}", cm=f"{finding.size_mm / 10:.1f}")

    def noun(self, finding: Finding, *, plain: bool = False) -> str:
        """The noun phrase with its article or count, and its size before or after; `plain` takes the first synonym."""
        talk, term = self.talk, self.talk.terms[finding.kind]
        which = 0 if plain else int(self.rng.integers(len(term.one)))
        if finding.count > 1:
            noun = f"{talk.numbers[finding.count]} {term.many[which]}"
            return noun if finding.size_mm is None else f"{noun}, {self.size(finding)},"
        if finding.side == "bilateral":
            return term.many[which]
        if finding.size_mm is None:
            return talk.article(term.one[which])
        if self.chance(0.35):
            return talk.article(f"{finding.size_mm:g} mm {term.one[which]}")
        grade = next(word for limit, word in talk.grades if finding.size_mm < limit) + " " if self.chance(0.4) else ""
        return f"{talk.article(grade + term.one[which])} {self.size(finding)}"

    def where(self, finding: Finding) -> str:
        if finding.side is None:
            return ""
        return self.pick(self.talk.sides[finding.side]).format(place=self.talk.terms[finding.kind].place)

    def sentence(self, finding: Finding) -> str:
        term = self.talk.terms[finding.kind]
        many = finding.count > 1 or finding.side == "bilateral"
        the, where = self.noun(finding), self.where(finding)
        parts = {
            "the": the,
            "The": _capital(the),
            "where": where,
            "Where": _capital(where),
            "is": self.talk.verbs[many],
        }
        text = _tidy(self.pick(term.present).format(**parts))
        return f"{text} {self.pick(term.detail)}" if term.detail and not many and self.chance(0.5) else text

    def denials(self, kinds: list[str]) -> list[str]:
        names = [self.talk.terms[kind].absent for kind in kinds]
        if len(names) > 1 and self.chance(0.6):
            listed = ", ".join(names[:-1]) + self.talk.either + names[-1]
            return [self.pick(self.talk.absent_list).format(list=listed)]
        return [self.pick(self.talk.absent).format(one=name, One=_capital(name)) for name in names]

    def report(self, findings: tuple[Finding, ...]) -> str:
        """FINDINGS and IMPRESSION, and now and then INDICATION and TECHNIQUE, one a line."""
        order = [findings[i] for i in self.rng.permutation(len(findings))]
        present, denied = [f for f in order if f.present], [f.kind for f in order if not f.present]
        heads, sections = self.talk.headings, []
        if self.chance(0.45):
            sections.append((heads[0], self.pick(self.talk.indication[self.modality])))
        if self.chance(0.6):
            sections.append((heads[1], self.pick(self.talk.technique[self.modality]).format(**self.words)))
        body = [self.sentence(f) for f in present] + self.denials(denied)
        if not body or (not present and self.chance(0.7)):
            body.insert(0, self.pick(self.talk.background[self.modality]))
        sections.append((heads[2], " ".join(body)))
        ends = [_tidy(_capital(f"{self.noun(f, plain=True)} {self.where(f)}.")) for f in present]
        sections.append((heads[3], " ".join(ends) or self.pick(self.talk.normal[self.modality])))
        return "\n".join(f"{head}: {text}" for head, text in sections)

    def caption(self, findings: tuple[Finding, ...]) -> str:
        """One line: the technique, what is present, and sometimes what is not."""
        present = [f for f in findings if f.present]
        denied = [self.talk.terms[f.kind].absent for f in findings if not f.present][:2]
        scan = self.pick(self.talk.scan[self.modality]).format(**self.words)
        without = (
            self.pick(self.talk.without).format(list=self.talk.either.join(denied))
            if denied and self.chance(0.4)
            else ""
        )
        said = self.talk.joint.join(
            _tidy(f"{self.noun(f, plain=self.chance(0.5))} {self.where(f)}").rstrip(",") for f in present
        )
        style = self.pick(self.talk.captions if present else self.talk.scan_normal)
        return _tidy(style.format(scan=scan, Scan=_capital(scan), list=said, List=_capital(said), without=without))
