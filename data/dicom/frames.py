"""DICOM in: one frame, and a short white list of header facts; nothing else leaves a file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from vesalius.data.building.pseudonyms import Pseudonyms
from vesalius.data.dicom.scan import scanned, tag_of, value_of
from vesalius.data.modality import Modality
from vesalius.data.sources.archive import Place

if TYPE_CHECKING:
    from vesalius.data.dicom.native import Int16
    from vesalius.data.images.image import Float32, Uint8

T = TypeVar("T")

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
_HEADER_TAGS = [
    "Modality", "SOPClassUID", "BodyPartExamined", "PatientID", "PatientSex", "PatientAge", "StudyInstanceUID",
    "SeriesInstanceUID", "Laterality", "ImageLaterality", "ViewPosition", "PixelSpacing", "ImagerPixelSpacing",
    "SliceThickness", "ImageOrientationPatient", "NumberOfFrames", "Rows", "Columns", "BurnedInAnnotation",
    "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence", "AccessionNumber", "StudyDate", "ImageType",
    "ImagePositionPatient", "InstanceNumber", "RescaleIntercept", "RescaleSlope", "RescaleType", "PixelRepresentation",
    "SamplesPerPixel", "PhotometricInterpretation", "PixelAspectRatio", "SyntheticData", "ConversionType",
]  # fmt: skip
_PIXELS = (0x7FE00008, 0x7FE00010)
"""The first and the last tag that may hold pixels. What follows, and zeros without end, is not read."""
_HEAD = 1 << 16
"""First bytes of a file, which hold its header as nearly all write it."""
_SCANNED = 1 << 26
"""Most bytes of a file that is held twice while its elements are found."""
_DEFLATED = "1.2.840.10008.1.2.1.99"
MAX_BYTES = 2_100_000_000
"""Most bytes of one file: it is held in memory while it is read."""


@dataclass(frozen=True, kw_only=True)
class DicomHeader:
    """What may leave a DICOM header.

    code: the attribute Modality, "" where absent. patient, study, series: keyed hashes of identifiers (patient's, else
    study's). study_date: shifted. age in years, at most 90. spacing_mm: edge of a square pixel. side: of the patient,
    "left", "right" or "bilateral". hounsfield: whether values are Hounsfield units. localizer: a scout view of CT.
    synthetic: whether a model or program made the image, not a scanner.

    Not for records: height and width in square pixels; frames: those of the file in the order of their position; stack
    and position: which slices belong together, and the place along their normal in mm; may_hold_text: the kind of
    image that people burn text into; keys: accession number and study UID, to find a report by.
    """

    code: str
    patient: str | None = None
    study: str | None = None
    series: str | None = None
    study_date: str | None = None
    organ: str | None = None
    plane: str | None = None
    view: str | None = None
    side: str | None = None
    sex: str | None = None
    age: int | None = None
    spacing_mm: float | None = None
    slice_thickness_mm: float | None = None
    hounsfield: bool = False
    localizer: bool = False
    synthetic: bool = False
    height: int = 1
    width: int = 1
    frames: tuple[int, ...] = (0,)
    stack: tuple[Any, ...] = field(default=(), repr=False)
    position: float = 0.0
    may_hold_text: bool = False
    keys: tuple[str, ...] = field(default=(), repr=False)

    def caption(self, modality: Modality) -> str:
        """A line such as "Axial chest CT slice." for a file that comes without a report."""
        noun = "CT localizer" if self.localizer else _NOUNS.get(modality.name, modality.name)
        words = [self.plane, self.view, self.side, self.organ, noun]
        line = " ".join(w for w in words if w)
        return f"{line[0].upper()}{line[1:]}."

    def columns(self) -> dict[str, Any]:
        """The facts that have no field of their own in a record."""
        names = (
            "plane", "view", "side", "sex", "age", "spacing_mm", "slice_thickness_mm", "study", "series", "study_date",
        )  # fmt: skip
        return {n: v for n in names if (v := getattr(self, n)) is not None}


def is_dicom(path: Place) -> bool:
    """Whether a file's first bytes are those of DICOM, with the preamble or (old files) without."""
    with path.open("rb") as file:
        return _begins_as_dicom(file.read(132))


def _begins_as_dicom(head: bytes) -> bool:
    if head[128:132] == b"DICM":
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


def read_header(path: Place, *, names: Pseudonyms, allow_burned_in: bool = False) -> DicomHeader:
    """The white-listed facts of a DICOM file, without touching its pixels.

    ValueError names the file where it is none, holds no image or says that text is burned into its pixels.
    """
    from vesalius.data.dicom.header import header

    return _named(path, lambda: header(_open(path, header=True, strict=True), names, allow_burned_in), _BAD_HEADER)


def read_dicom(path: Place, modality: Modality, frame: int | None = None) -> tuple[Uint8, str | None]:
    """One frame (None: the middle one) as HWC uint8, 1 or 3 channels, with square pixels, and the window that was used
    ("W400 L40") or None.

    ValueError names the file, the reason and the remedy: no pixels, truncated, too large, or a syntax without decoder.
    """
    from vesalius.data.dicom.pixels import render

    return _named(path, lambda: render(_cached(path), modality, frame), _BAD_PIXELS)


def read_dicom_hu(path: Place, frame: int | None = None) -> Float32 | Int16:
    """One frame of CT in Hounsfield units, HW, with square pixels; padding is as empty as air's limit, -1024. int16
    where all are whole numbers, else float32.

    ValueError as `read_dicom`, and where the values cannot be Hounsfield units.
    """
    from vesalius.data.dicom.pixels import hounsfield

    return _named(path, lambda: hounsfield(_cached(path), frame), _BAD_PIXELS)


def read_report(path: Place) -> tuple[str, tuple[str, ...]]:
    """The text of a Structured Report, and its accession number and study UID. ValueError where it is none."""
    from vesalius.data.dicom.report import report

    return _named(path, lambda: report(_open(path, header=False)), _BAD_HEADER)


def is_report(path: Place) -> bool:
    """Whether a DICOM file is a Structured Report."""
    from vesalius.data.dicom.report import is_structured

    return _named(path, lambda: is_structured(_open(path, header=True)), _BAD_HEADER)


_BAD_HEADER = "damaged DICOM header ({}); export it again or leave it out"
_BAD_PIXELS = (
    "its pixels cannot be decoded ({}); re-save it uncompressed (`dcmdjpeg`, `gdcmconv --raw`) or leave it out"
)


def _named(path: Place, read: Callable[[], T], message: str) -> T:
    """What `read` returns. Whatever a damaged file makes it raise becomes a ValueError that names the file.

    Headers raise anything, from struct.error to AttributeError, and decoders are third-party C code behind plug-ins: no
    list of their errors is complete.
    """
    from vesalius.data.dicom.pixels import Refusal

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return read()
    except Refusal as reason:
        raise ValueError(f"{path}: {reason}") from None
    except (PermissionError, FileNotFoundError):
        raise
    except MemoryError:
        raise ValueError(f"{path}: needs more memory than there is; export single frames") from None
    except Exception as error:
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{path}: {message.format(line)}") from None


def _cached(path: Place) -> Any:
    state = path.stat()
    return _whole(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1)
def _whole(path: Place, size: int, mtime_ns: int) -> Any:
    """The file with its pixels; the last one is kept, since the frames of a file are asked for one after another."""
    return _open(path, header=False)


def _open(path: Place, *, header: bool, scan: bool = True, strict: bool = False) -> Any:
    """The dataset of a file, up to its pixels where `header`; with `scan` its meta information may tell the transfer
    syntax alone. Refusal where it is too large, nothing but zeros, or (where `strict`) does not begin as DICOM."""
    from vesalius.data.dicom.pixels import Refusal, check_inflated, meta_of

    dataset = None
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size > MAX_BYTES:
            raise Refusal(f"holds {size} bytes, more than {MAX_BYTES}; export single frames")
        file.seek(0)
        content = file.read(_HEAD if header or size > _SCANNED else -1)
        if strict and not _begins_as_dicom(content[:132]):
            raise Refusal("named as DICOM, but its content is not; export it again or leave it out")
        if content[128:132] == b"DICM":
            found = meta_of(content)
            syntax, end = found or _meta_by_pydicom(file)  # written as few do
            if syntax == _DEFLATED:
                file.seek(end)
                check_inflated(file)
            elif content[end : end + 16] == bytes(16):
                raise Refusal("holds nothing but zeros after its head; copy it again or leave it out")
            elif scan and found:
                last = _PIXELS[0] - 1 if header else _PIXELS[1]
                dataset = scanned(content, end, syntax, wanted=_wanted() if header else None, last=last)
        if dataset is None:
            dataset = _read_by_pydicom(file, header=header)
    if header and int(value_of(dataset, "NumberOfFrames") or 1) > max(size // 4, 1):
        raise Refusal(
            f"says that it holds {dataset.NumberOfFrames} frames, which its {size} bytes cannot; leave it out"
        )
    return dataset


@cache
def _wanted() -> frozenset[int]:
    """The white list, and the character set in which it is written."""
    return frozenset(int(tag_of(name)) for name in ("SpecificCharacterSet", *_HEADER_TAGS))


def _meta_by_pydicom(file: Any) -> tuple[str, int]:
    """The transfer syntax, and where the meta information ends."""
    from pydicom.filereader import _read_file_meta_info, read_preamble

    file.seek(0)
    read_preamble(file, force=False)
    meta = _read_file_meta_info(file)  # its public form opens paths alone
    return str(meta.get("TransferSyntaxUID")), file.tell()


def _read_by_pydicom(file: Any, *, header: bool) -> Any:
    from pydicom.filereader import read_partial
    from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    file.seek(0)
    tags: list[Any] | None = [*_wanted()] if header else None  # names are looked up anew
    last = _PIXELS[0] - 1 if header else _PIXELS[1]
    dataset = read_partial(file, lambda tag, *_: tag > last or not tag, force=True, specific_tags=tags)
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit, little = dataset.original_encoding
        guess = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        dataset.file_meta.TransferSyntaxUID = guess
    return dataset


def directory(path: Place) -> list[str] | None:
    """The files that a DICOMDIR (PS3.3 F) names, relative to its folder; None where it is none.

    ValueError where it is damaged.
    """
    from vesalius.data.dicom.report import directory_names

    return (
        _named(path, lambda: directory_names(_open(path, header=False, scan=False)), _BAD_HEADER)
        if is_dicom(path)
        else None
    )
