"""Would a loop promote an adapter that was tuned by reward (`vesalius.improve.tuning.run`)? As a round beside round 0.

    python -m benchmarks.tuned --data DATA --tuned RUN --out OUT [--num-eval 240]

DATA is a dataset of phantoms, RUN the folder of a tuning. Round 0 is the base with the adapters beside and one that
adds nothing, round 1 the tuned one; both draw the same captions of the validation split and the same hard prompts from
the same noise, and are held against what nobody learnt from, as every round of a loop is. Printed is the decision. OUT
keeps the samples, so the line goes on where it was stopped.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.command.ending import run_module
from vesalius.data.command.recipe import claim
from vesalius.data.record import read_state
from vesalius.finetune.running.launch import make_accelerator
from vesalius.improve.config import REFERENCE, ImproveConfig
from vesalius.improve.deciding.evaluation import evaluate_round
from vesalius.improve.deciding.promotion import decide, lines_of
from vesalius.improve.deciding.reference import write_parts
from vesalius.improve.material import read_material
from vesalius.improve.tuning.config import TuneConfig
from vesalius.improve.tuning.run import card_of, open_studio
from vesalius.models.adapters.adapter import adapter_folder, write_adapter
from vesalius.models.base import digest_folder


@dataclass(frozen=True, kw_only=True)
class TunedBenchmark:
    """A tuned adapter beside the untuned one, by what a loop decides by."""

    data: Path
    """dataset of phantoms"""
    tuned: Path
    """folder of a tuning"""
    out: Path
    """folder of the samples"""
    num_eval: int = 240
    """samples of captions, and of hard prompts"""
    seed: int = 0
    """seed of prompts and noise"""
    json: bool = False
    """print one JSON object"""


def main(config: TunedBenchmark) -> dict[str, Any]:
    adapter = adapter_folder(config.tuned)
    told = read_state(config.tuned / "config.json", "give the folder of a finished tuning")
    settings = {**dataclasses.asdict(config), "adapter_digest": digest_folder(adapter)}
    claim(config.out, settings, kind="benchmark", free=("tuned", "out", "json"))
    tuning = TuneConfig(
        data=(config.data,), reader=config.tuned, out=config.tuned, base=told["base"], beside=tuple(told["beside"]),
        rank=told["rank"], targets=tuple(told["targets"]),
    )  # fmt: skip
    loop = ImproveConfig(
        data=(config.data,), out=config.out, base=tuning.base, beside=tuning.beside, num_eval=config.num_eval,
        seed=config.seed, json=True,
    )  # fmt: skip
    material = read_material(loop.data)
    write_parts(config.out / REFERENCE, {"train": material.train, "val": material.decide, "test": material.test})
    first, second = (config.out / f"round-{index:02d}" for index in (0, 1))
    if not (first / "run" / "adapter").is_dir():
        studio = open_studio(tuning, make_accelerator("fp32", "cpu"))
        (first / "run").mkdir(parents=True, exist_ok=True)
        write_adapter(first / "run" / "adapter", studio.tuned.half(), card_of(tuning, studio.base, [], 0))
    shutil.copytree(adapter, second / "run" / "adapter", dirs_exist_ok=True)
    for folder in (first, second):
        evaluate_round(loop, folder, material)
    decision = decide(first, first, second, 1)
    print(json.dumps(decision) if config.json else "\n".join([*lines_of(decision), *details(decision)]))
    return decision


def details(decision: dict[str, Any]) -> list[str]:
    """A line of numbers for all that was compared: before, now, the difference with its interval."""
    lines = []
    for row in decision["rows"]:
        d = row["differences"]["champion"]
        lines.append(
            f"{row['name']:<42}{row['champion']['told']:>9}{row['now']['told']:>9}   {d['value']:+.4f} "
            f"({d['low']:+.4f} to {d['high']:+.4f})  {row['told']}"
        )
    return lines


if __name__ == "__main__":
    run_module(TunedBenchmark, main)
