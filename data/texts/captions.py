"""Captions of real images, told anew from what their rows state, in any of `CAPTIONS`.

A caption says no more than the row: its columns, and what its own text says of them (contrast, sequence, size). Facts
of little weight are left out now and then.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from vesalius.data.modality import MODALITIES
from vesalius.data.phantoms.report import LANGUAGES
from vesalius.data.record import Record
from vesalius.data.tables.labels import LABEL_WORDS, bare, is_normal, known_label, labels_in
from vesalius.data.texts.captions_en import ENGLISH_CAPTIONS
from vesalius.data.texts.captions_zh import CHINESE_CAPTIONS
from vesalius.data.texts.phrases import Captions, Phrases, fill, pick

if TYPE_CHECKING:
    import numpy as np

CAPTIONS: dict[str, Captions] = {
    language: replace(captions, labels=LABEL_WORDS[language])
    for language, captions in (("en", ENGLISH_CAPTIONS), ("zh", CHINESE_CAPTIONS))
}
GREY = {"en": "Greyscale ", "zh": "灰度"}
"""What begins a text of CT whose Hounsfield units are not known."""

UNLABELLED = ("idrid-codras",)
"""Sources of which neither labels nor captions may be told: their lesions were marked under another licence."""

# Labels that name no finding: a part of the body, or nothing.
_PLAIN = ("abdomen", "abdomen and pelvis", "pelvis", "head", "spinal cord", "he_unspecified", "he_os1")
_OF_PATIENT = (
    "CT/lung/malignant", "CT/lung/benign", "hypertrophy", "heart failure with infarction", "COVID-19",
    "heart failure without infarction", "anemia_hereditary_elliptocytosis", "anemia_hereditary_spherocytosis",
    "anemia_iron_deficiency", "anemia_megaloblastic", "anemia_thalassemia", "fundus_diabetic_retinopathy",
    "fundus_glaucoma",
)  # fmt: skip
# A cohort's diagnosis: the slice need not show it, so it is seldom told, and always of the patient.
_COHORT = "template-from-DICOM-header"
_OFTEN = {
    "plane": 0.8, "contrast": 0.6, "dose": 0.4, "sequence": 0.75, "window": 0.6, "view": 0.8, "stain": 0.7,
    "size": 0.8, "where": 0.7, "level": 0.8, "n": 0.5, "sex": 0.3, "cohort": 0.3,
}  # fmt: skip
_TOLD = tuple(
    (slot, value, re.compile(pattern, re.IGNORECASE))
    for slot, value, pattern in (
        ("contrast", "enhanced", r"\bcontrast-enhanced\b(?! T1)"),
        ("contrast", "plain", r"\bnon-contrast\b"),
        ("dose", "low", r"\blow-dose CT\b"),
        ("sequence", "T1", r"\bT1-weighted after gadolinium|contrast-enhanced T1-weighted|T1 with contrast"),
        ("sequence", "T2*", r"\bT2\*-weighted"),
        ("sequence", "T2", r"\bT2-weighted"),
        ("sequence", "cine", r"\bcine\b"),
        ("level", "skull base", r"\bskull base\b"),
        ("level", "brain", r"\blevel of the brain\b"),
        ("region", "upper abdomen", r"\b(?<!and )upper abdomen\b"),
        ("region", "cervical cord", r"\bcervical spinal cord\b"),
        ("sex", "child", r"\bchild\b|\bpediatric\b"),
    )
)
_SIZE = re.compile(r"\b(small|medium-sized|large)\b")
_WHERE = re.compile(
    r"(?:in the |, )((?:upper|lower) (?:left|right)|upper|lower|left|right|center)(?:(?: part)? of the image)?\."
)
_AGE = re.compile(r"\b(\d+)-year-old (?:wo)?man\b")
_FINER = re.compile(r"\b(promyelocyte|metamyelocyte|myelocyte|(?:band|segmented) neutrophil)\b")
_TIMES = re.compile(r"(~)?([\d.]+)x")
_HELD = "\0"
_UNQUOTED = str.maketrans({"'": "’", "“": "", "”": "", '"': "", "\0": ""})
_MICROGRAPH = re.compile(r"\bLM x ([\d.]+\d)")


@functools.lru_cache(maxsize=4096)
def _facts_of_text(text: str) -> dict[str, str]:
    """What a caption made from labels says beside them."""
    facts: dict[str, str] = {}
    for slot, value, pattern in _TOLD:
        if slot not in facts and pattern.search(text):
            facts[slot] = value
    for slot, pattern in (("size", _SIZE), ("where", _WHERE), ("age", _AGE), ("finer", _FINER), ("n", _MICROGRAPH)):
        if found := pattern.search(text):
            facts[slot] = found.group(1)
    return facts


def facts_of(record: Record) -> dict[str, str]:
    """What a row states of its image, beside modality and label, by slot.

    plane, contrast, dose, sequence, window, view, stain, level, region (of radiology), organ, n (magnification),
    about, lens, age, sex, size and where (of the finding), finer (a label in more detail).
    """
    row, label = record.extra, record.label or ""
    if record.source in UNLABELLED:
        return {"organ": record.organ or ""}
    facts = dict(_facts_of_text(record.text)) if row.get("text_origin") else {}
    for slot in ("plane", "view", "stain"):
        if row.get(slot):
            facts[slot] = str(row[slot])
    facts["stain"] = facts.get("stain", "").split(" (")[0]
    facts.setdefault("region", label if label in _PLAIN[:4] else str(row.get("region") or record.organ or ""))
    facts["organ"] = record.organ or ""
    if sex := str(row.get("sex") or "")[:1].upper():
        facts["sex"] = sex
    if window := str(row.get("window") or ""):
        facts["window"] = "soft" if window == "C40/W400" else window.split(" ")[0]
    magnification = str(row.get("magnification") or "")
    if found := _TIMES.search(magnification):
        facts |= {"n": found.group(2), "about": "about" if found.group(1) else ""}
        facts["lens"] = "objective" if "objective" in magnification else ""
    return facts


def labels_of(record: Record, facts: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """What is to be told of each of a row's labels: its key in `Captions.labels`, and the kind of frame it goes into.

    A label that names no finding is left out, and so is a normal one beside others. One without words is its own key.
    """
    cell = re.sub(r"_\d+x$", "", record.label or "")
    if record.source in UNLABELLED or not cell:
        return ()
    parts, told = labels_in(cell), list[tuple[str, str]]()
    for label in parts:
        if label in _PLAIN:
            continue
        finer = facts.get("finer", "") if len(parts) == 1 else ""
        if is_normal(label):
            told.append(("", "normal"))
        elif key := finer if finer in LABEL_WORDS["en"] else known_label(label, record.modality, record.organ):
            patient = key in _OF_PATIENT or record.extra.get("text_origin") == _COHORT
            told.append((key, "case" if patient else "finding"))
        else:
            told.append((label, "named"))
    ill = [each for each in told if each[1] != "normal"]
    return tuple(dict.fromkeys(ill or told))


def label_of(record: Record, facts: dict[str, str]) -> tuple[str, str]:
    """The first of `labels_of`; ("", "plain") where there is none."""
    return next(iter(labels_of(record, facts)), ("", "plain"))


def is_grey(record: Record) -> bool:
    """Whether a real record is of a modality that is seen in windows, but lacks the units that windows need."""
    modality = MODALITIES.get(record.modality)
    return bool(modality and modality.windows and not record.hounsfield and record.origin == "real")


def caption_of(
    record: Record, rng: np.random.Generator, language: str = "en", *, unseen: bool = False, marked: bool = True
) -> str:
    """A caption of a real image from its row alone. marked: whether grey CT is said to be so."""
    talk, polish = CAPTIONS[language], LANGUAGES[language].polish
    frames = talk.unseen if unseen else talk.seen
    facts = facts_of(record)
    labels = labels_of(record, facts)
    role = next((r for r in ("named", "case", "finding", "normal") if any(r == each for _, each in labels)), "plain")
    if role == "case" and record.extra.get("text_origin") == _COHORT and rng.random() >= _OFTEN["cohort"]:
        labels, role = (), "plain"
    said = {slot: fact for slot, fact in facts.items() if fact and rng.random() < _OFTEN.get(slot, 1)}
    words = {slot: pick(rng, talk.names.get(slot, {}).get(fact, (fact,))) for slot, fact in said.items()}
    region, site = talk.regions.get(facts.get("region", ""), (facts.get("region", ""),) * 2)
    words |= {"region": region, "site": site, "organ": talk.organs.get(facts["organ"], facts["organ"])}
    words["modality"] = talk.modalities.get(record.modality, record.modality)

    chest = facts.get("region") in ("chest", "lung")
    scans = frames.scan.get(f"{record.modality}/chest") if chest else None
    frame = pick(rng, scans or frames.scan.get(record.modality) or frames.scan[""])
    scan = fill(frame, words)
    more = [fill(form, words) for slot, form in talk.extras.items() if slot in words and f"{{{slot}}}" not in frame]
    if "n" in said:
        more.append(fill(pick(rng, talk.lens if said.get("lens") else talk.times), words))
    if sex := said.get("sex"):
        person = talk.person.get(sex) if "age" in facts and rng.random() < 0.5 else None
        more.append(
            talk.aged.format(age=facts["age"], person=person) if person else pick(rng, talk.who.get(sex, (sex,)))
        )
    if role == "named":
        what = _listed([_quoted(key, kind, talk) for key, kind in labels], talk)
    else:
        what = _listed([fill(pick(rng, talk.labels[key]), words) for key, _ in labels if key], talk)
    forms: Phrases = getattr(frames, role)
    if is_grey(record):
        # The word stands for the whole picture, so it comes before the scan, and the scan before all else.
        forms = tuple(f for f in forms if f.startswith("{scan}"))
        scan = GREY[language] + scan if marked else scan
    where, more_words = words.get("where", ""), talk.comma.join(more)
    held = _HELD if role == "named" else what  # a quoted label is not polished
    text = fill(pick(rng, forms), {"scan": scan, "what": held, "where": where, "more": more_words})
    return polish(text).replace(_HELD, what)


def _quoted(key: str, role: str, talk: Captions) -> str:
    """A label as its set writes it, or by its first words where it has some, in quotes that it cannot close."""
    said = key if role == "named" else bare(talk.labels[key][0])
    return said.replace("_", " ").translate(_UNQUOTED).strip().join(talk.quotes)


def _listed(parts: Sequence[str], talk: Captions) -> str:
    comma = "、" if talk.comma == "，" else talk.comma
    return comma.join(parts[:-1]) + talk.both + parts[-1] if len(parts) > 1 else "".join(parts)
