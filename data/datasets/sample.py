"""`vesalius data sample`: a smaller dataset, with as many records of each kind as there can be."""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import tyro

from vesalius.data.command.fields import Settled
from vesalius.data.datasets.derive import Move, derive, settled
from vesalius.data.datasets.fields import FIELDS, value_of
from vesalius.data.record import Record, stream_records


@dataclass(frozen=True, kw_only=True)
class SampleConfig(Settled):
    """Draw records of a dataset so that each value of a field has as many as there can be."""

    folder: tyro.conf.Positional[Path]
    """dataset folder to take from"""
    out: Path
    """dataset folder to write; new, empty, or left by the same line when it was stopped"""
    num: int
    """number of records to draw"""
    balance: tuple[str, ...] = ("modality",)
    """fields, or finding:KIND (shown or not), whose values (of several: whose combinations) get equal shares; a rare
    one is taken whole"""
    seed: int = 0
    """seed of the draw; of two numbers with the same seed the larger sample holds the smaller"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """count only"""


@dataclass(frozen=True, kw_only=True)
class SampleSummary:
    """What a sample holds: records by split, and by value of what was balanced."""

    path: Path
    """the new dataset folder"""
    splits: dict[str, int]
    """records by split"""
    values: dict[str, int]
    """records by value of the balanced field"""


def sample_dataset(config: SampleConfig) -> SampleSummary:
    """Write the drawn records with their splits, images and masks.

    ValueError where fewer records are there than asked, or no record has the field.
    """
    if config.num < 1:
        raise ValueError(f"num {config.num}: expected a number of records from 1")
    there, filled = Counter[str](), Counter[str]()
    for record in stream_records(config.folder):
        there[_value(record, config.balance)] += 1
        filled.update(name for name in config.balance if value_of(record, name))
    if lacking := [name for name in config.balance if not filled[name]]:
        raise ValueError(
            f"{config.folder}: no record has the field '{lacking[0]}'; balance by one of {', '.join(FIELDS)}, "
            "finding:KIND, or by another column of the dataset"
        )
    if config.num > there.total():
        raise ValueError(f"{config.folder}: holds {there.total()} records, {config.num} are asked; lower --num")

    # Of each value, the records whose hashes are smallest: which ones depends on no other record.
    shares = equal_shares(there, config.num)
    drawn: dict[str, list[int]] = {value: [] for value in there}
    for record in stream_records(config.folder):
        value = _value(record, config.balance)
        heap, place = drawn[value], -_place(record, config.seed)
        if len(heap) < shares[value]:
            heapq.heappush(heap, place)
        elif heap and place > heap[0]:
            heapq.heapreplace(heap, place)
    limits = {value: -heap[0] for value, heap in drawn.items() if heap}

    def moves() -> Iterator[Move]:
        for record in stream_records(config.folder):
            if _place(record, config.seed) <= limits.get(_value(record, config.balance), -1):
                yield settled(config.folder, record)

    plan = {"num": config.num, "balance": list(config.balance), "seed": config.seed}
    counts = derive(
        config.out, [config.folder], moves, verb="data sample", plan=plan, dry_run=config.dry_run, quiet=config.json
    )
    values = {value: share for value, share in sorted(shares.items(), key=lambda v: (-v[1], v[0])) if share}
    return SampleSummary(path=config.out, splits=counts, values=values)


def equal_shares(there: Mapping[str, int], num: int) -> dict[str, int]:
    """How many of each value, `num` in all: as equal as the numbers that are there allow; the rest goes by name."""
    shares = dict.fromkeys(there, 0)
    left = min(num, sum(there.values()))
    while left:
        open_ = sorted(value for value, most in there.items() if shares[value] < most)
        each = max(left // len(open_), 1)
        for value in open_[:left] if left < len(open_) else open_:
            more = min(each, there[value] - shares[value])
            shares[value] += more
            left -= more
    return shares


def _value(record: Record, fields: tuple[str, ...]) -> str:
    return " / ".join(value_of(record, name) or "None" for name in fields)


def _place(record: Record, seed: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{record.file_name}".encode(), digest_size=8).digest(), "big")
