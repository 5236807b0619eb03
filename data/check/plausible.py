"""Labels that cannot be: a finding or side that the modality or organ cannot have, a size beyond the body, a text that
contradicts its findings.

Each rule errs towards silence: an organ or finding that it does not know is possible.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Iterator

from vesalius.data.modality import MODALITIES, modality_in
from vesalius.data.phantoms.terms_en import TERMS
from vesalius.data.phantoms.terms_zh import TERMS_ZH
from vesalius.data.record import Finding, Record
from vesalius.data.tables.labels import is_normal
from vesalius.data.texts.prompt import sentences

REGIONS: dict[str, tuple[str, ...]] = {
    "eye": ("eye", "retina", "macula", "fundus", "optic disc", "orbit", "cornea"),
    "blood": ("blood", "peripheral blood", "bone marrow"),
    "chest": ("chest", "lung", "lungs", "thorax", "pleura", "heart", "mediastinum", "rib"),
    "head": ("brain", "head", "skull", "pituitary", "sinus"),
    "abdomen": ("abdomen", "liver", "kidney", "spleen", "pancreas", "stomach", "colon", "gallbladder"),
    "pelvis": ("pelvis", "bladder", "prostate", "uterus", "ovary", "rectum"),
    "breast": ("breast",),
    "neck": ("neck", "thyroid"),
}
"""Parts of the body and the organs in them, as records name these."""

SHOWN: dict[str, frozenset[str]] = {
    "fundus": frozenset({"eye"}),
    "OCT": frozenset({"eye", "chest"}),  # of the coronary arteries
    "blood smear": frozenset({"blood"}),
}
"""What a modality can show, where that is not everything but blood."""

FOUND: dict[str, tuple[str, ...]] = {
    "chest": (
        "pneumothorax", "pleural effusion", "consolidation", "emphysema", "pneumonia", "atelectasis", "cardiomegaly",
        "pulmonary edema", "pulmonary embolism", "bronchiectasis", "lung nodule", "pulmonary nodule",
    ),
    "head": (
        "glioma", "meningioma", "pituitary tumor", "pituitary tumour", "hydrocephalus", "midline shift",
        "ventricular enlargement", "subdural hematoma", "epidural hematoma",
    ),
    "eye": (
        "drusen", "microaneurysm", "microaneurysms", "diabetic retinopathy", "macular edema", "glaucoma",
        "hard exudates", "soft exudates", "retinal detachment", "macular hole",
    ),
    "abdomen": ("hydronephrosis", "cholelithiasis", "gallstones", "appendicitis", "splenomegaly", "hepatomegaly"),
}  # fmt: skip
"""Findings and labels that one part of the body alone can have."""

ONE_SIDED = {"spleen": "right", "appendix": "left", "gallbladder": "left"}
"""The side on which an organ does not lie."""

MOST_TEXT = 20_000
"""Characters of a text that are read; what is longer is no report."""

MOST_MM = {"eye": 60.0, "head": 250.0, "breast": 400.0, "neck": 300.0}
"""The longest finding of a part of the body; elsewhere BODY_MM."""
BODY_MM = 600.0

_REGION = {organ: region for region, organs in REGIONS.items() for organ in organs}
_HOME = {kind: region for region, kinds in FOUND.items() for kind in kinds}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s?(mm|cm|毫米|厘米)(?![a-z0-9²³/])", re.IGNORECASE)
_DENIED = re.compile(
    r"\b(no|not|non|without|absen\w+|negative|free of|neither|nor|never|rules? out|ruled out|exclude[sd]?|resolved|"
    r"lacks?|none|unremarkable)\b|[无没未否]|排除",
    re.IGNORECASE,
)
_UNSURE = re.compile(
    r"\b(possibl\w+|may|might|could|cannot|suspect\w*|question\w*|equivocal|likely|prior|previous\w*|history)\b|\?|"
    r"可能|疑|待排|既往",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"\W*(?:(?:is|are|was|were|has been)\s*)?(?:no|not|absent|none|excluded|ruled out|resolved|negative)\b|"
    r"[^，。；]{0,4}(?:阴性|[:：]\s*无)",
    re.IGNORECASE,
)
_UNCHANGED = re.compile(r"\bno (?:interval |significant |relevant )*(?:change|growth|increase)", re.IGNORECASE)
_CLAUSE = re.compile(r"[;，；。]|\bbut\b|\bhowever\b|\balthough\b", re.IGNORECASE)
"""What ends the reach of a negation. An English comma does not: "no nodule, mass or effusion"."""
_SIDES = {"left": re.compile(r"\bleft\b|左", re.IGNORECASE), "right": re.compile(r"\bright\b|右", re.IGNORECASE)}
_BOTH = re.compile(r"\bbilateral\w*|\bboth\b|双|两侧", re.IGNORECASE)


def implausible(record: Record) -> list[str]:
    """What of a record cannot be, a sentence each; none where all is possible or not known."""
    record = dataclasses.replace(record, text=record.text[:MOST_TEXT])
    return [*_places(record), *_sizes(record), *_contradictions(record)]


def _places(record: Record) -> Iterator[str]:
    shown = SHOWN.get(record.modality, frozenset(REGIONS) - {"blood"})
    if record.modality == "pathology":  # takes tissue from anywhere
        shown = frozenset(REGIONS)
    regions = {_REGION[part] for part in _parts(record.organ) if part in _REGION}
    if regions and not regions & shown:
        yield f"{record.modality} cannot show organ '{record.organ}'"
    for kind in sorted({_key(f.kind) for f in record.findings if f.present} | {_key(record.label or "")}):
        home = _HOME.get(kind)
        if home is None:
            continue
        if home not in shown:
            yield f"{record.modality} cannot show '{kind}', which is of the {home}"
        elif regions and home not in regions and len(regions) == len(_parts(record.organ)):
            yield f"organ '{record.organ}' cannot have '{kind}', which is of the {home}"
    for f in record.findings:
        wrong = next((ONE_SIDED[part] for part in _parts(record.organ) if part in ONE_SIDED), None)
        if f.side is not None and record.modality == "blood smear":
            yield f"a blood smear has no side, '{f.kind}' is {f.side}"
        elif f.side == "bilateral" and record.modality in ("fundus", "OCT"):
            yield f"{record.modality} shows one eye, '{f.kind}' is bilateral"
        elif f.side is not None and f.side == wrong:
            yield f"the {record.organ} does not lie on the {f.side}, '{f.kind}' does"


def _sizes(record: Record) -> Iterator[str]:
    limits = [MOST_MM.get(_REGION.get(part, ""), BODY_MM) for part in _parts(record.organ)]
    most = max(limits, default=BODY_MM)
    for f in record.findings:
        if f.size_mm is not None and not (math.isfinite(f.size_mm) and 0 < f.size_mm <= most):
            yield f"'{f.kind}' of {f.size_mm:g} mm: expected more than 0 and at most {most:g} mm"
        if f.present and f.count < 1:
            yield f"'{f.kind}' is present {f.count} times"
    for match in _LENGTH.finditer(record.text):
        size = float(match[1]) * (10 if match[2].lower() in ("cm", "厘米") else 1)
        if size > max(most, BODY_MM) * 3:  # texts also tell lengths of scans and of bodies
            yield f"its text says {match[0]}"


def _contradictions(record: Record) -> Iterator[str]:
    present = [f for f in record.findings if f.present]
    if is_normal(record.label or "") and present:
        yield f"label '{record.label}', but '{present[0].kind}' is present"
    named = modality_in(record.text)
    if named is not None and named.name != record.modality and record.modality in MODALITIES:
        own = (record.modality.lower(), *MODALITIES[record.modality].words)
        if not any(word in record.text.lower() for word in own):
            yield f"its text names {named.name}, its modality is {record.modality}"
    if not record.findings:
        return
    told = [_UNCHANGED.sub("stable", " ".join(s.split())) for s in sentences(record.text)]
    denied = {_key(f.kind) for f in record.findings if not f.present}
    for f in record.findings:
        about = [s for s in told if _noun(f.kind).search(s)]
        sure = [s for s in about if not _UNSURE.search(s)]
        affirmed = [s for s in sure if _affirms(s, f.kind)]
        if f.present and _key(f.kind) not in denied and about and len(sure) == len(about) and not affirmed:
            yield f"'{f.kind}' is present, its text says: {about[0][:120]}"
        elif not f.present and affirmed and all(_key(f.kind) != _key(p.kind) for p in present):
            yield f"'{f.kind}' is absent, its text says: {affirmed[0][:120]}"
        elif f.present and affirmed and f.side in _SIDES and _alone(f, present):
            other = "right" if f.side == "left" else "left"
            text = " ".join(affirmed)
            if _SIDES[other].search(text) and not _SIDES[f.side].search(text) and not _BOTH.search(text):
                yield f"'{f.kind}' is {f.side}, its text says: {affirmed[0][:120]}"


def _affirms(sentence: str, kind: str) -> bool:
    """Whether any mention of a finding in a sentence is not denied: by a word before it in its clause, or after it."""
    for mention in _noun(kind).finditer(sentence):
        before = _CLAUSE.split(sentence[: mention.start()])[-1]
        if not _DENIED.search(before) and not _DENIED_AFTER.match(sentence, mention.end()):
            return True
    return False


def _alone(finding: Finding, present: list[Finding]) -> bool:
    return sum(_key(f.kind) == _key(finding.kind) for f in present) == 1


def _key(word: str) -> str:
    return " ".join(word.lower().replace("_", " ").replace("-", " ").split())


def _parts(organ: str | None) -> list[str]:
    return [part.strip() for part in re.split(r",|/| and |&", (organ or "").lower()) if part.strip()]


@functools.cache
def _noun(kind: str) -> re.Pattern[str]:
    """The words for a finding: its own, and those that phantoms use."""
    term = TERMS.get(kind)
    words = {_key(kind), *(term.one if term else ()), *(term.many if term else ())}
    longest = sorted(map(re.escape, words), key=len, reverse=True)
    chinese = TERMS_ZH[kind].one if kind in TERMS_ZH else ()
    return re.compile("|".join([rf"\b({'|'.join(longest)})(s|es)?\b", *map(re.escape, chinese)]), re.IGNORECASE)
