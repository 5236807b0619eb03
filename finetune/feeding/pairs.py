"""Rated pairs: two pictures of one prompt, of which somebody preferred one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vesalius.data.modality import find_modality
from vesalius.data.record import Record, numbered_rows
from vesalius.data.sources.inside import inside

Member = tuple[Path, Record]
WANTED = ("text", "modality", "better", "worse")


def load_pairs(files: Sequence[Path]) -> tuple[list[Member], list[Member]]:
    """The better and the worse picture of each row, in order.

    A file is JSON lines of text, modality, better and worse (paths from the file's folder) and, of samples, depth.
    ValueError names the line: a column that lacks, a picture that is not there, or the same one twice.
    """
    better, worse = list[Member](), list[Member]()
    for path in files:
        if not path.is_file():
            raise ValueError(f"{path}: no such file of rated pairs (JSON lines of {', '.join(WANTED)})")
        root = path.parent.resolve()
        for number, row in numbered_rows(path):
            where = f"{path}:{number}"
            lacking = [name for name in WANTED if not isinstance(row.get(name), str) or not row[name].strip()]
            if lacking:
                raise ValueError(f"{where}: has no {' and no '.join(lacking)}; a pair needs {', '.join(WANTED)}")
            if row["better"] == row["worse"]:
                raise ValueError(f"{where}: better and worse are the same picture '{row['better']}'; delete the row")
            for name, members in (("better", better), ("worse", worse)):
                members.append((root, _record(root, row, name, where)))
    if files and not better:
        raise ValueError(f"{files[0]}: holds no pairs; add rows of {', '.join(WANTED)}")
    return better, worse


def _record(root: Path, row: dict[str, Any], name: str, where: str) -> Record:
    try:
        modality = find_modality(row["modality"]).name
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    depth = row.get("depth", 1)
    if type(depth) is not int or depth < 0:
        raise ValueError(f"{where}: depth {depth!r} is no whole number of generations; mend the row")
    file = inside(root, row[name], where)
    return Record(
        file_name=file.relative_to(root).as_posix(), text=row["text"], modality=modality, origin="synthetic",
        depth=depth,
    )  # fmt: skip
