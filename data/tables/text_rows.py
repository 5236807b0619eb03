"""Rows of text tables, whatever their encoding: CSV and its like, and JSON lines."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vesalius.data.record import parse_row
from vesalius.data.sources.encodings import text_lines

MAX_FIELD = 2_000_000
"""Most characters of one field of a CSV: more are a quote that never closes."""
MARKS = ("\t", ";", ",", "|")
"""What may stand between the columns; the one that the first line has most of does."""

Numbered = tuple[int, dict[str, Any] | ValueError]
Cells = tuple[int, list[str] | ValueError]


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


def delimited(path: Path) -> tuple[list[str], Iterator[Cells]]:
    """The header of a CSV or TSV, and (first line, cells) of its rows: BOM, CRLF, blanks after commas, quoted commas
    and newlines. In place of a row that cannot be read stands the ValueError that says so.

    ValueError at once where the encoding is not known or the header cannot be read.
    """
    csv.field_size_limit(MAX_FIELD)  # of the whole process; the library's own is less than a long report
    lines = text_lines(path)
    first = next(lines, "")
    mark = max(MARKS, key=first.count)
    reader = csv.reader(itertools.chain([first], lines), delimiter=mark, skipinitialspace=True)
    try:
        header = [name.strip() for name in next(reader, [])]
    except csv.Error as error:
        raise ValueError(f"{path}:1: not CSV ({error}); save the table as CSV, UTF-8") from None
    return header, _cells(path, reader, header)


def _cells(path: Path, reader: Any, header: list[str]) -> Iterator[Cells]:
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
