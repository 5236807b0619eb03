"""Rows of Parquet and Arrow files, as Hugging Face datasets hold them: images stay where they are, as `Cell`s."""

from __future__ import annotations

import datetime
import decimal
import itertools
import json
import math
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vesalius.data.tables.cells import ROWS as FEW
from vesalius.data.tables.cells import Cell, damage, is_parquet, open_arrow, open_parquet
from vesalius.data.tables.text_rows import Numbered

ROWS = 256
"""Rows, without their images, that are in memory together."""
IMAGE_NAMES = ("image", "img", "picture", "photo", "scan", "jpg", "png")
"""What a column of images is called, in order of preference, where there are several."""


def packed_rows(path: Path) -> Iterator[Numbered]:
    """(row number from 1, row) of a Parquet or Arrow file. An image that the file holds is a `Cell`, its bytes unread.

    Numbers that stand for classes become their names. ValueError names the file where it is damaged or has no image
    column and no path.
    """
    try:
        yield from _parquet(path) if is_parquet(path) else _arrow(path)
    except damage() as error:
        raise _damaged(path, error) from None


def column_names(path: Path) -> list[str]:
    """The columns that `packed_rows` gives. ValueError names the file where it is damaged or has no rows."""
    try:
        schema = open_parquet(path).schema_arrow if is_parquet(path) else _schema(_batches(path), path)
        image, names = _image_column(schema, path), [f.name for f in schema if _is_plain(f.type)]
    except damage() as error:
        raise _damaged(path, error) from None
    return [*names, *(["file_name"] if image else [])]


def _damaged(path: Path, error: BaseException) -> ValueError:
    kind = "Parquet" if is_parquet(path) else "Arrow"
    told = " ".join(str(error).split())[:200]
    return ValueError(f"{path}: no {kind} file that can be read ({told}); copy it again")


def _parquet(path: Path) -> Iterator[Numbered]:
    file = open_parquet(path)
    schema = file.schema_arrow
    image = _image_column(schema, path)
    plain = [f.name for f in schema if _is_plain(f.type)]
    columns = [*plain, *([f"{image}.path"] if image and _has_path(schema, image) else [])]
    shape = _Shape(path, schema, image)
    number = 0
    for group in range(file.metadata.num_row_groups):
        held = _held(file, group, image) if image else iter(())
        for batch in file.iter_batches(batch_size=ROWS, row_groups=[group], columns=columns, use_threads=False):
            for row in batch.to_pylist():
                number += 1
                yield number, shape.row(number, row, next(held, False))


def _held(file: Any, group: int, image: str) -> Iterator[bool]:
    """Whether each row's bytes are there: from the file's statistics, or else by reading them."""
    facts = file.metadata.row_group(group)
    for index in range(facts.num_columns):
        column = facts.column(index)
        stats = column.statistics if column.path_in_schema in (image, f"{image}.bytes") else None
        if stats is not None and stats.has_null_count and stats.null_count in (0, facts.num_rows):
            yield from itertools.repeat(stats.null_count == 0, facts.num_rows)
            return
    for batch in file.iter_batches(batch_size=FEW, row_groups=[group], columns=[image], use_threads=False):
        for value in batch.column(0):
            yield _bytes_of(value.as_py()) is not None


def _arrow(path: Path) -> Iterator[Numbered]:
    batches = _batches(path)
    schema = _schema(batches, path)
    image = _image_column(schema, path)
    plain = [f.name for f in schema if _is_plain(f.type)]
    shape, number = _Shape(path, schema, image), 0
    for whole in batches:
        for start in range(0, whole.num_rows, ROWS):
            batch = whole.slice(start, ROWS)
            values = batch.column(image) if image else None
            for index, row in enumerate(batch.select(plain).to_pylist() if plain else [{}] * batch.num_rows):
                number += 1
                held = False
                if values is not None and image is not None:
                    nested = _is_struct(schema.field(image).type)
                    content = values.field("bytes") if nested else values
                    held = content.is_valid()[index].as_py()
                    if nested and _has_path(schema, image):
                        row[image] = {"path": values.field("path")[index].as_py()}
                yield number, shape.row(number, row, held)


def _batches(path: Path) -> list[Any]:
    return open_arrow(path, path.stat().st_mtime_ns)


def _schema(batches: list[Any], path: Path) -> Any:
    if not batches:
        raise ValueError(f"{path}: no rows; leave it out")
    return batches[0].schema


class _Shape:
    """How one file's rows become a table's rows."""

    def __init__(self, path: Path, schema: Any, image: str | None) -> None:
        self.path, self.image = path, image
        self.classes = _classes(schema)

    def row(self, number: int, row: dict[str, Any], held: bool) -> dict[str, Any] | ValueError:
        inner = row.pop(self.image, None) if self.image else None
        name = str((inner or {}).get("path") or "") if isinstance(inner, dict) else ""
        row = {key: _plain(value) for key, value in row.items()}
        for column, names in self.classes.items():
            if isinstance(value := row.get(column), int):
                if not 0 <= value < len(names):
                    row[column] = None
                    if value != -1:  # -1 is how datasets say that a class is not known
                        return ValueError(
                            f"{self.path}:{number}: column {column} is {value}, but its classes are 0 to "
                            f"{len(names) - 1}; mend the row"
                        )
                else:
                    row[column] = names[value]
        if self.image and held:
            row = {"file_name": Cell(self.path, number - 1, self.image, name), **_without(row, "file_name")}
        elif self.image and name:
            row = {**row, "file_name": name}
        elif self.image and not row.get("file_name"):
            return ValueError(f"{self.path}:{number}: column {self.image} is empty; fill it or delete the row")
        return row


def _without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {k: v for k, v in row.items() if k != key}


def _classes(schema: Any) -> dict[str, list[str]]:
    """The names of numbered classes, which datasets write into the schema. {} where there are none."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
        return {
            column: [str(name) for name in kind["names"]]
            for column, kind in features.items()
            if isinstance(kind, dict) and kind.get("_type") == "ClassLabel"
        }
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError):
        return {}


def _image_column(schema: Any, path: Path) -> str | None:
    """The column that holds images: bytes, or a struct of bytes and path. ValueError where one of several is meant, and
    where any two columns share a name."""
    import pyarrow.types as kinds

    if twice := [name for name, count in Counter(schema.names).items() if count > 1]:
        raise ValueError(f"{path}: column '{min(twice)}' is there twice; rename one")

    found: list[str] = [
        f.name
        for f in schema
        if (_is_struct(f.type) and f.type.get_field_index("bytes") >= 0)
        or kinds.is_binary(f.type)
        or kinds.is_large_binary(f.type)
    ]
    if len(found) < 2:
        return found[0] if found else None
    named: list[str] = [name for wanted in IMAGE_NAMES for name in found if name.lower() == wanted]
    if not named:
        raise ValueError(f"{path}: {len(found)} columns of images ({', '.join(found)}); name the one meant `image`")
    return named[0]


def _is_struct(kind: Any) -> bool:
    import pyarrow.types as kinds

    return bool(kinds.is_struct(kind))


def _is_plain(kind: Any) -> bool:
    """Whether values are words, numbers, or lists of them; not bytes, nor what holds bytes."""
    import pyarrow.types as kinds

    if kinds.is_struct(kind):
        return kind.get_field_index("bytes") < 0 and all(_is_plain(kind.field(i).type) for i in range(kind.num_fields))
    if kinds.is_list(kind) or kinds.is_large_list(kind) or kinds.is_fixed_size_list(kind):
        return _is_plain(kind.value_type)
    return not (
        kinds.is_binary(kind)
        or kinds.is_large_binary(kind)
        or kinds.is_fixed_size_binary(kind)
        or kinds.is_map(kind)
        or kinds.is_union(kind)
    )


def _has_path(schema: Any, image: str) -> bool:
    kind = schema.field(image).type
    return _is_struct(kind) and kind.get_field_index("path") >= 0


def _bytes_of(value: Any) -> bytes | None:
    held = value.get("bytes") if isinstance(value, dict) else value
    return held if isinstance(held, bytes) else None


def _plain(value: Any) -> Any:
    """As JSON would hold it; what is not a number is empty."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal):
        return str(value)
    if isinstance(value, list):
        return [_plain(each) for each in value]
    if isinstance(value, dict):
        return {str(key): _plain(each) for key, each in value.items()}
    return value
