"""The evaluation of a round: samples under the same captions and seeds in every round, beside held-out real images."""

from __future__ import annotations

import json
from pathlib import Path

from vesalius.eval.config import EvalConfig
from vesalius.eval.run import evaluate
from vesalius.improve.config import REFERENCE, ImproveConfig
from vesalius.improve.drawing import draw
from vesalius.improve.material import Material
from vesalius.improve.prompts import RoundPlan, ask_of_record, pick, write_plan

GATED_BY = ("judge",)
"""What filters; it measures no obedience, so that none is promoted for agreeing with what chose its training images."""


def evaluate_round(config: ImproveConfig, folder: Path, material: Material) -> None:
    """Draw with a round's adapter under captions of the deciding half of val, and measure; nothing where it is done."""
    if (folder / "eval" / "report.json").is_file():
        return
    seed = config.seed + 1
    asks = [ask_of_record(r) for r in pick(material.decide, config.num_eval, seed)]
    (folder / "eval-prompts").mkdir(exist_ok=True)
    prompts = write_plan(folder / "eval-prompts", RoundPlan(asks=asks, quotas={}))
    draw(config, prompts, folder / "eval-samples", folder / "run", seed=seed)
    evaluate(
        EvalConfig(
            samples=folder / "eval-samples", real=config.out / REFERENCE, split="val",
            out=folder / "eval", cache=config.out / "features", shared_patients="leave-out", gated_by=GATED_BY,
            seed=config.seed, json=config.json,
        )
    )  # fmt: skip


def found_by_stratum(folder: Path) -> dict[str, float]:
    """Stratum -> share that was right in a round's evaluation, where it is known."""
    return {}


def validation_of(run: Path) -> float:
    """The last validation loss of a finished run."""
    return float(json.loads((run / "validation.json").read_text())[-1]["loss"])
