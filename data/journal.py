"""What a build in progress leaves on disk, so that the same command goes on where a kill or a full disk stopped it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any, TextIO

from vesalius.data.record import SPLITS, Record, digest_file

WORK = ".build"
"""The folder, inside the dataset's, that exists as long as a build is unfinished."""


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where the file is damaged."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def append(log: TextIO, line: dict[str, Any]) -> None:
    """Add a line of JSON. OSError names the file."""
    try:
        log.write(json.dumps(line, ensure_ascii=False) + "\n")
        log.flush()
    except OSError as error:
        error.filename = log.name
        raise


def read_journal(path: Path) -> dict[str, dict[str, Any]]:
    """The whole lines of a journal by their draft's key."""
    lines: dict[str, dict[str, Any]] = {}
    if path.is_file():
        with path.open("rb") as file:
            for line in file:
                try:
                    row = json.loads(line)
                except ValueError:  # the line that a kill cut short; its image is made again
                    continue
                lines[row["key"]] = row
    return lines


def reusable(out: Path, line: dict[str, Any] | None, used: set[str]) -> tuple[Record, float | None] | None:
    """The record of a journal's line and its place, where its image is still whole and its name free."""
    if line is None:
        return None
    record = Record.from_json(line["record"])
    path = out / record.file_name
    if record.file_name in used or not path.is_file() or digest_file(path) != record.sha256:
        return None
    return record, line["place"]


def tidy(out: Path, keep: set[str]) -> None:
    """Remove what earlier, stopped runs left: images that no row names now, temporary files, old rows, empty splits."""
    (out / "quarantine.jsonl").unlink(missing_ok=True)
    for split in SPLITS:
        (out / split / "metadata.jsonl").unlink(missing_ok=True)
        for path in (out / split / "images").iterdir():
            if f"{split}/images/{path.name}" not in keep:
                path.unlink()
        if not any((out / split / "images").iterdir()):
            shutil.rmtree(out / split)
