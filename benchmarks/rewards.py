"""Which of several samples of a prompt is the best? Rewards that a loop could choose by, as the phantom reader sees it.

    python -m benchmarks.rewards --data DATA --out OUT [--num 800] [--best-of 4]

DATA is a dataset of phantoms (`vesalius data phantom`). Prompts are those that a round would ask of the phantoms'
grammar; nano-fast draws; judge and gates look, who know nothing of the reader. Printed is what share of all that the
prompts asked for the reader finds in all samples, in those that pass the gates, and in the best of each prompt by each
reward, of all and of those that pass. OUT keeps the samples, so that the line goes on where it was stopped.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from vesalius.data.phantoms.phantom import KINDS
from vesalius.eval.gates.scores import Scores, case_of_sample, read_images
from vesalius.eval.obedience.questions import answers, networks
from vesalius.improve.asking.plan import plan_round, write_plan
from vesalius.improve.candidates.candidates import judge_folder, open_bench
from vesalius.improve.config import ImproveConfig
from vesalius.improve.material import read_material
from vesalius.inference.config import GenerateConfig
from vesalius.inference.running.run import draw_samples
from vesalius.models.networks.reader import Reader

MARGINS = ("side_margin", "negation_margin", "finding_margin", "other_margin")


@dataclass(frozen=True, kw_only=True)
class RewardsBenchmark:
    """How often each reward chooses the best of several samples."""

    data: Path
    """dataset of phantoms, whose val split calibrates the gates"""
    out: Path
    """folder of the samples"""
    num: int = 800
    """samples"""
    best_of: int = 4
    """samples of a prompt"""
    seed: int = 77
    """seed of prompts and samples"""
    json: bool = False
    """print one JSON object"""


def rewards(scores: Scores) -> dict[str, float]:
    """What could be chosen by."""
    agreement = scores.get("agreement", -1.0)
    margins = {name: scores.get(name, 0.0) for name in MARGINS}
    return {
        "the first": 0.0, "agreement": agreement, **margins,
        "agreement and least margin": agreement + min(margins.values()),
        "typical": -scores.get("typical_distance", 0.0),
    }  # fmt: skip


def main(config: RewardsBenchmark) -> dict[str, Any]:
    loop = ImproveConfig(
        data=(config.data,), out=config.out / "loop", num=config.num, best_of=config.best_of, prompts=("phantoms",),
        seed=config.seed, json=True,
    )  # fmt: skip
    material = read_material(loop.data)
    config.out.mkdir(parents=True, exist_ok=True)
    prompts = write_plan(config.out, plan_round(loop, material, {}, 1))
    folder = config.out / "samples"
    drawn = draw_samples(
        GenerateConfig(prompts=prompts, out=folder, adapter=("nano-fast",), num=config.best_of, seed=config.seed)
    )
    bench = open_bench(material, config.out / "features", quiet=config.json, search=False)
    verdicts = [verdict for verdict, _ in judge_folder(bench, folder, drawn, quiet=config.json)]
    cases, reader = [case_of_sample(folder, s) for s in drawn], Reader.load()
    images = read_images(cases, reader.config.image_size, "reading samples", quiet=config.json)
    right, asked = Counter[int](), Counter[int]()
    for answer in answers(cases, images, networks(reader=reader), phantoms=tuple(KINDS)):
        right[answer.place] += answer.right
        asked[answer.place] += 1
    share = np.array([right[i] / max(1, asked[i]) for i in range(len(cases))])
    passes = np.array([v.reason is None for v in verdicts])
    groups = np.arange(len(cases)).reshape(-1, config.best_of)
    table = [rewards(v.scores) for v in verdicts]
    found: dict[str, Any] = {
        "samples": len(cases), "pass": int(passes.sum()), "all": float(share.mean()),
        "all that pass": float(share[passes].mean()), "best that there is": float(share[groups].max(1).mean()),
        "refused": Counter(v.reason.split(":")[0] for v in verdicts if v.reason), "rewards": {},
    }  # fmt: skip
    for name in table[0]:
        values = np.array([row[name] for row in table])
        row = {}
        for what, usable in (("of all", np.ones(len(cases), dtype=bool)), ("of those that pass", passes)):
            left = np.where(usable, values, -np.inf)[groups]
            answered = usable[groups].any(1)
            chosen = groups[np.arange(len(groups)), left.argmax(1)][answered]
            row[what] = float(share[chosen].mean())
        found["rewards"][name] = row
    print(json.dumps(found) if config.json else told(found))
    return found


def told(found: dict[str, Any]) -> str:
    lines = [
        f"{found['samples']} samples, {found['pass']} pass; refused by {dict(found['refused'].most_common())}",
        f"shown of what was asked for: {found['all']:.1%}; of those that pass {found['all that pass']:.1%}; "
        f"of the best of each prompt that there is {found['best that there is']:.1%}",
        f"{'chosen by':<28}{'of all':>10}{'of those that pass':>20}",
    ]  # fmt: skip
    lines += [
        f"{name:<28}{row['of all']:>10.1%}{row['of those that pass']:>20.1%}" for name, row in found["rewards"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main(tyro.cli(RewardsBenchmark))
