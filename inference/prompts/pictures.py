"""Pictures that rows of prompts bring to start from: columns of a table, or the images of a dataset's own records.

    image      a path relative to the table; of a Parquet file it may hold the picture itself
    mask       another, of the image's size, white where it is drawn anew
    strength   how far the image goes back into noise

What a row leaves empty is the run's (`--image`, `--mask`, `--strength`). A row with `file_name` and no `image` is a
record, as a dataset's metadata.jsonl has them: what it says of a mask or a strength is of its own picture, from which
nothing starts unless it is asked for (`--start`). Masks of records number what they show, so whatever is not black is
drawn anew then; records that show nothing there are left out.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vesalius.data.images.image import read_image
from vesalius.data.sources.archive import Place
from vesalius.data.sources.inside import is_remote
from vesalius.data.tables.cells import Cell, damage, open_parquet
from vesalius.data.tables.text_rows import Numbered

StartsFrom = Literal["noise", "image", "mask"]
"""What prompts of a dataset start from: noise, the record's image, or that with only what its mask shows drawn anew."""
PICTURES = ("image", "mask")
ROWS = 256
"""Rows of a Parquet file, without their pictures, that are in memory together."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """What a row brings to start from; None is the run's. where: names the row. above: as `Source` has it."""

    where: str
    image: Place | None = None
    mask: Place | None = None
    strength: float | None = None
    above: int = 127


class LeftOut(Exception):
    """A record whose mask shows nothing, or that has none, where masks are asked for."""


def start_of_row(row: Mapping[str, Any], folder: Path, starts: StartsFrom, where: str) -> Start | None:
    """What a row of a table in `folder` brings, by its columns; None where that is nothing. ValueError begins with
    `where`. Raises LeftOut as `start_of_record`."""
    image, mask = (_place(row.get(name), name, folder, where) for name in PICTURES)
    if image is None and (own := row.get("file_name")):
        return start_of_record(_place(own, "file_name", folder, where), mask, starts, where)
    if starts != "noise":
        return start_of_record(image, mask, starts, where, _strength(row.get("strength"), where))
    strength = _strength(row.get("strength"), where)
    if (image, mask, strength) == (None, None, None):
        return None
    return Start(where=where, image=image, mask=mask, strength=strength)


def start_of_record(
    image: Place | None, mask: Place | None, starts: StartsFrom, where: str, strength: float | None = None
) -> Start | None:
    """What is taken of a record's own image and mask. Raises LeftOut where a mask is asked for and shows nothing.
    ValueError where there is no image."""
    if starts == "noise":
        return None
    if image is None:
        raise ValueError(f"{where}: --start {starts} needs a picture, in `image` or `file_name`; fill it in")
    if starts == "image":
        return Start(where=where, image=image, strength=strength)
    try:
        if mask is None or not read_image(mask).any():
            raise LeftOut
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return Start(where=where, image=image, mask=mask, strength=strength, above=0)


def _place(value: Any, name: str, folder: Path, where: str) -> Place | None:
    if value is None or value == "":
        return None
    if isinstance(value, Cell):
        return value
    if not isinstance(value, str) or "\0" in value:
        raise ValueError(f"{where}: {name} is no path; give one relative to the table, or leave it empty")
    if is_remote(value):
        raise ValueError(f"{where}: {name} {value[:200]} is a remote address; download it, and write its path")
    path = folder / os.path.expanduser(value)  # leaves a name that is no user's as it is, where Path has an error
    if "\\" in value and not os.path.isfile(path):  # as Windows writes it
        return folder / value.replace("\\", "/")
    return path


def _strength(value: Any, where: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not 0 < number <= 1:
        told = "expected a number above 0, up to 1, such as 0.6, or nothing"
        raise ValueError(f"{where}: strength {str(value)[:20]}: {told}")
    return number


def parquet_rows(path: Path, check: Callable[[Sequence[str]], list[str]]) -> Iterator[Numbered]:
    """(row number from 1, row by keys) of a Parquet file of prompts; a picture that it holds is a `Cell`, its bytes
    unread.

    check: the keys of its columns, or a ValueError where none holds prompts. ValueError names the file where it is
    damaged.
    """
    try:
        with open_parquet(path) as file:
            schema = file.schema_arrow
            keys = dict(zip(schema.names, check(schema.names), strict=True))
            held = {name: key for name, key in keys.items() if key in PICTURES and _holds_bytes(schema.field(name))}
            plain = [name for name in keys if name not in held and not _holds_bytes(schema.field(name))]
            number = 0
            for batch in file.iter_batches(batch_size=ROWS, columns=plain, use_threads=False):
                for row in batch.to_pylist():
                    told = {keys[name]: value for name, value in row.items()}
                    yield number + 1, {**told, **{key: Cell(path, number, name) for name, key in held.items()}}
                    number += 1
    except damage() as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"{path}: no Parquet file that can be read ({why}); copy it again") from None


def _holds_bytes(field: Any) -> bool:
    """Whether a column holds files: bytes, or as Hugging Face datasets have them beside a path."""
    import pyarrow.types as kinds

    kind = field.type
    if kinds.is_struct(kind):
        return bool(kind.get_field_index("bytes") >= 0)
    return bool(kinds.is_binary(kind) or kinds.is_large_binary(kind))
