"""`vesalius data filter`: the part of a dataset that one asks for, as a dataset of its own."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from vesalius.data.modality import find_modality
from vesalius.data.progress import progress
from vesalius.data.record import Record, hold, load_records, read_state, write_atomic, write_dataset, write_json


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Keep the records of a dataset that match every condition given."""

    folder: tyro.conf.Positional[Path]
    """dataset folder to take from"""
    out: Path
    """dataset folder to write; new, empty, or left by the same line when it was stopped"""
    modality: tuple[str, ...] = ()
    """modalities to keep; none: all"""
    organ: tuple[str, ...] = ()
    """organs to keep (the records' `organ`); none: all"""
    label: tuple[str, ...] = ()
    """labels to keep; none: all"""
    json: bool = False
    """print the counts as one JSON object"""
    dry_run: bool = False
    """count only"""


def filter_dataset(config: FilterConfig) -> dict[str, int]:
    """Write the matching records with their splits, images and masks; returns their number by split.

    Images are hard links where the disk allows it. ValueError where nothing matches, naming the values there are.
    """
    records = load_records(config.folder)
    modalities = {find_modality(m).name for m in config.modality}
    kept = [
        r for r in records
        if (not modalities or find_modality(r.modality).name in modalities)
        and (not config.organ or r.organ in config.organ)
        and (not config.label or r.label in config.label)
    ]  # fmt: skip
    if not kept:
        there = "; ".join(
            f"{name} {', '.join(sorted({str(getattr(r, name)) for r in records})[:12])}"
            for name in ("modality", "organ", "label")
        )
        raise ValueError(f"{config.folder}: no record matches; there are: {there}")
    counts = dict(Counter(r.split for r in kept))
    if config.dry_run:
        return counts
    if config.out.resolve().is_relative_to(config.folder.resolve()):
        raise ValueError(f"{config.out}: lies inside {config.folder}, from which it takes; choose another --out")
    with hold(config.out):
        if not _claim(config, kept):
            moved = [_copy(config, r) for r in progress(kept, "data filter", len(kept), quiet=config.json)]
            write_dataset(config.out, moved, manifest={"filtered_from": config.folder.resolve().name})
    return counts


def _claim(config: FilterConfig, kept: list[Record]) -> bool:
    """Take the folder, or one that the same line left; True where that is whole. ValueError where it is another's."""
    out, mark = config.out, config.out / "filter.json"
    rows = json.dumps([r.to_json() for r in kept], sort_keys=True)
    plan = {"folder": str(config.folder.resolve()), "rows": hashlib.sha256(rows.encode()).hexdigest()}
    if mark.is_file():
        if read_state(mark, "delete the folder, or choose another --out") != plan:
            raise ValueError(f"{out}: holds a dataset filtered from other records; choose another --out")
        return (out / "manifest.json").is_file()
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out}: is not empty; choose a new --out")
    write_json(mark, plan)
    return False


def _copy(config: FilterConfig, record: Record) -> Record:
    """The record with its files at the same names under the new folder; a flat folder's files go into split folders."""
    names: dict[str, Any] = {}
    for field in ("file_name", "mask"):
        name = getattr(record, field)
        if name:
            target = name if name.startswith(f"{record.split}/") else f"{record.split}/{name}"
            (config.out / target).parent.mkdir(parents=True, exist_ok=True)
            (config.out / target).unlink(missing_ok=True)  # of a run that was stopped
            try:
                os.link(config.folder / name, config.out / target)
            except OSError:
                content = (config.folder / name).read_bytes()
                write_atomic(config.out / target, content)
            names[field] = target
    return dataclasses.replace(record, **names)
