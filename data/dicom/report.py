"""DICOM objects without pixels: Structured Reports (PS3.3 A.35) as plain text, directories as lists of files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from vesalius.data.dicom.pixels import Refusal

MAX_DEPTH = 32
_DIRECTORY = "1.2.840.10008.1.3.10"
_HEADINGS = {
    "indication": "Indication", "indications": "Indication", "history": "Indication",
    "findings": "Findings", "finding": "Findings", "impression": "Impression", "impressions": "Impression",
    "conclusion": "Impression", "conclusions": "Impression", "summary": "Impression",
}  # fmt: skip
"""Concept names of a report's parts, which a section is made of; other names stand before their values."""


def is_structured(dataset: Any) -> bool:
    """Whether a dataset is a report rather than an image: by its class, or by its Modality where that lacks."""
    return getattr(dataset.get("SOPClassUID"), "name", "").endswith(" SR Storage") or dataset.get("Modality") == "SR"


def report(dataset: Any) -> tuple[str, tuple[str, ...]]:
    """The text, one line an item, and the keys to pair it by. Persons, dates and identifiers are left out.

    Refusal where the dataset is no report or says nothing.
    """
    if not is_structured(dataset):
        raise Refusal("is no Structured Report; leave it out")
    text = "\n".join(_lines(dataset, 0, None)).strip()
    if not text:
        raise Refusal("is a Structured Report without a text; leave it out")
    keys = (str(dataset.get(name) or "").strip() for name in ("AccessionNumber", "StudyInstanceUID"))
    return text, tuple(key for key in keys if key)


def _lines(node: Any, depth: int, within: str | None) -> Iterator[str]:
    """The lines of a node's content, which stands under the heading `within`."""
    if depth > MAX_DEPTH:
        raise Refusal(f"nests its content deeper than {MAX_DEPTH}; leave it out")
    for child in node.get("ContentSequence") or []:
        name = _meaning(child.get("ConceptNameCodeSequence"))
        heading = _HEADINGS.get(name.lower())
        value = _value(child)
        if value:
            yield f"{heading or name}: {value}" if name and (not heading or heading != within) else value
        elif heading:
            yield f"{heading}:"
        if child.get("RelationshipType") not in ("HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT"):
            yield from _lines(child, depth + 1, heading or within)


def _value(child: Any) -> str:
    """The words of a content item. Types that name persons, times and instances have none here."""
    kind = child.get("ValueType")
    if child.get("RelationshipType") in ("HAS CONCEPT MOD", "HAS OBS CONTEXT", "HAS ACQ CONTEXT"):
        return ""
    if kind == "TEXT":
        return str(child.get("TextValue") or "").strip()
    if kind == "CODE":
        return _meaning(child.get("ConceptCodeSequence"))
    if kind == "NUM":
        measured = (child.get("MeasuredValueSequence") or [{}])[0]
        units = (measured.get("MeasurementUnitsCodeSequence") or [{}])[0]
        number = measured.get("NumericValue")
        return "" if number is None else f"{float(number):g} {units.get('CodeValue') or ''}".strip()
    return ""


def _meaning(codes: Any) -> str:
    return str((codes or [{}])[0].get("CodeMeaning") or "").strip()


def directory_names(dataset: Any) -> list[str] | None:
    """The files that a DICOMDIR names, in its order; None where the dataset is none."""
    if dataset.file_meta.get("MediaStorageSOPClassUID") != _DIRECTORY:
        return None
    names = []
    for record in dataset.get("DirectoryRecordSequence") or []:
        parts = record.get("ReferencedFileID")
        if parts:
            names.append("/".join([parts] if isinstance(parts, str) else [str(part) for part in parts]))
    return names
