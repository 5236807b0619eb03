from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.data.phantoms.phantom import KINDS, check_finding, draw_phantom, sample_findings
from vesalius.data.texts.prompt import is_chinese
from vesalius.improve.asking.ask import key_of
from vesalius.improve.asking.grammar import findings_of, wants, worded
from vesalius.improve.asking.hard import CELL, WAYS, hard_keys, hard_prompts
from vesalius.improve.asking.strata import strata

WANTS = wants()


@given(stratum=st.sampled_from(sorted(WANTS)), seed=st.integers(0, 10**6), denials=st.integers(0, 4))
def test_findings_of_a_stratum_are_of_it_and_can_be_drawn(stratum: str, seed: int, denials: int) -> None:
    want = WANTS[stratum]
    findings = findings_of(want, np.random.default_rng(seed), denials=denials)
    assert strata(want.modality, findings)[0] == stratum
    assert len({f.kind for f in findings}) == len(findings)
    for finding in findings:
        check_finding(finding, want.modality)


@given(seed=st.integers(0, 10**6), modality=st.sampled_from(sorted(KINDS)))
def test_every_stratum_that_phantoms_have_can_be_asked_for(seed: int, modality: str) -> None:
    assert strata(modality, sample_findings(seed, modality))[0] in WANTS


def test_a_caption_tells_what_is_present_and_a_report_what_is_denied_too() -> None:
    rng = np.random.default_rng(0)
    findings = findings_of(WANTS["CT: pneumothorax, left"], rng, denials=2)
    assert [f.present for f in findings] == [True, False, False]
    assert worded(findings, "CT", rng, kind="caption")[1] == findings[:1]
    assert worded(findings, "CT", rng, kind="report")[1] == findings
    normal = findings_of(WANTS["CT: normal"], rng)
    assert worded(normal, "CT", rng, kind="caption")[1] == normal
    assert not any(f.present for f in normal)


def test_hard_prompts_are_fixed_and_a_longer_list_begins_with_the_shorter() -> None:
    assert hard_prompts(50) == hard_prompts(90)[:50]
    assert hard_prompts(50, seed=1) != hard_prompts(50)
    asks = hard_prompts(160)
    cells = Counter((a.modality, a.source) for a in asks)
    assert set(cells.values()) == {10}
    assert {source.removeprefix("hard: ") for _, source in cells} == set(WAYS)
    assert Counter(is_chinese(a.text) for a in asks)[True] > 50
    assert all(a.stratum == strata(a.modality, a.findings)[0] for a in asks)


def test_hard_prompts_are_hard() -> None:
    found: dict[str, list[tuple[int, ...]]] = {}
    for ask in hard_prompts(800):
        present = [f for f in ask.findings if f.present]
        denied, most = len(ask.findings) - len(present), max(f.count for f in present)
        small = all(f.size_mm is None or f.size_mm < 27 for f in present)
        found.setdefault(ask.source.removeprefix("hard: "), []).append((len(present), denied, most, small))
    assert {n for n, *_ in found["two findings"]} == {2}
    assert {n for n, *_ in found["three findings"]} == {3}
    assert {n for n, *_ in found["rare combination"]} == {2}
    assert {d > 1 for _, d, *_ in found["denied"]} == {True}
    assert {m > 1 for _, _, m, _ in found["several"]} == {True}
    assert all(s for _, _, _, s in found["two findings"] + found["three findings"])
    assert {a.findings[0].size_mm < 20 for a in hard_prompts(800) if a.source == "hard: small size"} == {True}  # type: ignore[operator]


def test_hard_prompts_are_of_the_modalities_that_are_asked_for_and_not_endless() -> None:
    assert {a.modality for a in hard_prompts(40, modalities=["MRI", "X-ray"])} == {"MRI"}
    english = hard_prompts(8 * CELL, languages=["en"])
    assert not any(is_chinese(a.text) for a in english)
    assert {a.text for a in english} < {a.text for a in hard_prompts(16 * CELL)}
    assert len(hard_keys()) == 16 * CELL
    with pytest.raises(ValueError, match="ask for fewer"):
        hard_prompts(16 * CELL + 1)
    with pytest.raises(ValueError, match=r"0 .*CT, MRI, pathology"):
        hard_prompts(1, modalities=["X-ray"])


@settings(deadline=None, max_examples=30)
@given(place=st.integers(0, 16 * CELL - 1))
def test_a_phantom_can_show_what_a_hard_prompt_asks_for(place: int) -> None:
    ask = hard_prompts(16 * CELL)[place]
    assert key_of(ask.modality, ask.text) in hard_keys()
    for seed in range(4):  # some patients are too small
        try:
            phantom = draw_phantom(seed, ask.modality, size=32, findings=ask.findings)
        except ValueError:
            continue
        assert phantom.findings == ask.findings
        return
    raise AssertionError(ask)
