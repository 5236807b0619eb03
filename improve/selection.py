"""Which of the candidates that pass are kept: the best of each prompt, none twice, no stratum over its quota."""

from __future__ import annotations

import dataclasses
from collections import Counter

import torch

from vesalius.eval.metrics import nearest_distances
from vesalius.improve.candidates import Candidate, Judged
from vesalius.improve.prompts import RoundPlan


def select(judged: Judged, plan: RoundPlan, pool: dict[str, torch.Tensor]) -> list[Candidate]:
    """All candidates again, those that are not kept with their reason. pool: modality -> unit embeddings of what
    earlier rounds accepted."""
    kept: list[int] = []
    filled, answered = Counter[str](), set[int]()
    found = list(judged.candidates)
    order = sorted(range(len(found)), key=lambda i: (found[i].prompt, -found[i].reward))
    for i in order:
        each = found[i]
        if each.reason is not None:
            continue
        limits = judged.thresholds[each.sample.modality]
        near = [judged.embeddings[k] for k in kept if found[k].sample.modality == each.sample.modality]
        near += list(pool.get(each.sample.modality, ()))
        reason = None
        if near:
            distance = float(nearest_distances(judged.embeddings[i : i + 1], torch.stack(near))[0][0])
            if distance < limits.nearest_low / 2:
                reason = f"duplicate: a near-duplicate of an accepted sample (distance {distance:.3f})"
        if reason is None and each.prompt in answered:
            reason = "best: another sample of its prompt is better"
        if reason is None and filled[each.stratum] >= plan.quotas[each.stratum]:
            reason = f"quota: enough samples of {each.stratum} were accepted in this round"
        if reason is None:
            kept.append(i)
            filled[each.stratum] += 1
            answered.add(each.prompt)
        found[i] = dataclasses.replace(each, reason=reason)
    return found
