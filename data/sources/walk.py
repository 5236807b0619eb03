"""Sources in: folders and files of several formats -> drafts, one for each image and its text.

A source is known by its content:

    a folder with metadata.jsonl or metadata.csv (at the top, or in train/, val/, test/)
    a CSV or TSV (`path, Text, modality` and its common spellings), or a folder with one such table
    Parquet files, and folders that Hugging Face datasets saved, with the images in them or beside them
    ROCO, ROCOv2, covid-chestxray-dataset, ChestX-ray14 and CheXpert as they are published
    DICOM, NIfTI and slide files, ZIP archives of DICOM and NIfTI, a DICOMDIR, and folders of them
    a folder whose sub-folders are named for classes, or of images that reports name, with a modality given for all
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from vesalius.data.command.counted import counted
from vesalius.data.datasets.split import SPLIT_WORDS
from vesalius.data.dicom.frames import directory
from vesalius.data.dicom.series import series_drafts
from vesalius.data.modality import MODALITIES, Modality, find_modality
from vesalius.data.record import Record
from vesalius.data.sources.archive import Place, members
from vesalius.data.sources.draft import Draft, Kind, Refused
from vesalius.data.sources.inside import inside
from vesalius.data.sources.pictures import IMAGE_SUFFIXES, from_file, kind_of, pictures
from vesalius.data.sources.reading import Reading
from vesalius.data.tables.cells import Cell
from vesalius.data.tables.label_text import organ_in
from vesalius.data.tables.layouts import is_roco, parts_of
from vesalius.data.tables.table import JSON_SUFFIXES, PACKED_SUFFIXES, draft_fields, table_rows

Found = tuple[Place, Kind] | Refused
SLIDES = (".svs", ".ndpi", ".scn", ".bif")
TABLE_SUFFIXES = (".csv", ".tsv")
MOST_LOOKED_AT = 100
"""Rows that are looked at for the first file that is there."""
WANTED = (
    "give a folder with a metadata.jsonl, a CSV with the columns path, text and modality, DICOM, NIfTI or slide files, "
    "or a folder whose sub-folders are named for classes"
)


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
    table = _table(source, reading)
    named = (c for c in source.iterdir() if c.name.lower() in SPLIT_WORDS)  # of a million files few are compared
    splits = [(c, SPLIT_WORDS[c.name.lower()]) for c in sorted(named) if c.is_dir()]
    parts = [(t, split) for child, split in splits if (t := _table(child, reading))]
    if table:
        yield from _rows(table, reading, None)
    elif parts:
        for part, split in parts:
            yield from _rows(part, reading, split)
    else:
        yield from _tree(source, reading)


def drafts_of(sources: Sequence[Path], reading: Reading) -> Iterator[Draft | Refused]:
    """The drafts of several sources, one after another. ValueError as `drafts`."""
    for source in sources:
        yield from drafts(source, reading)


def _file(source: Path, reading: Reading) -> Iterator[Draft | Refused]:
    suffix = source.suffix.lower()
    if not source.stat().st_size:
        raise ValueError(f"{source}: is empty (0 bytes); copy it again")
    if suffix in (*JSON_SUFFIXES, *PACKED_SUFFIXES, *TABLE_SUFFIXES) or is_roco(source):
        yield from _rows(source, reading, None)
    elif suffix == ".zip":
        yield from _medical(_archived(source), reading)
    elif source.name.upper().startswith("DICOMDIR") and (listed := directory(source)) is not None:
        if not listed:
            raise ValueError(f"{source}: a DICOM directory that lists no file; name the folder instead")
        yield from _medical(_listed(source, listed), reading)
    elif (kind := kind_of(source)) == "image":
        raise ValueError(f"{source}: an image without its text; {WANTED}")
    elif kind:
        yield from _medical(iter([(source, kind)]), reading)
    else:
        raise ValueError(f"{source}: not a known kind of source; {WANTED}")


def _table(folder: Path, reading: Reading) -> Path | None:
    """The table of a folder's images; one of reports is none. ValueError where there are several."""
    for name in ("metadata.jsonl", "metadata.csv"):
        if (folder / name).is_file():
            return folder / name
    tables = sorted(p for p in folder.iterdir() if p.suffix.lower() in TABLE_SUFFIXES and p.is_file())
    found = [p for p in tables if not (reading.reports and reading.reports.holds(p))]
    if len(found) > 1:
        raise ValueError(
            f"{folder}: holds {len(found)} tables ({', '.join(p.name for p in found[:5])}); name the one to read"
        )
    return found[0] if found else None


def _rows(table: Path, reading: Reading, split: str | None) -> Iterator[Draft | Refused]:
    """Rows of a table as drafts. Paths are relative to the table's folder, and must stay in it, links followed.

    The modality is the row's, else `reading`'s, else of a DICOM file what its header says.
    """
    root, seen = table.parent.resolve(), 0
    for number, row in table_rows(table, has_modality=reading.modality is not None or _names_dicom(table)):
        seen += 1
        where = f"{table}:{number}"
        try:
            if isinstance(row, ValueError):
                raise row
            fields = draft_fields(row, where)
            path = fields.path if isinstance(fields.path, Cell) else inside(root, fields.path, where)
            kind = "image" if fields.record.hounsfield or isinstance(path, Cell) else kind_of(path) or "image"
            by_header = kind == "dicom" and not (fields.modality or reading.modality)
            modality = "" if by_header else _modality(fields.modality, reading, where).name
            patient = reading.names.own(fields.record.patient_id)
            record = dataclasses.replace(fields.record, modality=modality, patient_id=patient)
            if not record.text and fields.modality:
                record = dataclasses.replace(record, organ=record.organ or organ_in(fields.modality))
            split_word = _split(fields.split, where) or split
            yield from pictures(Draft(where=where, path=path, record=record, split=split_word, kind=kind), reading)
        except ValueError as error:
            told = str(error)
            reason = told if told.startswith(where) else f"{where}: {told}"
            yield Refused(file=str(table), row=number, reason=reason)
    if not seen:
        raise ValueError(f"{table}: no rows; add one line for each image")


def _names_dicom(table: Path) -> bool:
    """Whether the first file that a table names is DICOM, whose header says its modality. What is wrong with the table
    is told by who reads all of it."""
    root = table.parent.resolve()
    try:
        for _, row in itertools.islice(table_rows(table, has_modality=True), MOST_LOOKED_AT):
            with contextlib.suppress(ValueError):
                path = None if isinstance(row, ValueError) else draft_fields(row, str(table)).path
                if isinstance(path, str):
                    return kind_of(inside(root, path, str(table))) == "dicom"
    except ValueError:
        return False
    return False


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
    """A folder without a table: DICOM, NIfTI, slides and archives of them anywhere in it, or else images in folders
    named for classes, or images that reports name."""
    names: list[Path] = []
    medical = False

    def places() -> Iterator[Found]:
        nonlocal medical
        for path in _walk(folder):
            if isinstance(path, Refused):
                yield path
            elif reading.reports and reading.reports.holds(path):
                continue
            elif path.suffix.lower() == ".zip":
                medical = True
                yield from _archived(path)
            elif path.name.upper() != "DICOMDIR" and (kind := kind_of(path)):
                if kind == "image":
                    names.append(path)
                else:
                    medical = True
                    yield path, kind

    yield from _medical(places(), reading)
    if medical:
        for path in names:
            reason = f"{path}: an image without a text among medical files; name it in a CSV, or take it out"
            yield Refused(file=str(path), row=None, reason=reason)
        return
    if not names:
        raise ValueError(f"{folder}: no images, no DICOM files and no table of them; {WANTED}")
    loose = [p for p in names if p.parent == folder or p.parent.name.lower() in (*SPLIT_WORDS, "images")]
    tables = sorted({p.parent for name in ("metadata.jsonl", "metadata.csv") for p in folder.glob(f"*/{name}")})
    if loose and not reading.reports and tables:
        raise ValueError(
            f"{folder}: holds no table, but {counted(len(tables), 'folder')} of it do: name "
            f"{'it' if len(tables) == 1 else 'them'} instead ({' '.join(map(str, tables[:5]))})"
        )
    if loose and not reading.reports:
        raise ValueError(
            f"{folder}: images without texts, such as {loose[0].name}; add a metadata.jsonl or a CSV that names them, "
            "or pass --reports"
        )
    if reading.modality is None:
        raise ValueError(
            f"{folder}: images without a table do not say their modality; pass --modality "
            f"({', '.join(MODALITIES)}), or add a metadata.jsonl or a CSV"
        )
    alone = set(loose)
    for path in names:
        above = path.relative_to(folder).parts[:-1]
        label = None if path in alone else above[-1]
        split = next((SPLIT_WORDS[a.lower()] for a in above if a.lower() in SPLIT_WORDS), None)
        record = Record(file_name=path.name, text="", modality=reading.modality.name, label=label)
        draft = Draft(where=str(path), path=path, record=record, split=split)
        try:
            yield from pictures(draft, reading)
        except ValueError as error:
            yield draft.refused(str(error))


def _walk(folder: Path) -> Iterator[Path | Refused]:
    """The files of a folder in a stable order; links are followed to files inside it alone."""
    root = folder.resolve()
    closed: list[OSError] = []
    for place, folders, files in os.walk(folder, onerror=closed.append):
        folders[:] = sorted(f for f in folders if not f.startswith("."))
        for name in [*folders, *sorted(files)]:
            path = Path(place, name)
            if path.is_symlink() and not name.startswith("."):
                target = path.resolve()
                if path.is_dir() or not target.is_relative_to(root):
                    reason = f"{path}: a link to {target}, which is not followed; name it as a source, or copy it here"
                    yield Refused(file=str(path), row=None, reason=reason)
                    continue
            if name in files and not name.startswith(".") and path.is_file():
                if os.access(path, os.R_OK):
                    yield path
                else:
                    reason = f"{path}: may not be read; change its permissions, or leave it out"
                    yield Refused(file=str(path), row=None, reason=reason)
    for error in closed:
        reason = f"{error.filename}: a folder that may not be read; change its permissions, or take it out"
        yield Refused(file=str(error.filename), row=None, reason=reason)


def _archived(archive: Path) -> Iterator[Found]:
    """The DICOM and NIfTI files of a ZIP. What else is of use there is refused; notes and the like are passed over."""

    def refused(reason: str) -> Refused:
        return Refused(file=str(archive), row=None, reason=reason)

    told = False
    try:
        for member in members(archive):
            if isinstance(member, str):
                told, found = True, refused(member)
                yield found
            elif member.name.lower().endswith((*TABLE_SUFFIXES, ".jsonl", *SLIDES, *IMAGE_SUFFIXES)):
                told = True
                yield refused(f"{member}: a table, image or slide in an archive; unpack it, and name the folder")
            elif member.name.upper() != "DICOMDIR" and (kind := kind_of(member)):
                told = True
                yield member, kind
    except ValueError as error:
        told = True
        yield refused(str(error))
    if not told:
        yield refused(f"{archive}: holds no DICOM and no NIfTI file; {WANTED}")


def _listed(source: Path, listed: list[str]) -> Iterator[Found]:
    """The files that a DICOMDIR names, beside it and nowhere else."""
    root = source.parent.resolve()
    for name in listed:
        path = source.parent / name
        if not path.resolve().is_relative_to(root):
            yield Refused(file=str(source), row=None, reason=f"{source}: names '{name}', which leads out of {root}")
        elif not path.is_file():
            reason = f"{source}: names '{name}', which is not there; copy the whole medium, or name the folder instead"
            yield Refused(file=str(source), row=None, reason=reason)
        else:
            yield path, "dicom"


def _medical(places: Iterator[Found], reading: Reading) -> Iterator[Draft | Refused]:
    """Drafts of medical files. DICOM files go together, since their series may need to be known whole."""
    others: list[tuple[Place, Kind] | Refused] = []

    def dicoms() -> Iterator[Place]:
        for found in places:
            if not isinstance(found, Refused) and found[1] == "dicom":
                yield found[0]
            else:
                others.append(found)

    yield from series_drafts(dicoms(), reading)
    for found in others:
        if isinstance(found, Refused):
            yield found
            continue
        draft = from_file(*found)
        try:
            yield from pictures(draft, reading)
        except ValueError as error:
            yield draft.refused(str(error))
