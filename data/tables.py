"""Tables of images and texts: JSON lines and CSV, with the columns' usual spellings."""

from __future__ import annotations

import codecs
import csv
import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from vesalius.data.record import Record, parse_row

ALIASES: dict[str, tuple[str, ...]] = {
    "path": (
        "file_name",
        "path",
        "image",
        "image_path",
        "img_path",
        "filename",
        "file",
        "file_path",
        "image_file",
        "img",
    ),
    "text": ("text", "report", "caption", "prompt", "description", "impression"),
    "modality": ("modality", "modalities"),
    "split": ("split", "subset", "partition"),
    "patient_id": ("patient_id", "patient", "patientid", "subject_id", "subject"),
    "license": ("license", "licence"),
}
"""What a column may be called, in order of preference; compared in lower case, spaces and hyphens as underscores."""

Numbered = tuple[int, dict[str, Any] | ValueError]


@dataclass(frozen=True, kw_only=True)
class Fields:
    """One row, understood: the image's path as written, the words for modality and split, and the rest as a record."""

    path: str
    modality: str | None
    split: str | None
    record: Record


def json_rows(path: Path) -> Iterator[Numbered]:
    """(line number, row) of a JSON-lines file; in place of a line that is no row, the ValueError that says so."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield number, parse_row(line, f"{path}:{number}")
            except ValueError as error:
                yield number, error


def csv_rows(path: Path, *, has_modality: bool = False) -> Iterator[Numbered]:
    """(first line, row) of a CSV or TSV with a header line: BOM, CRLF, blanks after commas, quoted commas and newlines.

    ValueError at once where the header lacks the path, the text or (unless `has_modality`) the modality.
    """
    with path.open(encoding=_encoding(path), newline="") as file:
        try:
            yield from _csv_rows(path, file, has_modality)
        except UnicodeDecodeError:
            raise ValueError(f"{path}: not UTF-8 text; save the table as UTF-8") from None


def _encoding(path: Path) -> str:
    with path.open("rb") as file:
        head = file.read(2)
    return "utf-16" if head in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE) else "utf-8-sig"


def _csv_rows(path: Path, file: TextIO, has_modality: bool) -> Iterator[Numbered]:
    first = file.readline()
    file.seek(0)
    counts = {mark: first.count(mark) for mark in ("\t", ";", ",")}
    reader = csv.reader(file, delimiter=max(counts, key=lambda mark: counts[mark]), skipinitialspace=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise ValueError(f"{path}:1: not CSV ({error}); save the table as CSV, UTF-8") from None
    _check_header(path, header, has_modality)
    start = reader.line_num + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield start, ValueError(f"{path}:{start}: not CSV ({error}); mend that line")
            start = reader.line_num + 1
            continue
        number, start = start, reader.line_num + 1
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            yield (
                number,
                ValueError(
                    f"{path}:{number}: {len(cells)} columns where the header names {len(header)} "
                    f"({', '.join(header)}); put texts that hold commas or newlines in quotes, and close each quote"
                ),
            )
            continue
        yield number, dict(zip(header, (cell.strip() for cell in cells), strict=True))


def _check_header(path: Path, header: list[str], has_modality: bool) -> None:
    keys = {_key(name) for name in header}
    wanted = ("path", "text") if has_modality else ("path", "text", "modality")
    missing = [w for w in wanted if not keys & set(ALIASES[w])]
    if missing:
        names = "; ".join(f"{w} (or {', '.join(a for a in ALIASES[w] if a != w)})" for w in missing)
        hint = ", or pass --modality" if "modality" in missing else ""
        found = ", ".join(header) or "none"
        raise ValueError(
            f"{path}:1: no column for {names}; the header has: {found}. Name the columns in the first line{hint}"
        )


def _key(name: str) -> str:
    return "_".join(str(name).strip().lower().replace("-", " ").split())


def draft_fields(row: dict[str, Any], where: str) -> Fields:
    """Understand one row. ValueError begins with `where`: a missing column, an empty text or a wrong type."""
    columns = {_key(k): _clean(v) for k, v in row.items() if k is not None}
    taken: dict[str, Any] = {}
    for field, names in ALIASES.items():
        name = next((n for n in names if columns.get(n) not in (None, "")), None)
        if name is not None:
            taken[field] = columns.pop(name)
    for field in ("path", "text"):
        if field in taken and not isinstance(taken[field], str):
            raise ValueError(
                f"{where}: column {field} holds {type(taken[field]).__name__}, expected text; mend the row"
            )
        if not str(taken.get(field, "")).strip():
            state = (
                "is empty" if set(ALIASES[field]) & set(columns) else f"lacks (found: {', '.join(columns) or 'none'})"
            )
            raise ValueError(f"{where}: the {field} {state}; fill it or delete the row")
    for name in ("sha256", "mask", "width", "height", *ALIASES["path"], *ALIASES["split"]):
        columns.pop(name, None)  # true of the source's file, not of the one that is written
    path, modality, split = taken.pop("path"), taken.pop("modality", None), taken.pop("split", None)
    if columns.get("raw16"):  # the same image as a 16-bit PNG of HU + 1024
        path, columns["hounsfield"] = str(columns.pop("raw16")), True
    for field in ("patient_id", "license"):
        if field in taken:
            taken[field] = str(taken[field])
    for field in ("caption", "organ", "label", "source"):
        if columns.get(field) is not None:
            columns[field] = str(columns[field])
    try:
        record = Record.from_json({**columns, **taken, "file_name": path, "modality": str(modality or "?")})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{where}: column {error} is missing or of the wrong type; mend the row") from None
    if record.origin not in ("real", "phantom", "synthetic") or not isinstance(record.depth, int | str):
        raise ValueError(f"{where}: origin '{record.origin}' is not known (real, phantom, synthetic); mend the row")
    try:
        record = dataclasses.replace(record, depth=int(record.depth))
    except ValueError:
        raise ValueError(f"{where}: depth '{record.depth}' is not a whole number; mend the row") from None
    return Fields(
        path=path.strip(),
        modality=str(modality) if modality else None,
        split=str(split) if split else None,
        record=record,
    )


def _clean(value: Any) -> Any:
    """Lone surrogates, which JSON can hold and UTF-8 cannot, become question marks."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
