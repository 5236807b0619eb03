"""From a DICOM dataset to the facts that may leave it."""

from __future__ import annotations

import math
import re
from typing import Any

from vesalius.data.building.pseudonyms import Pseudonyms
from vesalius.data.dicom.frames import BODY_PARTS, PLANES, DicomHeader
from vesalius.data.dicom.pixels import MAX_VOXELS, Refusal, flat, number, pixel_edges
from vesalius.data.dicom.scan import value_of

_PLACEHOLDERS = {"", "0", "anon", "anonymous", "anonymized", "none", "unknown", "na", "n/a", "patient"}
_SIDES = {"L": "left", "R": "right", "B": "bilateral"}
_WITH_TEXT = ("US", "CR", "DX", "RG", "OT", "XA", "RF", "MG")
_SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"


def header(dataset: Any, names: Pseudonyms, allow_burned_in: bool) -> DicomHeader:
    """The white list. Refusal where the dataset holds no image or says that text is burned into it."""
    kind = value_of(dataset, "SOPClassUID")
    if not value_of(dataset, "Rows") or not value_of(dataset, "Columns"):
        name = getattr(kind, "name", None) or "no image object, or cut off before its image"
        if name.endswith(" SR Storage"):
            raise Refusal(f"holds no image ({name}); pass its folder as --reports to pair it, or leave it out")
        raise Refusal(f"holds no image ({name}); leave it out, or export the image series instead")
    burned = str(value_of(dataset, "BurnedInAnnotation") or "").upper()
    if burned == "YES" and not allow_burned_in:
        raise Refusal(
            "says that text is burned into its pixels; redact it, or pass --allow-burned-in where it names nobody"
        )
    rows, columns = int(dataset.Rows), int(dataset.Columns)
    num_frames = int(value_of(dataset, "NumberOfFrames") or 1)
    if not 1 <= num_frames <= MAX_VOXELS // (rows * columns):
        raise Refusal(f"{rows} x {columns} pixels x {num_frames} frames is over the limit; export single frames")
    view = flat(dataset, num_frames // 2)
    code = str(value_of(dataset, "Modality") or "")
    body = re.sub(r"[^A-Z]", "", str(value_of(dataset, "BodyPartExamined") or "").upper())
    position = str(value_of(dataset, "ViewPosition") or "")
    sex = str(value_of(dataset, "PatientSex") or "")
    patient = _identifier(dataset, "PatientID", "StudyInstanceUID", "SeriesInstanceUID")
    study, series = _identifier(dataset, "StudyInstanceUID"), _identifier(dataset, "SeriesInstanceUID")
    accession = _identifier(dataset, "AccessionNumber")
    height, width = pixel_edges(view)
    localizer = code == "CT" and "LOCALIZER" in str(value_of(dataset, "ImageType") or "").upper()
    orientation = value_of(view, "ImageOrientationPatient")
    turn = tuple(round(float(v), 2) for v in orientation) if orientation is not None and len(orientation) == 6 else ()
    turn = turn if all(map(math.isfinite, turn)) else ()
    placed = num_frames == 1 or bool(dataset.get("PerFrameFunctionalGroupsSequence"))
    places = [_place(dataset, frame) if placed else float(frame) for frame in range(num_frames)]
    return DicomHeader(
        code=code,
        patient=names.hashed("patient", patient) if patient else None,
        study=names.hashed("study", study) if study else None,
        series=names.hashed("series", series) if series else None,
        study_date=names.shifted(str(value_of(dataset, "StudyDate") or ""), patient) if patient else None,
        organ=BODY_PARTS.get(body),
        plane=_plane(orientation),
        view=position if position in ("PA", "AP", "LL", "RL", "CC", "MLO") else None,
        side=_SIDES.get(str(value_of(dataset, "ImageLaterality") or value_of(dataset, "Laterality") or "")),
        sex=sex if sex in ("M", "F", "O") else None,
        age=_age(str(value_of(dataset, "PatientAge") or "")),
        spacing_mm=round(min(height, width), 4) if height and width else None,
        slice_thickness_mm=number(view, "SliceThickness"),
        hounsfield=_hounsfield(dataset, view) and not localizer,
        localizer=localizer,
        synthetic=_synthetic(dataset),
        height=round(rows * height / min(height, width)) if height and width else rows,
        width=round(columns * width / min(height, width)) if height and width else columns,
        frames=tuple(sorted(range(num_frames), key=lambda frame: places[frame])),
        stack=(series, turn, rows, columns, localizer),
        position=places[0],
        may_hold_text=not allow_burned_in
        and burned != "NO"
        and (code in _WITH_TEXT or str(kind or "").startswith(_SECONDARY_CAPTURE)),
        keys=tuple(key for key in (accession, study) if key),
    )


def _identifier(dataset: Any, *names: str) -> str | None:
    for name in names:
        value = str(value_of(dataset, name) or "").strip()
        if value.lower() not in _PLACEHOLDERS:
            return value
    return None


def _place(dataset: Any, frame: int) -> float:
    """Where a frame lies: mm along the normal of its plane, else the number in its series, else in its file."""
    groups = value_of(dataset, "PerFrameFunctionalGroupsSequence") or []
    group = groups[frame] if frame < len(groups) else {}
    shared = (value_of(dataset, "SharedFunctionalGroupsSequence") or [{}])[0]
    orientation, position = value_of(dataset, "ImageOrientationPatient"), value_of(dataset, "ImagePositionPatient")
    for source in (shared, group):
        if planes := source.get("PlaneOrientationSequence"):
            orientation = planes[0].get("ImageOrientationPatient") or orientation
        if planes := source.get("PlanePositionSequence"):
            position = planes[0].get("ImagePositionPatient") or position
    if orientation is None or position is None or len(orientation) != 6 or len(position) != 3 or (frame and not group):
        return float(value_of(dataset, "InstanceNumber") or 0) + frame
    a, b, c, d, e, f = (float(v) for v in orientation)
    x, y, z = (float(v) for v in position)
    normal = (b * f - c * e, c * d - a * f, a * e - b * d)
    place = normal[0] * x + normal[1] * y + normal[2] * z
    return place if any(normal) and math.isfinite(place) else float(dataset.get("InstanceNumber") or 0) + frame


def _plane(orientation: Any) -> str | None:
    """The plane that a slice's normal is nearest to; oblique slices (over 30 degrees away) have none."""
    if orientation is None or len(orientation) != 6:
        return None
    a, b, c, d, e, f = (float(v) for v in orientation)
    normal = (abs(b * f - c * e), abs(c * d - a * f), abs(a * e - b * d))
    axis = normal.index(max(normal))
    return PLANES[axis] if normal[axis] > math.cos(math.pi / 6) else None


def _age(text: str) -> int | None:
    """Years of a DICOM age string ("049Y", "018M"); ages over 89 identify people and become 90."""
    match = re.fullmatch(r"(\d{1,3})([DWMY])", text.strip())
    if not match or text.startswith("000"):  # writers put 000Y where they know no age
        return None
    per_year = {"D": 365, "W": 52, "M": 12, "Y": 1}[match[2]]
    return min(int(match[1]) // per_year, 90)


def _synthetic(dataset: Any) -> bool:
    """Whether a file says that its image was made up (PS3.3 C.12.1.1.10, C.8.6.1)."""
    told = {"SyntheticData": "YES", "ConversionType": "SYN"}
    return any(str(value_of(dataset, name) or "").strip().upper() == word for name, word in told.items())


def _hounsfield(dataset: Any, view: Any) -> bool:
    """Whether rescaled values are Hounsfield units (PS3.3 C.8.2.1.1.2).

    Files that others saved again often carry a rescale of 0 over unsigned values, which cannot hold air: these are not.
    A Secondary Capture is a picture of a screen, save where a program that made the image up says that it holds HU.
    """
    intercept, slope = number(view, "RescaleIntercept"), number(view, "RescaleSlope")
    unit = str(value_of(view, "RescaleType") or "HU").strip().upper()
    grey = (
        int(value_of(dataset, "SamplesPerPixel") or 1) == 1
        and value_of(dataset, "PhotometricInterpretation") == "MONOCHROME2"
    )
    signed = int(value_of(dataset, "PixelRepresentation") or 0) == 1
    secondary = str(value_of(dataset, "SOPClassUID") or "").startswith(_SECONDARY_CAPTURE) and not (
        _synthetic(dataset) and value_of(view, "RescaleType")
    )
    if value_of(dataset, "Modality") != "CT" or not grey or unit != "HU" or secondary or intercept is None or not slope:
        return False
    return intercept < 0 or signed
