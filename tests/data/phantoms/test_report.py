"""What is found is what is said, in every language and in the phrasing that is held out."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vesalius.data.modality import modality_in
from vesalius.data.phantoms.phantom import RULES, sample_findings
from vesalius.data.phantoms.report import LANGUAGES, Writer
from vesalius.data.record import Finding
from vesalius.data.texts.phrases import Phrasing, variants
from vesalius.data.texts.prompt import sections, sentences, swap_sides

SPEAKERS = [(language, unseen) for language in LANGUAGES for unseen in (False, True)]
EVERY_KIND = [(modality, kind) for modality, rules in RULES.items() for kind in rules]
LEFT = {"en": r"\bleft\b", "zh": "左"}
RIGHT = {"en": r"\bright\b", "zh": "右"}
BOTH = {"en": r"bilateral|two-sided|\bboth\b|either side|\bleft and (on )?(the )?right\b", "zh": "双|两肺|两侧|左、?右"}
NO = {
    "en": r"\b(no|not|cannot|none|nothing|without|negative|free|excluded|absent|absence)\b",
    "zh": "未|无|不|没有|排除|阴性",
}
SIZE = re.compile(r"([\d.]+)[ -]?(mm|毫米|cm|厘米)")
FUNCTION_WORDS = {"what", "here", "cannot", "as", "those", "also", "has", "that", "which", "this", "from", "nothing"}
NUMBERS = {"en": ("no", "one", "two", "three", "four", "five"), "zh": ("零", "一", "两", "三", "四", "五")}


def phrasing(language: str, unseen: bool) -> Phrasing:
    return LANGUAGES[language].unseen if unseen else LANGUAGES[language].seen


def texts(findings: tuple[Finding, ...], modality: str, language: str, unseen: bool, num: int = 6) -> list[str]:
    """As many reports as captions."""
    writers = [Writer(np.random.default_rng(i), modality, {}, language, unseen) for i in range(num)]
    return [w.report(findings) for w in writers] + [w.caption(findings) for w in writers]


def sizes_mm(text: str) -> set[float]:
    return {round(float(n) * (10 if unit in ("cm", "厘米") else 1), 3) for n, unit in SIZE.findall(text)}


def counts(text: str, count: int, language: str) -> bool:
    said = f"({NUMBERS[language][count]}|{count})"
    return bool(re.search(rf"\b{said}\b" if language == "en" else rf"{said}[个枚处]", text.lower()))


@pytest.mark.parametrize(("language", "unseen"), SPEAKERS)
@pytest.mark.parametrize(("modality", "kind"), EVERY_KIND)
def test_kind_side_size_and_count_are_said(modality: str, kind: str, language: str, unseen: bool) -> None:
    rule, term = RULES[modality][kind], phrasing(language, unseen).terms[kind]
    for side in rule.sides or (None,):
        for count in range(1, rule.max_count + 1):
            if side == "bilateral" and rule.size_mm and count == 1:
                continue
            for size in rule.size_mm or (None,):
                finding = Finding(kind=kind, side=side, size_mm=size, count=count)  # type: ignore[arg-type]
                for text in texts((finding,), modality, language, unseen):
                    assert any(noun in text.lower() for noun in (*term.one, *term.many)), text
                    assert sizes_mm(text) == ({float(size)} if size else set()), text
                    assert count == 1 or counts(text, count, language), text
                    if side == "bilateral":
                        assert re.search(BOTH[language], text.lower()), text
                    else:
                        assert bool(re.search(LEFT[language], text.lower())) == (side == "left"), text
                        assert bool(re.search(RIGHT[language], text.lower())) == (side == "right"), text


@pytest.mark.parametrize(("language", "unseen"), SPEAKERS)
@pytest.mark.parametrize("modality", RULES)
def test_what_is_denied_is_said_to_be_absent(modality: str, language: str, unseen: bool) -> None:
    findings = tuple(Finding(kind=kind, present=False) for kind in RULES[modality])
    for seed in range(12):
        text = Writer(np.random.default_rng(seed), modality, {}, language, unseen).report(findings)
        told = [s.lower() for s in sentences(text)]
        for kind in RULES[modality]:
            term = phrasing(language, unseen).terms[kind]
            nouns = (term.absent, *term.denied)
            assert any(n in s and re.search(NO[language], s) for s in told for n in nouns), text


@pytest.mark.parametrize(("language", "unseen"), SPEAKERS)
def test_a_side_or_size_that_is_not_known_is_not_said(language: str, unseen: bool) -> None:
    for text in texts((Finding(kind="nodule"),), "CT", language, unseen, num=20):
        assert not re.search(f"{LEFT[language]}|{RIGHT[language]}|{BOTH[language]}", text.lower())
        assert not sizes_mm(text)
        assert not re.search(r"^[,.，。]|  |[{}\[\]]|, ,", text)


def phrases_in(table: object) -> list[str]:
    """Every phrase that some table holds, as it can be drawn."""
    if isinstance(table, str):
        return list(variants(table))
    if dataclasses.is_dataclass(table):
        table = [getattr(table, f.name) for f in dataclasses.fields(table)]
    parts = table.values() if isinstance(table, dict) else table if isinstance(table, list | tuple) else ()
    return [phrase for part in parts for phrase in phrases_in(part)]


SHARED = {"single", "sized", "several", "several_sized", "both", "sizes", "largest", "grades", "sides", "adjectives"}
MARKS = {"comma", "either", "heading"}


@pytest.mark.parametrize("language", LANGUAGES)
def test_unseen_phrasing_shares_every_noun_place_side_and_size_but_no_sentence(language: str) -> None:
    seen, unseen = LANGUAGES[language].seen, LANGUAGES[language].unseen
    for name in SHARED:
        assert getattr(seen, name) == getattr(unseen, name)
    for kind, term in unseen.terms.items():
        for slot in ("one", "many", "absent", "denied", "place", "unit"):
            assert getattr(term, slot) == getattr(seen.terms[kind], slot)
        assert not term.present + term.detail
    names = {f.name for f in dataclasses.fields(Phrasing)} - SHARED - MARKS - {"terms", "headings", "orders"}
    known = {frame.strip(" .。") for name in names for frame in phrases_in(getattr(seen, name))}
    for name in names:
        assert not {frame.strip(" .。") for frame in phrases_in(getattr(unseen, name))} & known, name
    assert not set(seen.orders) & set(unseen.orders)
    assert not any(set(seen.headings[m]) & set(unseen.headings[m]) for m in RULES)


@pytest.mark.parametrize(
    ("language", "words", "new"), [("en", "[a-z&-]+", FUNCTION_WORDS), ("zh", "[^a-z{}_ ]", set())]
)
def test_unseen_phrasing_has_no_word_that_the_seen_one_lacks(language: str, words: str, new: set[str]) -> None:
    seen, unseen = (
        {w for p in phrases_in(talk) for w in re.findall(words, re.sub(r"\{\w+\}", " ", p).lower())}
        for talk in (LANGUAGES[language].seen, LANGUAGES[language].unseen)
    )
    assert unseen - seen <= new


@pytest.mark.parametrize("language", LANGUAGES)
def test_sentences_of_the_seen_phrasing_are_many(language: str) -> None:
    talk = LANGUAGES[language].seen
    for name, least in {"present": 100, "found": 80, "captions": 35, "absent": 60, "sizes": 40, "sized": 15}.items():
        assert len(set(phrases_in(getattr(talk, name)))) >= least, name


@pytest.mark.parametrize(("language", "unseen"), SPEAKERS)
def test_every_kind_and_modality_has_its_words(language: str, unseen: bool) -> None:
    talk = phrasing(language, unseen)
    assert set(talk.terms) == {kind for _, kind in EVERY_KIND}
    for modality, kind in EVERY_KIND:
        term, rule = talk.terms[kind], RULES[modality][kind]
        assert len(term.many) in (0, len(term.one))
        assert bool(term.place) == bool(rule.sides)
        assert language != "zh" or rule.max_count == 1 or any(term.unit)
    for table in (talk.normal, talk.background, talk.indication, talk.technique, talk.scan, talk.headings):
        assert set(table) == set(RULES)


@pytest.mark.parametrize(("language", "unseen"), SPEAKERS)
@pytest.mark.parametrize("modality", RULES)
def test_the_sections_of_a_report_are_found_by_heading(modality: str, language: str, unseen: bool) -> None:
    for seed in range(20):
        writer = Writer(np.random.default_rng(seed), modality, {}, language, unseen)
        found = sections(writer.report(sample_findings(seed, modality)))
        assert found.get("findings")
        assert found.get("impression") or found.get("conclusion")
        assert len(found) >= 2


@settings(max_examples=150, deadline=None)
@given(
    seed=st.integers(0, 10_000_000), modality=st.sampled_from(sorted(RULES)), speaker=st.sampled_from(SPEAKERS),
    words=st.sampled_from([{}, {"level": "hilum", "sequence": "FLAIR", "organ": "breast"}]),
)  # fmt: skip
def test_any_text_is_clean_and_a_function_of_the_generator(
    seed: int, modality: str, speaker: tuple[str, bool], words: dict[str, str]
) -> None:
    findings = sample_findings(seed, modality)
    one, again = (Writer(np.random.default_rng(seed), modality, words, *speaker) for _ in range(2))
    report, caption = one.report(findings), one.caption(findings)
    assert (report, caption) == (again.report(findings), again.caption(findings))
    for text in (report, caption):
        assert not re.search(r"[{}\[\]]|  | [.,;]|[,，][.,;，。；]|、[，。]|有有|\bNone\b|\ba [aeio]", text), text
        assert len(text) < 800
    named = modality_in(caption)
    assert named is not None
    assert named.name == modality


@settings(max_examples=80, deadline=None)
@given(seed=st.integers(0, 10_000_000), modality=st.sampled_from(sorted(RULES)), unseen=st.booleans())
def test_chinese_holds_no_english_but_the_usual_abbreviations(seed: int, modality: str, unseen: bool) -> None:
    words = {"level": "ventricles", "sequence": "T1", "organ": "breast"}
    writer = Writer(np.random.default_rng(seed), modality, words, "zh", unseen)
    findings = sample_findings(seed, modality)
    for text in (writer.report(findings), writer.caption(findings)):
        assert set(re.findall("[A-Za-z]+", text)) <= {"CT", "MRI", "MR", "HE", "T", "mm", "cm"}, text


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_the_drawing_settled_is_said_and_nothing_is_made_up(language: str) -> None:
    def captions(words: dict[str, str]) -> str:
        return "\n".join(
            t for i in range(40) for w in [Writer(np.random.default_rng(i), "MRI", words, language)]
            for t in (w.report(()), w.caption(()))
        )  # fmt: skip

    assert "FLAIR" in captions({"sequence": "FLAIR"})
    assert "T2" in captions({"sequence": "T2"})
    assert not re.search(r"T1|T2|FLAIR|(level of the |[(])ventricle|ventricles level|脑室层面", captions({}))


@pytest.mark.parametrize("language", LANGUAGES)
def test_one_meaning_is_told_in_many_ways(language: str) -> None:
    finding = Finding(kind="nodule", side="left", size_mm=18.0)
    rng = np.random.default_rng(0)
    told = {Writer(rng, "CT", {}, language).caption((finding,)) for _ in range(300)}
    assert len(told) > 200


@pytest.mark.parametrize(("language", "unseen"), SPEAKERS)
def test_a_text_of_one_side_has_a_contrast_and_one_of_both_has_none(language: str, unseen: bool) -> None:
    for side, other in (("left", RIGHT), ("right", LEFT)):
        finding = Finding(kind="consolidation", side=side)  # type: ignore[arg-type]
        for text in texts((finding,), "CT", language, unseen):
            swapped = swap_sides(text)
            assert swapped is not None
            assert re.search(other[language], swapped.lower())
    for text in texts((Finding(kind="consolidation", side="bilateral"),), "CT", language, unseen):
        assert swap_sides(text) is None, text


def test_a_kind_without_words_is_named() -> None:
    with pytest.raises(ValueError, match="finding 'fracture' has no words here; use one of nodule"):
        Writer(np.random.default_rng(0), "CT", {}).caption((Finding(kind="fracture"),))
