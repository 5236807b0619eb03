"""Datasets made from others: chosen records with their files under a new folder, streamed, whole or not at all.

The verbs that use this go twice over a stream of `Move`s, which must be the same each time: once to count, once to
link the files. So no verb holds the records, and the same line finishes what a kill left.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.command.progress import progress
from vesalius.data.datasets.card import Tally, write_card
from vesalius.data.record import (
    Record,
    digest_file,
    hold,
    metadata_files,
    read_state,
    write_atomic,
    write_dataset,
    write_json,
)
from vesalius.data.sources.inside import own_file

MARK = "derived.json"
"""What a new folder is made from: written first, so that only the same line goes on in it."""


@dataclass(frozen=True, kw_only=True)
class Move:
    """A record of the dataset in `root`, and the same as the new dataset has it."""

    root: Path
    old: Record
    new: Record


def settled(root: Path, record: Record, split: str | None = None) -> Move:
    """The record under its old names, in split folders where the dataset is flat; in another split if one is given."""
    split = split or record.split
    names: dict[str, Any] = {}
    for field in ("file_name", "mask"):
        if name := getattr(record, field):
            names[field] = f"{split}/{name.removeprefix(f'{record.split}/')}"
    return Move(root=root, old=record, new=dataclasses.replace(record, split=split, **names))


def derive(
    out: Path, folders: Sequence[Path], moves: Callable[[], Iterable[Move]], *, verb: str, plan: dict[str, Any],
    notes: Callable[[], Sequence[str]] = tuple, dry_run: bool = False, quiet: bool = False,
) -> dict[str, int]:  # fmt: skip
    """Write the dataset of the moves; returns its number of records by split, which is empty where there are none.

    plan: what besides the folders' rows decides the moves. notes: for the card, asked after the first pass.
    Files are hard links where the disk allows it. ValueError where `out` is not free, or lies inside a folder.
    """
    tally = Tally(move.new for move in moves())
    counts = dict(tally.splits)
    if dry_run or not counts:
        return counts
    for folder in folders:
        if out.resolve().is_relative_to(folder.resolve()):
            raise ValueError(f"{out}: lies inside {folder}, from which it takes; choose another --out")
    whole = {
        "verb": verb, **plan, "from": [str(f.resolve()) for f in folders],
        "rows": [digest_file(path) for folder in folders for path, _ in metadata_files(folder)],
    }  # fmt: skip
    with hold(out):
        if _claim(out, whole):
            return counts
        told = progress(moves(), verb, tally.num_records, quiet=quiet)
        card = write_card(out.resolve().name, tally, notes=notes())
        made = {"verb": verb, **plan, "from": [f.resolve().name for f in folders]}
        write_dataset(out, (_link(out, move) for move in told), card=card, manifest={"derived": made})
    return counts


def _claim(out: Path, plan: dict[str, Any]) -> bool:
    """Take the folder, or one that the same line left; True where that is whole. ValueError where it is another's."""
    mark = out / MARK
    if mark.is_file():
        if read_state(mark, "delete the folder, or choose another --out") != plan:
            raise ValueError(f"{out}: holds a dataset made from other records; choose another --out")
        return (out / "manifest.json").is_file()
    if out.is_dir() and any(out.iterdir()):
        raise ValueError(f"{out}: is not empty; choose a new --out")
    write_json(mark, plan)
    return False


def _link(out: Path, move: Move) -> Record:
    for field in ("file_name", "mask"):
        name, target = getattr(move.old, field), getattr(move.new, field)
        if not name:
            continue
        source, path = own_file(move.root, name), out / target
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)  # of a run that was stopped
        try:
            os.link(source.resolve(), path)
        except OSError:
            write_atomic(path, source.read_bytes())
    return move.new
