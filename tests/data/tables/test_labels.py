"""Sets that have labels alone: captions in both languages, the same at every build."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.modality import modality_in
from vesalius.data.record import Record, load_records
from vesalius.data.tables.label_text import organ_in, told_by_label
from vesalius.data.tables.labels import LABEL_WORDS, is_normal, known_label, labels_in
from vesalius.data.texts.captions import caption_of, facts_of, labels_of
from vesalius.data.texts.prompt import is_chinese, prompts_of
from vesalius.data.texts.wording import reword_record


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(abs(hash(str(path)))).integers(0, 255, (16, 16)).astype(np.uint8)
    Image.fromarray(pixels).save(path)


def labelled(label: str, modality: str = "X-ray", organ: str | None = "chest", name: str = "a.png") -> Record:
    return told_by_label(Record(file_name=name, text="", modality=modality, organ=organ, label=label), name)


def texts(label: str, language: str, **fields: Any) -> list[str]:
    record, rng = labelled(label, **fields), np.random.default_rng(0)
    return [caption_of(record, rng, language, unseen=unseen) for unseen in (False, True) for _ in range(60)]


def built(tmp_path: Path, source: Path, name: str = "out", **config: Any) -> list[Record]:
    build_dataset(BuildConfig(sources=(source,), out=tmp_path / name, json=True, **config))
    return load_records(tmp_path / name)


def table(folder: Path, content: str, encoding: str = "utf-8") -> Path:
    for i in range(6):
        picture(folder / f"{i}.png")
    (folder / "cases.csv").write_bytes(content.encode(encoding))
    return folder / "cases.csv"


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("effusion|mass", ("effusion", "mass")), ("effusion; mass;effusion", ("effusion", "mass")),
        (["effusion", " mass ", None], ("effusion", "mass")), ('["effusion", "mass"]', ("effusion", "mass")),
        ("['effusion', 'mass']", ("effusion", "mass")), ("胸腔积液、肿块；结节", ("胸腔积液", "肿块", "结节")),
        ("pneumonia, viral", ("pneumonia, viral",)), ("", ()), (None, ()), (" | ;", ()), (3, ("3",)), ("[", ("[",)),
    ],
)  # fmt: skip
def test_labels_of_a_cell_are_parted(cell: Any, labels: tuple[str, ...]) -> None:
    assert labels_in(cell) == labels


@pytest.mark.parametrize("label", ["normal", "NORMAL", "Healthy", "No_Finding", "no findings", "正常", "未见异常"])
@pytest.mark.parametrize(("language", "normal"), [("en", r"normal|unremarkable|negative"), ("zh", "正常|异常")])
def test_normal_labels_say_normal(label: str, language: str, normal: str) -> None:
    assert is_normal(label)
    assert all(re.search(normal, text, re.IGNORECASE) for text in texts(label, language))


def test_a_label_that_only_sounds_normal_is_quoted() -> None:
    for label in ("abnormal", "negative", "non-normal"):
        assert not is_normal(label)
        assert all(label in text for text in texts(label, "en"))


@pytest.mark.parametrize(
    ("label", "modality", "english", "chinese"),
    [
        ("lung_nodule", "CT", "nodule", "肺结节"), ("肺结节", "CT", "nodule", "肺结节"),
        ("Pituitary-Tumour", "MRI", "pituitary", "垂体"), ("胶质瘤", "MRI", "glio|glial", "胶质瘤"),
        ("Cardiomegaly", "X-ray", "cardiomegaly", "心脏增大"), ("effusion", "X-ray", "a pleural effusion", "胸腔积液"),
        ("肺结核", "X-ray", "pulmonary tuberculosis", "肺结核"), ("covid", "X-ray", "COVID|SARS", "新冠|冠状|COVID"),
    ],
)  # fmt: skip
def test_a_known_label_has_its_words_in_both_languages(label: str, modality: str, english: str, chinese: str) -> None:
    for language, words in (("en", english), ("zh", chinese)):
        told = texts(label, language, modality=modality)
        assert all(re.search(words, text, re.IGNORECASE) for text in told), told
        assert not any(re.search("label|class|标签|类别", text, re.IGNORECASE) for text in told)
        assert len(set(told)) > 20


@pytest.mark.parametrize(
    ("language", "quoted", "frame"), [("en", "'miliary tb'", "label|class"), ("zh", "“miliary tb”", "标签|类别")]
)
def test_an_unknown_label_is_quoted_in_a_frame(language: str, quoted: str, frame: str) -> None:
    told = texts("miliary_tb", language)
    assert all(quoted in text and re.search(frame, text, re.IGNORECASE) for text in told)
    assert len(set(told)) > 10


def test_words_of_tissue_are_not_said_of_other_modalities() -> None:
    assert all("'thyroid'" in text for text in texts("thyroid", "en", modality="ultrasound", organ=None))
    assert known_label("thyroid", "pathology") == "thyroid"
    assert known_label("effusion", "MRI", "knee") == ""


def test_all_of_several_labels_are_told_and_normal_is_not_told_beside_them() -> None:
    for language, words in (("en", ("effusion", "mass")), ("zh", ("胸腔积液", "肿块"))):
        for cell in ("effusion|mass", "mass;No Finding;effusion"):
            told = texts(cell, language)
            assert all(all(word in text for word in words) for text in told)
            assert not any(re.search("normal|正常", text) for text in told)
    assert all("'odd thing'" in t and "'mass'" in t for t in texts("mass|odd_thing", "en"))
    record = labelled("mass|odd_thing|normal")
    assert labels_of(record, facts_of(record)) == (("mass", "finding"), ("odd_thing", "named"))


@given(label=st.text(min_size=1, max_size=40))
@example(label="X")
@example(label="'s X-ray'")
def test_any_label_makes_a_caption_that_names_its_modality(label: str) -> None:
    record = labelled(label)
    for language in LABEL_WORDS:
        text = caption_of(record, np.random.default_rng(0), language)
        assert text.strip()
        assert modality_in(re.sub("'[^']*'|“[^”]*”", "", text)) is not None  # beside the label, which is in quotes
    assert told_by_label(record, "a.png") == record


def test_the_wording_is_a_function_of_name_and_label() -> None:
    names = [f"{i}.png" for i in range(40)]
    told = [labelled("miliary_tb", name=name).text for name in names]
    assert told == [labelled("miliary_tb", name=name).text for name in names]
    assert len(set(told)) > 8


def test_a_text_of_a_label_is_told_anew_in_either_language() -> None:
    for label in ("effusion|mass", "miliary_tb"):
        record, rng = labelled(label), np.random.default_rng(0)
        assert record.extra["text_origin"] == "label"
        for language in ("en", "zh"):
            told = {reword_record(record, rng, language) for _ in range(60)}
            assert len(told) > 5
            assert all(is_chinese(text) == (language == "zh") for text in told)


def test_grey_is_said_once() -> None:
    record = labelled("lung_nodule", "CT")
    (prompt,) = prompts_of(record)
    assert prompt == f"Greyscale {record.text}"
    assert "grey" not in record.text.lower()
    assert caption_of(record, np.random.default_rng(0)).lower().count("greyscale") == 1


@pytest.mark.parametrize(
    ("word", "organ"),
    [("chest X-ray", "chest"), ("胸部CT", "chest"), ("Brain MRI", "brain"), ("CT", None), ("乳腺超声", "breast")],
)
def test_a_word_for_a_modality_may_name_the_organ(word: str, organ: str | None) -> None:
    assert organ_in(word) == organ


def test_class_folders_become_captions_the_same_at_every_build(tmp_path: Path) -> None:
    for label in ("正常", "肺结节", "miliary tb"):
        for i in range(4):
            picture(tmp_path / "in" / label / f"{i}.png")
    first = built(tmp_path, tmp_path / "in", modality="chest X-ray")
    (tmp_path / "in").rename(tmp_path / "elsewhere")
    again = built(tmp_path, tmp_path / "elsewhere", "again", modality="chest X-ray")
    assert [r.text for r in first] == [r.text for r in again]
    assert {r.label for r in first} == {"正常", "肺结节", "miliary tb"}
    for record in first:
        assert (record.modality, record.organ, record.extra["text_origin"]) == ("X-ray", "chest", "label")
        assert is_chinese(record.text) == (record.label != "miliary tb")
        wanted = {"正常": "正常|异常", "肺结节": "肺结节", "miliary tb": "'miliary tb'"}[record.label or ""]
        assert re.search(wanted, record.text)


@pytest.mark.parametrize("column", ["label", "Finding Labels", "class", "diagnosis", "标签", "诊断"])
def test_a_table_of_labels_needs_no_text(tmp_path: Path, column: str) -> None:
    path = table(tmp_path / "in", f"path,{column},modality\n0.png,effusion|mass,Chest X-ray\n1.png,No Finding,CXR\n")
    one, two = sorted(built(tmp_path, path), key=lambda r: r.label or "")[::-1]
    assert (one.label, one.organ) == ("effusion|mass", "chest")
    assert "effusion" in one.text
    assert "mass" in one.text
    assert re.search("normal|unremarkable|negative", two.text, re.IGNORECASE)


def test_a_chinese_table_of_labels_in_gb18030_is_told_in_chinese(tmp_path: Path) -> None:
    path = table(tmp_path / "in", "影像路径,标签,检查类型\n0.png,胸腔积液；肺不张,胸片\n1.png,正常,胸片\n", "gb18030")
    found = {r.label: r.text for r in built(tmp_path, path)}
    assert "胸腔积液" in found["胸腔积液；肺不张"]
    assert "肺不张" in found["胸腔积液；肺不张"]
    assert re.search("正常|异常", found["正常"])


def test_a_list_of_labels_in_json_lines_is_one_label(tmp_path: Path) -> None:
    picture(tmp_path / "in" / "0.png")
    (tmp_path / "in" / "metadata.jsonl").write_text('{"file_name": "0.png", "label": ["a b", "c"], "modality": "MRI"}')
    (record,) = built(tmp_path, tmp_path / "in")
    assert record.label == "a b|c"
    assert "'a b' and 'c'" in record.text


def test_a_text_comes_before_a_label_and_a_row_with_neither_is_refused(tmp_path: Path) -> None:
    path = table(tmp_path / "in", "path,text,label,modality\n0.png,A mass.,mass,CT\n1.png,,mass,CT\n")
    told, made = sorted(built(tmp_path, path), key=lambda r: r.text != "A mass.")
    assert (told.text, told.extra.get("text_origin", "")) == ("A mass.", "")
    assert made.extra["text_origin"] == "label"
    path = table(tmp_path / "in", "path,label,modality\n0.png,,CT\n")
    with pytest.raises(ValueError, match=r"cases.csv:2: the text and the label are empty"):
        built(tmp_path, path, "no")


def test_a_diagnosis_in_sentences_is_a_text(tmp_path: Path) -> None:
    path = table(tmp_path / "in", "path,diagnosis,modality\n0.png,A mass. Follow-up is advised.,CT\n")
    (record,) = built(tmp_path, path)
    assert (record.text, record.label) == ("A mass. Follow-up is advised.", None)
