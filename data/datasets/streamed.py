"""Records and images of dataset folders and of shards alike, for what reads many of them in their order.

A record's image lies at `place_of(folder, record.file_name)`: a file of a dataset folder, or a `Packed` one in a shard
that `vesalius data export` wrote. Nothing is unpacked to disk, and no image is in memory before it is asked for. In a
WebDataset shard an image is one seek. A Parquet shard is read on from one image to the next, some rows at a time, so
they are best asked for in the order of the records; a step back begins at the group of rows that holds the image.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NamedTuple

from vesalius.data.building.journal import read_object
from vesalius.data.command.counted import counted
from vesalius.data.record import Record, check_types, holds_shards, stream_records
from vesalius.data.sources.inner import MAX_FILE, Inner
from vesalius.data.tables.cells import damage, open_parquet, read_cell

if TYPE_CHECKING:
    pass

FORMAT = "vesalius-shards-1"
KINDS = (".parquet", ".tar")
IMAGE, MASK = "image", "mask_image"
"""Columns of pictures of a Parquet shard."""
ROWS = 256
"""Rows, without their images, that are in memory together."""
AGAIN = "copy it again, or export the dataset again"

Row = dict[str, Any]


class Spot(NamedTuple):
    """Where an image is in a shard: its row and column, or in a tar its first byte and how many there are."""

    shard: str
    at: int
    column: str = ""
    size: int = 0


@dataclass(frozen=True)
class Packed(Inner):
    """One image inside a shard. root: the folder of the shards. inner: the image's name in its record."""

    root: Path
    inner: str
    spot: Spot

    @property
    def outer(self) -> Path:
        return self.root / self.spot.shard

    def open(self, mode: str = "rb") -> BytesIO:
        assert mode == "rb"
        path, spot = self.outer, self.spot
        try:
            content = read_cell(path, spot.column, spot.at) if spot.column else _read_at(path, spot.at, spot.size)
        except _damage(path) as error:
            raise _damaged(path, f"at {self.inner}: {error}") from None
        if isinstance(content, dict):
            content = content.get("bytes")
        if isinstance(content, bytes) and len(content) > MAX_FILE:
            raise ValueError(f"{self}: holds more than {MAX_FILE} bytes; build again, or remove the row")
        if not isinstance(content, bytes) or not content or len(content) < spot.size:
            raise _damaged(path, f"at {self.inner}: no whole image there")
        return BytesIO(content)


class Shards:
    """The shards of one folder, and where in them each image and mask lies: found in one pass over the rows."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._spots: dict[str, Spot] | None = None

    def records(self) -> Iterator[Record]:
        """The records in order; at the end it is known where their images lie. ValueError as `stream_packed`."""
        spots: dict[str, Spot] = {}
        for record, image, mask in stream_packed(self.root):
            spots[record.file_name] = image
            if record.mask and mask:
                spots[record.mask] = mask
            yield record
        self._spots = spots

    def spot(self, name: str) -> Spot | None:
        """Where an image or mask of that name lies; None where there is none."""
        if self._spots is None:
            for _ in self.records():
                pass
        assert self._spots is not None
        return self._spots.get(name)


def dataset_records(root: Path) -> Iterator[Record]:
    """The records of a dataset folder, or of shards as they stand; of shards their images' places are then known.

    ValueError as `stream_records`, and where shards are unfinished, damaged or not all there.
    """
    shards = _opened(root)
    return stream_records(root) if shards is None else shards.records()


def place_of(root: Path, name: str) -> Path | Packed:
    """Where the image or mask of a record of `root` is, by its name there; whether it is there, opening it tells."""
    shards = _opened(root)
    spot = shards.spot(name) if shards else None
    return Packed(root, name, spot) if spot else root / name


def _opened(root: Path) -> Shards | None:
    try:
        changed = (root / "manifest.json").stat().st_mtime_ns
    except OSError:
        return None
    return _shards(root, changed)


@lru_cache(maxsize=32)
def _shards(root: Path, changed: int) -> Shards | None:
    """changed: when the manifest was, so that what is known of shards does not outlive them."""
    return Shards(root) if shards_of(root) else None


def shards_of(root: Path) -> dict[str, dict[str, Any]]:
    """The shards of an export by their names, with num_records and sha256; none where the folder is no export."""
    return _manifest(root)[0]


def _manifest(root: Path) -> tuple[dict[str, dict[str, Any]], bool]:
    """The shards of a folder, and whether the dataset that they come from had no folders of splits."""
    path = root / "manifest.json"
    value = read_object(path) if path.is_file() else {}
    shards = value.get("shards")
    if value.get("format") != FORMAT and (value or not (path.is_file() and holds_shards(root))):
        return {}, False
    if not isinstance(shards, dict) or not all(
        isinstance(facts, dict) and facts.keys() >= {"num_records", "sha256"} and _is_shard(name)
        for name, facts in shards.items()
    ):
        raise ValueError(f"{path}: damaged, it names no shards; export the dataset again")
    return shards, value.get("flat") is True


def _is_shard(name: str) -> bool:
    parts = PurePosixPath(name).parts
    return len(parts) == 2 and ".." not in parts and parts[0] != "/" and name.endswith(KINDS)


def stream_packed(root: Path) -> Iterator[tuple[Record, Spot, Spot | None]]:
    """The records of shards one by one, with where their images and masks lie, in memory that does not grow.

    ValueError names a shard that is missing, damaged, or does not hold as many records as the manifest says.
    """
    shards, flat = _manifest(root)
    for name, facts in shards.items():
        path, prefix, count = root / name, "" if flat else f"{name.split('/')[0]}/", 0
        try:
            for row, image, mask in _parquet_rows(path, name) if path.suffix == ".parquet" else _tar_rows(path, name):
                names = {field: f"{prefix}{row[field]}" for field in ("file_name", "mask") if row.get(field)}
                record = check_types(Record.from_json({**row, **names, "split": name.split("/")[0]}))
                count += 1
                yield record, image, mask
        except _damage(path) as error:
            raise _damaged(path, error) from None
        if count != facts["num_records"]:
            raise _damaged(path, f"{counted(count, 'record')} where the manifest names {facts['num_records']}")


def _damage(path: Path) -> tuple[type[BaseException], ...]:
    rows = (KeyError, TypeError, ValueError, RecursionError)
    return (*rows, *(damage() if path.suffix == ".parquet" else (tarfile.TarError, OSError)))


def _damaged(path: Path, error: object) -> ValueError:
    return ValueError(f"{path}: damaged or missing ({' '.join(str(error).split())[:200]}); {AGAIN}")


def _parquet_rows(path: Path, name: str) -> Iterator[tuple[Row, Spot, Spot | None]]:
    """Rows without their images, which are not read."""
    with open_parquet(path) as file:
        columns = [column for column in file.schema_arrow.names if column not in (IMAGE, MASK)]
        held, at = MASK in file.schema_arrow.names, 0
        for batch in file.iter_batches(batch_size=ROWS, columns=columns, use_threads=False):
            for row in batch.to_pylist():
                yield row, Spot(name, at, IMAGE), Spot(name, at, MASK) if held and row.get("mask") else None
                at += 1


def _tar_rows(path: Path, name: str) -> Iterator[tuple[Row, Spot, Spot | None]]:
    """Rows, from one header to the next: images are stepped over."""
    image: Spot | None = None
    mask: Spot | None = None
    with tarfile.open(path, "r:") as opened:
        tar: Any = opened
        while (member := tar.next()) is not None:
            tar.members.clear()  # it would remember them all
            if not member.name.endswith(".json"):
                spot = Spot(name, member.offset_data, size=member.size)
                image, mask = (image, spot) if ".mask." in member.name else (spot, mask)
            elif image is None:
                raise tarfile.ReadError(f"{member.name} has no image before it")
            else:
                yield json.loads(_read_at(path, member.offset_data, member.size)), image, mask
                image = mask = None


def _read_at(path: Path, start: int, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(start)
        return file.read(min(size, MAX_FILE + 1))
