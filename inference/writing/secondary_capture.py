"""A sample as a DICOM Secondary Capture (PS3.3 A.8.1) that says in all its parts that nobody was imaged.

Nothing in it depends on when or where it is written: its UIDs and its Patient ID come from its pixels and its recipe,
and it has no dates. A rerun gives the same bytes.
"""

from __future__ import annotations

import hashlib
import json
from importlib.metadata import version
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.data.hounsfield import window_named
from vesalius.data.images.image import Picture
from vesalius.data.modality import MODALITIES, WINDOWS
from vesalius.data.sources.archive import Place
from vesalius.inference.sample import Sample

NOTE = "Synthetic: not for diagnosis"
MAX_COMMENT = 10240
"""Characters of Image Comments, whose kind of text is LT (PS3.5 6.2)."""
MAX_DESCRIPTION = 1024
"""Characters of a description, which is ST."""
MAX_PROMPT = 8000
"""Characters of a prompt, the negative one and the findings as JSON, which leaves room for the rest of the recipe."""
INTERCEPT, TOP = -1024, 3071
"""The Hounsfield units that 12 bits hold."""
_MAKER = "Vesalius"
_CODES = {"blood smear": "GM"}
"""Defined terms of Modality (PS3.3 C.7.3.1.1.1) of what has none in `MODALITIES`: general microscopy."""
_ROOT = "2.25."
"""Of UIDs that are a 128-bit number (PS3.5 B.2)."""
_IMPLEMENTATION = f"{_ROOT}{int.from_bytes(hashlib.blake2b(_MAKER.encode(), digest_size=16).digest(), 'big')}"


def dicom_bytes(sample: Sample, picture: Picture, *, spacing: float | None = None) -> bytes:
    """A whole DICOM file: Hounsfield units as 12 bits with their rescale and windows, greys as 8 bits, colours as RGB.

    spacing: mm a pixel, where that is known. The recipe is in Image Comments as JSON, after the note; the prompt is in
    Derivation Description too. ValueError where the recipe is too long.
    """
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

    comment = f"{NOTE}. Recipe: {json.dumps(sample.recipe(), ensure_ascii=False)}"
    if len(comment) > MAX_COMMENT:
        raise ValueError(
            f"prompt '{sample.text[:60]}': its recipe has {len(comment)} characters, of which a DICOM file holds "
            f"{MAX_COMMENT}; shorten the prompt or the base's path, or give another --sink"
        )
    stored = _stored(picture)
    facts = f"{comment}\0{stored.shape}{stored.dtype}{'' if spacing is None else spacing}\0"
    digest = hashlib.sha256(facts.encode() + stored.tobytes()).hexdigest()

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = _uid(digest, "instance")
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = _IMPLEMENTATION
    meta.ImplementationVersionName = _MAKER.upper()

    image = Dataset()
    image.file_meta = meta
    image.preamble = bytes(128)  # type: ignore[attr-defined]
    image.SpecificCharacterSet = "ISO_IR 192"
    image.SOPClassUID, image.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    image.SyntheticData = "YES"

    # Nobody's: each sample is its own patient and study, so that no build puts two together.
    image.PatientName, image.PatientID = "SYNTHETIC^NOT FOR DIAGNOSIS", f"SYNTH-{digest[:16].upper()}"
    image.PatientBirthDate = image.PatientSex = ""
    image.StudyInstanceUID, image.SeriesInstanceUID = _uid(digest, "study"), _uid(digest, "series")
    image.StudyDate = image.StudyTime = image.StudyID = image.AccessionNumber = image.ReferringPhysicianName = ""
    image.StudyDescription = image.SeriesDescription = NOTE
    image.Modality = next(iter(MODALITIES[sample.modality].dicom), _CODES.get(sample.modality, "OT"))
    image.SeriesNumber = image.InstanceNumber = 1
    image.Laterality, image.PatientOrientation = "", None  # asked for, and not known

    _tell_making(image, sample)
    image.ImageComments = comment
    _put_pixels(image, stored, picture, sample.text)
    if spacing is not None:
        image.PixelSpacing = [f"{spacing:.8g}"] * 2
    file = BytesIO()
    image.save_as(file, enforce_file_format=True)
    return file.getvalue()


def read_recipe(path: Place) -> dict[str, Any]:
    """The recipe in a file that `dicom_bytes` made. ValueError where there is none."""
    from pydicom import dcmread

    with path.open("rb") as file:
        comment = str(dcmread(file, stop_before_pixels=True).get("ImageComments") or "")
    head, _, text = comment.partition(". Recipe: ")
    if head != NOTE:
        raise ValueError(f"{path}: carries no Vesalius recipe; give a file of `vesalius generate --sink dicom`")
    recipe: dict[str, Any] = json.loads(text)
    return recipe


def _uid(digest: str, what: str) -> str:
    """A UID that is a pure function of a digest."""
    return f"{_ROOT}{int.from_bytes(hashlib.blake2b(f'{what}/{digest}'.encode(), digest_size=16).digest(), 'big')}"


def _tell_making(image: Any, sample: Sample) -> None:
    """How it came to be: derived, by whom, from which prompt (PS3.3 C.7.6.1, C.8.6.1, C.12.1)."""
    from pydicom.dataset import Dataset

    image.ImageType = ["DERIVED", "SECONDARY"]
    image.ConversionType = "SYN"
    image.BurnedInAnnotation, image.LossyImageCompression = "NO", "00"
    told = f"{NOTE}. Drawn by a diffusion model, no patient was imaged. Prompt: {' '.join(sample.text.split())}"
    image.DerivationDescription = told if len(told) <= MAX_DESCRIPTION else f"{told[: MAX_DESCRIPTION - 4]} ..."
    release = version("vesalius")
    image.SecondaryCaptureDeviceManufacturer = _MAKER
    image.SecondaryCaptureDeviceManufacturerModelName = sample.base_digest[:16] or "unknown"
    image.SecondaryCaptureDeviceSoftwareVersions = release

    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "109100", "DCM"
    purpose.CodeMeaning = "Synthesizing Equipment"
    equipment = Dataset()
    equipment.Manufacturer, equipment.ManufacturerModelName = _MAKER, sample.base_digest[:16] or "unknown"
    equipment.SoftwareVersions = release
    equipment.ContributionDescription = (
        f"{NOTE}. Seed {sample.seed}, {sample.steps} steps, guidance {sample.guidance:g}; "
        f"base {sample.base_digest or 'unknown'}; adapter {sample.adapter_digest or 'none'}"
    )
    equipment.PurposeOfReferenceCodeSequence = [purpose]
    image.ContributingEquipmentSequence = [equipment]


def _stored(picture: Picture) -> NDArray[Any]:
    """The values of the file: HW uint16 of HU - INTERCEPT, HW uint8, or HW3 uint8."""
    if picture.hu is not None:
        return (np.clip(np.rint(picture.hu), INTERCEPT, TOP) - INTERCEPT).astype("<u2")
    return picture.image[..., 0] if picture.image.shape[2] == 1 else picture.image


def _put_pixels(image: Any, stored: NDArray[Any], picture: Picture, text: str) -> None:
    """Image Pixel, Modality LUT and VOI LUT (PS3.3 C.7.6.3, C.11.1, C.11.2)."""
    image.Rows, image.Columns = stored.shape[:2]
    image.SamplesPerPixel = 1 if stored.ndim == 2 else 3
    image.PhotometricInterpretation = "MONOCHROME2" if stored.ndim == 2 else "RGB"
    if stored.ndim == 3:
        image.PlanarConfiguration = 0
    deep = picture.hu is not None
    image.BitsAllocated, image.BitsStored, image.HighBit = (16, 12, 11) if deep else (8, 8, 7)
    image.PixelRepresentation = 0
    if deep:
        image.RescaleIntercept, image.RescaleSlope, image.RescaleType = str(INTERCEPT), "1", "HU"
        first = window_named(text) or "soft tissue"
        names = [first, *(name for name in WINDOWS if name != first)]
        image.WindowCenter = [f"{WINDOWS[name][0]:g}" for name in names]
        image.WindowWidth = [f"{WINDOWS[name][1]:g}" for name in names]
        image.WindowCenterWidthExplanation = [name.upper() for name in names]
    content = np.ascontiguousarray(stored).tobytes()
    image.add_new(0x7FE00010, "OW" if deep else "OB", content + bytes(len(content) % 2))  # of even length (PS3.5 8.1)
