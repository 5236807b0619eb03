"""Records told anew in two languages, and findings made false by one change."""

from __future__ import annotations

import dataclasses
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.data.phantoms.phantom import RULES, PhantomConfig, sample_findings, write_phantoms
from vesalius.data.phantoms.report import LANGUAGES
from vesalius.data.record import Finding, Record, load_records
from vesalius.data.texts.prompt import is_chinese
from vesalius.data.texts.wording import SCENES, draw_words, hard_negatives, reword, reword_record

NODULE = Finding(kind="nodule", side="left", size_mm=18.0)
NO_FLUID = Finding(kind="pleural effusion", present=False)


def told(record: Record, language: str, num: int = 80, *, unseen: bool = False) -> list[str]:
    rng = np.random.default_rng(0)
    return [reword_record(record, rng, language, unseen=unseen) for _ in range(num)]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", ["report", "caption"])
def test_findings_are_reworded_as_asked(language: str, kind: str) -> None:
    rng = np.random.default_rng(0)
    seen, again, unseen = (
        [reword((NODULE, NO_FLUID), "CT", g, language=language, kind=kind, unseen=u) for _ in range(40)]
        for g, u in ((rng, False), (np.random.default_rng(0), False), (rng, True))
    )
    assert seen == again
    assert len(set(seen)) > 30
    assert not set(seen) & set(unseen)
    assert all(is_chinese(t) == (language == "zh") for t in seen + unseen)
    assert all(("\n" in t) == (kind == "report") for t in seen)


def test_an_unknown_modality_language_or_kind_is_refused_with_the_known_ones() -> None:
    for wrong in ({"modality": "PET"}, {"language": "tlh"}, {"kind": "poem"}):
        with pytest.raises(ValueError, match=r"expected a modality of CT, MRI, pathology.*language of en, zh"):
            reword((NODULE,), rng=np.random.default_rng(0), **{"modality": "CT", **wrong})  # type: ignore[arg-type]


def test_words_that_are_drawn_are_those_of_drawings(tmp_path: Path) -> None:
    out = write_phantoms(PhantomConfig(out=tmp_path / "set", num=24, size=32, val=0, test=0, json=True))
    records = load_records(out)
    for record in records:
        settled = {k: v for k, v in record.extra.items() if k in ("level", "sequence")}
        assert set(settled) == set(SCENES[record.modality])
        assert all(v in SCENES[record.modality][k] for k, v in settled.items())
        assert set(draw_words(record.modality, np.random.default_rng(0))) == set(settled)
    scan = next(r for r in records if r.extra.get("sequence") == "T2")
    for language in LANGUAGES:
        texts = told(scan, language)
        assert any("T2" in t for t in texts)
        assert not any(re.search("T1|FLAIR", t) for t in texts)


@pytest.mark.parametrize(("language", "word"), [("en", "Greyscale "), ("zh", "灰度")])
def test_no_phantom_is_told_as_an_export_of_unknown_windows(language: str, word: str) -> None:
    record = Record(file_name="a.png", text="x", modality="CT", origin="phantom", findings=(NODULE,), hounsfield=True)
    for units in (True, False):
        assert not any(word in t for t in told(dataclasses.replace(record, hounsfield=units), language))


def test_a_text_of_its_own_is_told_now_and_then_in_its_language_only() -> None:
    extra = {"text_origin": "label", "view": "AP"}
    english = Record(
        file_name="a.png", text="AP film, viral.", modality="X-ray", organ="chest", label="viral pneumonia", extra=extra
    )
    assert 5 < told(english, "en").count("AP film, viral.") < 40
    assert "AP film, viral." not in told(english, "zh") + told(english, "en", unseen=True)
    chinese = dataclasses.replace(english, text="右肺上叶结节。", modality="CT", label=None, extra={}, hounsfield=True)
    assert told(chinese, "zh").count("右肺上叶结节。") > 40
    assert not any(map(is_chinese, told(chinese, "en")))


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_source_that_may_not_be_told_is_never_quoted(language: str) -> None:
    record = Record(file_name="a.png", text="Fundus with exudates.", modality="fundus", organ="retina",
                    label="fundus_hard_exudates", source="idrid-codras", extra={"text_origin": "label"})  # fmt: skip
    assert not any(re.search("exudat|渗出", t) for t in told(record, language, 300))


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000_000), modality=st.sampled_from(sorted(RULES)))
def test_a_hard_negative_differs_in_one_finding_and_could_be_drawn(seed: int, modality: str) -> None:
    findings = sample_findings(seed, modality)
    false = hard_negatives(findings)
    assert false == hard_negatives(findings)
    sided = sum(f.present and f.side is not None for f in findings)
    assert [name for name, _ in false].count("side") == sided
    sized = sum(f.present and f.size_mm is not None for f in findings)
    assert [name for name, _ in false].count("size") == sized
    assert len(false) == sided + sized + len(findings)
    before = {f.kind: f for f in findings}
    for name, changed in false:
        after = {f.kind: f for f in changed}
        assert set(after) == set(before)
        (kind,) = [k for k in before if before[k] != after[k]]
        rule, old, new = RULES[modality][kind], before[kind], after[kind]
        truths = {"side": (True, True), "size": (True, True), "denial": (True, False), "claim": (False, True)}
        assert (old.present, new.present) == truths[name]
        if new.present:
            assert new.side in rule.sides or not rule.sides
            assert (new.size_mm is not None) == (rule.size_mm is not None)
            assert rule.size_mm is None or new.size_mm is None or rule.size_mm[0] <= new.size_mm <= rule.size_mm[1]
        if name == "size":
            assert new == dataclasses.replace(old, size_mm=new.size_mm)
        if name == "side":
            assert new == dataclasses.replace(old, side=new.side)
            assert new.side in ("left", "right")


def test_left_becomes_right_and_both_become_one() -> None:
    assert [f[0].side for name, f in hard_negatives((NODULE,)) if name == "side"] == ["right"]
    both = Finding(kind="consolidation", side="bilateral")
    assert next(f[0].side for name, f in hard_negatives((both,)) if name == "side") in ("left", "right")


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_report_takes_less_than_half_a_millisecond(language: str) -> None:
    rng = np.random.default_rng(0)
    cases = [(sample_findings(i, m), m) for i in range(30) for m in RULES]
    times = []
    for _ in range(4):
        start = time.process_time()
        for findings, modality in cases:
            reword(findings, modality, rng, language=language)
        times.append((time.process_time() - start) / len(cases))
    assert min(times) < 4e-4
