"""Tables of images and texts: CSV, JSON lines, Parquet and Arrow, with the columns' usual spellings."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.cells import Cell
from vesalius.data.cleaning import cleaned
from vesalius.data.encodings import text_lines
from vesalius.data.labels import labels_in
from vesalius.data.layouts import is_roco, layout_of, roco_rows
from vesalius.data.names import ALIASES, DIAGNOSES, check_header, key_of, near
from vesalius.data.parquet import column_names, packed_rows
from vesalius.data.record import Record, check_types, parse_row

JSON_SUFFIXES = (".jsonl", ".ndjson")
PACKED_SUFFIXES = (".parquet", ".pq", ".arrow")
MAX_FIELD = 2_000_000
"""Most characters of one field of a CSV: more are a quote that never closes."""

_SENTENCE_END = re.compile(r"[。；\n]|[.!?](?:\s|$)")

Numbered = tuple[int, dict[str, Any] | ValueError]


@dataclass(frozen=True, kw_only=True)
class Fields:
    """One row, understood: the image's path as written (or the cell that holds it), the words for modality and split,
    and the rest as a record."""

    path: str | Cell
    modality: str | None
    split: str | None
    record: Record


def table_rows(table: Path, modality: str | None = None) -> Iterator[Numbered]:
    """(number, row) of a table of any kind: lines are counted in texts, rows in Parquet and Arrow, both from 1.

    modality: that of rows that do not say theirs, or None. In place of a row that cannot be read stands the ValueError
    that says so. ValueError at once where the table as a whole cannot be read, or lacks a column.
    """
    suffix = table.suffix.lower()
    if suffix in PACKED_SUFFIXES:
        names = column_names(table)
        check_header(str(table), names, has_modality=modality is not None, remedy="Rename or add the columns")
        return packed_rows(table)
    if suffix in JSON_SUFFIXES:
        return json_rows(table)
    if is_roco(table):
        return roco_rows(text_lines(table), table)
    return csv_rows(table, has_modality=modality is not None)


def json_rows(path: Path) -> Iterator[Numbered]:
    """(line number, row) of a JSON-lines file; in place of a line that is no row, the ValueError that says so."""
    for number, line in enumerate(text_lines(path), start=1):
        if not line.strip():
            continue
        where = f"{path}:{number}"
        try:
            yield number, parse_row(line.encode("utf-8", "surrogatepass"), where)
        except (ValueError, RecursionError) as error:
            told = str(error)
            if not told.startswith(where):  # a number of thousands of digits, or brackets in brackets without end
                told = f"{where}: not JSON that can be read ({told.split(';')[0]}); delete or mend that line"
            yield number, ValueError(told)


def csv_rows(path: Path, *, has_modality: bool = False) -> Iterator[Numbered]:
    """(first line, row) of a CSV or TSV with a header line: BOM, CRLF, blanks after commas, quoted commas and newlines.

    ValueError at once where the header lacks the path, text and label, or (unless `has_modality`) the modality, and is
    not that of a published dataset.
    """
    csv.field_size_limit(MAX_FIELD)  # of the whole process; the library's own is less than a long report
    lines = text_lines(path)
    first = next(lines, "")
    counts = {mark: first.count(mark) for mark in ("\t", ";", ",", "|")}
    mark = max(counts, key=lambda mark: counts[mark])
    reader = csv.reader(itertools.chain([first], lines), delimiter=mark, skipinitialspace=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise ValueError(f"{path}:1: not CSV ({error}); save the table as CSV, UTF-8") from None
    keys = [key_of(name) for name in header]
    twice = sorted((key, count) for key, count in Counter(keys).items() if key and count > 1)
    if twice:
        raise ValueError(f"{path}:1: column '{twice[0][0]}' is there {twice[0][1]} times; rename or delete one")
    layout = layout_of({k for k in keys if k})
    if layout is None:
        check_header(f"{path}:1", header, has_modality=has_modality, remedy="Name the columns in the first line")
    for number, cells in _cells(path, reader, header):
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


def _cells(path: Path, reader: Any, header: list[str]) -> Iterator[tuple[int, list[str] | ValueError]]:
    """(first line, cells) of each row that is not blank, as many cells as the header has."""
    start = reader.line_num + 1
    while True:
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield start, ValueError(f"{path}:{start}: not CSV ({error}); mend that line, and close each quote")
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
                    f"({', '.join(header[:40])}); put texts that hold commas or newlines in quotes, "
                    "and close each quote"
                ),
            )
            continue
        yield number, cells


def draft_fields(row: dict[str, Any], where: str) -> Fields:
    """Understand one row. ValueError begins with `where`: a missing column, an empty text or a wrong type."""
    columns = _cleaned(row, where)
    taken: dict[str, Any] = {}
    for field, names in ALIASES.items():
        name = next((n for n in names if not _is_blank(columns.get(n))), None)
        if name is not None:
            taken[field] = columns.pop(name)
            if field == "text":
                taken["text"] = _with_findings(columns, taken["text"], is_impression=name == "impression")
    if "text" not in taken and _is_told(columns.get("findings")):
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
        columns["cleaned"] = f"{num_removed} control characters removed"
    return columns


def _is_blank(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _label(value: Any) -> str:
    """The label of a row, several with | between."""
    return "|".join(labels_in(value)) if isinstance(value, list | tuple) else str(value).strip()


def _is_running(value: Any) -> bool:
    """Whether a diagnosis is a report rather than a label."""
    return isinstance(value, str) and (len(value) > 80 or bool(_SENTENCE_END.search(value.strip())))


def _is_told(findings: Any) -> bool:
    """Whether a column `findings` is a report's section, not a list of findings as JSON."""
    return isinstance(findings, str) and bool(findings.strip()) and not findings.lstrip().startswith(("[", "{"))


def _with_findings(columns: dict[str, Any], text: Any, *, is_impression: bool) -> Any:
    """The text; where it is an impression that has its findings in another column, the report of both."""
    if not _is_told(columns.get("findings")):
        return text
    findings = columns.pop("findings")
    if is_impression and isinstance(text, str):
        return f"FINDINGS: {findings}\nIMPRESSION: {text}"
    columns["findings_text"] = findings
    return text


def _lack(field: str, columns: dict[str, Any]) -> str:
    if field == "text" and {*ALIASES["label"], *DIAGNOSES} & set(columns):
        return "and the label are empty"
    if set(ALIASES[field]) & set(columns):
        return "is empty"
    hint = near(field, list(columns))
    return f"lacks ({hint or 'found: ' + (', '.join(columns) or 'none')})"
