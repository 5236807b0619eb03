"""What always holds of scrubbing, and that a build scrubs unless told not to."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vesalius.cli.main import main
from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.record import Record, load_records
from vesalius.data.scrub.text import scrub_record, scrub_text

REPORT = """PATIENT: DOE, JANE
MRN: 1234567    DOB: 03/04/1950
Referring physician: Dr. Alan Grant
Exam date: 2020-03-04 10:15

INDICATION: 93-year-old woman with cough for ___ weeks.
COMPARISON: CT of 12 May 2019.
FINDINGS: A 12 mm nodule in the left upper lobe, unchanged since 12 May 2019. No effusion.
IMPRESSION: Stable nodule. Discussed with Dr. Grant by phone (555-123-4567) on 3/4/2020.

Electronically signed by Kim Novak, MD"""
CHINESE = """姓名：张三  性别：女  年龄：93岁  住院号：123456
检查日期：2020年3月4日
检查所见：左肺上叶见一枚结节，直径约12 mm，与2019-05-12片比较无变化。
诊断印象：左肺上叶结节，建议3个月后复查。
报告医师：李四  审核医师：王五"""
PIECES = [
    "Patient: ", "Dr. ", "Mr. ", "Name: ", "Jane", "Doe", "SMITH", ", ", ". ", "\n", " ", "on ", "since ", "by ",
    "MD", "referred by ", "signed by ", "3/4/2020", "March ", "May ", "2020", "4, ", "12 mm", "93", "-year-old",
    "age ", "MRN", ": ", "#", "1234567", "555-123-4567", "___", "[**x**]", "XXXX", "[NAME]", "a@b.org", "www.a.org",
    "and ", "T2", "(", ")", "L4/5", "12 Elm Street", "MA 02139", "患者", "张三", "，男", "姓名：", "住院号", "：",
    "2020年", "3月", "4日", "93岁", "某", "医生", "李", "电话", "13812345678", "。", "结节", "于", "\t",
    "11010519491231002X", "^", "-", "/", "DOB ", "\0",
]  # fmt: skip
"""Pieces of texts, some of which join into identifiers of several kinds."""
texts = st.lists(st.sampled_from(PIECES), max_size=30).map("".join) | st.text(max_size=200)


def test_a_report_keeps_its_findings_and_loses_who_and_when() -> None:
    assert scrub_text(REPORT).text == (
        "INDICATION: over-89-year-old woman with cough for weeks.\n"
        "COMPARISON: CT.\n"
        "FINDINGS: A 12 mm nodule in the left upper lobe, unchanged since an earlier date. No effusion.\n"
        "IMPRESSION: Stable nodule. Discussed with the physician by phone.\n"
        "\n"
        "Electronically signed"
    )


def test_a_chinese_report_keeps_its_findings_and_loses_who_and_when() -> None:
    assert scrub_text(CHINESE).text == (
        "性别：女  年龄：89岁以上\n"
        "检查所见：左肺上叶见一枚结节，直径约12 mm，与此前片比较无变化。\n"
        "诊断印象：左肺上叶结节，建议3个月后复查。"
    )


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("影像所见：患者姓名：张伟。右侧胸腔积液。", "影像所见：右侧胸腔积液。"),
        ("检查所见：报告医师：李建国，右肺结节。", "检查所见：右肺结节。"),
        ("检查所见：右肺结节。\n报告医师：李建国。", "检查所见：右肺结节。"),
    ],
)
def test_a_section_whose_first_words_go_keeps_its_heading(text: str, left: str) -> None:
    assert scrub_text(text).text == left


def test_sentences_from_which_findings_are_read_name_nobody() -> None:
    told = (Path(__file__).parents[1] / "findings" / "findings_sentences.tsv").read_text(encoding="utf-8").splitlines()
    sentences = [line.split("\t")[0].replace("\\n", "\n") for line in told]
    assert len(sentences) > 200
    assert [s for s in sentences if scrub_text(s).text != s] == []


def test_captions_of_real_images_lose_ages_over_89_alone(real_data: Path) -> None:
    rows = (json.loads(line) for table in real_data.glob("*/metadata.jsonl") for line in table.open(encoding="utf-8"))
    removed = Counter[str]()
    for text in {row["text"] for row in rows}:
        removed += scrub_text(text).removed
    assert set(removed) <= {"ages over 89"}


def test_what_was_taken_out_is_counted_by_kind() -> None:
    counts = {"names": 4, "record numbers": 1, "dates": 5, "ages over 89": 1, "marks": 1, "phone numbers": 1}
    assert scrub_text(REPORT).removed == counts
    assert not scrub_text("A 12 mm nodule.").removed


@given(texts)
@settings(max_examples=600, deadline=None)
def test_scrubbing_twice_is_scrubbing_once(text: str) -> None:
    once = scrub_text(text).text
    again = scrub_text(once)
    assert again.text == once
    assert not again.removed


@given(texts)
@settings(max_examples=300, deadline=None)
def test_a_text_grows_by_no_more_than_threefold(text: str) -> None:
    found = scrub_text(text)
    assert len(found.text) <= 3 * len(text)
    assert found.text == text or found.removed


@given(st.lists(st.text("abcdefghijklmnopqrstuvwyzàéü ,.;()结节左肺上叶见", max_size=12), max_size=12))
@settings(max_examples=300, deadline=None)
def test_without_digits_capitals_and_labels_nothing_changes(pieces: list[str]) -> None:
    text = " ".join(pieces).replace("dr", "")
    assert scrub_text(text).text == text


@given(
    st.integers(1, 12),
    st.integers(1, 28),
    st.integers(1920, 2150),
    st.sampled_from(("{y}-{m:02}-{d:02}", "{m}/{d}/{y}", "{d}.{m}.{y}", "{d:02}/{m:02}/{y}", "{y}年{m}月{d}日")),
    st.sampled_from(
        ("CT on {} shows a mass.", "Compared to {}, no change.", "于{}复查CT。", "{}", "Scan ({}): normal")
    ),
)
@settings(max_examples=300, deadline=None)
def test_every_day_in_every_form_goes(month: int, day: int, year: int, form: str, sentence: str) -> None:
    found = scrub_text(sentence.format(form.format(y=year, m=month, d=day)))
    assert str(year) not in found.text
    assert found.removed == {"dates": 1}


ADVERSARIES = (
    "a", "A", " ", "1", "9 ", "_", "[**", "[", "(", "A.", "A ", "Dr. ", "Dr. A", "Name: ", "Patient:", "\n", "\t",
    "1-", "1/", "1.", "3/4/", "2020-", "12 May ", "a@", "a.", "@", "www.", "http://a", "路", "北京市", "张", "患者",
    "某", "年", "姓名：", "×", "*", "^", "A^", "Jane ", "Jane Doe, ", "by ", "12 Elm ", "MRN ", "#", "X", "x", "<",
    "{{", "93", "+1 ", "(555) ", "\0", "\0 ", "'", "O'", "van ", ",", "：", "Dr. Smith on 3/4/2020 ", "___ ",
    "Address: a",
)  # fmt: skip


@pytest.mark.parametrize("piece", ADVERSARIES, ids=repr)
def test_time_is_linear_in_the_length(piece: str) -> None:
    """A quadratic rule takes 64 times as long for 8 times the text."""

    def seconds(length: int) -> float:
        text = (piece * (length // len(piece) + 1))[:length]
        start = time.process_time()
        scrub_text(text)
        return time.process_time() - start

    assert seconds(32_000) < 20 * min(seconds(4_000) for _ in range(3)) + 0.05


def test_a_text_as_long_as_a_book_takes_seconds() -> None:
    text = (REPORT + CHINESE) * (200_000 // len(REPORT + CHINESE) + 1)
    start = time.process_time()
    scrub_text(text)
    assert time.process_time() - start < 12


def test_text_and_caption_and_free_columns_of_a_record_are_scrubbed_and_codes_are_not() -> None:
    record = Record(
        file_name="a.png",
        text="Seen by Dr. Smith.",
        caption="CT of 3/4/2020",
        modality="CT",
        extra={"note": "Call Mrs. Jones today please", "study_date": "20200304", "age": 45, "view": "PA"},
    )
    clean, removed = scrub_record(record)
    assert (clean.text, clean.caption) == ("Seen by the physician.", "CT")
    assert clean.extra == {"note": "Call the patient today please", "study_date": "20200304", "age": 45, "view": "PA"}
    assert removed == {"names": 2, "dates": 1}


def source(folder: Path, *told: str) -> Path:
    folder.mkdir()
    rows = []
    for i, text in enumerate(told):
        pixels = np.random.default_rng(i).integers(0, 255, (24, 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append({"file_name": f"{i}.png", "text": text, "modality": "CT", "patient_id": f"p{i}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder


def test_a_build_scrubs_its_texts_and_tells_how_many_of_each_kind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = source(tmp_path / "in", REPORT, CHINESE, "Normal chest.")
    out = tmp_path / "out"
    summary = build_dataset(BuildConfig(sources=(folder,), out=out, json=True))
    assert summary.removed["names"] == 7
    written = "".join(p.read_text() for p in out.rglob("*") if p.suffix in (".jsonl", ".json", ".md"))
    for identifier in ("DOE", "Grant", "1234567", "Novak", "张三", "李四", "王五", "123456", "12 May"):
        assert identifier not in written
    assert "Normal chest." in {r.text for r in load_records(out)}
    assert "7 names" in (out / "README.md").read_text()
    again = build_dataset(BuildConfig(sources=(folder,), out=out, json=True))
    assert (again.unchanged, again.removed) == (True, summary.removed)
    capsys.readouterr()
    assert main(["data", "build", str(folder), "--out", str(out)]) == 0
    told = capsys.readouterr().out
    assert "7 names" in told
    assert "Grant" not in told


def test_identifiers_are_kept_where_asked_for(tmp_path: Path) -> None:
    folder = source(tmp_path / "in", REPORT, "Normal chest.")
    summary = build_dataset(BuildConfig(sources=(folder,), out=tmp_path / "out", json=True, keep_identifiers=True))
    assert not summary.removed
    assert REPORT in {r.text for r in load_records(tmp_path / "out")}


def test_a_text_of_which_nothing_is_left_is_refused_with_its_line(tmp_path: Path) -> None:
    folder = source(tmp_path / "in", "Normal chest.", "Patient: Jane Doe")
    with pytest.raises(ValueError, match=r"metadata.jsonl:2: nothing is left .*--keep-identifiers") as told:
        build_dataset(BuildConfig(sources=(folder,), out=tmp_path / "out", json=True))
    assert "Jane" not in str(told.value)
    kept = build_dataset(BuildConfig(sources=(folder,), out=tmp_path / "out", json=True, keep_going=True))
    assert (kept.num_records, kept.num_quarantined) == (1, 1)


@pytest.mark.parametrize(
    "column",
    ["patient_name", "last_name", "dob", "mrn", "phone_number", "email", "accession_number", "患者姓名", "姓名",
     "住院号", "身份证号", "联系电话", "家庭住址", "出生日期", "报告医师", "检查号"],
)  # fmt: skip
def test_a_column_that_names_a_person_goes_and_is_counted(column: str) -> None:
    record = Record(file_name="a.png", text="Mass.", modality="CT", extra={column: "x", "plane": "axial", "id": "7"})
    scrubbed, removed = scrub_record(record)
    assert scrubbed.extra == {"plane": "axial", "id": "7"}
    assert removed == {"identifying columns": 1}


def test_columns_of_a_dataset_name_nobody() -> None:
    extra = dict.fromkeys(
        ("group", "study", "series", "study_date", "plane", "view", "sex", "age", "window", "text_origin", "uncertain",
         "cleaned", "mpp", "部位", "检查方法", "label_name", "class_name"),
        "x",
    )  # fmt: skip
    record = Record(file_name="a.png", text="Mass.", modality="CT", extra=extra)
    assert scrub_record(record) == (record, {})
