"""DICOM in: one displayable 8-bit image and a short white list of header facts; nothing else leaves a file."""

from __future__ import annotations

import hashlib
import math
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from vesalius.data.modality import Modality

if TYPE_CHECKING:
    from vesalius.data.image import Uint8

BYTE_ORDERS: tuple[Literal["little", "big"], ...] = ("little", "big")
PLANES = ("Sagittal", "Coronal", "Axial")
"""The plane across each axis (x, y, z) of the patient."""

BODY_PARTS = {
    "ABDOMEN": "abdomen", "ABDOMENPELVIS": "abdomen and pelvis", "ANKLE": "ankle", "AORTA": "aorta", "ARM": "arm",
    "BLADDER": "bladder", "BRAIN": "brain", "BREAST": "breast", "CAROTID": "carotid", "CHEST": "chest",
    "CHESTABDOMEN": "chest and abdomen", "CHESTABDPELVIS": "chest, abdomen and pelvis", "CLAVICLE": "clavicle",
    "COLON": "colon", "CSPINE": "cervical spine", "ELBOW": "elbow", "EXTREMITY": "extremity", "EYE": "eye",
    "FEMUR": "thigh", "FINGER": "finger", "FOOT": "foot", "FOREARM": "forearm", "HAND": "hand", "HEAD": "head",
    "HEADNECK": "head and neck", "HEART": "heart", "HIP": "hip", "HUMERUS": "upper arm", "JAW": "jaw",
    "KIDNEY": "kidney", "KNEE": "knee", "LEG": "leg", "LIVER": "liver", "LSPINE": "lumbar spine", "LUNG": "lung",
    "NECK": "neck", "ORBIT": "orbit", "OVARY": "ovary", "PANCREAS": "pancreas", "PELVIS": "pelvis",
    "PROSTATE": "prostate", "RETINA": "retina", "RIB": "rib", "SHOULDER": "shoulder", "SINUS": "sinus",
    "SKULL": "skull", "SPINE": "spine", "SPLEEN": "spleen", "STOMACH": "stomach", "THORAX": "chest",
    "THYROID": "thyroid", "TIBIAFIBULA": "lower leg", "TSPINE": "thoracic spine", "UTERUS": "uterus",
    "WHOLEBODY": "whole body", "WRIST": "wrist",
}  # fmt: skip
"""Defined terms of Body Part Examined (PS3.16 Annex L) and the words for a caption; other words may name a person."""

_NOUNS = {"CT": "CT slice", "MRI": "MRI slice", "ultrasound": "ultrasound image", "OCT": "OCT B-scan"}
_PLACEHOLDERS = {"", "0", "anon", "anonymous", "anonymized", "none", "unknown", "na", "n/a", "patient"}
_HEADER_TAGS = [
    "Modality", "SOPClassUID", "BodyPartExamined", "PatientID", "PatientSex", "PatientAge", "StudyInstanceUID",
    "SeriesInstanceUID", "Laterality", "ImageLaterality", "ViewPosition", "PixelSpacing", "ImagerPixelSpacing",
    "SliceThickness", "ImageOrientationPatient", "NumberOfFrames", "Rows", "Columns", "BurnedInAnnotation",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence",
]  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class DicomHeader:
    """What may leave a DICOM header.

    code: the attribute Modality, "" where absent. patient: keyed hash of the patient's (else study's) identifier.
    age in years, at most 90. spacing_mm: between rows. side: of the patient, "left", "right" or "bilateral".
    """

    code: str
    patient: str | None = None
    organ: str | None = None
    plane: str | None = None
    view: str | None = None
    side: str | None = None
    sex: str | None = None
    age: int | None = None
    spacing_mm: float | None = None
    slice_thickness_mm: float | None = None

    def caption(self, modality: Modality) -> str:
        """A line such as "Axial chest CT slice." for a file that comes without a report."""
        words = [self.plane, self.view, self.side, self.organ, _NOUNS.get(modality.name, modality.name)]
        line = " ".join(w for w in words if w)
        return f"{line[0].upper()}{line[1:]}."

    def columns(self) -> dict[str, Any]:
        """The facts that have no field of their own in a record."""
        names = ("plane", "view", "side", "sex", "age", "spacing_mm", "slice_thickness_mm")
        return {n: v for n in names if (v := getattr(self, n)) is not None}


def is_dicom(path: Path) -> bool:
    """Whether a file's first bytes are those of DICOM, with the preamble or (old files) without."""
    with path.open("rb") as file:
        head = file.read(132)
    if head[128:] == b"DICM":
        return True
    if len(head) < 12:
        return False
    # Without a preamble the first element is of group 0002 or 0008, and short.
    for order in BYTE_ORDERS:
        group, element, length = (int.from_bytes(head[i:j], order) for i, j in ((0, 2), (2, 4), (4, 8)))
        if (
            group in (0x0002, 0x0008)
            and element < 0x0100
            and ((head[4:6].isalpha() and head[4:6].isupper()) or length < 256)
        ):
            return True
    return False


def read_header(path: Path, *, salt: str, allow_burned_in: bool = False) -> DicomHeader:
    """The white-listed facts of a DICOM file, without touching its pixels.

    salt: the secret that keys the hash of the patient's identifier.
    ValueError names the file where it holds no image or says that text is burned into its pixels.
    """
    from vesalius.data.dicom_pixels import Refusal

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _header(_open(path, header=True), salt, allow_burned_in)
    except Refusal as reason:
        raise ValueError(f"{path}: {reason}") from None
    except OSError:
        raise
    except Exception as error:  # a damaged header raises anything, from struct.error to AttributeError
        raise ValueError(f"{path}: damaged DICOM header ({_line(error)}); export it again or leave it out") from None


def read_dicom(path: Path, modality: Modality) -> tuple[Uint8, str | None]:
    """One frame (the middle one) as HWC uint8, 1 or 3 channels, and the window that was used ("W400 L40") or None.

    ValueError names the file, the reason and the remedy: no pixels, truncated, too large, or a syntax without decoder.
    """
    from vesalius.data.dicom_pixels import Refusal, render

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return render(_open(path, header=False), modality)
    except Refusal as reason:
        raise ValueError(f"{path}: {reason}") from None
    except (MemoryError, PermissionError, FileNotFoundError):
        raise
    except Exception as error:  # decoders are third-party C code behind plug-ins: no list of their errors is complete
        raise ValueError(
            f"{path}: its pixels cannot be decoded ({_line(error)}); re-save it uncompressed "
            "(`dcmdjpeg`, `gdcmconv --raw`) or leave it out"
        ) from None


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _open(path: Path, *, header: bool) -> Any:
    import pydicom
    from pydicom.filereader import read_file_meta_info
    from pydicom.uid import (
        DeflatedExplicitVRLittleEndian,
        ExplicitVRBigEndian,
        ExplicitVRLittleEndian,
        ImplicitVRLittleEndian,
    )

    from vesalius.data.dicom_pixels import check_inflated

    with path.open("rb") as file:
        if file.read(132)[128:] == b"DICM":
            meta = read_file_meta_info(path)
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                file.seek(132 + 12 + int(meta.FileMetaInformationGroupLength))
                check_inflated(file)
    dataset = pydicom.dcmread(
        path, force=True, stop_before_pixels=header, specific_tags=_HEADER_TAGS if header else None
    )
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        guess = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = guess
    return dataset


def _header(dataset: Any, salt: str, allow_burned_in: bool) -> DicomHeader:
    from vesalius.data.dicom_pixels import Refusal, flat, number

    kind = dataset.get("SOPClassUID")
    if not dataset.get("Rows") or not dataset.get("Columns"):
        name = getattr(kind, "name", None) or "no image object, or cut off before its image"
        raise Refusal(f"holds no image ({name}); leave it out, or export the image series instead")
    if str(dataset.get("BurnedInAnnotation", "")).upper() == "YES" and not allow_burned_in:
        raise Refusal(
            "says that text is burned into its pixels; redact it, or pass --allow-burned-in where it names nobody"
        )
    view = flat(dataset, int(dataset.get("NumberOfFrames") or 1) // 2)
    body = re.sub(r"[^A-Z]", "", str(dataset.get("BodyPartExamined") or "").upper())
    sides = {"L": "left", "R": "right", "B": "bilateral"}
    position = str(dataset.get("ViewPosition") or "")
    sex = str(dataset.get("PatientSex") or "")
    spacing = number(view, "PixelSpacing") or number(view, "ImagerPixelSpacing")
    return DicomHeader(
        code=str(dataset.get("Modality") or ""),
        patient=_patient(dataset, salt),
        organ=BODY_PARTS.get(body),
        plane=_plane(view.get("ImageOrientationPatient")),
        view=position if position in ("PA", "AP", "LL", "RL", "CC", "MLO") else None,
        side=sides.get(str(dataset.get("ImageLaterality") or dataset.get("Laterality") or "")),
        sex=sex if sex in ("M", "F", "O") else None,
        age=_age(str(dataset.get("PatientAge") or "")),
        spacing_mm=round(spacing, 4) if spacing and spacing > 1e-3 else None,
        slice_thickness_mm=number(view, "SliceThickness"),
    )


def _patient(dataset: Any, salt: str) -> str | None:
    for name in ("PatientID", "StudyInstanceUID", "SeriesInstanceUID"):
        value = str(dataset.get(name) or "").strip()
        if value.lower() not in _PLACEHOLDERS:
            key = hashlib.sha256(salt.encode()).digest()
            return hashlib.blake2b(value.encode(), key=key, digest_size=8).hexdigest()
    return None


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
