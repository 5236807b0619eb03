"""Sources in: folders and files of several formats -> drafts, one for each image and its text.

A source is known by its content:

    a folder with metadata.jsonl or metadata.csv (at the top, or in train/, val/, test/)
    a CSV or TSV (`path, Text, modality` and its common spellings), or a folder with one such table
    Parquet files, and folders that Hugging Face datasets saved, with the images in them or beside them
    ROCO, ROCOv2 and covid-chestxray-dataset as they are published
    DICOM files, and folders of them
    a folder whose sub-folders are named for classes, with a modality given for all
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.cells import Cell
from vesalius.data.dicom import is_dicom, read_header
from vesalius.data.inside import inside
from vesalius.data.layouts import is_roco, parts_of
from vesalius.data.modality import MODALITIES, Modality, find_modality, modality_from_dicom
from vesalius.data.record import Record
from vesalius.data.split import SPLIT_WORDS
from vesalius.data.tables import JSON_SUFFIXES, PACKED_SUFFIXES, draft_fields, table_rows

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".webp", ".ppm", ".pgm")
DICOM_SUFFIXES = (".dcm", ".dicom", ".ima")
TABLE_SUFFIXES = (".csv", ".tsv")
WANTED = (
    "give a folder with a metadata.jsonl, a CSV with the columns path, text and modality, DICOM files, or a folder "
    "whose sub-folders are named for classes"
)


@dataclass(frozen=True, kw_only=True)
class Draft:
    """One image of a source with what is known of it before its pixels are read.

    where: "cases.csv:17" or the file's name, for messages. path: the image or DICOM file, or the cell of a table that
    holds the image. record: its text and columns; file_name is still the source's.
    split: the source's own word for it, or None.
    """

    where: str
    path: Path | Cell
    record: Record
    split: str | None = None
    dicom: bool = False


@dataclass(frozen=True, kw_only=True)
class Refused:
    """One row or file that cannot become a record. reason is a whole message that names the file, and the remedy."""

    file: str
    row: int | None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read sources.

    modality: for sources that do not say theirs. salt: keys the hash of DICOM patient identifiers.
    """

    modality: Modality | None = None
    salt: str = "vesalius"
    allow_burned_in: bool = False


def drafts(source: Path, reading: Reading) -> Iterator[Draft | Refused]:
    """The drafts of one source, lazily and in a stable order; what is wrong with a row comes as Refused, in its place.

    ValueError where the source as a whole cannot be read: no such path, no known format, an empty folder, or missing
    columns.
    """
    if source.is_file():
        yield from _file(source, reading)
        return
    if not source.is_dir():
        raise ValueError(f"{source}: no such file or folder; check the path")
    if not any(source.iterdir()):
        raise ValueError(f"{source}: the folder is empty; {WANTED}")
    if found := parts_of(source):
        for each in found:
            yield from _rows(each.table, reading, each.split)
        return
    table = _table(source)
    splits = [
        (c, SPLIT_WORDS[c.name.lower()])
        for c in sorted(source.iterdir())
        if c.is_dir() and c.name.lower() in SPLIT_WORDS
    ]
    parts = [(t, split) for child, split in splits if (t := _table(child))]
    if table:
        yield from _rows(table, reading, None)
    elif parts:
        for part, split in parts:
            yield from _rows(part, reading, split)
    else:
        yield from _tree(source, reading)


def _file(source: Path, reading: Reading) -> Iterator[Draft | Refused]:
    suffix = source.suffix.lower()
    if suffix in (*JSON_SUFFIXES, *PACKED_SUFFIXES, *TABLE_SUFFIXES) or is_roco(source):
        yield from _rows(source, reading, None)
    elif suffix in DICOM_SUFFIXES or is_dicom(source):
        yield _dicom(source, reading)
    elif suffix in IMAGE_SUFFIXES:
        raise ValueError(f"{source}: an image without its text; {WANTED}")
    else:
        raise ValueError(f"{source}: not a known kind of source; {WANTED}")


def _table(folder: Path) -> Path | None:
    for name in ("metadata.jsonl", "metadata.csv"):
        if (folder / name).is_file():
            return folder / name
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in TABLE_SUFFIXES and p.is_file())
    if len(found) > 1:
        raise ValueError(
            f"{folder}: holds {len(found)} tables ({', '.join(p.name for p in found[:5])}); name the one to read"
        )
    return found[0] if found else None


def _rows(table: Path, reading: Reading, split: str | None) -> Iterator[Draft | Refused]:
    """Rows of a table as drafts. Paths are relative to the table's folder, and must stay in it, links followed."""
    root, seen = table.parent.resolve(), 0
    for number, row in table_rows(table, reading.modality.name if reading.modality else None):
        seen += 1
        where = f"{table}:{number}"
        try:
            if isinstance(row, ValueError):
                raise row
            fields = draft_fields(row, where)
            path = fields.path if isinstance(fields.path, Cell) else inside(root, fields.path, where)
            modality = _modality(fields.modality, reading, where)
            record = dataclasses.replace(fields.record, modality=modality.name)
            dicom = isinstance(path, Path) and _is_named_dicom(path)
            if isinstance(path, Path) and dicom:
                header = read_header(path, salt=reading.salt, allow_burned_in=reading.allow_burned_in)
                patient, organ = record.patient_id or header.patient, record.organ or header.organ
                record = dataclasses.replace(
                    record, file_name="", patient_id=patient, organ=organ, extra={**header.columns(), **record.extra}
                )
            yield Draft(where=where, path=path, record=record, split=_split(fields.split, where) or split, dicom=dicom)
        except ValueError as error:
            yield Refused(file=str(table), row=number, reason=str(error))
    if not seen:
        raise ValueError(f"{table}: no rows; add one line for each image")


def _is_named_dicom(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in DICOM_SUFFIXES or (suffix not in IMAGE_SUFFIXES and is_dicom(path))


def _modality(word: str | None, reading: Reading, where: str) -> Modality:
    if word:
        try:
            return find_modality(word)
        except ValueError as error:
            raise ValueError(f"{where}: {error}") from None
    if reading.modality is None:
        raise ValueError(f"{where}: says no modality; fill the column, or pass --modality ({', '.join(MODALITIES)})")
    return reading.modality


def _split(word: str | None, where: str) -> str | None:
    if word and word.strip().lower() not in SPLIT_WORDS:
        raise ValueError(f"{where}: split '{word}' is not known (train, val, test); correct it or leave it empty")
    return SPLIT_WORDS[word.strip().lower()] if word else None


def _tree(folder: Path, reading: Reading) -> Iterator[Draft | Refused]:
    """A folder without a table: DICOM files anywhere in it, or else images in folders named for classes."""
    names: list[Path] = []
    dicoms = 0
    for path in _walk(folder):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            names.append(path)
        elif path.name.upper() != "DICOMDIR" and (path.suffix.lower() in DICOM_SUFFIXES or is_dicom(path)):
            dicoms += 1
            yield _dicom(path, reading)
    if dicoms:
        return
    if not names:
        raise ValueError(f"{folder}: no images, no DICOM files and no table of them; {WANTED}")
    loose = [p for p in names if p.parent == folder or p.parent.name.lower() in (*SPLIT_WORDS, "images")]
    if loose:
        raise ValueError(
            f"{folder}: images without texts, such as {loose[0].name}; add a metadata.jsonl or a CSV that names them"
        )
    if reading.modality is None:
        raise ValueError(
            f"{folder}: images in folders named for classes do not say their modality; pass --modality "
            f"({', '.join(MODALITIES)}), or add a metadata.jsonl or a CSV"
        )
    for path in names:
        *above, label = path.relative_to(folder).parts[:-1]
        split = next((SPLIT_WORDS[a.lower()] for a in above if a.lower() in SPLIT_WORDS), None)
        words = label.replace("_", " ").replace("-", " ").strip()
        record = Record(
            file_name=path.name, text=f"{reading.modality.name}: {words}.", modality=reading.modality.name, label=label
        )
        yield Draft(where=str(path), path=path, record=record, split=split)


def _walk(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        yield from (Path(place, f) for f in sorted(files) if not f.startswith(".") and Path(place, f).is_file())


def _dicom(path: Path, reading: Reading) -> Draft | Refused:
    try:
        if not is_dicom(path):
            raise ValueError(f"{path}: named as DICOM, but its content is not; export it again or leave it out")
        header = read_header(path, salt=reading.salt, allow_burned_in=reading.allow_burned_in)
        try:
            modality = modality_from_dicom(header.code)
        except ValueError as error:
            if reading.modality is None:
                raise ValueError(f"{path}: {error}; pass --modality to say what it shows, or leave it out") from None
            modality = reading.modality
    except ValueError as error:
        return Refused(file=str(path), row=None, reason=str(error))
    record = Record(
        file_name="",  # a DICOM file's name may be its patient's
        text=header.caption(modality), modality=modality.name, organ=header.organ, patient_id=header.patient,
        extra={**header.columns(), "text_origin": "dicom header"},
    )  # fmt: skip
    return Draft(where=str(path), path=path, record=record, dicom=True)
