from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from vesalius.data.phantoms.phantom import KINDS, draw_phantom
from vesalius.data.record import Finding
from vesalius.eval.fidelity.metrics import kernel_distance
from vesalius.eval.gates.scores import Case
from vesalius.eval.scorecard.obedience import as_seen
from vesalius.improve.deciding.facts import DRAWS, difference, halves_of
from vesalius.improve.deciding.measures import (
    MIN_ANSWERS,
    Asked,
    ask,
    coverage_halves,
    hard_facts,
    kernel_halves,
    number_fact,
    obedience_facts,
    stratum_facts,
)
from vesalius.models.networks.reader import Reader


def sets(num: int = 40, shift: float = 0.0, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(num, 8, generator=generator) + shift, torch.randn(30, 8, generator=generator)


def masks(num: int, seed: int = 0) -> np.ndarray[tuple[int, int], np.dtype[np.bool_]]:
    return halves_of([str(i) for i in range(num)], ["CT"] * num, seed)


def test_the_kernel_distance_is_the_packages_own_and_so_is_that_of_each_half() -> None:
    ours, real = sets()
    value, halves = kernel_halves(ours, real, masks(40), masks(30, 1))
    assert value == pytest.approx(kernel_distance(ours, real), rel=1e-9)
    some, other = torch.from_numpy(masks(40)[7]), torch.from_numpy(masks(30, 1)[7])
    assert halves[7] == pytest.approx(kernel_distance(ours[some], real[other]), rel=1e-9)


def test_the_interval_of_pairs_is_much_narrower_than_that_of_sets_apart() -> None:
    """Samples of the same prompts and seeds, moved a little."""
    ours, real = sets()
    moved = ours + 0.08
    found = [
        number_fact("kid", "x", "distance", *kernel_halves(each, real, masks(40), masks(30, 1)), 30)
        for each in (moved, ours)
    ]
    pairs, apart = (difference(*found, paired=paired) for paired in (True, False))
    assert pairs.value == apart.value
    assert 4 * (pairs.high - pairs.low) < apart.high - apart.low


def test_coverage_is_the_share_of_real_images_that_samples_reach() -> None:
    _, real = sets()
    whole, halves = coverage_halves(real, real, masks(30), masks(30, 1))
    assert whole == 1.0
    assert halves.shape == (DRAWS,)
    far, none = coverage_halves(real + 100, real, masks(30), masks(30, 1))
    assert far == 0.0
    assert not none.any()
    one, _ = coverage_halves(real[:1].expand(30, -1), real, masks(30), masks(30, 1))
    assert 0 < one < 0.5


def answers(shares: list[float]) -> tuple[Asked, list[Case]]:
    """Twelve prompts of each of some kinds, of which a share is answered right, once by each network."""
    kinds = ["nodule", "pleural effusion", "pneumothorax"][: len(shares)]
    cases, right = [], []
    for kind, level in zip(kinds, shares, strict=True):
        for i in range(12):
            findings = (Finding(kind=kind, side="left"),)
            cases.append(Case(path=None, text=f"{kind} {i}", modality="CT", findings=findings))  # type: ignore[arg-type]
            right.append(float(i < round(12 * level)))
    ones = np.ones(len(cases))
    rows = {("finding present", name): (np.array(right), ones) for name in ("witness", "reader")}
    return Asked(rows=rows, num=len(cases)), cases


def test_the_worst_stratum_is_a_fact_and_all_strata_are_told() -> None:
    asked, cases = answers([1.0, 0.75, 0.25])
    (fact,), strata = stratum_facts(asked, cases, masks(36))
    assert fact.value == 0.25
    assert fact.decides
    told = {s.name: s for s in strata}
    assert told["CT"].value == pytest.approx(2 / 3)
    assert min(strata, key=lambda s: s.value).name.startswith("CT: pneumothorax")
    assert all(s.num == 2 * s.num_prompts for s in strata)


def test_one_stratum_alone_has_no_worst() -> None:
    asked, cases = answers([0.5])
    narrow = cases[:4]
    few = Asked(rows={k: (r[:4], c[:4]) for k, (r, c) in asked.rows.items()}, num=4)
    facts, strata = stratum_facts(few, narrow, masks(4))
    assert facts == []
    assert strata


def test_each_question_decides_by_each_network_and_all_together_is_shown() -> None:
    asked, _ = answers([1.0, 0.5])
    facts = {f.name: f for f in obedience_facts(asked, masks(24))}
    assert {n for n, f in facts.items() if f.decides} == {
        "obedience/finding present/reader", "obedience/finding present/witness",
    }  # fmt: skip
    assert facts["obedience/all"].value == 0.75
    assert facts["obedience/finding present/reader"].told == "Findings asked for are shown, by the reader"


def test_of_hard_prompts_all_questions_and_those_that_are_whole_decide_and_the_rest_is_shown() -> None:
    asked, _ = answers([1.0, 0.5])
    sources = ["two findings"] * 12 + ["small size"] * 12
    facts = {f.name: f for f in hard_facts(asked, sources, masks(24))}
    assert [n for n, f in facts.items() if f.decides] == ["hard prompts", "hard prompts/whole"]
    assert facts["hard prompts"].value == facts["hard prompts/whole"].value == 0.75
    assert facts["hard prompts/two findings"].value == 1.0
    assert facts["hard prompts/small size"].value == 0.5
    assert hard_facts(Asked(rows={}, num=24), sources, masks(24)) == []


def test_a_picture_that_hides_its_findings_answers_as_many_questions_and_none_of_them_better() -> None:
    """Else a round whose samples show more would be asked more, and look worse for it."""
    phantoms = [draw_phantom(900 + i, modality, size=128) for i, modality in enumerate(list(KINDS) * 4)]
    cases = [
        Case(path=Path(), text=p.caption, modality=p.modality, findings=tuple(f for f in p.findings if f.present))
        for p in phantoms
    ]
    shown = torch.stack([torch.from_numpy(as_seen(p)) for p in phantoms])
    there, hidden = (ask(cases, each, None, Reader.load(), KINDS) for each in (shown, torch.zeros_like(shown)))
    assert there.whole[1].tolist() == hidden.whole[1].tolist()
    assert (there.whole[0] >= hidden.whole[0]).all()
    assert there.whole[0].sum() > 0.9 * there.whole[1].sum()
    assert hidden.whole[0].sum() == 0


def test_a_question_with_few_answers_is_no_fact() -> None:
    right = np.ones(MIN_ANSWERS - 1)
    asked = Asked(rows={("side", "reader"): (right, right)}, num=MIN_ANSWERS - 1)
    assert obedience_facts(asked, masks(MIN_ANSWERS - 1)) == []
