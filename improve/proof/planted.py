"""Planted faults: are copies of patients, contradictions, and blank or noisy pictures refused by the gates?

    python -m vesalius.improve.proof.planted --data DIR... --out OUT

Honest pictures are the half of val that sets no limit, under their own captions; each planted one has one thing wrong.
All go through the very gates of the loop. Writes OUT/planted.json, OUT/planted.html, and the pictures as a samples
folder. The same line makes the same numbers.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.data.command.progress import Progress
from vesalius.data.modality import find_modality
from vesalius.data.record import Record, write_atomic, write_json
from vesalius.eval.fidelity.metrics import share
from vesalius.eval.gates.gates import Verdict
from vesalius.eval.report import check_out
from vesalius.improve.candidates.candidates import Bench, Candidate, Judged, judge_folder, open_bench
from vesalius.improve.candidates.selection import best
from vesalius.improve.material import Material, Member, read_material
from vesalius.improve.proof.planted_page import write_planted_page
from vesalius.improve.proof.plants import PLANTS, Plant, on_greys, read_picture, told_of, write_picture
from vesalius.inference.sample import Sample, sample_lines

HONEST, DOUBLE = "honest", "near-duplicate"
WHAT_DOUBLE = "an honest picture again, with noise of 3 grey levels"


@dataclass(frozen=True, kw_only=True)
class PlantedConfig:
    """Plant faults among held-out pictures, and count what the gates refuse."""

    data: tuple[Path, ...]
    """dataset folders of real images or phantoms, with train, val and test"""
    out: Path
    """folder of the page, the numbers and the pictures"""
    num: int = 200
    """honest pictures, and pictures of each planted kind, as evenly over the modalities as they allow"""
    seed: int = 0
    """seed of what is planted"""
    json: bool = False
    """print no progress"""

    def __post_init__(self) -> None:
        if self.num < 1:
            raise ValueError(f"--num is {self.num}; expected at least 1")


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One picture that was shown to the gates. kind: of plant, or `HONEST`. source: file of the record behind it."""

    kind: str
    sample: Sample
    source: str
    organ: str


def run_planted(config: PlantedConfig) -> dict[str, Any]:
    """Plant, judge, count, write; returns the numbers. ValueError for bad input, before anything is written."""
    check_out(config.out, "report of planted faults", ("planted.json", "images"))
    material = read_material(config.data)
    config.out.mkdir(parents=True, exist_ok=True)
    planted = plant_all(config, material)
    write_atomic(config.out / "metadata.jsonl", sample_lines([p.sample for p in planted]))
    bench = open_bench(material, config.out / "features", quiet=config.json)
    samples = [p.sample for p in planted]
    judged = list(judge_folder(bench, config.out, samples, quiet=config.json))
    verdicts = without_doubles(bench, planted, [v for v, _ in judged], [e for _, e in judged])
    rows = [
        {
            "kind": p.kind, "source": p.source, "modality": p.sample.modality, "text": p.sample.text,
            "file_name": p.sample.file_name, "reason": v.reason, "refused_by": list(v.refused_by),
            "abstained": list(v.abstained), "scores": v.scores,
        }
        for p, v in zip(planted, verdicts, strict=True)
    ]  # fmt: skip
    result = {
        "what": {HONEST: "as they are", DOUBLE: WHAT_DOUBLE, **{k: p.what for k, p in PLANTS.items()}},
        "kinds": count(rows),
        "thresholds": {m: dataclasses.asdict(t) for m, t in bench.thresholds.items()},
        "judge": bench.judge.digest, "is_read": bench.is_read, "data": material.digests, "seed": config.seed,
        "rows": rows,
    }  # fmt: skip
    write_json(config.out / "planted.json", result)
    write_planted_page(config.out, result)
    return result


def plant_all(config: PlantedConfig, material: Material) -> list[Planted]:
    """Write all pictures: the honest ones, their doubles, then each kind of plant."""
    honest = in_turn(material.decide, config.num, config.seed)
    told = [record for _, record in material.decide]
    planted = []
    with Progress("planting", (2 + len(PLANTS)) * config.num, quiet=config.json) as bar:
        for kind in (HONEST, DOUBLE):
            for number, member in enumerate(honest):
                planted.append(_plant(config, kind, number, member, None, told))
                bar.step()
        for kind, plant in PLANTS.items():
            found = 0
            pool = in_turn(material.train if plant.copies else material.decide, 10**9, config.seed)
            for number, member in enumerate(pool):
                if found == config.num:
                    break
                made = _plant(config, kind, number, member, plant, told)
                if made is not None:
                    planted.append(made)
                    found += 1
                    bar.step()
    return [p for p in planted if p is not None]


def _plant(
    config: PlantedConfig, kind: str, number: int, member: Member, plant: Plant | None, told: Sequence[Record]
) -> Planted | None:
    """One picture of a kind; None where the record allows no such fault."""
    record = member[1]
    rng = np.random.default_rng([config.seed, zlib.crc32(kind.encode()), number])
    text = told_of(record) if plant is None or plant.tell is None else plant.tell(record, told, rng)
    if text is None:
        return None
    picture = read_picture(member)
    if kind == DOUBLE:
        picture = on_greys(lambda x, r: x + 3 * r.standard_normal(x.shape, dtype=np.float32))(picture, rng)
    if plant is not None and plant.draw is not None:
        picture = plant.draw(picture, rng)
    name = f"{kind.replace(', ', '-').replace(' ', '-')}-{number:05d}"
    sample = write_picture(config.out, name, picture, text, plant)
    return Planted(kind=kind, sample=sample, source=record.file_name, organ=record.organ or "")


def in_turn(members: Sequence[Member], num: int, seed: int) -> list[Member]:
    """So many of them, modalities in turn, at random within each, each once."""
    rng = np.random.default_rng(seed)
    groups: dict[str, list[Member]] = {}
    for member in members:
        groups.setdefault(find_modality(member[1].modality).name, []).append(member)
    queues = [[groups[name][i] for i in rng.permutation(len(groups[name]))] for name in sorted(groups)]
    found = [queue[i] for i in range(max(map(len, queues))) for queue in queues if i < len(queue)]
    return found[:num]


def without_doubles(
    bench: Bench, planted: Sequence[Planted], verdicts: Sequence[Verdict], embeddings: Sequence[Any]
) -> list[Verdict]:
    """The verdicts with those near-duplicates refused that the loop's selection finds among honest pictures."""
    import torch

    places = [i for i, p in enumerate(planted) if p.kind in (HONEST, DOUBLE)]
    candidates = [
        Candidate(
            sample=planted[i].sample, prompt=k, stratum="all", scores=verdicts[i].scores,
            reward=verdicts[i].scores.get("agreement", -1.0), reason=verdicts[i].reason,
        )
        for k, i in enumerate(places)
    ]  # fmt: skip
    judged = Judged(
        candidates=candidates, embeddings=torch.stack([embeddings[i] for i in places]), thresholds=bench.thresholds,
        network=bench.judge.digest,
    )  # fmt: skip
    found = list(verdicts)
    for k, reason in best(judged, {}).items():
        if reason is not None:
            own = verdicts[places[k]]
            found[places[k]] = dataclasses.replace(own, reason=reason, refused_by=(*own.refused_by, "duplicate"))
    return found


def count(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each kind and modality, and of all: how many pass, with Wilson's interval, and which gates refuse."""
    found = []
    kinds = list(dict.fromkeys(row["kind"] for row in rows))
    for kind in kinds:
        own = {"duplicate"} if kind == DOUBLE else set(PLANTS[kind].gates) if kind in PLANTS else set()
        modalities = sorted({row["modality"] for row in rows if row["kind"] == kind})
        for modality in ["all", *modalities]:
            mine = [r for r in rows if r["kind"] == kind and modality in ("all", r["modality"])]
            gates = Counter(gate for row in mine for gate in row["refused_by"])
            found.append(
                {
                    "kind": kind, "modality": modality, "num": len(mine),
                    "passes": dataclasses.asdict(share([r["reason"] is None for r in mine])),
                    "by_own_gate": dataclasses.asdict(share([bool(own & set(r["refused_by"])) for r in mine])),
                    "gates": dict(gates.most_common()),
                    "abstained": dict(Counter(g for r in mine for g in r["abstained"]).most_common()),
                }
            )  # fmt: skip
    return found


if __name__ == "__main__":
    from vesalius.data.command.ending import run_module

    run_module(PlantedConfig, run_planted)
