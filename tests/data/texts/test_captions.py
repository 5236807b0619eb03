"""Captions of real images say what their rows state, and nothing else."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from vesalius.data.modality import modality_in
from vesalius.data.record import Record
from vesalius.data.texts.captions import CAPTIONS, UNLABELLED, caption_of, facts_of
from vesalius.data.texts.phrases import CaptionFrames, Phrases, fill, variants

SPEAKERS = [(language, unseen) for language in CAPTIONS for unseen in (False, True)]
GLIOMA = "Contrast-enhanced T1-weighted brain MRI showing a glioma in the upper left part of the image."
FUNCTION_WORDS = {"here", "is", "in", "nothing"}
LESIONS = re.compile(r"exudat|h(a)?emorrhag|lesion|disc|渗出|出血|病变|视盘", re.IGNORECASE)


def row(text: str = "", modality: str = "CT", organ: str = "lung", label: str = "", **more: Any) -> Record:
    extra = {"text_origin": "label", **more.pop("extra", {})}
    return Record(file_name="a.png", text=text, modality=modality, organ=organ, label=label, extra=extra, **more)


def captions(record: Record, language: str = "en", unseen: bool = False, num: int = 120) -> list[str]:
    rng = np.random.default_rng(0)
    return [caption_of(record, rng, language, unseen=unseen) for _ in range(num)]


def drawn(phrases: Phrases) -> set[str]:
    return {d for phrase in phrases for d in variants(phrase)}


def modality_of(label: str) -> tuple[str, str]:
    """Modality and organ that a label of the tables belongs to."""
    for start, found in (
        ("CT/", ("CT", "lung")), ("anemia", ("blood smear", "blood")), ("wbc", ("blood smear", "blood")),
        ("fundus", ("fundus", "retina")), ("glioma", ("MRI", "brain")), ("heart failure", ("MRI", "heart")),
        ("COVID-19", ("X-ray", "chest")),
    ):  # fmt: skip
        if label.startswith(start):
            return found
    return "pathology", "breast"


def test_both_languages_have_words_for_the_same_labels_organs_and_facts() -> None:
    en, zh = CAPTIONS["en"], CAPTIONS["zh"]
    assert set(en.labels) == set(zh.labels)
    assert set(en.regions) == set(zh.regions)
    assert set(en.extras) == set(zh.extras)
    assert set(en.who) == set(zh.who)
    for slot, table in en.names.items():
        assert set(table) <= set(zh.names[slot])
    for one, other in ((en.seen, en.unseen), (zh.seen, zh.unseen)):
        for role in ("finding", "case", "named", "normal", "plain"):
            assert not drawn(getattr(one, role)) & drawn(getattr(other, role))
        for modality in other.scan:
            assert not drawn(one.scan[modality]) & drawn(other.scan[modality])


@pytest.mark.parametrize(
    ("language", "words", "new"), [("en", "[a-z-]+", FUNCTION_WORDS), ("zh", "[^A-Za-z{}_]", set())]
)
def test_unseen_frames_have_no_word_that_the_seen_ones_lack(language: str, words: str, new: set[str]) -> None:
    def known(frames: CaptionFrames) -> set[str]:
        tables = (frames.finding, frames.case, frames.named, frames.normal, frames.plain, *frames.scan.values())
        phrases = " ".join(p for table in tables for p in drawn(table)).lower()
        return set(re.findall(words, re.sub(r"\{\w+\}", " ", phrases)))

    assert known(CAPTIONS[language].unseen) - known(CAPTIONS[language].seen) <= new


@pytest.mark.parametrize(("language", "unseen"), SPEAKERS)
@pytest.mark.parametrize("label", CAPTIONS["en"].labels)
def test_every_label_is_said_with_its_modality(label: str, language: str, unseen: bool) -> None:
    modality, organ = modality_of(label)
    record = row(modality=modality, organ=organ, label=label.split("/")[-1])
    phrases = [fill(p, {}).lower() for p in CAPTIONS[language].labels[label]]
    for text in captions(record, language, unseen, num=12):
        assert any(p in text.lower() or p.replace("a ", "an ", 1) in text.lower() for p in phrases), text
        named = modality_in(text)
        assert named is not None, text
        assert named.name == modality, text
        assert not re.search(r"[{}\[\]]|  | [.,;]|[,，][.,;，。；]|\ba [aeio]", text), text
        assert language == "en" or text.endswith("。")


@pytest.mark.parametrize(("language", "unseen"), SPEAKERS)
def test_sources_that_may_not_be_told_are_spoken_of_neutrally(language: str, unseen: bool) -> None:
    for label in ("fundus_hard_exudates", "fundus_haemorrhages", "fundus_no_annotated_lesion"):
        text = "Color fundus photograph with the optic disc on the left side, showing hard exudates."
        record = row(text, "fundus", "retina", label, source=UNLABELLED[0])
        told = captions(record, language, unseen)
        assert len(set(told)) >= 4
        assert not any(LESIONS.search(t) or "fundus_" in t for t in told)


@pytest.mark.parametrize(("language", "word"), [("en", "Greyscale "), ("zh", "灰度")])
@pytest.mark.parametrize("label", ["malignant", "normal", "abdomen", "some finding"])
def test_ct_without_hounsfield_units_begins_with_the_grey_word(language: str, word: str, label: str) -> None:
    for unseen in (False, True):
        assert all(t.startswith(word) for t in captions(row(label=label), language, unseen))
        assert not any(word in t for t in captions(row(label=label, hounsfield=True), language, unseen))
        assert not any(word in t for t in captions(row(modality="MRI", organ="brain"), language, unseen))


@pytest.mark.parametrize(
    ("language", "seen"), [("en", r"show|reveal|demonstrat|depict"), ("zh", "示|可见|提示|呈现|中有")]
)
def test_a_cohorts_diagnosis_is_of_the_patient_and_seldom_told(language: str, seen: str) -> None:
    extra = {"text_origin": "template-from-DICOM-header", "plane": "axial", "window": "soft W400 L40"}
    record = row("Axial abdominal CT slice.", organ="abdomen", label="breast cancer", hounsfield=True, extra=extra)
    for unseen in (False, True):
        told = captions(record, language, unseen, num=200)
        named = [t for t in told if re.search("breast|乳腺", t)]
        assert 20 < len(named) < 110
        assert all(re.search("patient|患者|诊断|病例|diagnosis", t, re.IGNORECASE) for t in named)
        assert not any(re.search(seen, t) for t in told)


def test_facts_come_from_the_columns_and_from_a_caption_made_of_labels() -> None:
    facts = facts_of(row(GLIOMA, "MRI", "brain", "glioma", extra={"plane": "coronal"}))
    assert {"sequence": "T1", "where": "upper left", "plane": "coronal", "region": "brain"}.items() <= facts.items()
    assert "contrast" not in facts
    ct = "Axial contrast-enhanced abdominal CT slice, soft-tissue window (W400 L40), low-dose CT, 49-year-old woman."
    facts = facts_of(row(ct, organ="abdomen", extra={"sex": "F", "window": "soft W400 L40"}))
    assert {"contrast": "enhanced", "dose": "low", "age": "49", "sex": "F", "window": "soft"}.items() <= facts.items()
    facts = facts_of(row(modality="pathology", extra={"magnification": "~20x (downsampled 2x)", "stain": "H&E"}))
    assert {"n": "20", "about": "about", "lens": "", "stain": "H&E"}.items() <= facts.items()
    smear = row("Peripheral blood smear showing a metamyelocyte (immature granulocyte).", "blood smear", "blood")
    assert facts_of(smear)["finer"] == "metamyelocyte"


@pytest.mark.parametrize("language", CAPTIONS)
def test_what_a_row_does_not_state_is_not_said(language: str) -> None:
    made_up = r"axial|coronal|contrast|enhanced|window|male|year|T1|small|large|轴|冠状|横断|增强|平扫|窗|男|女|岁|较"
    for unseen in (False, True):
        assert not any(
            re.search(made_up, t) for t in captions(row(hounsfield=True, label="malignant"), language, unseen)
        )
    # A user's own report is no table of facts.
    report = Record(file_name="a.png", text="No small nodule. Contrast-enhanced.", modality="CT", hounsfield=True)
    assert not any(re.search(made_up, t) for t in captions(report, language))


def test_all_that_a_row_states_is_said_in_chinese_too() -> None:
    text = GLIOMA.replace("a glioma", "a large glioma")
    told = "\n".join(captions(row(text, "MRI", "brain", "glioma", extra={"plane": "coronal"}), "zh"))
    assert re.search("冠状.*胶质瘤", told)
    assert re.search("较大的(脑)?胶质瘤", told)
    assert re.search("图像左上", told)
    assert re.search("增强T1加权|T1增强", told)


@pytest.mark.parametrize("language", CAPTIONS)
def test_a_label_or_organ_without_words_names_itself(language: str) -> None:
    told = captions(row(modality="ultrasound", organ="elbow", label="joint_effusion"), language)
    assert all("joint effusion" in t.lower() for t in told)
    assert all(modality_in(t) is not None for t in told)
