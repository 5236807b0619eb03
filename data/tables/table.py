"""Tables of images and texts: CSV, JSON lines, Parquet and Arrow, with the columns' usual spellings."""

from __future__ import annotations

import dataclasses
import itertools
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.building.cleaning import cleaned
from vesalius.data.command.counted import counted
from vesalius.data.record import Record, check_types
from vesalius.data.sources.encodings import text_lines
from vesalius.data.tables.cells import Cell
from vesalius.data.tables.labels import labels_in
from vesalius.data.tables.layouts import is_roco, layout_of, roco_rows
from vesalius.data.tables.names import (
    ALIASES,
    DIAGNOSES,
    check_header,
    check_spelling,
    check_unique,
    is_told,
    key_of,
    near,
    with_other_section,
)
from vesalius.data.tables.parquet import column_names, packed_rows
from vesalius.data.tables.text_rows import Numbered, delimited, json_rows

JSON_SUFFIXES = (".jsonl", ".ndjson")
FIRST_ROWS = 100
"""Rows of JSON lines whose columns are looked at for misspelt ones before the first is taken."""
PACKED_SUFFIXES = (".parquet", ".pq", ".arrow")

_SENTENCE_END = re.compile(r"[。；\n]|[.!?](?:\s|$)")


@dataclass(frozen=True, kw_only=True)
class Fields:
    """One row, understood: the image's path as written (or the cell that holds it), the words for modality and split,
    and the rest as a record."""

    path: str | Cell
    modality: str | None
    split: str | None
    record: Record


def table_rows(table: Path, *, has_modality: bool = False) -> Iterator[Numbered]:
    """(number, row) of a table of any kind: lines are counted in texts, rows in Parquet and Arrow, both from 1.

    has_modality: whether that of rows that do not say theirs is known. In place of a row that cannot be read stands the
    ValueError that says so. ValueError before the first row where the table as a whole cannot be read, or lacks a
    column.
    """
    suffix = table.suffix.lower()
    if suffix in PACKED_SUFFIXES:
        names = column_names(table)
        check_header(str(table), names, has_modality=has_modality, remedy="Rename or add the columns")
        return packed_rows(table)
    if suffix in JSON_SUFFIXES:
        rows = json_rows(table)
        first = list(itertools.islice(rows, FIRST_ROWS))
        keys = dict.fromkeys(str(name) for _, row in first if isinstance(row, dict) for name in row)
        check_spelling(str(table), list(keys), has_modality=has_modality)
        return itertools.chain(first, rows)
    if is_roco(table):
        return roco_rows(text_lines(table), table)
    return csv_rows(table, has_modality=has_modality)


def csv_rows(path: Path, *, has_modality: bool = False) -> Iterator[Numbered]:
    """(first line, row) of a CSV or TSV with a header line, read as `delimited`.

    ValueError at once where the header lacks the path, text and label, or (unless `has_modality`) the modality, and is
    not that of a published dataset.
    """
    header, rows = delimited(path)
    keys = [key_of(name) for name in header]
    check_unique(f"{path}:1", keys)
    layout = layout_of({k for k in keys if k})
    if layout is None:
        check_header(f"{path}:1", header, has_modality=has_modality, remedy="Name the columns in the first line")
    for number, cells in rows:
        if isinstance(cells, ValueError):
            yield number, cells
            continue
        row = {name: cell.strip() for name, cell in zip(keys if layout else header, cells, strict=True) if name}
        if layout is None:
            yield number, row
            continue
        try:
            yield number, layout.row(row, path)
        except ValueError as error:
            yield number, ValueError(f"{path}:{number}: {error}")


def draft_fields(row: dict[str, Any], where: str) -> Fields:
    """Understand one row. ValueError begins with `where`: a missing column, an empty text or a wrong type."""
    columns = _cleaned(row, where)
    taken: dict[str, Any] = {}
    for field, names in ALIASES.items():
        name = next((n for n in names if not _is_blank(columns.get(n))), None)
        if name is not None:
            taken[field] = columns.pop(name)
            if field == "text":
                taken["text"] = _with_findings(columns, name, taken["text"])
    if "text" not in taken and is_told(columns.get("findings")):
        taken["text"] = columns.pop("findings")
    if not taken.keys() & {"text", "label"}:
        name = next((n for n in DIAGNOSES if not _is_blank(columns.get(n))), None)
        if name is not None:
            told = columns.pop(name)
            taken["text" if _is_running(told) else "label"] = told
    if "label" in taken:
        taken["label"] = _label(taken["label"])
        taken.setdefault("text", "")  # told by the label
    for field in ("path", "text"):
        if isinstance(taken.get(field), Cell):
            continue
        if field in taken and not isinstance(taken[field], str):
            raise ValueError(
                f"{where}: column {field} holds {type(taken[field]).__name__}, expected text; mend the row"
            )
        if not str(taken.get(field, "")).strip() and not (field == "text" and taken.get("label")):
            raise ValueError(f"{where}: the {field} {_lack(field, columns)}; fill it or delete the row")
    for name in ("sha256", "mask", "width", "height", *ALIASES["path"], *ALIASES["split"]):
        columns.pop(name, None)  # true of the source's file, not of the one that is written
    path, modality, split = taken.pop("path"), taken.pop("modality", None), taken.pop("split", None)
    if columns.get("raw16"):  # the same image as a 16-bit PNG of HU + 1024
        path, columns["hounsfield"] = str(columns.pop("raw16")), True
    record = _record(path, modality, {**columns, **taken}, where)
    return Fields(
        path=path if isinstance(path, Cell) else path.strip(),
        modality=str(modality) if modality else None,
        split=str(split) if split else None,
        record=record,
    )


def _record(path: str | Cell, modality: Any, columns: dict[str, Any], where: str) -> Record:
    for field in ("patient_id", "license", "caption", "organ", "label", "source"):
        if columns.get(field) is not None:
            columns[field] = str(columns[field])
    if isinstance(told := columns.get("hounsfield"), str):
        columns["hounsfield"] = told.strip().lower() in ("true", "yes", "1")
    if str(columns.get("synthetic", "")).strip().lower() in ("true", "yes", "1"):  # as a samples folder says it
        columns["origin"] = "synthetic"
        if _is_blank(columns.get("depth")):
            columns["depth"] = 1
    name = path.name if isinstance(path, Cell) else path
    try:
        record = Record.from_json({**columns, "file_name": name or "image", "modality": str(modality or "?")})
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        told = str(error).split(":")[0]
        raise ValueError(
            f"{where}: its findings or extra columns are not JSON as a dataset's rows have them ({told}); mend the row"
        ) from None
    if record.origin not in ("real", "phantom", "synthetic") or not isinstance(record.depth, int | str):
        raise ValueError(f"{where}: origin '{record.origin}' is not known (real, phantom, synthetic); mend the row")
    try:
        record = dataclasses.replace(record, file_name=name, depth=int(record.depth))
    except ValueError:
        raise ValueError(f"{where}: depth '{record.depth}' is not a whole number; mend the row") from None
    try:
        return check_types(record)
    except TypeError as error:
        raise ValueError(f"{where}: column {error} is missing or of the wrong type; mend the row") from None


def _cleaned(row: dict[str, Any], where: str) -> dict[str, Any]:
    """The row under its columns' keys, without what no text should hold; how much that was is a column of its own."""
    columns: dict[str, Any] = {}
    num_removed = 0
    for name, value in row.items():
        key, _ = cleaned(key_of(name)) if name is not None else ("", 0)
        if not key:
            continue
        if isinstance(value, Cell) or (key in ALIASES["path"] and isinstance(value, str) and value.isascii()):
            columns[key] = value  # a path with control characters is refused, not mended
            continue
        try:
            columns[key], removed = cleaned(value)
        except ValueError as error:
            raise ValueError(f"{where}: column {key} {error}") from None
        num_removed += removed
    if num_removed:
        columns["cleaned"] = f"{counted(num_removed, 'control character')} removed"
    return columns


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _label(value: Any) -> str:
    """The label of a row, several with | between."""
    return "|".join(labels_in(value)) if isinstance(value, list | tuple) else str(value).strip()


def _is_running(value: Any) -> bool:
    """Whether a diagnosis is a report rather than a label."""
    return isinstance(value, str) and (len(value) > 80 or bool(_SENTENCE_END.search(value.strip())))


def _with_findings(columns: dict[str, Any], name: str, text: Any) -> Any:
    """The text of column `name`; where it is one section of a report and another column has the other, both."""
    if isinstance(text, str):
        text, other = with_other_section(name, text, columns)
        if other:
            columns.pop(other)
    if is_told(columns.get("findings")):
        columns["findings_text"] = columns.pop("findings")
    return text


def _lack(field: str, columns: dict[str, Any]) -> str:
    if field == "text" and {*ALIASES["label"], *DIAGNOSES} & set(columns):
        return "and the label are empty"
    if set(ALIASES[field]) & set(columns):
        return "is empty"
    hint = near(field, list(columns))
    return f"lacks ({hint or 'found: ' + (', '.join(columns) or 'none')})"
