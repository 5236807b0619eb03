"""What a build in progress keeps on disk: drafts and rows put aside, and a journal from which a killed one goes on."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

from vesalius.data.record import SPLITS, Record, digest_file

WORK = ".build"
"""The folder, inside the dataset's, that exists as long as a build is unfinished."""
IN_MEMORY = 16_000_000
"""Bytes up to which what is put aside stays in memory."""

T = TypeVar("T")


class Aside(Generic[T]):
    """Values put aside in order and read again from the first: in memory while few, else in a file without a name.

    A file without a name is gone when its process is, however it ends.
    """

    def __init__(self, near: Path) -> None:
        folder = next(p for p in (near, *near.absolute().parents) if p.is_dir())
        self._file = tempfile.SpooledTemporaryFile[bytes](IN_MEMORY, dir=str(folder))

    def add(self, value: T) -> None:
        self._file.write(pickle.dumps(value, pickle.HIGHEST_PROTOCOL))

    def __iter__(self) -> Iterator[T]:
        self._file.seek(0)
        while True:
            try:
                yield pickle.load(self._file)
            except EOFError:
                return


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


class Journal:
    """One line for each finished image, found by its draft's key. In memory only each line's place, in 64 bits each.

    Lines that a kill cut short are passed over: their images are made again.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("a+b")
        self._lock = threading.Lock()
        self._places: dict[int, int] = {}
        self._file.seek(0)
        place = 0
        for line in self._file:
            if (row := _row(line)) is not None:
                self._places[_short(row["key"])] = place
            place += len(line)
        self._file.write(b"\n")  # ends a line that was cut short

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def get(self, key: str) -> dict[str, Any] | None:
        """The line of a draft that an earlier run finished."""
        if (place := self._places.get(_short(key))) is None:
            return None
        with self._lock, self.path.open("rb") as file:
            file.seek(place)
            row = _row(file.readline())
        return row if row is not None and row["key"] == key else None

    def append(self, row: dict[str, Any]) -> None:
        """Add a line. OSError names the file."""
        try:
            self._file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
            self._file.flush()
        except OSError as error:
            error.filename = str(self.path)
            raise


def _row(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if isinstance(row, dict) and isinstance(row.get("key"), str) else None


def _short(key: str) -> int:
    return hash(key)


def reusable(out: Path, line: dict[str, Any] | None) -> tuple[Record, float | None] | None:
    """The record of a journal's line and its place, where its image is still whole."""
    if line is None:
        return None
    record = Record.from_json(line["record"])
    path = out / record.file_name
    if not path.is_file() or digest_file(path) != record.sha256:
        return None
    return record, line["place"]


def tidy(out: Path, keep: set[int]) -> None:
    """Remove what earlier, stopped runs left: images that no row names now, old rows, empty splits.

    keep: hashes of the file names that stay.
    """
    for split in SPLITS:
        (out / split / "metadata.jsonl").unlink(missing_ok=True)
        empty = True
        with os.scandir(out / split / "images") as entries:
            for entry in entries:
                if hash(f"{split}/images/{entry.name}") in keep:
                    empty = False
                else:
                    os.unlink(entry.path)
        if empty:
            shutil.rmtree(out / split)
