"""Records: images on disk with their text and provenance, as rows of a dataset folder.

A dataset is a folder that `datasets.load_dataset("imagefolder", data_dir=...)` opens as it stands:

    DIR/train/metadata.jsonl   one record a line, `file_name` (relative to the split's folder) and `text` first
    DIR/train/images/*.png
    DIR/val/..., DIR/test/...
    DIR/manifest.json          written last: its presence means that all before it is whole

A flat folder (one `metadata.jsonl` at the top, the split a column) is read too.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, TypeVar, get_args

from vesalius.data.datasets.columns import Columns

if TYPE_CHECKING:
    from vesalius.data.sources.archive import Place

F = TypeVar("F")
Side = Literal["left", "right", "bilateral"]
Origin = Literal["real", "phantom", "synthetic"]
SPLITS = ("train", "val", "test")
MARKS = (".build", "phantom.json", "derived.json", ".generate")
MOST_LOOKED_AT = 10_000
"""Names of a folder that is no dataset among which images are looked for: it may be somebody's whole disk."""
"""What the verbs that make datasets leave from their beginning on: without a manifest beside it they were stopped."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One finding that an image shows, or that its report denies."""

    kind: str
    """what it is, in one or a few words: nodule, pleural effusion"""
    side: Side | None = None
    """left or right of the patient, not of the viewer; or bilateral"""
    size_mm: float | None = None
    """longest diameter in millimetres"""
    count: int = 1
    """how many alike"""
    present: bool = True
    """false: the text denies it"""


@dataclass(frozen=True, kw_only=True)
class Record:
    """One image on disk with its text: a row of a dataset's `metadata.jsonl`."""

    file_name: str
    """path of the image, relative to its split's folder on disk, and to the dataset folder in memory"""
    text: str
    """the report, or the caption where there is no report"""
    modality: str
    """name of a modality: CT, MRI, pathology, X-ray ..."""
    caption: str | None = None
    """a short line for the same image"""
    organ: str | None = None
    """part of the body"""
    label: str | None = None
    """class of the image, as its source names it"""
    findings: tuple[Finding, ...] = ()
    """what the image shows, or its report denies; JSON text on disk, so that the column has one type"""
    patient_id: str | None = None
    """whose image it is, by a pseudonym; all images of one patient lie in one split"""
    split: str = "train"
    """train, val or test; on disk the name of its folder"""
    origin: Origin = "real"
    """real, phantom or synthetic"""
    depth: int = 0
    """generation depth: 0 of real and phantom records; of a sample 1 + the deepest record that its adapter saw"""
    license: str | None = None
    """licence of image and text, as the source writes it"""
    source: str | None = None
    """where it comes from: the name of a dataset or collection, or `vesalius generate`"""
    mask: str | None = None
    """path of an image of the same size that marks the findings, 0 where there is none"""
    sha256: str | None = None
    """digest of the image's bytes, in hex"""
    hounsfield: bool = False
    """whether the image file holds Hounsfield units (`vesalius.data.hounsfield`)"""
    extra: dict[str, Any] = dataclasses.field(default_factory=dict)
    """any further columns, kept as they are; on disk they stand beside the others, or as JSON text where not every row
    has them"""

    def to_json(self) -> dict[str, Any]:
        """The row on disk: `file_name` and `text` first, empty fields left out, `extra` spread at the end."""
        row = {name: v for name in _COLUMNS if (v := getattr(self, name)) not in (None, (), [])}
        if self.findings:
            row["findings"] = [{**vars(finding)} for finding in self.findings]
        return {**row, **self.extra}

    @staticmethod
    def from_json(row: dict[str, Any]) -> Record:
        """The inverse of `to_json`, and of a row on disk, where a text that lacks is "" and lists are JSON texts.

        Unknown columns go to `extra`. A row that calls itself synthetic, as those of samples do, is. KeyError where
        file_name, text or modality lacks.
        """
        more = row.get("extra")
        try:
            row = {**row, **(json.loads(more or "{}") if isinstance(more, str) else more or {})}
        except (TypeError, ValueError, RecursionError):
            raise TypeError("'extra'") from None
        names = {f.name for f in dataclasses.fields(Record)} - {"extra", "findings"}
        known = {k: v for k, v in row.items() if k in names and v is not None and (v != "" or k == "text")}
        for key in ("file_name", "text", "modality"):
            if key not in known:
                raise KeyError(key)
        if str(row.get("synthetic", "")).lower() == "true" and "origin" not in known:
            known |= {"origin": "synthetic", "depth": max(1, int(row.get("depth") or 1))}  # a row of a samples folder
        listed = row.get("findings") or ()
        try:
            findings = tuple(Finding(**f) for f in (json.loads(listed) if isinstance(listed, str) else listed))
        except (TypeError, ValueError, RecursionError):
            raise TypeError("'findings'") from None
        extra = {k: v for k, v in row.items() if k not in {*names, "findings", "extra"} and v not in (None, "")}
        return Record(**known, findings=findings, extra=extra)


def changed(value: F, **changes: Any) -> F:
    """A record or draft with other fields, as `dataclasses.replace` in a tenth of its time: a build does this several
    times an image."""
    fields = vars(value)
    assert changes.keys() <= fields.keys(), changes.keys() - fields.keys()
    new = object.__new__(type(value))
    vars(new).update(fields, **changes)
    return new


_COLUMNS = tuple(field.name for field in dataclasses.fields(Record) if field.name != "extra")


def digest_file(path: Place) -> str:
    """sha256 of a file's bytes, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def open_atomic(path: Path) -> Iterator[IO[bytes]]:
    """A file to write whole or not at all: a temporary sibling, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = error.filename or str(path)
        raise


def write_atomic(path: Path, content: bytes) -> None:
    """Write a file whole or not at all."""
    with open_atomic(path) as file:
        file.write(content)


def write_json(path: Path, value: Any) -> None:
    """A JSON document, whole or not at all."""
    write_atomic(path, (json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n").encode())


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """Rows of a JSON-lines file. ValueError names file and line."""
    for _, row in numbered_rows(path):
        yield row


def numbered_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a JSON-lines file with their line numbers, which count blank lines too. ValueError as `parse_row`."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                yield number, parse_row(line, f"{path}:{number}")


def parse_row(line: bytes, where: str) -> dict[str, Any]:
    """One line of a JSON-lines file. ValueError begins with `where`."""
    try:
        row = json.loads(line.decode("utf-8-sig"))
    except json.JSONDecodeError as error:
        raise ValueError(f"{where}: not JSON ({error.msg}); delete or mend that line") from None
    except UnicodeDecodeError:
        raise ValueError(f"{where}: not UTF-8 text; save the file as UTF-8") from None
    except (ValueError, RecursionError):  # a number of thousands of digits, or brackets in brackets without end
        raise ValueError(f"{where}: not JSON that can be read; delete or mend that line") from None
    if not isinstance(row, dict):
        raise ValueError(f"{where}: expected one JSON object per line, got {type(row).__name__}")
    return row


def read_state(path: Path, remedy: str) -> dict[str, Any]:
    """A JSON object that a run left. ValueError names the file and ends with the remedy."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise ValueError(f"{path}: damaged, holds no JSON object; {remedy}")
    return value


def check_types(record: Record) -> Record:
    """The record itself. TypeError names the first column whose value is not of the declared kind."""
    optional = ("caption", "organ", "label", "patient_id", "license", "source", "mask", "sha256")
    for name in ("file_name", "text", "modality", "split", "origin", *optional):
        value = getattr(record, name)
        if not isinstance(value, str) and not (value is None and name in optional):
            raise TypeError(f"'{name}'")
    if type(record.depth) is not int:
        raise TypeError("'depth'")
    if not isinstance(record.hounsfield, bool):
        raise TypeError("'hounsfield'")
    if record.text.encode("utf-8", "ignore").decode() != record.text:
        raise TypeError("'text'")  # halves of characters, which no file can hold
    for f in record.findings:
        if not isinstance(f.kind, str) or f.side not in (None, *get_args(Side)) or type(f.count) is not int:
            raise TypeError("'findings'")
        if not (f.size_mm is None or isinstance(f.size_mm, int | float)) or not isinstance(f.present, bool):
            raise TypeError("'findings'")
    return record


@contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Make a folder and keep other runs out of it; one that stays empty is removed. ValueError where one is in it.

    The system lets go of the lock when its process ends, however it ends.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder}: is a file; choose a folder for --out")
    folder.mkdir(parents=True, exist_ok=True)
    handle = None
    try:
        if hasattr(os, "O_DIRECTORY"):
            import fcntl

            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ValueError(
                    f"{folder}: another run is writing there; wait for it, or choose another --out"
                ) from None
            except OSError:  # a network disk without locks
                pass
        yield
    finally:
        if handle is not None:
            os.close(handle)
        with suppress(OSError):
            folder.rmdir()


def load_records(folder: Path | str, split: str | None = None) -> list[Record]:
    """All records of a dataset folder (or of one split), with `file_name` and `mask` relative to `folder`.

    ValueError where the folder is no dataset, a row lacks a column, or the asked split is empty.
    """
    return list(stream_records(folder, split))


def stream_records(folder: Path | str, split: str | None = None) -> Iterator[Record]:
    """The records of a dataset folder (or of one split) one by one, in memory that does not grow.

    ValueError as `load_records`, on the way.
    """
    root, seen, empty = Path(folder), set[str](), True
    for place, name in metadata_files(root):
        for number, row in numbered_rows(place):
            try:
                record = check_types(Record.from_json(row))
            except (KeyError, TypeError, json.JSONDecodeError) as error:
                raise ValueError(f"{place}:{number}: column {error} is missing or of the wrong type") from None
            if name:
                mask = f"{name}/{record.mask}" if record.mask else None
                record = dataclasses.replace(record, file_name=f"{name}/{record.file_name}", mask=mask, split=name)
            seen.add(record.split)
            if split is None or record.split == split:
                empty = False
                yield record
    if empty:
        raise ValueError(f"{root}: no records in split '{split}' (has: {sorted(seen) or 'none'})")


def metadata_files(root: Path) -> list[tuple[Path, str]]:
    """The metadata files of a dataset folder, each with its split ("" of a flat one). ValueError where it is none."""
    if not root.is_dir():
        raise ValueError(
            f"{root}: no such dataset folder; make one with `vesalius data build` or `vesalius data phantom`"
        )
    places = [(root / s / "metadata.jsonl", s) for s in SPLITS if (root / s / "metadata.jsonl").is_file()]
    if not places and (root / "metadata.jsonl").is_file():
        places = [(root / "metadata.jsonl", "")]
    if not (root / "manifest.json").is_file() and any((root / mark).exists() for mark in MARKS):
        raise ValueError(f"{root}: is unfinished; run the line that was making it again")
    if not places and holds_shards(root):
        if not (root / "manifest.json").is_file():
            raise ValueError(
                f"{root}: holds shards but no manifest.json, which is written last, so some may lack; copy the folder "
                "whole, or run its `vesalius data export` again"
            )
        raise ValueError(
            f"{root}: holds shards, which `datasets` and `vesalius data check`, `finetune` and `plan` open; give the "
            "dataset folder that they were exported from"
        )
    if not places:
        from vesalius.data.sources.pictures import IMAGE_SUFFIXES

        first = itertools.islice(root.rglob("*"), MOST_LOOKED_AT)
        pictures = any(path.suffix.lower() in IMAGE_SUFFIXES for path in first)
        raise ValueError(
            f"{root}: {'is a folder of images, not a dataset: ' * pictures}no metadata.jsonl there or in train/, val/, "
            f"test/; `vesalius data build {root if pictures else 'SOURCE'} --out DIR` makes a dataset"
            f"{' of it' * pictures}"
        )
    return places


def holds_shards(root: Path) -> bool:
    """Whether files of a folder are named as `vesalius data export` names them."""
    return any(next(root.glob(f"*/00000.{kind}"), None) for kind in ("parquet", "tar"))


def write_dataset(
    folder: Path, records: Iterable[Record], *, card: str = "", manifest: dict[str, Any] | None = None
) -> None:
    """Write the rows of a dataset whose images already lie at `folder / record.file_name` (= split/images/...).

    Rows are put aside on disk until the last has told which columns there are, so memory does not grow with them. The
    manifest is written last; it holds the count of each split and the digest of each metadata file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").unlink(missing_ok=True)  # from here until the end the folder is not whole
    columns, counts = Columns(), dict[str, int]()
    with ExitStack() as stack:
        aside: dict[str, IO[bytes]] = {}
        for record in records:
            assert record.file_name.startswith(f"{record.split}/"), record.file_name
            prefix = f"{record.split}/"
            mask = record.mask.removeprefix(prefix) if record.mask else None
            row = changed(record, file_name=record.file_name.removeprefix(prefix), mask=mask).to_json()
            columns.add(row)
            if record.split not in aside:
                aside[record.split] = stack.enter_context(tempfile.TemporaryFile(dir=folder))
            aside[record.split].write(_line(row))
            counts[record.split] = counts.get(record.split, 0) + 1
        splits: dict[str, Any] = {}
        for split, rows in aside.items():
            rows.seek(0)
            path = folder / split / "metadata.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            with open_atomic(path) as file:
                file.writelines(_line(columns.even(json.loads(line))) for line in rows)
            splits[split] = {"num_records": counts[split], "sha256": digest_file(path)}
    if card:
        write_atomic(folder / "README.md", card.encode())
    write_json(folder / "manifest.json", {"format": "vesalius-dataset-1", "splits": splits, **(manifest or {})})


def _line(row: dict[str, Any]) -> bytes:
    return (json.dumps(row, ensure_ascii=False, default=str) + "\n").encode()
