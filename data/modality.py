"""Modalities as data: what an imaging technique looks like, and which augmentations its anatomy allows."""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Literal

Flip = Literal["horizontal", "vertical"]

WINDOWS: dict[str, tuple[float, float]] = {
    "lung": (-600.0, 1500.0),
    "soft tissue": (40.0, 400.0),
    "bone": (400.0, 1800.0),
    "brain": (40.0, 80.0),
}
"""Window names that a prompt may use, as (centre, width) in HU."""

SHOWN = ("lung", "soft tissue", "bone")
"""The windows in red, green and blue."""


@dataclass(frozen=True, kw_only=True)
class Modality:
    """One imaging technique."""

    name: str
    """the word used in records, prompts and manifests"""
    channels: Literal[1, 3]
    """1 for grey images (stored and shown as three equal channels), 3 for colour"""
    fit: Literal["pad", "crop"]
    """how a non-square image becomes square: "pad" keeps the whole body, "crop" keeps the scale of texture"""
    words: tuple[str, ...]
    """lower-case names that users and headers give it; the longest match in a prompt wins"""
    dicom: tuple[str, ...] = ()
    """values of the DICOM attribute Modality (0008,0060)"""
    window: tuple[float, float] | None = None
    """(centre, width) in Hounsfield units used when a file carries none; None where units are arbitrary"""
    windows: tuple[str, ...] = ()
    """names of the windows (`vesalius.data.hounsfield`) that a model sees in red, green and blue where units are
    known"""
    grey_word: str = ""
    """what a prompt begins with where they are not known, and the image is grey"""
    flips: tuple[Flip, ...] = ()
    """mirrorings that keep an image plausible when its text names no side"""


MODALITIES: dict[str, Modality] = {
    m.name: m
    for m in (
        Modality(
            name="CT", channels=1, fit="pad", dicom=("CT",), window=WINDOWS["soft tissue"], windows=SHOWN,
            grey_word="Greyscale",
            words=(
                "ct", "chest ct", "brain ct", "cat scan", "computed tomography", "low-dose ct",
                "胸部ct", "头颅ct", "计算机断层", "计算机断层扫描", "计算机体层",
            ),
        ),
        Modality(
            name="MRI", channels=1, fit="pad", dicom=("MR",),
            words=(
                "mri", "mr", "brain mri", "breast mri", "cardiac mri", "magnetic resonance",
                "magnetic resonance imaging", "核磁", "核磁共振", "磁共振", "磁共振成像",
            ),
        ),
        Modality(
            name="X-ray", channels=1, fit="pad", dicom=("CR", "DX", "RG"),
            words=(
                "x-ray", "xray", "x ray", "chest x-ray", "chest xray", "cxr", "radiograph", "chest radiograph",
                "x线", "x光", "x线片", "x光片", "x射线", "胸片", "平片", "胸部x线",
            ),
        ),
        Modality(
            name="ultrasound", channels=1, fit="pad", dicom=("US",),
            words=("ultrasound", "sonogram", "sonography", "us", "超声", "b超", "彩超"),
        ),
        Modality(
            name="OCT", channels=1, fit="pad", dicom=("OPT",),
            words=(
                "oct", "optical coherence tomography", "光学相干断层", "光学相干断层扫描", "光学相干断层成像",
                "光相干断层",
            ),
        ),
        Modality(
            name="fundus", channels=3, fit="pad", dicom=("OP",),
            words=(
                "fundus", "fundus photograph", "retinal photograph", "color fundus photography", "cfp",
                "眼底", "眼底照片", "眼底彩照", "眼底照相", "视网膜照片",
            ),
        ),
        Modality(
            name="pathology", channels=3, fit="crop", dicom=("SM",), flips=("horizontal", "vertical"),
            words=(
                "pathology", "histopathology", "histology", "h&e", "hematoxylin and eosin", "whole-slide", "biopsy",
                "light micrograph", "病理", "组织病理", "病理切片", "组织切片", "组织学", "he染色", "苏木精", "光镜",
                "免疫组化", "活检",
            ),
        ),
        Modality(
            name="blood smear", channels=3, fit="crop", flips=("horizontal", "vertical"),
            words=(
                "blood smear", "blood film", "peripheral blood smear", "smear",
                "血涂片", "血片", "外周血", "外周血涂片", "血液涂片",
            ),
        ),
    )
}  # fmt: skip
"""All modalities by name."""

_BY_WORD = {w: m for m in MODALITIES.values() for w in (m.name.lower(), *m.words)}
_BY_DICOM = {code: m for m in MODALITIES.values() for code in m.dicom}


def _said(word: str) -> re.Pattern[str]:
    """The word where it is not a part of another one. Chinese writes no spaces, so a Chinese end may touch anything."""
    before = r"(?<![A-Za-z0-9])" if word[0].isascii() else ""
    after = r"(?![A-Za-z0-9])" if word[-1].isascii() else ""
    # "us" and "mr" are English words unless written as the abbreviations they are.
    strict = word in ("us", "mr")
    return re.compile(before + re.escape(word.upper() if strict else word) + after, 0 if strict else re.IGNORECASE)


_SAID = [(_said(word), m.name) for word, m in _BY_WORD.items()]
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
    found = [(m.start(), m.start() - m.end(), name) for pattern, name in _SAID if (m := pattern.search(text))]
    return MODALITIES[min(found)[2]] if found else None


def safe_flips(modality: Modality, text: str) -> tuple[Flip, ...]:
    """The flips under which image and text stay true to each other: none where the text names a side."""
    return () if _SIDE.search(text) else modality.flips
