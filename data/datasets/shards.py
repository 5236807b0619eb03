"""`vesalius data export`: a dataset as a few large files, which training reads as they stand.

OUT/train/00000.parquet    columns image {bytes, path}, text ... ; `datasets.load_dataset(OUT, streaming=True)`
OUT/train/00000.tar        WebDataset: KEY.png, KEY.json, and KEY.mask.png where there is a mask
OUT/manifest.json          written last: every shard with its number of records and its digest

`vesalius.data.datasets.streamed` reads them.
"""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import IO, Any, Literal, Protocol

import tyro

from vesalius.data.building.journal import read_object
from vesalius.data.command.fields import Settled
from vesalius.data.command.progress import progress
from vesalius.data.datasets.card import Tally, write_card
from vesalius.data.datasets.columns import Columns
from vesalius.data.datasets.streamed import FORMAT, IMAGE, MASK, Packed, place_of, shards_of, stream_packed
from vesalius.data.record import (
    Record,
    digest_file,
    hold,
    metadata_files,
    open_atomic,
    stream_records,
    write_atomic,
    write_json,
)
from vesalius.data.sources.inside import own_file

BATCH = 100
"""Rows of one group of a Parquet file: what the writer holds, and where a reader may begin."""
FEW = 8
"""Images, at least, that a reader of a Parquet file holds at a time."""

Row = dict[str, Any]
Shards = Literal["parquet", "webdataset"]


@dataclass(frozen=True, kw_only=True)
class ExportConfig(Settled):
    """Write a dataset folder as Parquet or WebDataset shards.

    `vesalius finetune --data` and `plan` take the folder of shards as it stands, and so do `data check` and `datasets`.
    """

    folder: tyro.conf.Positional[Path]
    """dataset folder to take from"""
    out: Path
    """folder to write; new, empty, or left by the same line when it was stopped"""
    shards: Shards = "parquet"
    """kind of file"""
    shard_mb: int = 256
    """size at which the next shard begins, in megabytes"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """count only"""


@dataclass(frozen=True, kw_only=True)
class ExportSummary:
    """What an export wrote: records by split, and the number of files."""

    path: Path
    """the folder of shards"""
    splits: dict[str, int]
    """records by split"""
    num_shards: int
    """files"""


def export_shards(config: ExportConfig) -> ExportSummary:
    """Write a dataset as shards. ValueError where `out` is not free, or an image of a row is missing."""
    if config.shard_mb < 1:
        raise ValueError(f"shard_mb {config.shard_mb}: expected a size in megabytes from 1")
    if config.out.resolve().is_relative_to(config.folder.resolve()):
        raise ValueError(f"{config.out}: lies inside {config.folder}, from which it takes; choose another --out")
    flat = metadata_files(config.folder)[0][1] == ""
    columns, tally, masks = Columns(), Tally(), False
    for record in stream_records(config.folder):
        columns.add(shard_row(record, flat))
        tally.add(record)
        masks = masks or record.mask is not None
    if config.dry_run:
        return ExportSummary(path=config.out, splits=dict(tally.splits), num_shards=0)
    with hold(config.out):
        _claim(config)
        done: dict[str, dict[str, Any]] = {}
        told = progress(stream_records(config.folder), "data export", tally.num_records, quiet=config.json)
        with ExitStack() as stack:
            open_shards: dict[str, OpenShard] = {}
            for record in told:
                shard = open_shards.get(record.split)
                if shard is None or shard.size >= config.shard_mb * 1_000_000:
                    if shard is not None:
                        done[shard.name] = shard.close()
                    number = sum(name.startswith(f"{record.split}/") for name in done)
                    shard = OpenShard(config.out, config.shards, record.split, number, masks)
                    stack.push(shard.abandon)
                    open_shards[record.split] = shard
                shard.add(columns.even(shard_row(record, flat)), *_contents(config.folder, record))
            for shard in open_shards.values():
                done[shard.name] = shard.close()
        card = write_card(config.out.resolve().name, tally, notes=[f"{config.shards} shards of {config.folder.name}"])
        write_atomic(config.out / "README.md", card.encode())
        write_manifest(config.out, config.shards, dict(tally.splits), done, flat=flat)
    return ExportSummary(path=config.out, splits=dict(tally.splits), num_shards=len(done))


def write_manifest(out: Path, kind: Shards, splits: dict[str, int], done: dict[str, Row], *, flat: bool) -> None:
    """What is written last. splits: their records; done: what `OpenShard.close` told of each, by name."""
    manifest: Row = {"format": FORMAT, "kind": kind, "splits": {s: {"num_records": n} for s, n in splits.items()}}
    write_json(out / "manifest.json", {**manifest, "flat": flat, "shards": dict(sorted(done.items()))})


def _claim(config: ExportConfig) -> None:
    mark = config.out / "derived.json"
    plan = {"verb": "data export", "from": str(config.folder.resolve()), "kind": config.shards}
    if mark.is_file():
        if read_object(mark) != plan:
            raise ValueError(f"{config.out}: holds an export of something else; choose another --out")
    elif any(config.out.iterdir()):
        raise ValueError(f"{config.out}: is not empty; choose a new --out")
    (config.out / "manifest.json").unlink(missing_ok=True)
    write_json(mark, plan)


def shard_row(record: Record, flat: bool) -> Row:
    """The row of a record without its split, which is the folder; names as in the file of metadata that it is from."""
    row = record.to_json()
    for field in ("file_name", "mask"):
        if field in row and not flat:
            row[field] = row[field].removeprefix(f"{record.split}/")
    return row


def _contents(root: Path, record: Record) -> tuple[bytes, bytes | None]:
    image, mask = (own_file(root, name) if name else None for name in (record.file_name, record.mask))
    assert image is not None
    return image.read_bytes(), mask.read_bytes() if mask else None


class _Writer(Protocol):
    def add(self, row: Row, image: bytes, mask: bytes | None) -> None: ...
    def close(self) -> None: ...


class OpenShard:
    """A shard that is being written, under a temporary name. masks: whether a record may have one."""

    def __init__(self, out: Path, kind: Shards, split: str, number: int, masks: bool) -> None:
        suffix = {"parquet": "parquet", "webdataset": "tar"}[kind]
        self.name = f"{split}/{number:05d}.{suffix}"
        self.path = out / self.name
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.size = self.count = 0
        self._atomic = open_atomic(self.path)
        self._whole = False
        file = self._atomic.__enter__()
        self._writer: _Writer = _Parquet(file, masks) if kind == "parquet" else _Tar(file)

    def add(self, row: Row, image: bytes, mask: bytes | None) -> None:
        self._writer.add(row, image, mask)
        self.size += len(image) + len(mask or b"")
        self.count += 1

    def close(self) -> dict[str, Any]:
        self._writer.close()
        self._whole = True
        self._atomic.__exit__(None, None, None)
        return {"num_records": self.count, "sha256": digest_file(self.path)}

    def abandon(self, kind: Any, error: Any, trace: Any) -> bool:
        if not self._whole and kind is not None:
            return bool(self._atomic.__exit__(kind, error, trace))
        return False


class _Parquet:
    def __init__(self, file: IO[bytes], masks: bool) -> None:
        self._file, self._masks, self._rows = file, masks, list[Row]()
        self._writer: Any = None

    def add(self, row: Row, image: bytes, mask: bytes | None) -> None:
        more: Row = {IMAGE: {"bytes": image, "path": PurePosixPath(row["file_name"]).name}}
        if self._masks:
            more[MASK] = mask and {"bytes": mask, "path": PurePosixPath(row["mask"]).name}
        self._rows.append(more | row)
        if len(self._rows) == BATCH:
            self._flush()

    def _flush(self) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        if self._writer is None:
            schema = _schema(self._rows[0], self._masks)
            # Images are compressed already; of a column of texts that repeat a dictionary makes little. What is read at
            # a time is a page: one ends after a megabyte, which is looked at after each few rows.
            plain = [name for name in schema.names if name not in (IMAGE, MASK)]
            self._writer = pq.ParquetWriter(
                self._file, schema, compression=dict.fromkeys(plain, "zstd"), use_dictionary=plain,
                write_statistics=False, write_batch_size=FEW,
            )  # fmt: skip
        self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._writer.schema))
        self._rows.clear()

    def close(self) -> None:
        if self._rows:
            self._flush()
        assert self._writer is not None
        self._writer.close()


def _schema(row: Row, masks: bool) -> Any:
    """The types of a row's columns, and the same in the words of `datasets`, so that it decodes the images."""
    import pyarrow as pa

    picture = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    words = {str: ("string", pa.string()), int: ("int64", pa.int64()), float: ("float64", pa.float64())}
    words[bool] = ("bool", pa.bool_())
    names = [IMAGE, *([MASK] if masks else [])]
    fields = [(name, picture) for name in names]
    features: Row = {name: {"_type": "Image"} for name in names}
    for key, value in row.items():
        if key not in names:
            word, kind = words[type(value)]
            fields.append((key, kind))
            features[key] = {"dtype": word, "_type": "Value"}
    return pa.schema(fields, metadata={"huggingface": json.dumps({"info": {"features": features}})})


class _Tar:
    def __init__(self, file: IO[bytes]) -> None:
        self._tar, self._count = tarfile.open(fileobj=file, mode="w"), 0  # noqa: SIM115

    def add(self, row: Row, image: bytes, mask: bytes | None) -> None:
        key = f"{self._count:08d}"
        self._count += 1
        self._put(f"{key}{PurePosixPath(row['file_name']).suffix.lower()}", image)
        if mask is not None:
            self._put(f"{key}.mask{PurePosixPath(row['mask']).suffix.lower()}", mask)
        self._put(f"{key}.json", json.dumps(row, ensure_ascii=False).encode())

    def _put(self, name: str, content: bytes) -> None:
        member = tarfile.TarInfo(name)  # its time is 0, so that equal records make equal files
        member.size = len(content)
        self._tar.addfile(member, BytesIO(content))

    def close(self) -> None:
        self._tar.close()


def stream_members(root: Path) -> Iterator[tuple[Record, bytes | None]]:
    """The records of a dataset folder, whose images lie at `root / record.file_name`, or of shards, with their images.

    ValueError as `stream_records`, and where a shard is damaged.
    """
    if not shards_of(root):
        yield from ((record, None) for record in stream_records(root))
    for record, spot, _ in stream_packed(root):
        yield record, Packed(root, record.file_name, spot).open().read()


def fetch(root: Path, wanted: set[str]) -> dict[str, bytes]:
    """The image files of some records by `file_name`; those that are missing are left out."""
    found: dict[str, bytes] = {}
    for name in wanted:
        with suppress(ValueError):
            place = place_of(root, name)
            found[name] = own_file(root, name).read_bytes() if isinstance(place, Path) else place.open().read()
    return found
