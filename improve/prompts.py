"""What a round asks for: prompts, each of a stratum, and how many of each stratum may be kept."""

from __future__ import annotations

import dataclasses
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vesalius.data.modality import find_modality
from vesalius.data.record import Finding, Record, read_rows, write_atomic, write_json
from vesalius.improve.config import ImproveConfig
from vesalius.improve.material import Material, Member


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One prompt of a round. stratum: the part of what is asked for that it belongs to, as `CT: nodule`."""

    text: str
    modality: str
    findings: tuple[Finding, ...] = ()
    stratum: str


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """asks: in the order in which they are drawn. quotas: stratum -> most samples of it that are kept. skipped: strata
    that are not asked for, and why."""

    asks: list[Ask]
    quotas: dict[str, int]
    skipped: dict[str, str] = field(default_factory=dict)


def plan_round(config: ImproveConfig, material: Material, found: dict[str, float], index: int) -> RoundPlan:
    """The prompts of a round. found: stratum -> share that was right in the last evaluation, where it is known."""
    num = config.num // config.best_of
    asks = [ask_of_record(r) for r in pick(material.train, num, config.seed + 100 * index)]
    asked = Counter(a.stratum for a in asks)
    return RoundPlan(asks=asks, quotas={s: max(1, int(config.quota * n)) for s, n in asked.items()})


def ask_of_record(record: Record) -> Ask:
    """The prompt for which a record would be the answer."""
    modality = find_modality(record.modality).name
    return Ask(text=record.caption or record.text, modality=modality, findings=record.findings, stratum=modality)


def pick(members: Sequence[Member], num: int, seed: int) -> list[Record]:
    """Records to take prompts from: modalities in turn, at random within each, again from the start where few."""
    rng = np.random.default_rng(seed)
    queues = []
    for name in sorted({find_modality(r.modality).name for _, r in members}):
        mine = [r for _, r in members if find_modality(r.modality).name == name]
        queues.append([mine[i] for i in rng.permutation(len(mine))])
    return [queues[i % len(queues)][(i // len(queues)) % len(queues[i % len(queues)])] for i in range(num)]


def write_plan(folder: Path, plan: RoundPlan) -> Path:
    """prompts.jsonl, which `inference` draws, and plan.json; returns the first."""
    path = folder / "prompts.jsonl"
    write_atomic(
        path, "".join(json.dumps(dataclasses.asdict(a), ensure_ascii=False) + "\n" for a in plan.asks).encode()
    )
    write_json(folder / "plan.json", {"quotas": plan.quotas, "skipped": plan.skipped})
    return path


def read_plan(folder: Path) -> RoundPlan | None:
    """The plan of a round that has one."""
    if not (folder / "plan.json").is_file():
        return None
    told = json.loads((folder / "plan.json").read_text())
    asks = [
        Ask(
            text=row["text"], modality=row["modality"], stratum=row["stratum"],
            findings=tuple(Finding(**f) for f in row["findings"]),
        )
        for row in read_rows(folder / "prompts.jsonl")
    ]  # fmt: skip
    return RoundPlan(asks=asks, quotas=told["quotas"], skipped=told["skipped"])
