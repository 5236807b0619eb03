"""The pool: accepted samples of a round as a dataset of its own, for training only, without those that people veto.

Ratings come when they come. So before each round trains, the pools of the rounds before it are held to what is known by
then: where that changes anything, the round gets its own version of them (`round-02/pool-01`, pictures as links), and
`round-02/pool.json` tells what it trained on and why, once for all.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from vesalius.data.record import Record, load_records, read_state, write_dataset, write_json
from vesalius.finetune.config import WEIGHT
from vesalius.improve.config import ImproveConfig
from vesalius.improve.people.agreement import describe, sentence
from vesalius.improve.people.ratings import Rating, read_ratings
from vesalius.improve.people.rewards import vetoes, weights
from vesalius.inference.sample import Sample

DIGEST = "sample_sha256"
"""The column of a record for the digest by which its samples folder, and its ratings, know it."""


def write_accepted(
    folder: Path, samples: Path, accepted: Iterable[Sample], *, vetoed: Mapping[str, str] | None = None
) -> None:
    """Accepted samples as records again: origin synthetic, one generation deeper, for training only.

    vetoed: digest -> reason of samples that are left out; the manifest names them.
    """
    (folder / "train" / "images").mkdir(parents=True, exist_ok=True)
    out, records = vetoed or {}, []
    for sample in accepted:
        if sample.sha256 in out:
            continue
        name = f"train/{sample.file_name}"
        place(samples / (sample.raw16 or sample.file_name), folder / name)
        records.append(
            Record(
                file_name=name, text=sample.text, modality=sample.modality, findings=sample.findings, split="train",
                origin="synthetic", depth=sample.depth, source="vesalius generate",
                sha256=sample.raw16_sha256 or sample.sha256, hounsfield=sample.raw16 is not None,
                extra={DIGEST: sample.sha256},
            )
        )  # fmt: skip
    write_dataset(folder, records, manifest={"vetoed": dict(out)} if out else None)


def has_records(folder: Path) -> bool:
    """Whether a pool of accepted samples is whole and not empty."""
    return (folder / "manifest.json").is_file() and (folder / "train" / "metadata.jsonl").is_file()


def settle_pools(config: ImproveConfig, out: Path, index: int) -> tuple[Path, ...]:
    """The pools that a round trains on, its own and all before it, held to the ratings that there are when it is first
    asked for; later it is the same.

    ValueError where a rating cannot be read, or where ratings leave nothing of what was accepted.
    """
    folder = out / f"round-{index:02d}"
    mark = folder / "pool.json"
    if not mark.is_file():
        write_json(mark, _settle(config, out, index))
    told = read_state(mark, "remove it, and the round's `run` folder, and run the loop's line again")
    return tuple(out / name for name in told["pools"])


def pool_facts(folder: Path) -> dict[str, Any]:
    """What a round's `pool.json` tells: pools, vetoes, weights and agreement; empty before it is there."""
    return json.loads((folder / "pool.json").read_text()) if (folder / "pool.json").is_file() else {}


def _settle(config: ImproveConfig, out: Path, index: int) -> dict[str, Any]:
    ratings = read_ratings(config.ratings)
    out_of_pool = vetoes(ratings)
    found: list[str] = []
    told: dict[str, Any] = {"vetoed": {}, "num": 0}
    for number in range(1, index + 1):
        source = out / f"round-{number:02d}" / "accepted"
        if not has_records(source):
            continue
        records = load_records(source)
        kept = [r for r in records if r.extra.get(DIGEST) not in out_of_pool]
        kept = with_weights(kept, ratings if config.learn == "weighted" else ())
        told["vetoed"] |= {d: out_of_pool[d] for r in records if (d := r.extra.get(DIGEST)) in out_of_pool}
        told["num"] += len(kept)
        if kept and kept != records:
            source = write_version(out / f"round-{index:02d}" / f"pool-{number:02d}", source, kept)
        if kept:
            found.append(source.relative_to(out).as_posix())
    if told["vetoed"] and not told["num"]:
        raise ValueError(
            f"{out}: ratings veto all {len(told['vetoed'])} accepted samples, so round {index} has nothing to learn "
            "from; draw more (--num), or look at the ratings whether they mean these samples"
        )
    return {"pools": found, **told, **agreement_of(ratings)}


def agreement_of(ratings: Sequence[Rating]) -> dict[str, Any]:
    """What is kept of the raters' agreement, in numbers and in words."""
    agreement = describe(ratings) if ratings else None
    return {"agreement": agreement, "told": sentence(agreement) if agreement else ""}


def with_weights(records: Sequence[Record], ratings: Sequence[Rating]) -> list[Record]:
    """Records with their weights by ratings; as they are where these weigh all alike."""
    found = weights(ratings, [str(r.extra.get(DIGEST)) for r in records])
    if set(found.values()) <= {1.0}:
        return list(records)
    return [dataclasses.replace(r, extra={**r.extra, WEIGHT: found[str(r.extra.get(DIGEST))]}) for r in records]


def write_version(folder: Path, source: Path, records: Sequence[Record]) -> Path:
    """A dataset of some records of another, whose pictures are links to those; returns its folder."""
    shutil.rmtree(folder, ignore_errors=True)  # what a killed run left, of other ratings perhaps
    for record in records:
        (folder / record.file_name).parent.mkdir(parents=True, exist_ok=True)
        place(source / record.file_name, folder / record.file_name)
    write_dataset(folder, records)
    return folder


def place(source: Path, target: Path) -> None:
    """A picture at a second place: a link where the disk has such, else a copy. One that a killed run left is made
    anew."""
    target.unlink(missing_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
