"""`vesalius augment`: a dataset with synthetic records in its training split, more of what is rare.

Captions of training records, and no others, are the prompts. Real records are taken over as they are, in their splits.
"""

from __future__ import annotations

import dataclasses
import hashlib
import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vesalius.data.command.counted import counted
from vesalius.data.datasets.derive import MARK, Move, derive, settled
from vesalius.data.datasets.fields import value_of
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, digest_file, metadata_files, read_state, stream_records
from vesalius.data.texts.prompt import prompts_of
from vesalius.inference.augmentation.config import MAX_RATIO, AugmentConfig
from vesalius.inference.config import GenerateConfig
from vesalius.inference.request import Request
from vesalius.inference.running.run import check_settings, draw_requests
from vesalius.inference.sample import Sample, sample_seed, stream_samples

if TYPE_CHECKING:
    from vesalius.inference.drawing.memory import MemoryPlan

SOURCE = "vesalius augment"


@dataclass(frozen=True, kw_only=True)
class AugmentSummary:
    """What an augmented dataset holds: records by split, and of each value how many train records and how many drawn.

    samples: the folder of the drawings with their recipes. num_without: training records that lack the field; they are
    taken over, and nothing is drawn for them. memory: how drawing keeps to its budget, where it has one.
    """

    path: Path
    """the new dataset folder"""
    samples: Path
    splits: dict[str, int]
    """records by split"""
    there: dict[str, int]
    """training records by value of the balanced field"""
    drawn: dict[str, int]
    """synthetic ones by the same"""
    num_without: int = 0
    memory: MemoryPlan | None = None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """requests: what is to be drawn; sources: the training record of each, whose caption it is drawn under."""

    requests: list[Request]
    sources: list[Record]
    there: dict[str, int]
    drawn: dict[str, int]
    splits: dict[str, int]
    num_without: int


def augment(
    dataset: Path | str, *, ratio: float, out: Path | str, by: str = "label", **settings: Any
) -> AugmentSummary:
    """The dataset and `ratio` synthetic records for each training record, in `out`.

    by: the field that comes out as balanced as that number allows. settings: any other field of `AugmentConfig`, such
    as base and adapter. ValueError as `augment_dataset`.

    >>> augment("dataset", ratio=1, by="label", out="augmented", adapter=("run",))  # doctest: +SKIP
    """
    return augment_dataset(AugmentConfig(folder=Path(dataset), ratio=ratio, balance=by, out=Path(out), **settings))


def augment_dataset(config: AugmentConfig) -> AugmentSummary:
    """Draw the synthetic records and write the whole dataset. A run that was stopped goes on by the same line.

    ValueError where there is no training record with a caption, none has the field, the ratio is not above 0 and at
    most 20, or `out` is not free.
    """
    plan = plan_augmentation(config)
    out = config.out if config.out.name else config.out.resolve()
    samples = out.with_name(f"{out.name}-samples")
    summary = AugmentSummary(
        path=config.out, samples=samples, there=plan.there, drawn=plan.drawn, num_without=plan.num_without,
        splits={**plan.splits, "train": plan.splits["train"] + len(plan.requests)},
    )  # fmt: skip
    run = GenerateConfig(
        **config.drawing(), prompts=config.folder.resolve(), out=samples, seed=config.seed, steps=config.steps,
        guidance=config.guidance, size=config.size, json=config.json, dry_run=config.dry_run,
    )  # fmt: skip
    check_settings(run)
    rows = [digest_file(path) for path, _ in metadata_files(config.folder)]
    told = {
        "ratio": config.ratio, "balance": config.balance, "seed": config.seed, "base": config.base,
        "adapter": list(config.adapter), "steps": config.steps,
        "guidance": config.guidance, "size": list(config.size) if config.size else None,
        "precision": config.precision, "rows_before": rows,
        **({"scheduler": config.scheduler} if config.scheduler else {}),
    }  # fmt: skip
    if _is_done(config, told):
        return summary
    drawn = draw_requests(run, Requests(config, plan), rows=rows, ratio=config.ratio, balance=config.balance)
    summary = dataclasses.replace(summary, memory=drawn.memory)
    if config.dry_run:
        return summary
    if not drawn.finished:
        raise KeyboardInterrupt  # the same line continues

    def moves() -> Iterator[Move]:
        yield from (settled(config.folder, record) for record in stream_records(config.folder))
        for sample, source in zip(stream_samples(samples), plan.sources, strict=True):
            yield _synthetic(samples, sample, source, config.balance)

    note = (
        f"{counted(drawn.num_samples, 'synthetic training record')} drawn under captions of the training split, "
        f"more of what is rare by {config.balance} (base {config.base}); val and test are as they were"
    )
    derive(
        config.out, [config.folder, samples], moves, verb="augment", plan=told, notes=lambda: [note], quiet=config.json
    )
    return summary


def plan_augmentation(config: AugmentConfig) -> Plan:
    """Which captions are drawn from which seeds; a function of the dataset, the ratio, the field and the seed.

    ValueError as `augment_dataset`.
    """
    if not 0 < config.ratio <= MAX_RATIO:
        raise ValueError(f"--ratio {config.ratio:g}: expected a number above 0, up to {MAX_RATIO:g}")
    members: dict[str, list[Record]] = {}
    splits: Counter[str] = Counter()
    mute: Counter[str] = Counter()
    num_real = num_without = 0
    for record in stream_records(config.folder):
        splits[record.split] += 1
        if record.split != "train" or record.origin == "synthetic":
            continue
        num_real += 1
        if not (value := value_of(record, config.balance)):
            num_without += 1
        elif prompts_of(record):
            members.setdefault(value, []).append(record)
        else:
            mute[value] += 1
    if not num_real:
        has = ", ".join(sorted(splits)) or "none"
        raise ValueError(f"{config.folder}: no training records to draw more of (has: {has}); add a train split")
    if num_without == num_real:
        raise ValueError(
            f"{config.folder}: no training record has the field '{config.balance}'; balance by one of "
            "label, modality, organ, finding:KIND, or by another column of the dataset"
        )
    if lonely := sorted({*mute} - {*members}):
        raise ValueError(
            f"{config.folder}: no training record with {config.balance} '{lonely[0]}' has a text to draw from; "
            "fill in `text`, or remove those rows"
        )
    num = round(config.ratio * num_real)
    if not num:
        raise ValueError(
            f"--ratio {config.ratio:g} of {counted(num_real, 'training record')} makes no picture; raise it"
        )
    there = {value: len(records) + mute[value] for value, records in members.items()}
    drawn = filling_shares(there, num)
    requests: list[Request] = []
    sources: list[Record] = []
    for value in sorted(members):
        ordered = sorted(members[value], key=lambda record: _place(record, config.seed))
        for turn in range(drawn[value]):
            source = ordered[turn % len(ordered)]
            text = prompts_of(source)[0]
            seed = sample_seed(config.seed, f"{source.file_name}/{text}", turn // len(ordered))
            name = f"images/synthetic-{len(requests):06d}.png"
            requests.append(
                Request(
                    prompt=text, seed=seed, modality=find_modality(source.modality).name, file_name=name,
                    findings=source.findings, size=config.size,
                )
            )  # fmt: skip
            sources.append(source)
    return Plan(
        requests=requests, sources=sources, there=_ranked(there), drawn=_ranked(drawn), splits=dict(splits),
        num_without=num_without,
    )  # fmt: skip


class Requests:
    """What is to be drawn. Other processes plan it anew, rather than be sent all of it."""

    def __init__(self, config: AugmentConfig, plan: Plan | None = None) -> None:
        self._config, self._plan = config, plan

    def __call__(self) -> list[Request]:
        self._plan = self._plan or plan_augmentation(self._config)
        return self._plan.requests

    def __reduce__(self) -> tuple[type[Requests], tuple[AugmentConfig]]:
        return Requests, (self._config,)


def filling_shares(there: Mapping[str, int], num: int) -> dict[str, int]:
    """How many of each value to add, `num` in all, so that the sums are as equal as can be: the lowest first.

    >>> filling_shares({"common": 8, "rare": 2}, 8)
    {'common': 1, 'rare': 7}
    """
    heap = [(count, value) for value, count in there.items()]
    heapq.heapify(heap)
    added = dict.fromkeys(there, 0)
    for _ in range(num):
        count, value = heap[0]
        added[value] += 1
        heapq.heapreplace(heap, (count + 1, value))
    return added


def _synthetic(root: Path, sample: Sample, source: Record, balance: str) -> Move:
    """A sample as a training record, with what its caption's record says of itself, save the patient."""
    file_name, digest = sample.raw16 or sample.file_name, sample.raw16_sha256 or sample.sha256
    extra: dict[str, Any] = {"prompted_by": source.file_name, "seed_of_sample": str(sample.seed)}
    if balance in source.extra:
        extra[balance] = source.extra[balance]
    new = Record(
        file_name=f"train/images/{Path(sample.file_name).stem}-{digest[:10]}.png", text=sample.text,
        modality=sample.modality, organ=source.organ, label=source.label, findings=sample.findings, split="train",
        origin="synthetic", depth=sample.depth, license=source.license, source=SOURCE, sha256=digest,
        hounsfield=sample.raw16 is not None, extra=extra,
    )  # fmt: skip
    old = Record(file_name=file_name, text=sample.text, modality=sample.modality)
    return Move(root=root, old=old, new=new)


def _is_done(config: AugmentConfig, told: dict[str, Any]) -> bool:
    """Whether `out` is whole already, by the same line. ValueError at once where it is not free, before hours go by."""
    out, mark = config.out, config.out / MARK
    if out.resolve().is_relative_to(config.folder.resolve()):
        raise ValueError(f"{out}: lies inside {config.folder}, from which it takes; choose another --out")
    if out.exists() and not out.is_dir():
        raise ValueError(f"{out}: is a file; choose a folder for --out")
    if not mark.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise ValueError(f"{out}: is not empty; choose a new --out")
        return False
    before = read_state(mark, "delete the folder, or choose another --out")
    if any(before.get(key) != value for key, value in {"verb": "augment", **json.loads(json.dumps(told))}.items()):
        raise ValueError(f"{out}: holds a dataset made from other records or settings; choose another --out")
    return (out / "manifest.json").is_file()


def _place(record: Record, seed: int) -> bytes:
    return hashlib.blake2b(f"{seed}/{record.file_name}".encode(), digest_size=8).digest()


def _ranked(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda pair: (-pair[1], pair[0])))
