"""`vesalius data filter`: the part of a dataset that one asks for, as a dataset of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import tyro

from vesalius.data.command.fields import Settled
from vesalius.data.datasets.derive import Move, derive, settled
from vesalius.data.modality import find_modality
from vesalius.data.record import stream_records


@dataclass(frozen=True, kw_only=True)
class FilterConfig(Settled):
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
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """count only"""


def filter_dataset(config: FilterConfig) -> dict[str, int]:
    """Write the matching records with their splits, images and masks; returns their number by split.

    Images are hard links where the disk allows it. ValueError where nothing matches, naming the values there are.
    """
    modalities = {find_modality(m).name for m in config.modality}

    def kept() -> Iterator[Move]:
        for r in stream_records(config.folder):
            if (
                (not modalities or find_modality(r.modality).name in modalities)
                and (not config.organ or r.organ in config.organ)
                and (not config.label or r.label in config.label)
            ):
                yield settled(config.folder, r)

    plan = {"modality": sorted(modalities), "organ": sorted(config.organ), "label": sorted(config.label)}
    counts = derive(
        config.out, [config.folder], kept, verb="data filter", plan=plan, dry_run=config.dry_run, quiet=config.json
    )
    if not counts:
        values: dict[str, set[str]] = {name: set() for name in ("modality", "organ", "label")}
        for record in stream_records(config.folder):
            for name, seen in values.items():
                seen.add(str(getattr(record, name)))
        there = "; ".join(f"{name} {', '.join(sorted(seen)[:12])}" for name, seen in values.items())
        raise ValueError(f"{config.folder}: no record matches; there are: {there}")
    return counts
