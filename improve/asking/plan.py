"""What a round asks for: prompts, each of a stratum, and how many of each stratum may be kept."""

from __future__ import annotations

import difflib
import json
import math
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from vesalius.data.modality import find_modality
from vesalius.data.record import Record, write_json
from vesalius.improve.asking.aim import Right, allot, shares_of
from vesalius.improve.asking.ask import Ask as Ask
from vesalius.improve.asking.ask import read_asks, write_asks
from vesalius.improve.asking.hard import hard_keys
from vesalius.improve.asking.sources import Source, held_out_keys, open_source
from vesalius.improve.asking.sources import ask_of_record as ask_of_record
from vesalius.improve.asking.strata import stratum_of
from vesalius.improve.config import ImproveConfig
from vesalius.improve.material import Material, Member
from vesalius.inference.prompts.read import stream_prompts

GIVEN = ("captions", "phantoms")
"""Sources that are no files."""
BILINGUAL = "nano"
"""The base that is trained on English and Chinese texts."""


@dataclass(frozen=True, kw_only=True)
class RoundPlan:
    """asks: in the order in which they are drawn. quotas: stratum -> most samples of it that are kept, of which `share`
    is the same share of each stratum's prompts. skipped: strata that are not asked for, and why. notes: what of the
    sources was left out, and why."""

    asks: list[Ask]
    quotas: dict[str, int]
    share: float = 1.0
    skipped: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @cached_property
    def asked(self) -> dict[str, int]:
        """Prompts of each stratum: the prior that what is kept should have too."""
        return dict(sorted(Counter(a.stratum for a in self.asks).items()))


def plan_round(config: ImproveConfig, material: Material, found: Mapping[str, Right], index: int) -> RoundPlan:
    """The prompts of a round: of the sources in equal parts, of their strata as the aim says, in an order at random.

    Other rounds and seeds ask for others; the same one for the same. No phrase of an image that is held out is asked
    for, and no hard prompt (`hard`). found: stratum -> share that was right in the last evaluation,
    where it is known. ValueError where a source gives nothing.
    """
    train = [r for _, r in material.train]
    counts = Counter(map(stratum_of, train))
    sources = sources_of(config, material, index)
    asks: list[Ask] = []
    known: dict[str, str] = {}
    for place, (source, num) in enumerate(zip(sources, _even(_num(config), len(sources), index), strict=True)):
        shares = shares_of(config.aim, source.groups, found=found, counts=counts)
        parts = allot(num, shares, source.groups, turn=config.seed + index)
        for stratum, asked in parts.items():
            drawn = [_ask(source, stratum, turn, [config.seed, index, place]) for turn in range(asked)]
            asks += (ask for ask in drawn if ask is not None)
            if None in drawn:
                known[stratum] = "its words are all those of held-out images or hard prompts"
        fewer = f"the round has {num} prompts of {source.name} for {len(parts)} strata; raise --num"
        known |= {s: fewer for s, asked in parts.items() if not asked}
    share = 1.0 if "gates" in config.without else config.quota  # of an experiment in which all samples pass
    order = np.random.default_rng([config.seed, index, len(sources)]).permutation(len(asks))
    plan = RoundPlan(
        asks=[asks[i] for i in order], quotas={}, share=share, notes=tuple(n for s in sources for n in s.notes)
    )
    plan.quotas.update({s: math.ceil(share * num) for s, num in plan.asked.items()})
    plan.skipped.update({s: why for s, why in sorted(known.items()) if s not in plan.quotas})
    return plan


def check_sources(config: ImproveConfig) -> None:
    """ValueError where a source of prompts is no file, cannot be read, or is named twice."""
    if twice := [name for name, num in Counter(config.prompts).items() if num > 1]:
        raise ValueError(f"--prompts {twice[0]} is there twice; name each source once")
    for name in config.prompts:
        if name not in GIVEN and not Path(name).exists():
            near = difflib.get_close_matches(name, GIVEN, n=1)
            hint = f"did you mean {near[0]}?" if near else "give captions, phantoms, or files of prompts"
            raise ValueError(f"--prompts {name}: no such file; {hint}")
        if name not in GIVEN:
            next(stream_prompts(Path(name)))


def sources_of(config: ImproveConfig, material: Material, index: int) -> list[Source]:
    """The sources of a round's prompts. ValueError where one gives nothing that may be asked for."""
    check_sources(config)
    train = [r for _, r in material.train]
    held_out = [r for part in (material.calibrate, material.decide, material.test) for _, r in part]
    forbidden = held_out_keys(train, held_out) | hard_keys()
    return [
        open_source(
            name,
            train,
            forbidden,
            least=_num(config),
            seed=[config.seed, index, place, 0],
            chinese=config.base == BILINGUAL,
        )
        for place, name in enumerate(config.prompts)
    ]


def _num(config: ImproveConfig) -> int:
    return config.num // config.best_of


def _even(num: int, parts: int, turn: int) -> list[int]:
    """A number in equal parts; of what is left over others have one more in another turn."""
    return [num // parts + ((place + turn) % parts < num % parts) for place in range(parts)]


def _ask(source: Source, stratum: str, turn: int, seed: Sequence[int]) -> Ask | None:
    return source.ask(stratum, turn, np.random.default_rng([*seed, zlib.crc32(stratum.encode()), turn]))


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
    write_asks(path, plan.asks)
    told = {"share": plan.share, "asked": plan.asked, "quotas": plan.quotas}
    write_json(folder / "plan.json", {**told, "skipped": plan.skipped, "notes": plan.notes})
    return path


def read_plan(folder: Path) -> RoundPlan | None:
    """The plan of a round that has one."""
    if not (folder / "plan.json").is_file():
        return None
    told = json.loads((folder / "plan.json").read_text())
    return RoundPlan(
        asks=list(read_asks(folder / "prompts.jsonl")), quotas=told["quotas"], share=told["share"],
        skipped=told["skipped"], notes=tuple(told["notes"]),
    )  # fmt: skip
