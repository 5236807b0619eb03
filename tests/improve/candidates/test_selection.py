from __future__ import annotations

import dataclasses
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.eval.gates.gates import calibrate
from vesalius.improve.asking.plan import Ask, RoundPlan
from vesalius.improve.candidates import doubles
from vesalius.improve.candidates.candidates import Candidate, Judged
from vesalius.improve.candidates.empty import REMEDIES, why_empty
from vesalius.improve.candidates.selection import LEAST_ANSWERED, LEAST_ASKED, Selection, select
from vesalius.inference.sample import Sample

FAR = calibrate(["CT"] * 10 + ["MRI"] * 10, [{"contrast": 50.0, "agreement": 0.5, "nearest_train": 0.2}] * 20)
"""Limits by which samples nearer than 0.1 to each other are doubles."""


def asked(strata: dict[str, int], share: float = 0.5) -> RoundPlan:
    asks = [Ask(text=f"{s} {i}", modality=s.split(":")[0], stratum=s) for s, n in strata.items() for i in range(n)]
    random.Random(0).shuffle(asks)
    quotas = {s: int(np.ceil(share * n)) for s, n in strata.items()}
    return RoundPlan(asks=asks, quotas=quotas, share=share)


def drawn(plan: RoundPlan, best_of: int, passes: dict[str, float], seed: int, spread: float = 9.0) -> Judged:
    """Candidates of a plan: each passes by the chance of its stratum, and lies somewhere in three dimensions."""
    rng = np.random.default_rng(seed)
    candidates = []
    for prompt, ask in enumerate(plan.asks):
        for number in range(best_of):
            sample = Sample(
                file_name=f"images/{prompt:05d}-{number:04d}.png", text=ask.text, modality=ask.modality, seed=number,
                steps=1, guidance=1.0,
            )  # fmt: skip
            reason = None if rng.random() < passes.get(ask.stratum, 1.0) else "agreement: too little"
            candidates.append(
                Candidate(
                    sample=sample, prompt=prompt, stratum=ask.stratum, scores={},
                    reward=float(rng.integers(0, 5)), reason=reason,
                )
            )  # fmt: skip
    embeddings = torch.from_numpy(spread * rng.normal(size=(len(candidates), 3)).astype(np.float32))
    return Judged(candidates=candidates, embeddings=embeddings, thresholds=FAR, network="")


plans = st.dictionaries(
    st.sampled_from(["CT: a", "CT: b", "CT: c", "MRI: a", "MRI: b"]), st.integers(1, 40), min_size=1
)  # fmt: skip
rates = st.dictionaries(st.sampled_from(["CT: a", "CT: b", "CT: c", "MRI: a", "MRI: b"]), st.floats(0, 1))
rounds = {
    "strata": plans, "passes": rates, "best_of": st.integers(1, 3), "seed": st.integers(0, 10**6),
    "share": st.sampled_from([0.1, 0.5, 0.9, 1.0]), "spread": st.sampled_from([0.02, 0.2, 9.0]),
}  # fmt: skip


def made(
    strata: dict[str, int], passes: dict[str, float], best_of: int, seed: int, share: float, spread: float
) -> tuple[RoundPlan, Judged, Selection]:
    plan = asked(strata, share)
    judged = drawn(plan, best_of, passes, seed, spread)
    return plan, judged, select(judged, plan, {})


@settings(deadline=None)
@given(**rounds)
def test_what_is_kept_has_the_proportions_that_were_asked_and_no_quota_is_exceeded(**case: object) -> None:
    plan, _, selection = made(**case)  # type: ignore[arg-type]
    kept = [c for c in selection.candidates if c.reason is None]
    for stratum, filled in selection.strata.items():
        own = [c for c in kept if c.stratum in filled.members]
        assert filled.kept == len(own) <= filled.answered
        assert filled.asked >= LEAST_ASKED or stratum not in plan.asked
        if filled.skipped:
            assert not own
        else:
            assert abs(filled.kept - selection.share * filled.asked) <= 1 + 1e-9
            assert filled.answered / filled.asked >= LEAST_ANSWERED
    assert selection.share <= plan.share
    assert all(sum(c.stratum == s for c in kept) <= quota for s, quota in plan.quotas.items())
    assert selection.num_kept == len(kept)


@settings(deadline=None)
@given(**rounds)
def test_no_prompt_is_answered_twice_and_never_by_a_worse_sample_than_another_that_could(**case: object) -> None:
    _, judged, selection = made(**case)  # type: ignore[arg-type]
    kept = {c.prompt: c for c in selection.candidates if c.reason is None}
    assert len(kept) == selection.num_kept
    for before, after in zip(judged.candidates, selection.candidates, strict=True):
        if before.reason is not None:
            assert after == before  # what a gate refused stays refused, with its reason
        elif after.prompt in kept and not (after.reason or "").startswith("duplicate:"):
            assert after.reward <= kept[after.prompt].reward


@settings(deadline=None, max_examples=40)
@given(block=st.integers(1, 50), **rounds)
def test_the_choice_is_the_same_in_blocks_of_any_size(block: int, **case: object) -> None:
    plan, judged, selection = made(**case)  # type: ignore[arg-type]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(doubles, "REFERENCES", block)
        again = select(judged, plan, {})
    assert again.candidates == selection.candidates
    assert again.to_json() == selection.to_json()


@settings(deadline=None, max_examples=40)
@given(raised=st.integers(0, 10**6), **rounds)
def test_a_higher_reward_never_makes_a_sample_lose_to_another_of_its_prompt(raised: int, **case: object) -> None:
    plan, judged, selection = made(**{**case, "spread": 9.0, "best_of": 3})  # type: ignore[arg-type]
    kept = [i for i, c in enumerate(selection.candidates) if c.reason is None]
    if kept:
        chosen = kept[raised % len(kept)]
        candidates = list(judged.candidates)
        candidates[chosen] = dataclasses.replace(candidates[chosen], reward=candidates[chosen].reward + 1)
        again = select(dataclasses.replace(judged, candidates=candidates), plan, {})
        assert not (again.candidates[chosen].reason or "").startswith("best:")


def test_a_stratum_that_gates_refuse_is_skipped_whole_and_named() -> None:
    plan = asked({"CT: easy": 200, "CT: hard": 100, "CT: impossible": 50, "MRI: rare": 5})
    selection = select(drawn(plan, 1, {"CT: easy": 0.9, "CT: hard": 0.1, "CT: impossible": 0.0}, 1), plan, {})
    told = selection.to_json()
    assert set(told["skipped"]) == {"CT: hard", "CT: impossible"}
    assert "0 of 50 of its prompts" in told["skipped"]["CT: impossible"]
    assert told["strata"]["CT: hard"]["kept"] == 0 < told["strata"]["CT: hard"]["answered"]
    reasons = [c.reason for c in selection.candidates if c.stratum == "CT: hard" and "stratum:" in (c.reason or "")]
    assert len(reasons) == told["strata"]["CT: hard"]["passed"]
    assert told["distance"] > 0.3
    assert told["distance_but_for_skipped"] < 0.01
    assert (told["strata"]["CT: easy"]["kept"], told["strata"]["MRI: rare"]["kept"]) == (100, 2)


def test_the_hardest_stratum_that_is_not_skipped_sets_the_share_of_all() -> None:
    plan = asked({"CT: easy": 100, "CT: hard": 100})
    selection = select(drawn(plan, 1, {"CT: hard": 0.4}, 3), plan, {})
    easy, hard = selection.strata["CT: easy"], selection.strata["CT: hard"]
    assert easy.answered == 100
    assert hard.kept == hard.answered
    assert abs(easy.kept - hard.kept) <= 1
    assert any(r.startswith("quota:") for c in selection.candidates if (r := c.reason))


def test_doubles_of_this_round_and_of_earlier_ones_are_refused() -> None:
    plan = asked({"CT: a": 4}, share=1.0)
    judged = drawn(plan, 1, {}, 0)
    rows = judged.embeddings.clone()
    rows[2] = rows[0] + 0.01
    judged = dataclasses.replace(judged, embeddings=rows)
    selection = select(judged, plan, {"CT": rows[3:] + 0.01, "MRI": rows[1:2]})
    told = [c.reason for c in selection.candidates]
    assert told[:2] == [None, None]
    assert str(told[2]).startswith("duplicate: a near-duplicate of images/00000-0000.png")
    assert "earlier round" in str(told[3])
    assert torch.equal(selection.embeddings["CT"], rows[:2])
    assert select(judged, plan, {"CT": rows[3:]}, doubles=True).num_kept == 4


@pytest.mark.parametrize("gate", ["copy", "typical", "agreement", "something new"])
def test_an_empty_round_says_which_gate_refused_most_and_what_to_do(gate: str) -> None:
    plan = asked({"CT: a": 5, "MRI: a": 1})
    judged = drawn(plan, 1, {}, 0)
    refused = [dataclasses.replace(c, reason=f"{gate}: because (1 < 2)") for c in judged.candidates]
    refused[0] = dataclasses.replace(refused[0], reason="modality: not CT")
    selection = select(dataclasses.replace(judged, candidates=refused), plan, {})
    assert selection.num_kept == 0
    assert selection.to_json()["distance"] is None
    told = why_empty(selection, Path("loop/round-02"))
    assert f"none of 6 candidates was kept. The gate '{gate}' refused most, 5 (such as: because (1 < 2))" in told
    assert "modality 1" in told
    assert REMEDIES.get(gate, "look at the samples") in told
    assert "loop/round-02/verdicts.jsonl" in told
