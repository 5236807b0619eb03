"""Images inside the rows of Parquet and Arrow files, read one at a time and never all at once."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from typing import Any

from vesalius.data.sources.inner import MAX_FILE, Inner

ROWS = 16
"""Rows of images that are in memory together."""
BUFFER = 1 << 20


@dataclass(frozen=True)
class Cell(Inner):
    """One image of a table that holds its images.

    file: the Parquet or Arrow file. row: from 0. column: its name. inner: the image's own name, or "".
    """

    file: Path
    row: int
    column: str
    inner: str = ""

    @property
    def outer(self) -> Path:
        return self.file

    def __str__(self) -> str:
        return f"{self.column} of row {self.row + 1}"

    @property
    def name(self) -> str:
        return self.inner.replace("\\", "/").rpartition("/")[2]

    def open(self, mode: str = "rb") -> BytesIO:
        assert mode == "rb"
        try:
            value = read_cell(self.file, self.column, self.row)
        except damage() as error:
            raise ValueError(f"{self}: {self.file.name} is damaged there ({error}); copy it again") from None
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes) or not value:
            raise ValueError(f"{self}: holds no bytes; fill it or delete the row")
        if len(value) > MAX_FILE:
            raise ValueError(f"{self}: {len(value) / 1e6:.0f} MB, at most {MAX_FILE // 1_000_000}; tile it first")
        return BytesIO(value)


def damage() -> tuple[type[BaseException], ...]:
    """What pyarrow raises over damaged files."""
    import pyarrow as pa

    return (pa.ArrowException, OSError, EOFError, OverflowError, UnicodeDecodeError)


def is_parquet(path: Path) -> bool:
    return path.suffix.lower() in (".parquet", ".pq")


def open_parquet(path: Path) -> Any:
    """A `pyarrow.parquet.ParquetFile` that reads pages as they are needed, not whole row groups."""
    import pyarrow.parquet as pq

    return pq.ParquetFile(path, buffer_size=BUFFER, pre_buffer=False)


@lru_cache(maxsize=8)
def open_arrow(path: Path, changed: int) -> list[Any]:
    """The record batches of an Arrow file or stream, mapped from disk and so not in memory."""
    import pyarrow as pa

    mapped = pa.memory_map(str(path))
    head = mapped.read(6)
    mapped.seek(0)
    if head == b"ARROW1":
        reader = pa.ipc.open_file(mapped)
        return [reader.get_batch(i) for i in range(reader.num_record_batches)]
    return list(pa.ipc.open_stream(mapped))


class _ParquetReader:
    """Cells in the order of rows cost one pass over the file; a step back begins at that row's group."""

    def __init__(self, path: Path, column: str) -> None:
        self.file, self.column = open_parquet(path), column
        sizes = [self.file.metadata.row_group(i).num_rows for i in range(self.file.metadata.num_row_groups)]
        self.starts = [0, *itertools.accumulate(sizes)]
        self.first = 0
        self.values: Any = ()
        self.batches: Iterator[Any] = iter(())

    def read(self, row: int) -> Any:
        group = bisect.bisect_right(self.starts, row) - 1
        after = self.first + len(self.values)
        if not self.first <= row < after:
            if row < after or self.starts[group] > after or not after - self.first:
                self._begin(group)
            while row >= self.first + len(self.values):
                self.first += len(self.values)
                batch = next(self.batches, None)
                if batch is None:
                    return None
                self.values = batch.column(0)
        return self.values[row - self.first].as_py()

    def _begin(self, group: int) -> None:
        groups = list(range(group, len(self.starts) - 1))
        self.first, self.values = self.starts[group], ()
        self.batches = self.file.iter_batches(
            batch_size=ROWS, row_groups=groups, columns=[self.column], use_threads=False
        )


class _ArrowReader:
    def __init__(self, path: Path, column: str, changed: int) -> None:
        self.batches, self.column = open_arrow(path, changed), column
        self.starts = [0, *itertools.accumulate(batch.num_rows for batch in self.batches)]

    def read(self, row: int) -> Any:
        index = bisect.bisect_right(self.starts, row) - 1
        return self.batches[index].column(self.column)[row - self.starts[index]].as_py()


def read_cell(path: Path, column: str, row: int) -> Any:
    """The value of one cell, cheapest in the order of rows; None beyond the last. Errors are those of `damage`."""
    return _reader(path, column, path.stat().st_mtime_ns).read(row)


@lru_cache(maxsize=4)
def _reader(path: Path, column: str, changed: int) -> _ParquetReader | _ArrowReader:
    """changed: when the file was, so that no reader outlives what it reads."""
    return _ParquetReader(path, column) if is_parquet(path) else _ArrowReader(path, column, changed)
