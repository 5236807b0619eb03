"""The loop: generate -> score -> gate -> (review) -> add back -> fine-tune -> evaluate -> promote or roll back.

Each round is a folder and the state is its files, so the same command continues after a kill at any moment:

    OUT/config.json data.json ledger.jsonl report.html
    OUT/round-00/run/ eval-samples/ eval/ decision.json          the adapter of the data alone
    OUT/round-01/prompts.jsonl plan.json    what is asked for    `prompts`
                 samples/                   candidates           `drawing`
                 verdicts.jsonl             why each is refused  `candidates`, `selection`
                 selection.json             how strata are filled
                 review.html review.json    who let them in      `review`
                 accepted/                  what is added back   `pool`
                 run/                       a fresh adapter
                 eval-samples/ eval/        what it is worth     `evaluation`
                 facts.json                 ... in numbers       `facts`, `measures`
                 decision.json                                   `promotion`, `guard`
    OUT/test/                               read once, at the end, for one adapter: `final`

The judge filters; what decides a promotion is the validation loss, and the witness and the reader, which filter
nothing.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from vesalius.data.command.recipe import claim
from vesalius.data.record import digest_file, hold, write_atomic, write_json
from vesalius.finetune.lora import finetune
from vesalius.improve.asking.plan import check_sources, plan_round, read_plan, write_plan
from vesalius.improve.budget import seconds_of, spending
from vesalius.improve.candidates.candidates import Candidate, Judged, judge_candidates
from vesalius.improve.candidates.doubles import read_seen, write_seen
from vesalius.improve.candidates.drawing import artist, draw
from vesalius.improve.candidates.empty import why_empty
from vesalius.improve.candidates.looking import look
from vesalius.improve.candidates.pool import pool_facts, write_accepted
from vesalius.improve.candidates.selection import select
from vesalius.improve.config import REFERENCE, ImproveConfig
from vesalius.improve.deciding.evaluation import evaluate_round, found_by_stratum, validation_of
from vesalius.improve.deciding.final import read_once
from vesalius.improve.deciding.guard import check_witness
from vesalius.improve.deciding.promotion import decide, decisions_of, finished, lineage, lines_of
from vesalius.improve.deciding.reference import write_parts
from vesalius.improve.ledger import Ledger
from vesalius.improve.material import Material, check_unchanged, read_material
from vesalius.improve.people.preferences import num_pairs, training_config
from vesalius.improve.people.ratings import read_ratings
from vesalius.improve.people.review import (
    accepted_samples,
    enter_review,
    enter_rollback,
    enter_vetoes,
    review_vetoes,
    stood_by,
    waiting,
    write_review,
)
from vesalius.improve.telling.report import write_report
from vesalius.improve.telling.status import read_status
from vesalius.inference.generator import find_device
from vesalius.inference.running.engines import num_launched
from vesalius.models.base import base_folder, refuse_code

FREE_FIELDS = (
    "out", "rounds", "json", "dry_run", "device", "workers", "engine", "budget", "price",
    "ratings", "review",
)  # fmt: skip
"""What may change when a loop is taken up again."""


def improve(config: ImproveConfig) -> dict[str, Any]:
    """Run or continue a loop; returns its status. ValueError for bad input, before anything heavy is loaded."""
    if num_launched() > 1:
        raise ValueError(
            f"a loop was started {num_launched()} times; start it once, without `accelerate launch`: it starts "
            "processes of its own (--workers, --engine)"
        )
    config.check()
    check_sources(config)
    material = read_material(config.data)
    read_ratings(config.ratings)  # says what is wrong with them before hours of work
    if config.dry_run:
        parts = ("train", "calibrate", "decide", "test")
        records = {p: len(getattr(material, p)) for p in parts}
        return {"records": records, "rounds": config.rounds, "candidates": config.num}
    refuse_code(base_folder(config.base))  # a base that is none must not settle the folder's loop
    find_device(config.device)
    check_witness(witness=config.witness)
    allowed = seconds_of(config.budget, config.price) if config.budget else None
    with hold(config.out):
        claim(config.out, dataclasses.asdict(config), kind="loop", free=FREE_FIELDS)
        check_unchanged(config.out, material)
        with spending(config.out, allowed) as check_budget:
            return run_rounds(config, material, check_budget)


def run_rounds(config: ImproveConfig, material: Material, check_budget: Callable[[], None]) -> dict[str, Any]:
    """All rounds that are not whole yet, in order. KeyboardInterrupt where one is stopped. check_budget: asked before
    each part of a round."""
    ledger = Ledger(config.out / "ledger.jsonl")
    parts = {"train": material.train, "val": material.decide, "test": material.test}
    write_parts(config.out / REFERENCE, parts)
    settled = {k: v for k, v in dataclasses.asdict(config).items() if k not in FREE_FIELDS}
    ledger.add("begin", 0, config=json.loads(json.dumps(settled, default=str)), data=material.digests)

    enter_rollback(ledger, config.out)

    # Round 0: what the data alone gives
    best = config.out / "round-00"
    train(config, best, ledger, 0)
    check_budget()
    evaluate_round(config, best, material)
    if not (best / "decision.json").is_file():
        write_json(best / "decision.json", {"round": 0, "promoted": True, "reasons": ["the data alone"], "champion": 0})
    best = config.out / f"round-{stood_by(config.out, 1, 0):02d}"
    write_report(config.out)

    # Further rounds: draw with the champion, keep what passes, train afresh on all of it
    for index in range(1, config.rounds + 1):
        folder = config.out / f"round-{index:02d}"
        folder.mkdir(exist_ok=True)
        check_budget()
        if not (folder / "decision.json").is_file():
            draw_and_gate(config, folder, best, material, ledger, index)
            if config.review and waiting(folder):
                write_review(folder)
                write_report(config.out)
                return read_status(config.out)
            let_in(folder, ledger)
            check_budget()
            train(config, folder, ledger, index)
            check_budget()
            evaluate_round(config, folder, material)
            decision = decide(config.out / "round-00", best, folder, index, guard="guard" not in config.without)
            ledger.add("decision", index, **{k: v for k, v in decision.items() if k != "round"})
            write_json(folder / "decision.json", decision)
            if not config.json:
                print("\n".join(lines_of(decision)))
        decision = json.loads((folder / "decision.json").read_text())
        best = config.out / f"round-{stood_by(config.out, index + 1, decision['champion']):02d}"
        write_report(config.out)
        if (ended := finished(decisions_of(config.out), config.patience)) is not None:
            ledger.add("end", index, reason=ended)
            break
    check_budget()
    read_once(config, material, best)
    write_report(config.out)
    return read_status(config.out)


def draw_and_gate(
    config: ImproveConfig, folder: Path, champion: Path, material: Material, ledger: Ledger, index: int
) -> None:
    """Candidates of a round, and their verdicts. ValueError where none is kept: says which gate refused, and what to
    do."""
    if not (folder / "verdicts.jsonl").is_file():
        _draw_and_gate(config, folder, champion, material, ledger, index)
    if empty := json.loads((folder / "selection.json").read_text())["empty"]:
        raise ValueError(empty)


def _draw_and_gate(
    config: ImproveConfig, folder: Path, champion: Path, material: Material, ledger: Ledger, index: int
) -> None:
    plan = read_plan(folder)
    if plan is None:
        plan = plan_round(config, material, found_by_stratum(champion), index)
        write_plan(folder, plan)
    seed = config.seed + 100 * index
    drawer = artist(config, champion, lineage(config.out / "round-00", champion))
    draw(config, folder / "prompts.jsonl", folder / "samples", drawer / "run", seed=seed, num=config.best_of)
    look(config, folder / "samples", len(plan.asks) * config.best_of)
    judged = judge_candidates(config, folder / "samples", plan, material)
    write_json(folder / "thresholds.json", {m: dataclasses.asdict(t) for m, t in judged.thresholds.items()})
    earlier = [folder.with_name(f"round-{i:02d}") for i in range(1, index)]
    selection = select(judged, plan, read_seen(earlier), doubles="gates" in config.without)
    candidates = selection.candidates
    ledger.add_all("verdict", index, (told(each, judged) for each in candidates))
    rows = "".join(json.dumps(each.to_json(), ensure_ascii=False) + "\n" for each in candidates)
    empty = why_empty(selection, folder) if not selection.num_kept else None
    write_json(folder / "selection.json", {**selection.to_json(), "empty": empty})
    write_seen(folder, selection.embeddings)
    write_atomic(folder / "verdicts.jsonl", rows.encode())


def let_in(folder: Path, ledger: Ledger) -> None:
    """A dataset of a round's accepted samples, without those that its review kept out."""
    enter_review(ledger, folder)
    if not (folder / "accepted" / "manifest.json").is_file():
        vetoed = review_vetoes(folder)
        write_accepted(folder / "accepted", folder / "samples", accepted_samples(folder), vetoed=vetoed)


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


def train(config: ImproveConfig, folder: Path, ledger: Ledger, index: int) -> None:
    """A fresh adapter over the data and all accepted samples, or on preferences; KeyboardInterrupt where it is
    stopped."""
    run = folder / "run"
    if not (run / "validation.json").is_file():
        asked = training_config(config, folder)
        if facts := pool_facts(folder):
            enter_vetoes(ledger, folder, facts["vetoed"])
            ledger.add("pool", index, samples=facts["num"], ratings=facts["told"], pairs=num_pairs(config.out, index))
        if not finetune(asked).finished:
            raise KeyboardInterrupt
    weights = run / "adapter" / "adapter_model.safetensors"
    ledger.add("adapter", index, sha256=digest_file(weights), validation=validation_of(run))
