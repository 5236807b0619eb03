"""`vesalius data merge`: several datasets as one, with every patient in one split."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import tyro

from vesalius.data.command.fields import Settled
from vesalius.data.datasets.derive import Move, derive, settled
from vesalius.data.datasets.split import patient_key
from vesalius.data.record import Record, digest_file, stream_records


@dataclass(frozen=True, kw_only=True)
class MergeConfig(Settled):
    """Put the records of several datasets into one; a record that is in several is taken once."""

    folders: tyro.conf.Positional[tuple[Path, ...]]
    """dataset folders to take from, in this order"""
    out: Path
    """dataset folder to write; new, empty, or left by the same line when it was stopped"""
    follow_first: bool = False
    """where datasets disagree on a patient's split, that of the first one that has the patient holds"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """count only"""


@dataclass(frozen=True, kw_only=True)
class MergeSummary:
    """What a merge wrote: records by split, records that were in several datasets, and records in another split."""

    path: Path
    """the new dataset folder"""
    splits: dict[str, int]
    """records by split"""
    num_repeated: int
    """records that were in several datasets"""
    num_moved: int
    """records that lie in another split than before, that of their patient"""


def merge_datasets(config: MergeConfig) -> MergeSummary:
    """Write the records of several datasets as one. Equal names get a number; splits stay as they are.

    ValueError where a patient (or group) is in different splits of two datasets, unless the first is to be followed:
    of a merge by accident nobody would notice that the test split has been trained on.
    """
    if len({f.resolve() for f in config.folders}) < max(2, len(config.folders)):
        raise ValueError("name two or more dataset folders to merge, each once")
    told = {"repeated": 0, "moved": 0}

    def moves() -> Iterator[Move]:
        told.update(repeated=0, moved=0)
        yield from _moves(config, told)

    counts = derive(
        config.out, config.folders, moves, verb="data merge", plan={"follow_first": config.follow_first},
        notes=lambda: _notes(config, told), dry_run=config.dry_run, quiet=config.json,
    )  # fmt: skip
    return MergeSummary(path=config.out, splits=counts, num_repeated=told["repeated"], num_moved=told["moved"])


def _notes(config: MergeConfig, told: dict[str, int]) -> list[str]:
    notes = [f"merged from {', '.join(f.resolve().name for f in config.folders)}"]
    if told["repeated"]:
        notes.append(f"{told['repeated']} records were in several of them and are here once")
    if told["moved"]:
        notes.append(f"{told['moved']} records are in the split that the first of them gives to their patient")
    return notes


def _moves(config: MergeConfig, told: dict[str, int]) -> Iterator[Move]:
    """The records under names that no other has. Holds 64-bit hashes of names, contents and patients."""
    names: dict[int, int] = {}
    before: dict[int, str] = {}
    for folder in config.folders:
        here: dict[int, str] = {}
        for record in stream_records(folder):
            key, split = patient_key(record), record.split
            if key is not None:
                here.setdefault(hash(key), split)
                first = before.get(hash(key), split)
                if first != split and not config.follow_first:
                    raise ValueError(
                        f"{folder}: patient or group '{key}' is in {split} there and in {first} of a dataset before "
                        "it; pass --follow-first to move it there, or build both anew from their sources with --resplit"
                    )
                told["moved"] += first != split
                split = first
            move = _free(settled(folder, record, split), names)
            if move is None:
                told["repeated"] += 1
            else:
                yield move
        before = {**here, **before}


def _free(move: Move, names: dict[int, int]) -> Move | None:
    """The move under a name that is free; None where the same image with the same text has it already."""
    content, number, new = _content(move.root, move.old), 1, move.new
    while (there := names.get(hash(new.file_name))) is not None:
        if there == content:
            return None
        number += 1
        mask = _numbered(move.new.mask, number) if move.new.mask else None
        new = dataclasses.replace(move.new, file_name=_numbered(move.new.file_name, number), mask=mask)
    names[hash(new.file_name)] = content
    return dataclasses.replace(move, new=new)


def _content(root: Path, record: Record) -> int:
    return hash((record.sha256 or digest_file(root / record.file_name), record.text))


def _numbered(name: str, number: int) -> str:
    path = PurePosixPath(name)
    return str(path.with_name(f"{path.stem}-{number}{path.suffix}"))
