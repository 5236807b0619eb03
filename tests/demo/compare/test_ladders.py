"""Ladders: each step differs from its neighbour in one thing, as the project's finding reader reads it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.data.modality import modality_in
from vesalius.data.phantoms.phantom import RULES, sample_findings
from vesalius.data.record import Finding
from vesalius.data.texts.prompt import is_chinese
from vesalius.data.texts.wording import reword
from vesalius.demo.compare.ladder_words import read
from vesalius.demo.compare.ladders import CHANGES, Change, ladder, refusals, start_of
from vesalius.models.support import Support

NANO = Support.load(Path(__file__).parents[3] / "models" / "nano")
assert NANO is not None
CT = "Chest CT with a 20 mm nodule in the left lung."


def steps(prompt: str, change: Any, **kwargs: Any) -> list[tuple[str, str]]:
    kwargs = {"support": NANO, **kwargs}
    start = start_of(prompt, seed=7, support=kwargs["support"])
    found = ladder(start, change, **kwargs)
    assert all(s.seed == 7 for s in found) or change == "seed"
    return [(s.label, s.prompt) for s in found]


def apart(first: tuple[Finding, ...], second: tuple[Finding, ...]) -> set[str]:
    """What two readings differ in: attributes of one finding, or its kind or presence."""
    lost, new = [f for f in first if f not in second], [f for f in second if f not in first]
    if len(lost) == len(new) == 1 and lost[0].kind == new[0].kind and lost[0].present and new[0].present:
        return {name for name in ("side", "size_mm", "count") if getattr(lost[0], name) != getattr(new[0], name)}
    return {"kind"} if lost or new else set()


ATTRIBUTES: dict[Change, str] = {
    "left": "side", "right": "side", "bilateral": "side", "sides": "side", "size": "size_mm", "count": "count",
    "finding": "kind", "normal": "kind",
}  # fmt: skip


def hold(seed: int, modality: str, language: str) -> int:
    """Every change that a phantom's caption allows changes one thing; returns how many changes there were."""
    findings = tuple(f for f in sample_findings(seed, modality) if f.present)
    prompt = reword(findings, modality, np.random.default_rng(seed), language=language, kind="caption")
    start = start_of(prompt, seed=1, support=NANO)
    held = 0
    for change in CHANGES:
        if change in ("guidance", "seed") or change in refusals(start, NANO):
            continue
        try:
            found = ladder(start, change, NANO, num=4)
        except ValueError:  # no wording was found in which the reader reads just that
            continue
        readings = [read(s.prompt, modality) for s in found]
        assert len(found) >= 2
        assert all(modality_in(s.prompt).name == modality for s in found)  # type: ignore[union-attr]
        assert {is_chinese(s.prompt) for s in found} == {language == "zh"}
        for one, other in itertools.pairwise(readings):
            assert apart(one, other) == {ATTRIBUTES[change]}, (change, [s.prompt for s in found])
        held += 1
    return held


@settings(max_examples=4, deadline=None, derandomize=True)
@given(seed=st.integers(0, 10**6), modality=st.sampled_from(sorted(RULES)), language=st.sampled_from(["en", "zh"]))
def test_neighbours_differ_in_one_thing_alone(seed: int, modality: str, language: str) -> None:
    hold(seed, modality, language)


@pytest.mark.slow
def test_nearly_every_change_of_many_starts_finds_its_words() -> None:
    num = sum(hold(seed, m, lang) for seed in range(8) for m in RULES for lang in ("en", "zh"))
    assert num > 8 * 3 * 2 * 2


def test_the_start_s_own_words_are_kept_where_one_of_them_can_be_exchanged() -> None:
    assert steps(CT, "right") == [("left", CT), ("right", CT.replace("left", "right"))]
    assert steps(CT, "size", num=3, low=20, high=40) == [(f"{mm} mm", CT.replace("20", str(mm))) for mm in (20, 30, 40)]
    chinese = "胸部CT：左肺20毫米结节。"
    assert steps(chinese, "size", num=2, low=12, high=30, language="zh") == [
        ("12 mm", "胸部CT：左肺12毫米结节。"), ("30 mm", "胸部CT：左肺30毫米结节。"),
    ]  # fmt: skip


def test_what_a_prompt_says_beside_its_findings_stays() -> None:
    for _, prompt in steps("FLAIR brain MRI with a left infarct", "sides"):
        assert "FLAIR" in prompt
    for _, prompt in steps("Chest CT, lung window, with a left pneumothorax.", "bilateral"):
        assert prompt.endswith(", lung window.")


def test_labels_of_real_images_stand_in_for_each_other() -> None:
    told = steps("Pediatric anterior-posterior chest X-ray, bacterial pneumonia.", "finding", num=3)
    assert [label for label, _ in told] == ["bacterial pneumonia", "viral pneumonia", "COVID-19"]
    assert told[1][1] == "Pediatric anterior-posterior chest X-ray, viral pneumonia."
    told = steps("Peripheral blood smear showing a monocyte.", "finding", num=8)
    assert all(" an " not in p or p.split(" an ")[1][0] in "aeiou" for _, p in told)
    assert steps("Cardiac MRI, short-axis view, heart failure with infarction.", "normal")[1] == (
        "no finding", "Cardiac MRI, short-axis view, normal.",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("prompt", "change", "reason"),
    [
        (CT, "left", "says so already"),
        (CT, "bilateral", "at least two of them"),
        ("Normal chest CT.", "size", "asks for a normal picture already"),
        ("Brain MRI with a left mass.", "bilateral", "No training image of MRI"),
        ("H&E slide with a gland.", "right", "learnt no side"),
        ("Chest CT with a left pneumothorax.", "size", "learnt no sizes"),
        ("Chest CT with a left pneumothorax.", "count", "learnt no numbers"),
        ("Chest CT with a 40 mm nodule.", "count", "up to 24 mm only"),
        ("Fundus photography.", "finding", "no other finding"),
        ("Brain MRI, T1-weighted, with a glioma.", "left", "knows by kind, side and size"),
        ("Brain MRI, T1-weighted, with a glioma.", "normal", "no other finding"),
    ],
)
def test_what_cannot_be_is_refused_with_the_reason(prompt: str, change: str, reason: str) -> None:
    start = start_of(prompt, seed=1, support=NANO)
    assert reason in refusals(start, NANO)[change]  # type: ignore[index]
    with pytest.raises(ValueError, match=reason):
        ladder(start, change, NANO)  # type: ignore[arg-type]


def test_guidance_and_seeds_leave_the_prompt_as_it_is() -> None:
    start = start_of("A knee. Fundus photography.", seed=5, support=NANO)
    found = ladder(start, "guidance", NANO, num=3, low=1, high=7)
    assert [(s.guidance, s.label, s.prompt) for s in found] == [
        (g, f"guidance {g:g}", start.prompt) for g in (1.0, 4.0, 7.0)
    ]
    seeds = [s.seed for s in ladder(start, "seed", NANO, num=8)]
    assert (seeds[0], len(set(seeds))) == (5, 8)


@pytest.mark.parametrize(("low", "high"), [(5, 20), (30, 20), (20, 99), (20, 20)])
def test_a_range_that_the_base_never_saw_is_refused(low: float, high: float) -> None:
    with pytest.raises(ValueError, match="expected two numbers, the lesser first, of 12 to 45"):
        steps(CT, "size", low=low, high=high)


def test_a_prompt_without_a_modality_is_told_what_it_lacks() -> None:
    with pytest.raises(ValueError, match="names no modality"):
        start_of("a nodule", seed=1)


def test_without_knowledge_of_the_training_the_grammar_alone_decides() -> None:
    assert "bilateral" in refusals(start_of(CT, seed=1), None)
    assert [label for label, _ in steps("Brain MRI with a left infarct", "sides", support=None)] == [
        "left", "right", "both sides",
    ]  # fmt: skip
