"""Candidates of a round: drawn samples with their scores, and why each was refused."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vesalius.data.record import read_rows
from vesalius.eval.gates import Thresholds, calibrate, judge_sample
from vesalius.eval.scores import Scorer, Scores, case_of_record, case_of_sample, read_images
from vesalius.finetune.trainset import MAX_DEPTH
from vesalius.improve.config import ImproveConfig
from vesalius.improve.material import Material
from vesalius.improve.prompts import RoundPlan
from vesalius.inference.sample import Sample, load_samples
from vesalius.models.judge_network import Judge


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A sample of a round. prompt: place of its prompt in the plan. reward: what the best of a prompt has most of.
    reason: why it is refused, the gate first, or None."""

    sample: Sample
    prompt: int
    stratum: str
    scores: Scores
    reward: float
    reason: str | None

    def to_json(self) -> dict[str, Any]:
        return {
            "file_name": self.sample.file_name, "sha256": self.sample.sha256, "prompt": self.prompt,
            "stratum": self.stratum, "reason": self.reason, "reward": self.reward, **self.scores,
        }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Judged:
    """All candidates of a round in the order of their prompts, the gates' network's unit embeddings of them
    (float32 [N, C]), and what they were held to."""

    candidates: list[Candidate]
    embeddings: torch.Tensor
    thresholds: Mapping[str, Thresholds]
    network: str


def judge_candidates(
    config: ImproveConfig, samples: Path, plan: RoundPlan, material: Material, *, pool: Sequence[Path] = ()
) -> Judged:
    """Score every sample of a folder and hold it to the gates, one by one: near-duplicates, quotas and the best of a
    prompt are chosen later (`vesalius.improve.selection`)."""
    drawn = load_samples(samples)
    judge = Judge.load()
    scorer = Scorer(judge, [case_of_record(f, r) for f, r in material.train], quiet=config.json)
    held_out = [case_of_record(f, r) for f, r in material.calibrate]
    held_out_images = read_images(held_out, judge.config.image_size, "calibrating gates", quiet=config.json)
    thresholds = calibrate([c.modality for c in held_out], scorer(held_out, held_out_images))
    cases = [case_of_sample(samples, s) for s in drawn]
    images = read_images(cases, judge.config.image_size, "scoring", quiet=config.json)
    candidates = []
    for i, (sample, scores) in enumerate(zip(drawn, scorer(cases, images), strict=True)):
        prompt = i // config.best_of
        verdict = judge_sample(sample, scores, thresholds)
        if "gates" in config.without:
            verdict = dataclasses.replace(verdict, reason=None)
        if sample.depth > MAX_DEPTH:
            verdict = dataclasses.replace(verdict, reason=f"depth: generation {sample.depth} is over {MAX_DEPTH}")
        candidates.append(
            Candidate(
                sample=sample, prompt=prompt, stratum=plan.asks[prompt].stratum, scores=scores,
                reward=scores["agreement"], reason=verdict.reason,
            )
        )  # fmt: skip
    return Judged(
        candidates=candidates, embeddings=judge.embed_images(images), thresholds=thresholds, network=judge.digest
    )


def read_verdicts(folder: Path) -> list[dict[str, Any]]:
    """The rows of a round's verdicts; empty before they are there."""
    path = folder / "verdicts.jsonl"
    return list(read_rows(path)) if path.is_file() else []
