"""`vesalius data filter`: the part of a dataset that one asks for, as a dataset of its own."""

from __future__ import annotations

import dataclasses
import os
import shutil
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from vesalius.data.modality import find_modality
from vesalius.data.progress import progress
from vesalius.data.record import Record, load_records, write_dataset


@dataclass(frozen=True, kw_only=True)
class FilterConfig:
    """Keep the records of a dataset that match every condition given."""

    folder: tyro.conf.Positional[Path]
    """dataset folder to take from"""
    out: Path
    """dataset folder to write; new or empty"""
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
    if config.out.exists() and (not config.out.is_dir() or any(config.out.iterdir())):
        raise ValueError(f"{config.out}: is not empty; choose a new --out")
    moved = [_copy(config, r) for r in progress(kept, "data filter", len(kept), quiet=config.json)]
    write_dataset(config.out, moved, manifest={"filtered_from": config.folder.resolve().name})
    return counts


def _copy(config: FilterConfig, record: Record) -> Record:
    """The record with its files at the same names under the new folder; a flat folder's files go into split folders."""
    names: dict[str, Any] = {}
    for field in ("file_name", "mask"):
        name = getattr(record, field)
        if name:
            target = name if name.startswith(f"{record.split}/") else f"{record.split}/{name}"
            (config.out / target).parent.mkdir(parents=True, exist_ok=True)
            try:
                os.link(config.folder / name, config.out / target)
            except OSError:
                shutil.copyfile(config.folder / name, config.out / target)
            names[field] = target
    return dataclasses.replace(record, **names)
