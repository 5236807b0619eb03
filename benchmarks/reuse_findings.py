"""What `vesalius generate --reuse` does to findings: phantoms drawn with and without, read by the shipped reader.

Each prompt is of fresh phantoms, as the scorecard asks them, and is drawn from the same noise both ways. Of every claim
that a prompt makes it is told how often the drawing shows it, full and with reuse, and how many were lost and won.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vesalius.eval.scorecard.obedience import as_seen, claims
from vesalius.eval.scorecard.prompts import Asked, phantom_prompts
from vesalius.inference.config import GUIDANCE
from vesalius.inference.generator import Generator
from vesalius.inference.request import Request
from vesalius.models.networks.reader import Reader, compare_findings

QUESTIONS = ("present", "absent", "side", "size", "count")

Answers = dict[tuple[int, str, str], bool]
"""Whether a claim is right, by prompt, kind and question."""


@dataclass(frozen=True, kw_only=True)
class FindingCost:
    """One question: num claims that both ways settle, the shares of them that are right, and those lost and won."""

    steps: int
    every: int
    question: str
    num: int
    full: float
    reused: float
    lost: int
    won: int

    def __str__(self) -> str:
        return (
            f"{self.steps} steps, deep levels every {self.every}: {self.question} right {self.full:.1%} full, "
            f"{self.reused:.1%} with reuse (of {self.num}; {self.lost} lost, {self.won} won)"
        )


def measure_findings(
    generator: Generator, num: int, *, steps: int, every: Sequence[int], batch_size: int = 8
) -> list[FindingCost]:
    """What reuse at each of `every` does to the findings of `num` drawings, beside full computation."""
    asked, reader = phantom_prompts(num), Reader.load()
    full = _answers(generator, asked, reader, steps, 1, batch_size)
    return [
        cost
        for each in every
        for cost in _costs(full, _answers(generator, asked, reader, steps, each, batch_size), steps, each)
    ]


def _costs(full: Answers, reused: Answers, steps: int, every: int) -> list[FindingCost]:
    costs = []
    for question in QUESTIONS:
        both = [(full[key], reused[key]) for key in full if key[2] == question and key in reused]
        if both:
            before, after = np.array(both).T
            costs.append(
                FindingCost(
                    steps=steps, every=every, question=question, num=len(both), full=float(before.mean()),
                    reused=float(after.mean()), lost=int((before & ~after).sum()), won=int((after & ~before).sum()),
                )
            )  # fmt: skip
    return costs


def _answers(
    generator: Generator, asked: Sequence[Asked], reader: Reader, steps: int, every: int, batch_size: int
) -> Answers:
    requests = [Request(prompt=a.text, seed=i, modality=a.modality) for i, a in enumerate(asked)]
    before, generator.reuse = generator.reuse, every
    try:
        drawn = generator.draw_all(requests, steps=steps, guidance=GUIDANCE, batch_size=batch_size)
        seen = {request.seed: as_seen(picture) for request, picture in drawn}
    finally:
        generator.reuse = before
    images = torch.from_numpy(np.stack([seen[i] for i in range(len(asked))]))
    readings = reader.read(images, [a.modality for a in asked])
    return {
        (i, kind, question): right
        for i, (a, reading) in enumerate(zip(asked, readings, strict=True))
        for kind, question, right in compare_findings(claims(a), reading.findings, a.modality)
    }
