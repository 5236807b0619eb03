"""Which of the candidates that pass are kept: the best of each prompt, none twice, and of each stratum the same share.

Gates refuse some strata more often than others, and what they refuse a model would unlearn. So the same share of each
stratum's prompts is kept, and what is added back has the proportions in which the round asked. A stratum that gates
refuse so often that this share cannot be reached is skipped whole and named: its few survivors are as likely the gates'
mistakes as good samples. Within a stratum the order of the prompts decides, which is random, and not the reward: some
prompts are easier than others, and those would be kept. Strata of which hardly anything was asked are filled together.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from vesalius.data.texts.prompt import is_chinese
from vesalius.improve.asking.plan import RoundPlan
from vesalius.improve.asking.strata import pooled
from vesalius.improve.candidates.candidates import Candidate, Judged
from vesalius.improve.candidates.doubles import Double, distinct

LEAST_ASKED = 4
"""Prompts of a stratum below which it is filled together with others (`vesalius.improve.asking.strata.pooled`)."""
LEAST_ANSWERED = 0.05
"""Share of a stratum's prompts of which a sample must pass, or it is skipped."""
LEAST_OF_USUAL = 0.5
"""The same as a share of what is usual in the round, or of the quota where that is less."""


@dataclass(frozen=True, kw_only=True)
class Filled:
    """One stratum of a round, or several thin ones (members).

    asked: prompts. passed: samples that passed the gates. answered: prompts that one of them answers that is no double.
    kept: samples. skipped: why none is.
    """

    asked: int
    passed: int
    answered: int
    kept: int
    members: tuple[str, ...]
    skipped: str = ""


@dataclass(frozen=True, kw_only=True)
class Selection:
    """candidates: all of them again, those that are not kept with their reason. strata: how each was filled. share: of
    a stratum's prompts that is kept. mixes: of what was planned and of what is kept, the shares of each language and
    source. embeddings: of what is kept, float32 [N, C] by modality."""

    candidates: list[Candidate]
    strata: dict[str, Filled]
    share: float
    mixes: dict[str, dict[str, dict[str, float]]]
    embeddings: dict[str, torch.Tensor]

    @property
    def num_kept(self) -> int:
        return sum(f.kept for f in self.strata.values())

    def to_json(self) -> dict[str, Any]:
        """distance: total variation between the strata of what was planned and of what is kept, 0 (the same) to 1; the
        second without what was skipped, which leaves what rounding does."""
        filled = {s: f for s, f in self.strata.items() if not f.skipped}
        return {
            "share": self.share, "kept": self.num_kept,
            "distance": _distance(self.strata), "distance_but_for_skipped": _distance(filled),
            "strata": {s: dataclasses.asdict(f) for s, f in self.strata.items()},
            "skipped": {s: f.skipped for s, f in self.strata.items() if f.skipped}, **self.mixes,
        }  # fmt: skip


def select(judged: Judged, plan: RoundPlan, pool: Mapping[str, torch.Tensor], *, doubles: bool = False) -> Selection:
    """Choose among the candidates of a round.

    pool: modality -> embeddings of what earlier rounds accepted. doubles: keep near-duplicates, as experiments without
    gates do.

    A pure function of its arguments. Rewards are compared among the candidates of one prompt alone.
    """
    reasons = best(judged, pool, doubles=doubles)
    place = pooled(plan.asked, LEAST_ASKED)
    asked = _summed(plan.asked, place)
    own = Counter(judged.candidates[i].stratum for i, reason in reasons.items() if reason is None)
    answered = _summed(own, place)
    skipped = skipped_strata(asked, answered, plan.share)
    usable = _summed({s: min(num, plan.quotas[s]) for s, num in own.items()}, place)
    share, most = shares_kept({s: n for s, n in asked.items() if s not in skipped}, usable, plan.share)
    kept, filled = Counter[str](), Counter[str]()
    for i in sorted((i for i, r in reasons.items() if r is None), key=lambda i: judged.candidates[i].prompt):
        stratum = judged.candidates[i].stratum
        group = place[stratum]
        if group in skipped:
            reasons[i] = f"stratum: {group} is skipped in this round, {skipped[group]}"
        elif filled[group] >= most[group] or kept[stratum] >= plan.quotas[stratum]:
            reasons[i] = f"quota: {share:.0%} of each stratum's prompts are kept, and {group} has them"
        else:
            kept[stratum] += 1
            filled[group] += 1
    candidates = [
        dataclasses.replace(each, reason=reasons[i]) if i in reasons else each
        for i, each in enumerate(judged.candidates)
    ]
    passed = _summed(Counter(judged.candidates[i].stratum for i in reasons), place)
    strata = {
        group: Filled(
            asked=num, passed=passed[group], answered=answered[group], kept=filled[group],
            members=tuple(s for s in plan.asked if place[s] == group), skipped=skipped.get(group, ""),
        )
        for group, num in asked.items()
    }  # fmt: skip
    final = [i for i, each in enumerate(candidates) if each.reason is None]
    return Selection(
        candidates=candidates, strata=strata, share=share, mixes=_mixes(plan, [candidates[i].prompt for i in final]),
        embeddings=_embeddings(judged, final),
    )  # fmt: skip


def _summed(counts: Mapping[str, int], place: Mapping[str, str]) -> Counter[str]:
    summed = Counter[str]()
    for stratum, num in counts.items():
        summed[place[stratum]] += num
    return summed


def best(judged: Judged, pool: Mapping[str, torch.Tensor], *, doubles: bool = False) -> dict[int, str | None]:
    """For each candidate that passed the gates: None where it is the best of its prompt that is no double, or why not.

    Prompts come in their order, candidates of a prompt by reward; what is taken keeps near-duplicates of itself out.
    """
    found = judged.candidates
    order = sorted(
        (i for i, each in enumerate(found) if each.reason is None), key=lambda i: (found[i].prompt, -found[i].reward, i)
    )
    reasons: dict[int, str | None] = {}
    for modality in sorted({found[i].sample.modality for i in order}):
        mine = [i for i in order if found[i].sample.modality == modality]
        limits = judged.thresholds.get(modality)
        outcomes = distinct(
            judged.embeddings[torch.tensor(mine)].float().numpy(), [found[i].prompt for i in mine],
            limit=limits.nearest_low / 2 if limits and not doubles else 0.0,
            pool=pool[modality].float().numpy() if modality in pool else None,
        )  # fmt: skip
        for i, outcome in zip(mine, outcomes, strict=True):
            other = found[mine[outcome.of]] if isinstance(outcome, Double) and outcome.of is not None else None
            reasons[i] = _told(outcome, other)
    return reasons


def _told(outcome: Double | bool, other: Candidate | None) -> str | None:
    if isinstance(outcome, Double):
        what = other.sample.file_name if other else "a sample that an earlier round accepted"
        return f"duplicate: a near-duplicate of {what} (distance {outcome.distance:.3f})"
    return None if outcome else "best: another sample of its prompt is better"


def skipped_strata(asked: Mapping[str, int], answered: Mapping[str, int], quota: float) -> dict[str, str]:
    """The strata that cannot be filled well, and why: a sample that passed answers too few of their prompts."""
    usual = sum(answered.get(s, 0) for s in asked) / max(1, sum(asked.values()))
    least = max(LEAST_ANSWERED, LEAST_OF_USUAL * min(quota, usual))
    told = f"of its prompts were answered by a sample that passed; {least:.0%} are needed, {usual:.0%} are usual"
    return {
        s: f"{answered.get(s, 0)} of {num} {told}"
        for s, num in asked.items()
        if not answered.get(s, 0) or answered[s] / num < least
    }


def shares_kept(asked: Mapping[str, int], answered: Mapping[str, int], quota: float) -> tuple[float, dict[str, int]]:
    """The largest share, up to the quota, that can be kept of every stratum, and how many of each that is.

    Each number is the share of the prompts asked, rounded up or down, so that proportions are kept as whole numbers
    allow (by the largest remainders), and is never more than were answered.
    """
    share = min([quota, *((answered[s] + 1) / num for s, num in asked.items())])
    exact = {s: share * num for s, num in asked.items()}
    parts = {s: min(int(value + 1e-9), answered[s]) for s, value in exact.items()}
    more = [s for s in asked if parts[s] < min(exact[s] - 1e-9, answered[s])]
    claims = sorted(more, key=lambda s: (parts[s] - exact[s], s))
    for s in claims[: max(0, round(sum(exact.values())) - sum(parts.values()))]:
        parts[s] += 1
    return share, parts


def _distance(strata: Mapping[str, Filled]) -> float | None:
    """Total variation of the proportions asked and kept; None where nothing is."""
    asked, kept = sum(f.asked for f in strata.values()), sum(f.kept for f in strata.values())
    return sum(abs(f.asked / asked - f.kept / kept) for f in strata.values()) / 2 if asked and kept else None


def _mixes(plan: RoundPlan, kept: Sequence[int]) -> dict[str, dict[str, dict[str, float]]]:
    """Languages and sources of all prompts and of those of which a sample is kept: no quota holds them, so they are
    told."""
    languages = ["Chinese" if is_chinese(a.text) else "English" for a in plan.asks]
    sources = [a.source for a in plan.asks]
    return {
        what: {"planned": _parts(words), "kept": _parts(words[i] for i in kept)}
        for what, words in (("languages", languages), ("sources", sources))
    }


def _parts(words: Iterable[str]) -> dict[str, float]:
    counts = Counter(words)
    return {word: round(num / counts.total(), 4) for word, num in sorted(counts.items())}


def _embeddings(judged: Judged, kept: Sequence[int]) -> dict[str, torch.Tensor]:
    names = np.array([judged.candidates[i].sample.modality for i in kept], dtype=object)
    rows = judged.embeddings[torch.tensor(kept, dtype=torch.long)]
    return {name: rows[torch.from_numpy(names == name)] for name in sorted(set(names))}
