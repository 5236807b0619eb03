"""From a file of any kind to its pictures: one draft for each frame, slice or tile that is chosen."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from vesalius.data.building.pseudonyms import Pseudonyms
from vesalius.data.dicom.frames import DicomHeader, is_dicom, read_header
from vesalius.data.images.drawn import drawn_depth
from vesalius.data.modality import MODALITIES, Modality, modality_from_dicom
from vesalius.data.record import Record, changed
from vesalius.data.sources.archive import Place
from vesalius.data.sources.draft import Draft, Kind
from vesalius.data.sources.reading import Reading
from vesalius.data.sources.slices import pick
from vesalius.data.tables.label_text import told_by_label

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
TILE = 256


def kind_of(place: Place) -> Kind | None:
    """What a file is, by its name where that tells, else by its first bytes; None where it is nothing known."""
    from vesalius.data.sources.nifti import is_nifti
    from vesalius.data.sources.slides import is_slide

    suffix = place.suffix.lower()
    if suffix in DICOM_SUFFIXES:
        return "dicom"
    if is_nifti(place):
        return "nifti"
    if isinstance(place, Path) and is_slide(place):
        return "slide"
    if suffix in IMAGE_SUFFIXES:
        return "image"
    return "dicom" if is_dicom(place) else None


def pictures(draft: Draft, reading: Reading, header: DicomHeader | None = None) -> Iterator[Draft]:
    """The chosen pictures of a draft's file, with what its header tells; columns that the draft has stay as they are.

    header: of a DICOM file, where it was read already.
    A text that is empty is filled from the reports, else told by the label, else by a line made of the header.
    ValueError names the file.
    """
    if draft.kind == "dicom":
        header = header or dicom_header(draft.path, reading.names, reading.allow_burned_in)
        chosen = frames(dicom_draft(draft, header, reading), header, reading)
    else:
        _check_not_empty(draft.path)
        chosen = _PICTURES[draft.kind](draft, reading)
    for each in chosen:
        stained = reading.stain and each.record.modality == "pathology"
        yield dataclasses.replace(each, stain=reading.stain) if stained else each


def dicom_header(place: Place, names: Pseudonyms, allow_burned_in: bool) -> DicomHeader:
    """The header of a file that is named as DICOM. ValueError names the file, also where it is none."""
    _check_not_empty(place)
    return read_header(place, names=names, allow_burned_in=allow_burned_in)


def _check_not_empty(place: Place) -> None:
    if not place.stat().st_size:
        raise ValueError(f"{place}: is empty (0 bytes); copy it again or leave it out")


def from_file(place: Place, kind: Kind) -> Draft:
    """A file that comes without a row. Its name may be its patient's, so no record has it."""
    return Draft(where=str(place), path=place, kind=kind, record=Record(file_name="", text="", modality=""))


def dicom_draft(draft: Draft, header: DicomHeader, reading: Reading) -> Draft:
    """A draft with what the header of its DICOM file tells. ValueError where nothing tells its modality."""
    record = draft.record
    modality = MODALITIES[record.modality] if record.modality else _dicom_modality(draft.path, header.code, reading)
    own = header.columns()
    if header.code == "SM" and header.spacing_mm:
        own["mpp"] = round(1000 * _spacing(own.pop("spacing_mm"), _longest(header), reading.size), 4)
    elif header.spacing_mm:
        own["spacing_mm"] = _spacing(header.spacing_mm, _longest(header), reading.size)
    hounsfield = header.hounsfield and bool(modality.windows)
    patient, organ = record.patient_id or header.patient, record.organ or header.organ
    record = changed(
        record, file_name="", modality=modality.name, patient_id=patient, organ=organ, hounsfield=hounsfield,
        extra={**own, **record.extra},
    )  # fmt: skip
    if header.synthetic:
        record = _drawn(record, 1)
    record = _owned(record, None, _stem(draft.path), reading)
    keys = (*header.keys, _stem(draft.path), draft.path.name)
    record = _texted(record, keys, header.caption(modality), "dicom header", reading)
    return changed(draft, record=record, search_text=header.may_hold_text)


def _drawn(record: Record, depth: int) -> Record:
    """The record of an image that says that a model drew it, whatever a table says of it."""
    return dataclasses.replace(record, origin="synthetic", depth=max(record.depth, depth))


def _longest(header: DicomHeader) -> int:
    """Pixels of the longest side, once they are square."""
    return max(header.height, header.width)


def _spacing(spacing: float, longest: int, size: int) -> float:
    """mm of a pixel as stored."""
    return round(spacing * max(longest / size, 1.0), 4) if size else spacing


def _dicom_modality(place: Place, code: str, reading: Reading) -> Modality:
    try:
        return modality_from_dicom(code)
    except ValueError as error:
        if reading.modality is None:
            raise ValueError(f"{place}: {error}; pass --modality to say what it shows, or leave it out") from None
        return reading.modality


def _texted(record: Record, keys: tuple[str, ...], caption: str, origin: str, reading: Reading) -> Record:
    if record.text:
        return record
    report = reading.reports.find(keys) if reading.reports else None
    if not report and record.label:
        record = changed(record, organ=record.organ or reading.organ)
        return told_by_label(record, record.file_name or keys[0])
    text, source = (report, "report") if report else (caption, origin)
    return changed(record, text=text, extra={**record.extra, "text_origin": source})


def _stem(place: Place) -> str:
    name = place.name
    for suffix in (".nii.gz", ".ome.tiff", ".ome.tif", place.suffix):
        if suffix and name.lower().endswith(suffix.lower()):
            return name[: -len(suffix)]
    return name


def _image(draft: Draft, reading: Reading) -> Iterator[Draft]:
    keys = (_stem(draft.path), draft.path.name)
    record, depth = draft.record, drawn_depth(draft.path)
    record = _texted(record if depth is None else _drawn(record, depth), keys, "", "", reading)
    if not record.text:
        raise ValueError(f"{draft.path}: no report names it; add one for {draft.path.name}, or take the image out")
    yield dataclasses.replace(draft, record=record)


def frames(draft: Draft, header: DicomHeader, reading: Reading) -> Iterator[Draft]:
    """The chosen frames of a DICOM file, in the order of their position; of a slide's those that show tissue."""
    if header.code == "SM":
        from vesalius.data.sources.slides import frames_with_tissue

        chosen = frames_with_tissue(draft.path, len(header.frames), reading.tiles)
    else:
        chosen = [header.frames[place] for place in pick(len(header.frames), reading.slices)]
    for frame in chosen:
        yield changed(draft, part=(frame,))


def _nifti(draft: Draft, reading: Reading) -> Iterator[Draft]:
    from vesalius.data.sources.nifti import AXES, cut

    record = draft.record
    modality = MODALITIES[record.modality] if record.modality else reading.modality
    if modality is None:
        raise ValueError(f"{draft.path}: NIfTI does not say its modality; pass --modality CT or --modality MRI")
    chosen = cut(draft.path, reading.plane, reading.slices, hounsfield=bool(modality.windows))
    plane = AXES[chosen.axis].capitalize()
    extra: dict[str, Any] = {
        "plane": plane,
        "spacing_mm": _spacing(chosen.spacing_mm, chosen.longest, reading.size),
        "slice_thickness_mm": chosen.thickness_mm,
    }
    subject = re.match(r"sub-[A-Za-z0-9]+", draft.path.name)
    record = dataclasses.replace(
        _owned(record, subject[0] if subject else None, _stem(draft.path), reading),
        file_name="", modality=modality.name, hounsfield=chosen.hounsfield,
    )  # fmt: skip
    record = dataclasses.replace(record, extra={**extra, **record.extra})
    caption = DicomHeader(code="", plane=plane, organ=record.organ).caption(modality)
    record = _texted(record, (_stem(draft.path), draft.path.name), caption, "nifti header", reading)
    for index in chosen.slices:
        yield dataclasses.replace(draft, record=record, part=(chosen.axis, index))


def _slide(draft: Draft, reading: Reading) -> Iterator[Draft]:
    from vesalius.data.sources.slides import tiles_of

    assert isinstance(draft.path, Path)
    record = draft.record
    modality = MODALITIES[record.modality] if record.modality else reading.modality or MODALITIES["pathology"]
    size = reading.size or TILE
    tiles = tiles_of(draft.path, mpp=reading.mpp, size=size, most=reading.tiles)
    barcode = re.match(r"TCGA-\w{2}-\w{4}", draft.path.name)
    record = dataclasses.replace(
        _owned(record, barcode[0] if barcode else None, _stem(draft.path), reading),
        file_name="", modality=modality.name,
    )  # fmt: skip
    extra = {"mpp": tiles.mpp} if tiles.mpp else {}
    record = dataclasses.replace(record, extra={**extra, **record.extra})
    caption = f"{modality.name[0].upper()}{modality.name[1:]} tile."
    record = _texted(record, (_stem(draft.path), draft.path.name), caption, "slide", reading)
    for x, y in tiles.corners:
        yield dataclasses.replace(draft, record=record, part=(x, y, tiles.edge, size))


def _owned(record: Record, patient: str | None, stem: str, reading: Reading) -> Record:
    """With a patient, or with a group that keeps the pictures of one file in one split."""
    if record.patient_id:
        return record
    if patient:
        return dataclasses.replace(record, patient_id=reading.names.hashed("patient", patient))
    group = {"group": reading.names.hashed("file", stem)}
    return dataclasses.replace(record, extra={**group, **record.extra})


_PICTURES: dict[Kind, Callable[[Draft, Reading], Iterator[Draft]]] = {
    "image": _image,
    "nifti": _nifti,
    "slide": _slide,
}
