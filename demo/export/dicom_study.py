"""A case as one DICOM study: a series for each modality, one Secondary Capture for each picture.

The UIDs are functions of the case and its pictures, so that a case that is sent twice, or again after its words were
changed, is one study. A case whose answer is hidden is another study than the whole one, since its instances say less.
"""

from __future__ import annotations

import hashlib
from io import BytesIO
from typing import Any

from vesalius.data.images.image import Picture, read_hu, read_image
from vesalius.demo.export.archive import zipped
from vesalius.demo.export.sheet import Figure, Sheet
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.pictures import file_of
from vesalius.demo.store.schema import Store
from vesalius.inference.writing.secondary_capture import NOTE, dicom_bytes

SHORT = 64
"""Characters of a value of kind LO (PS3.5 6.2)."""


def instances(store: Store, sheet: Sheet) -> list[Any]:
    """The study's data sets, in the order of the figures. ValueError where a case has no picture left."""
    if not sheet.figures:
        raise Refusal(
            "This case has no picture, and a DICOM study needs one; add one",
            "该病例没有图像，而 DICOM 检查至少需要一幅；请添加",
        )
    series = list(dict.fromkeys(figure.picture.sample.modality for figure in sheet.figures))
    return [_instance(store, sheet, figure, series) for figure in sheet.figures]


def study_bytes(store: Store, sheet: Sheet) -> bytes:
    """The study as a ZIP of DICOM files."""
    files = {}
    for number, image in enumerate(instances(store, sheet), 1):
        content = BytesIO()
        image.save_as(content, enforce_file_format=True)
        files[f"DICOM/IM{number:04}.dcm"] = content.getvalue()
    return zipped({"README.txt": f"{NOTE}.\n\n{chr(10).join(sheet.notes)}\n".encode(), **files})


def study_uid(sheet: Sheet) -> str:
    """The Study Instance UID of a case."""
    return _uid("study", sheet.case.id, str(sheet.unknown))


def _instance(store: Store, sheet: Sheet, figure: Figure, series: list[str]) -> Any:
    from pydicom import dcmread

    sample, case = figure.picture.sample, sheet.case
    hu = read_hu(file_of(store, figure.picture, units=True)) if sample.raw16_sha256 else None
    picture = Picture(image=read_image(file_of(store, figure.picture)), hu=hu)
    image = dcmread(BytesIO(dicom_bytes(sample, picture)))
    secret = str(sheet.unknown)
    image.SOPInstanceUID = _uid("instance", case.id, secret, sample.sha256)
    image.file_meta.MediaStorageSOPInstanceUID = image.SOPInstanceUID
    image.StudyInstanceUID = study_uid(sheet)
    image.SeriesInstanceUID = _uid("series", case.id, secret, sample.modality)
    image.PatientID = f"SYNTH-{hashlib.sha256(f'{case.id}/{secret}'.encode()).hexdigest()[:16].upper()}"
    image.SeriesNumber, image.InstanceNumber = series.index(sample.modality) + 1, figure.number
    image.SeriesDescription = NOTE
    if case.history:
        image.AdditionalPatientHistory = case.history
    if figure.picture.spacing is not None:
        # Of a secondary capture the distance is at the object that was imaged, as far as a drawn one has it.
        image.NominalScannedPixelSpacing = [figure.picture.spacing] * 2
    if sheet.unknown:
        _hide(image, figure)
    else:
        image.StudyDescription = _short(f"{NOTE}. {case.title}" if case.title else NOTE)
        if case.diagnosis:
            image.AdmittingDiagnosesDescription = _short(case.diagnosis)
    return image


def _hide(image: Any, figure: Figure) -> None:
    """Take out whatever tells what was asked for: prompt, recipe, and what a recipe can be found by."""
    image.ImageComments = f"{NOTE}. {figure.caption}" if figure.caption else NOTE
    image.DerivationDescription = f"{NOTE}. Drawn by a diffusion model, no patient was imaged."
    image.ContributingEquipmentSequence[0].ContributionDescription = NOTE
    del image.StudyDescription


def _short(text: str) -> str:
    """One value of kind LO: without backslashes and line ends, and cut."""
    line = " ".join(text.replace("\\", "/").split())
    return line if len(line) <= SHORT else f"{line[: SHORT - 4]} ..."


def _uid(*parts: str) -> str:
    """A UID that is a pure function of its parts (PS3.5 B.2)."""
    digest = hashlib.blake2b("/".join(("vesalius case", *parts)).encode(), digest_size=16).digest()
    return f"2.25.{int.from_bytes(digest, 'big')}"
