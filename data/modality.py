"""Modalities as data: what an imaging technique looks like, and which augmentations its anatomy allows."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

Flip = Literal["horizontal", "vertical"]


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One imaging technique.

    name: the word used in records, prompts and manifests.
    channels: 1 for grey images (stored and shown as three equal channels), 3 for colour.
    fit: how a non-square image becomes square: "pad" keeps the whole body, "crop" keeps the scale of texture.
    words: lower-case names that users and headers give it; the longest match in a prompt wins.
    dicom: values of the DICOM attribute Modality (0008,0060).
    window: (centre, width) in Hounsfield units used when a file carries none; None where units are arbitrary.
    flips: mirrorings that keep an image plausible when its text names no side.
    """

    name: str
    channels: Literal[1, 3]
    fit: Literal["pad", "crop"]
    words: tuple[str, ...]
    dicom: tuple[str, ...] = ()
    window: tuple[float, float] | None = None
    flips: tuple[Flip, ...] = ()


MODALITIES: dict[str, Modality] = {
    m.name: m
    for m in (
        Modality(
            name="CT", channels=1, fit="pad", dicom=("CT",), window=(40.0, 400.0),
            words=("ct", "chest ct", "brain ct", "cat scan", "computed tomography", "low-dose ct"),
        ),
        Modality(
            name="MRI", channels=1, fit="pad", dicom=("MR",),
            words=(
                "mri", "mr", "brain mri", "breast mri", "cardiac mri", "magnetic resonance",
                "magnetic resonance imaging",
            ),
        ),
        Modality(
            name="X-ray", channels=1, fit="pad", dicom=("CR", "DX", "RG"),
            words=("x-ray", "xray", "x ray", "chest x-ray", "chest xray", "cxr", "radiograph", "chest radiograph"),
        ),
        Modality(
            name="ultrasound", channels=1, fit="pad", dicom=("US",),
            words=("ultrasound", "sonogram", "sonography", "us"),
        ),
        Modality(name="OCT", channels=1, fit="pad", dicom=("OPT",), words=("oct", "optical coherence tomography")),
        Modality(
            name="fundus", channels=3, fit="pad", dicom=("OP",),
            words=("fundus", "fundus photograph", "retinal photograph", "color fundus photography", "cfp"),
        ),
        Modality(
            name="pathology", channels=3, fit="crop", dicom=("SM",), flips=("horizontal", "vertical"),
            words=(
                "pathology", "histopathology", "histology", "h&e", "hematoxylin and eosin", "whole-slide", "biopsy",
                "light micrograph",
            ),
        ),
        Modality(
            name="blood smear", channels=3, fit="crop", flips=("horizontal", "vertical"),
            words=("blood smear", "blood film", "peripheral blood smear", "smear"),
        ),
    )
}  # fmt: skip

_BY_WORD = {w: m for m in MODALITIES.values() for w in (m.name.lower(), *m.words)}
_BY_DICOM = {code: m for m in MODALITIES.values() for code in m.dicom}
_SIDE = re.compile(r"\b(left|right|bilateral\w*|leftward|rightward|[lr]ul|[lr]ll|rml)\b|[左右]|双侧", re.IGNORECASE)


def find_modality(word: str) -> Modality:
    """The modality of a user's word ("MR", " chest CT ", "histopathology").

    ValueError names the nearest valid word.
    """
    key = " ".join(word.lower().replace("_", " ").split())
    if key in _BY_WORD:
        return _BY_WORD[key]
    near = difflib.get_close_matches(key, _BY_WORD, n=1, cutoff=0.5)
    hint = f"; did you mean '{_BY_WORD[near[0]].name}'?" if near else ";"
    raise ValueError(f"modality '{word.strip()}' is not known{hint} ({', '.join(MODALITIES)})")


def modality_from_dicom(code: str) -> Modality:
    """The modality of a DICOM code such as "MR". ValueError where the code has none."""
    if code not in _BY_DICOM:
        raise ValueError(f"DICOM modality '{code}' has no image type here (known: {', '.join(sorted(_BY_DICOM))})")
    return _BY_DICOM[code]


def modality_in(text: str) -> Modality | None:
    """The modality that a prompt names, or None. The earliest word wins, and of two at one place the longest."""
    found: list[tuple[int, int, Modality]] = []
    for word, modality in _BY_WORD.items():
        # "us" and "mr" are English words unless written as the abbreviations they are.
        where, what = (text, word.upper()) if word in ("us", "mr") else (text.lower(), word)
        match = re.search(rf"(?<![A-Za-z0-9]){re.escape(what)}(?![A-Za-z0-9])", where)
        if match:
            found.append((match.start(), -len(word), modality))
    return min(found, key=lambda hit: hit[:2])[2] if found else None


def safe_flips(modality: Modality, text: str) -> tuple[Flip, ...]:
    """The flips under which image and text stay true to each other: none where the text names a side."""
    return () if _SIDE.search(text) else modality.flips
