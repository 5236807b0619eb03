"""The loop: generate -> score -> gate -> add back -> fine-tune -> evaluate -> promote or roll back.

Each round is a folder and the state is its files, so the same command continues after a kill at any moment:

    OUT/round-00/run/                   the adapter of the data alone
    OUT/round-01/prompts.jsonl samples/ verdicts.json accepted/ run/ eval-samples/ eval/ decision.json
    OUT/ledger.jsonl report.html

The judge filters; what decides a promotion is the validation loss, and the witness and the reader, which filter
nothing.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from vesalius.data.modality import find_modality
from vesalius.data.recipe import claim
from vesalius.data.record import (
    Record,
    digest_file,
    hold,
    load_records,
    write_atomic,
    write_dataset,
    write_json,
)
from vesalius.eval.config import EvalConfig
from vesalius.eval.fidelity import kid_by_modality
from vesalius.eval.gates import Verdict, calibrate, check_enough, judge_sample
from vesalius.eval.metrics import nearest_distances
from vesalius.eval.obedience_page import shares
from vesalius.eval.run import evaluate
from vesalius.eval.scores import Case, Scorer, case_of_record, case_of_sample, patient_of, read_images
from vesalius.finetune.lora import finetune
from vesalius.finetune.trainset import MAX_DEPTH
from vesalius.improve.config import ImproveConfig
from vesalius.improve.ledger import Ledger
from vesalius.improve.report import write_report
from vesalius.inference.config import GenerateConfig
from vesalius.inference.generator import find_device
from vesalius.inference.run import draw_samples
from vesalius.inference.sample import Sample
from vesalius.models.base import base_folder, refuse_code
from vesalius.models.judge_network import Judge

GATED_BY = ("judge",)
"""What filters; it measures no obedience, so that none is promoted for agreeing with what chose its training images."""
FREE_FIELDS = ("out", "rounds", "json", "dry_run", "device")  # may change when a loop is taken up again


def improve(config: ImproveConfig) -> dict[str, Any]:
    """Run or continue a loop; returns its status. ValueError for bad input, before anything heavy is loaded."""
    config.check()
    records = {split: records_of(config, split) for split in ("train", "val", "test")}
    check_modalities(records, ", ".join(map(str, config.data)))
    if config.dry_run:
        return {"records": {k: len(v) for k, v in records.items()}, "rounds": config.rounds}
    refuse_code(base_folder(config.base))  # a base that is none must not settle the folder's loop
    find_device(config.device)
    with hold(config.out):
        return _run_rounds(config, records)


def _run_rounds(config: ImproveConfig, records: dict[str, list[tuple[Path, Record]]]) -> dict[str, Any]:
    claim(config.out, dataclasses.asdict(config), kind="loop", free=FREE_FIELDS)
    ledger = Ledger(config.out / "ledger.jsonl")
    ledger.add("begin", 0, config=json.loads((config.out / "config.json").read_text()))

    # Round 0: what the data alone gives
    best = config.out / "round-00"
    train_and_evaluate(config, best, (), records["test"], ledger, 0)
    if not (best / "decision.json").is_file():
        write_json(best / "decision.json", {"round": 0, "promoted": True, "reasons": ["the data alone"], "champion": 0})
    write_report(config.out)

    # Further rounds: draw with the champion, keep what passes, train afresh on all of it
    for index in range(1, config.rounds + 1):
        folder = config.out / f"round-{index:02d}"
        folder.mkdir(exist_ok=True)
        if not (folder / "decision.json").is_file():
            draw_and_gate(config, folder, best, records, ledger, index)
            pools = tuple(
                p for i in range(1, index + 1) if has_records(p := config.out / f"round-{i:02d}" / "accepted")
            )
            train_and_evaluate(config, folder, pools, records["test"], ledger, index)
            decision = decide(config.out / "round-00", best, folder, index)
            ledger.add("decision", index, **{k: v for k, v in decision.items() if k != "round"})
            write_json(folder / "decision.json", decision)
        decision = json.loads((folder / "decision.json").read_text())
        best = config.out / f"round-{decision['champion']:02d}"
        write_report(config.out)
    return read_status(config.out)


def records_of(config: ImproveConfig, split: str) -> list[tuple[Path, Record]]:
    """Real and phantom records of a split. ValueError where there are none, or one is a sample."""
    found = [(folder, r) for folder in config.data for r in load_records(folder) if r.split == split]
    if not found:
        raise ValueError(
            f"{', '.join(map(str, config.data))}: no records in split '{split}'; a loop needs train, val and test"
        )
    for folder, record in found:
        if record.origin == "synthetic":
            raise ValueError(
                f"{folder / record.file_name}: is a sample; --data takes real images and phantoms, "
                "the loop adds its own samples"
            )
    return found


def check_modalities(records: dict[str, list[tuple[Path, Record]]], folders: str) -> None:
    """ValueError where a modality that a loop draws has too few real images to be gated and judged by.

    Test images of patients who are trained on do not count: the evaluation leaves them out.
    """
    trained = {(f, patient_of(r)) for f, r in records["train"] if r.patient_id}
    kept = {**records, "test": [(f, r) for f, r in records["test"] if (f, patient_of(r)) not in trained]}
    found = {k: Counter(find_modality(r.modality).name for _, r in v) for k, v in kept.items()}
    for name in sorted({*found["train"], *found["val"], *found["test"]}):
        for split in ("val", "test"):
            if found["train"][name] or found[split][name]:
                check_enough(name, found[split][name], f"{split} (of {folders})")


def train_and_evaluate(
    config: ImproveConfig,
    folder: Path,
    pools: tuple[Path, ...],
    test: list[tuple[Path, Record]],
    ledger: Ledger,
    index: int,
) -> None:
    """A fresh adapter from the base, then samples under the test captions and seeds of every round, evaluated."""
    run = folder / "run"
    if not (run / "validation.json").is_file() and not finetune(config.finetune(run, pools)).finished:
        raise KeyboardInterrupt
    weights = run / "adapter" / "adapter_model.safetensors"
    ledger.add("adapter", index, sha256=digest_file(weights), validation=validation_of(run))
    if not (folder / "eval" / "report.json").is_file():
        write_prompts(folder / "eval-prompts.jsonl", pick(test, config.num_eval, config.seed + 1))
        draw_samples(drawing(config, folder / "eval-prompts.jsonl", folder / "eval-samples", run, config.seed + 1))
        merged = merge_real(config, config.out / "reference")
        evaluate(
            EvalConfig(
                samples=folder / "eval-samples",
                real=merged,
                out=folder / "eval",
                cache=config.out / "features",
                shared_patients="leave-out",
                gated_by=GATED_BY,
                seed=config.seed,
                json=config.json,
            )
        )


def drawing(config: ImproveConfig, prompts: Path, out: Path, run: Path, seed: int) -> GenerateConfig:
    return GenerateConfig(
        prompts=prompts, out=out, base=config.base, adapter=(str(run),), seed=seed, steps=config.sampling_steps,
        guidance=config.guidance, device=config.device, json=config.json,
    )  # fmt: skip


def merge_real(config: ImproveConfig, folder: Path) -> Path:
    """The loop's datasets as one folder of links, which the evaluation reads; a single one is read where it lies."""
    if len(config.data) == 1:
        return config.data[0]
    if not (folder / "manifest.json").is_file():
        records = []
        for number, source in enumerate(config.data):
            for record in load_records(source):
                name = f"{record.split}/images/{number}-{record.file_name.replace('/', '-')}"
                target = folder / name
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                target.symlink_to((source / record.file_name).resolve())
                patient = (
                    record.patient_id and f"{number}-{record.patient_id}"
                )  # one dataset's numbers are not another's
                records.append(dataclasses.replace(record, file_name=name, mask=None, patient_id=patient))
        write_dataset(folder, records)
    return folder


def pick(members: list[tuple[Path, Record]], num: int, seed: int) -> list[Record]:
    """`num` records to take prompts from, the modalities in turn, each in a random order of its own."""
    rng = np.random.default_rng(seed)
    queues = []
    for name in sorted({find_modality(r.modality).name for _, r in members}):
        mine = [r for _, r in members if find_modality(r.modality).name == name]
        queues.append([mine[i] for i in rng.permutation(len(mine))])
    return [queues[i % len(queues)][(i // len(queues)) % len(queues[i % len(queues)])] for i in range(num)]


def write_prompts(path: Path, records: list[Record]) -> None:
    rows = [
        {
            "text": r.caption or r.text,
            "modality": find_modality(r.modality).name,
            "findings": [dataclasses.asdict(f) for f in r.findings],
        }
        for r in records
    ]
    write_atomic(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode())


def draw_and_gate(
    config: ImproveConfig,
    folder: Path,
    champion: Path,
    records: dict[str, list[tuple[Path, Record]]],
    ledger: Ledger,
    index: int,
) -> None:
    """Samples of a round under training captions, their verdicts, and a dataset of the accepted ones."""
    if has_records(folder / "accepted") or (folder / "verdicts.json").is_file():
        return
    write_prompts(folder / "prompts.jsonl", pick(records["train"], config.num, config.seed + 100 * index))
    samples = draw_samples(
        drawing(config, folder / "prompts.jsonl", folder / "samples", champion / "run", config.seed + 100 * index)
    )
    judge = Judge.load()
    scorer = Scorer(judge, [case_of_record(f, r) for f, r in records["train"]], quiet=config.json)
    held_out = [case_of_record(f, r) for f, r in records["val"]]
    held_out_images = read_images(held_out, judge.config.image_size, "calibrating gates", quiet=config.json)
    thresholds = calibrate([c.modality for c in held_out], scorer(held_out, held_out_images))
    cases = [case_of_sample(folder / "samples", s) for s in samples]
    verdicts = verdicts_of(config, samples, cases, scorer, thresholds)
    write_accepted(folder / "accepted", folder / "samples", verdicts)
    for verdict in verdicts:
        limits = thresholds.get(verdict.sample.modality)
        ledger.add(
            "verdict", index, verdict.sample.file_name, sha256=verdict.sample.sha256, prompt=verdict.sample.text,
            seed=verdict.sample.seed, base=verdict.sample.base_digest, adapter=verdict.sample.adapter_digest,
            judge=judge.digest, scores={k: round(v, 5) for k, v in verdict.scores.items()},
            thresholds=dataclasses.asdict(limits) if limits else {},
            accepted=verdict.reason is None, reason=verdict.reason,
        )  # fmt: skip
    write_json(folder / "verdicts.json", [v.to_json() for v in verdicts])


def verdicts_of(
    config: ImproveConfig, samples: list[Sample], cases: list[Case], scorer: Scorer, thresholds: dict[str, Any]
) -> list[Verdict]:
    """Verdicts in order; later samples are compared with those accepted before, and a full quota refuses the rest."""
    images = read_images(cases, scorer.judge.config.image_size, "scoring", quiet=config.json)
    embedded = scorer.judge.embed_images(images)
    asked, accepted = Counter(s.modality for s in samples), Counter[str]()
    kept: list[int] = []
    verdicts = []
    for i, (sample, scores) in enumerate(zip(samples, scorer(cases, images), strict=True)):
        near = [k for k in kept if samples[k].modality == sample.modality]
        if near:
            scores = {**scores, "nearest_sample": float(nearest_distances(embedded[i : i + 1], embedded[near])[0][0])}
        verdict = judge_sample(sample, scores, thresholds)
        if sample.depth > MAX_DEPTH:
            verdict = dataclasses.replace(verdict, reason=f"depth: generation {sample.depth} is over {MAX_DEPTH}")
        if verdict.reason is None and accepted[sample.modality] >= max(1, int(config.quota * asked[sample.modality])):
            verdict = dataclasses.replace(
                verdict, reason=f"quota: enough {sample.modality} samples of this round were accepted"
            )
        if verdict.reason is None:
            kept.append(i)
            accepted[sample.modality] += 1
        verdicts.append(verdict)
    return verdicts


def write_accepted(folder: Path, samples: Path, verdicts: list[Verdict]) -> None:
    """Accepted samples as records again: origin synthetic, one generation deeper, for training only."""
    accepted = [v.sample for v in verdicts if v.reason is None]
    (folder / "train" / "images").mkdir(parents=True, exist_ok=True)
    records = []
    for sample in accepted:
        name = f"train/{sample.file_name}"
        shutil.copyfile(samples / (sample.raw16 or sample.file_name), folder / name)
        records.append(
            Record(
                file_name=name,
                text=sample.text,
                modality=sample.modality,
                findings=sample.findings,
                split="train",
                origin="synthetic",
                depth=sample.depth,
                source="vesalius generate",
                sha256=sample.raw16_sha256 or sample.sha256,
                hounsfield=sample.raw16 is not None,
            )
        )
    write_dataset(folder, records)


def has_records(folder: Path) -> bool:
    """Whether a pool of accepted samples is whole and not empty."""
    return (folder / "manifest.json").is_file() and (folder / "train" / "metadata.jsonl").is_file()


def decide(first: Path, champion: Path, challenger: Path, index: int) -> dict[str, Any]:
    """Promote a round only where nothing is worse than in round 0 and in the champion beyond the interval.

    Compared are the validation loss (1 % of it is its tolerance: the questions are fixed, but the adapters' luck is
    not), the witness's KID to the test split, per modality, and over all the obedience to the prompt by witness and
    reader; the judge has no say.
    """
    reasons: list[str] = []
    ours = facts_of(challenger)
    for other in dict.fromkeys((first, champion)):
        theirs = facts_of(other)
        if ours["validation"] > theirs["validation"] * 1.01:
            reasons.append(
                f"validation loss {ours['validation']:.4f} is worse than {theirs['validation']:.4f} of {other.name}"
            )
        for modality, kid in ours["kid"].items():
            former = theirs["kid"].get(modality)
            if former is not None and kid["low"] > former["high"]:
                reasons.append(f"{modality} KID {kid['value']:.4f} is worse than {former['value']:.4f} of {other.name}")
        for question, share in ours["obedience"].items():
            former = theirs["obedience"].get(question)
            if former is not None and share["high"] < former["low"]:
                reasons.append(
                    f"{question}: {share['value']:.1%} right is less than {former['value']:.1%} of {other.name}"
                )
    promoted = not reasons
    return {
        "round": index, "promoted": promoted, "reasons": reasons or ["nothing is worse than round 0 or the champion"],
        "champion": index if promoted else int(champion.name.removeprefix("round-")),
        "validation": ours["validation"], "kid": {m: k["value"] for m, k in ours["kid"].items()},
        "obedience": {question: share["value"] for question, share in ours["obedience"].items()},
    }  # fmt: skip


def facts_of(folder: Path) -> dict[str, Any]:
    """Validation loss of a round, its KID per modality by the witness, and its obedience by what filtered none of its
    pictures; empty where an earlier release wrote the report."""
    report = json.loads((folder / "eval" / "report.json").read_text())
    obeyed = report.get("obedience", {})
    return {
        "validation": validation_of(folder / "run"),
        "kid": kid_by_modality(report, "witness"),
        "obedience": shares(obeyed) if set(GATED_BY) <= set(obeyed.get("gated_by", ())) else {},
    }


def validation_of(run: Path) -> float:
    """The last validation loss of a finished run."""
    return float(json.loads((run / "validation.json").read_text())[-1]["loss"])


def read_status(folder: Path) -> dict[str, Any]:
    """Where a loop stands, from its files alone. ValueError where the folder holds none, or its ledger was changed."""
    if not (folder / "config.json").is_file():
        raise ValueError(f"{folder}: no loop there; begin one with `vesalius improve run RECIPE.toml --out {folder}`")
    Ledger(folder / "ledger.jsonl")
    rounds: list[dict[str, Any]] = []
    for path in sorted(folder.glob("round-*")):
        decision = json.loads((path / "decision.json").read_text()) if (path / "decision.json").is_file() else None
        verdicts = json.loads((path / "verdicts.json").read_text()) if (path / "verdicts.json").is_file() else []
        accepted = sum(v["reason"] is None for v in verdicts)
        rounds.append({"round": path.name, "samples": len(verdicts), "accepted": accepted, "decision": decision})
    lines = []
    for row in rounds:
        told = (
            "in progress" if row["decision"] is None else "promoted" if row["decision"]["promoted"] else "rolled back"
        )
        why = f": {'; '.join(row['decision']['reasons'])}" if row["decision"] else ""
        lines.append(f"{row['round']}: {row['accepted']} of {row['samples']} samples accepted, {told}{why}")
    done = [r["decision"] for r in rounds if r["decision"]]
    return {"folder": str(folder), "rounds": rounds, "champion": done[-1]["champion"] if done else None, "lines": lines}


def champion_run(folder: Path) -> Path:
    """The run folder of the adapter that the loop stands by."""
    champion = read_status(folder)["champion"]
    if champion is None:
        raise ValueError(f"{folder}: round 0 is not finished yet; run the loop's line again")
    return folder / f"round-{champion:02d}" / "run"
