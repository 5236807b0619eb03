"""The loop: generate -> score -> gate -> (review) -> add back -> fine-tune -> evaluate -> promote or roll back.

Each round is a folder and the state is its files, so the same command continues after a kill at any moment:

    OUT/config.json data.json ledger.jsonl report.html
    OUT/round-00/run/ eval-samples/ eval/ decision.json          the adapter of the data alone
    OUT/round-01/prompts.jsonl plan.json    what is asked for    `prompts`
                 samples/                   candidates           `drawing`
                 verdicts.jsonl             why each is refused  `candidates`, `selection`
                 accepted/                  what is added back   `pool`
                 run/                       a fresh adapter
                 eval-samples/ eval/        what it is worth     `evaluation`
                 decision.json                                   `promotion`

The judge filters; what decides a promotion is the validation loss, and the witness and the reader, which filter
nothing.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from vesalius.data.recipe import claim
from vesalius.data.record import digest_file, hold, write_atomic, write_json
from vesalius.finetune.lora import finetune
from vesalius.improve.budget import seconds_of, spending
from vesalius.improve.candidates import Candidate, Judged, judge_candidates
from vesalius.improve.config import REFERENCE, ImproveConfig
from vesalius.improve.drawing import draw
from vesalius.improve.evaluation import evaluate_round, found_by_stratum, validation_of
from vesalius.improve.ledger import Ledger
from vesalius.improve.material import Material, check_unchanged, read_material, write_reference
from vesalius.improve.pool import has_records, write_accepted
from vesalius.improve.promotion import decide
from vesalius.improve.prompts import plan_round, read_plan, write_plan
from vesalius.improve.report import write_report
from vesalius.improve.selection import select
from vesalius.improve.status import read_status
from vesalius.inference.generator import find_device
from vesalius.models.base import base_folder, refuse_code

FREE_FIELDS = ("out", "rounds", "json", "dry_run", "device", "workers", "engine", "budget", "price")
"""What may change when a loop is taken up again."""


def improve(config: ImproveConfig) -> dict[str, Any]:
    """Run or continue a loop; returns its status. ValueError for bad input, before anything heavy is loaded."""
    config.check()
    material = read_material(config.data)
    if config.dry_run:
        parts = ("train", "calibrate", "decide", "test")
        return {"records": {p: len(getattr(material, p)) for p in parts}, "rounds": config.rounds}
    refuse_code(base_folder(config.base))  # a base that is none must not settle the folder's loop
    find_device(config.device)
    allowed = seconds_of(config.budget, config.price) if config.budget else None
    with hold(config.out):
        claim(config.out, dataclasses.asdict(config), kind="loop", free=FREE_FIELDS)
        check_unchanged(config.out, material)
        with spending(config.out, allowed):
            return run_rounds(config, material)


def run_rounds(config: ImproveConfig, material: Material) -> dict[str, Any]:
    """All rounds that are not whole yet, in order. KeyboardInterrupt where one is stopped."""
    ledger = Ledger(config.out / "ledger.jsonl")
    write_reference(material, config.out / REFERENCE)
    settled = {k: v for k, v in dataclasses.asdict(config).items() if k not in FREE_FIELDS}
    ledger.add("begin", 0, config=json.loads(json.dumps(settled, default=str)), data=material.digests)

    # Round 0: what the data alone gives
    best = config.out / "round-00"
    train(config, best, (), ledger, 0)
    evaluate_round(config, best, material)
    if not (best / "decision.json").is_file():
        write_json(best / "decision.json", {"round": 0, "promoted": True, "reasons": ["the data alone"], "champion": 0})
    write_report(config.out)

    # Further rounds: draw with the champion, keep what passes, train afresh on all of it
    for index in range(1, config.rounds + 1):
        folder = config.out / f"round-{index:02d}"
        folder.mkdir(exist_ok=True)
        if not (folder / "decision.json").is_file():
            draw_and_gate(config, folder, best, material, ledger, index)
            train(config, folder, pools(config.out, index), ledger, index)
            evaluate_round(config, folder, material)
            decision = decide(config.out / "round-00", best, folder, index)
            ledger.add("decision", index, **{k: v for k, v in decision.items() if k != "round"})
            write_json(folder / "decision.json", decision)
        decision = json.loads((folder / "decision.json").read_text())
        best = config.out / f"round-{decision['champion']:02d}"
        write_report(config.out)
    return read_status(config.out)


def draw_and_gate(
    config: ImproveConfig, folder: Path, champion: Path, material: Material, ledger: Ledger, index: int
) -> None:
    """Candidates of a round, their verdicts, and a dataset of the accepted ones."""
    if (folder / "accepted" / "manifest.json").is_file():
        return
    plan = read_plan(folder)
    if plan is None:
        plan = plan_round(config, material, found_by_stratum(champion), index)
        write_plan(folder, plan)
    seed = config.seed + 100 * index
    draw(config, folder / "prompts.jsonl", folder / "samples", champion / "run", seed=seed, num=config.best_of)
    judged = judge_candidates(config, folder / "samples", plan, material, pool=pools(config.out, index))
    write_json(folder / "thresholds.json", {m: dataclasses.asdict(t) for m, t in judged.thresholds.items()})
    candidates = select(judged, plan, {})
    ledger.add_all("verdict", index, (told(each, judged) for each in candidates))
    rows = "".join(json.dumps(each.to_json(), ensure_ascii=False) + "\n" for each in candidates)
    write_atomic(folder / "verdicts.jsonl", rows.encode())
    write_accepted(folder / "accepted", folder / "samples", [c.sample for c in candidates if c.reason is None])


def told(candidate: Candidate, judged: Judged) -> tuple[str, dict[str, Any]]:
    """What the ledger keeps of a candidate, by its file's name."""
    sample, limits = candidate.sample, judged.thresholds.get(candidate.sample.modality)
    return sample.file_name, {
        "sha256": sample.sha256, "prompt": sample.text, "stratum": candidate.stratum, "seed": sample.seed,
        "base": sample.base_digest, "adapter": sample.adapter_digest, "judge": judged.network,
        "scores": {k: round(v, 5) for k, v in candidate.scores.items()},
        "thresholds": limits.told(candidate.scores) if limits else {}, "accepted": candidate.reason is None,
        "reason": candidate.reason, "abstained": list(candidate.abstained),
    }  # fmt: skip


def pools(out: Path, index: int) -> tuple[Path, ...]:
    """The accepted samples of all rounds up to this one: they accumulate, none is replaced."""
    folders = (out / f"round-{i:02d}" / "accepted" for i in range(1, index + 1))
    return tuple(p for p in folders if has_records(p))


def train(config: ImproveConfig, folder: Path, pools: tuple[Path, ...], ledger: Ledger, index: int) -> None:
    """A fresh adapter from the base over the data and all accepted samples; KeyboardInterrupt where it is stopped."""
    run = folder / "run"
    if not (run / "validation.json").is_file() and not finetune(config.finetune(run, pools)).finished:
        raise KeyboardInterrupt
    weights = run / "adapter" / "adapter_model.safetensors"
    ledger.add("adapter", index, sha256=digest_file(weights), validation=validation_of(run))
