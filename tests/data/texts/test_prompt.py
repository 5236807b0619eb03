"""From records to prompts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.record import Record
from vesalius.data.texts.prompt import CHINESE_SECTIONS, clean, is_chinese, prompts_of, sections, sentences, swap_sides

REPORT = """INDICATION: Cough for ___ weeks.
FINDINGS: There is a 1.8 cm nodule in the left upper lobe. No effusion.
IMPRESSION: Left upper lobe nodule; follow-up is advised."""


CHINESE = """检查目的：咳嗽___周。
检查所见：左肺上叶见一枚结节，直径约1.8 cm。未见胸腔积液。
诊断印象：左肺上叶结节，建议随访。"""


def record(text: str = REPORT, **fields: object) -> Record:
    return Record(**{"file_name": "a.png", "text": text, "modality": "CT", "hounsfield": True, **fields})  # type: ignore[arg-type]


def test_a_reports_sections_are_found_by_heading() -> None:
    assert sections(REPORT) == {
        "indication": "Cough for ___ weeks.",
        "findings": "There is a 1.8 cm nodule in the left upper lobe. No effusion.",
        "impression": "Left upper lobe nodule; follow-up is advised.",
    }


def test_headings_in_one_line_are_found_and_plain_words_are_not() -> None:
    assert sections("Findings: clear. Impression: normal.") == {"findings": "clear.", "impression": "normal."}
    assert sections("The findings are normal") == {}
    assert sections("Clinical history: cough. Technique: helical.") == {
        "clinical history": "cough.",
        "technique": "helical.",
    }


def test_a_chinese_reports_sections_are_found_under_their_english_names() -> None:
    found = {
        "indication": "咳嗽___周。",
        "findings": "左肺上叶见一枚结节，直径约1.8 cm。未见胸腔积液。",
        "impression": "左肺上叶结节，建议随访。",
    }
    assert sections(CHINESE) == found
    assert sections(CHINESE.replace("\n", "").replace("：", ":")) == found
    bracketed = CHINESE
    for heading in ("检查目的", "检查所见", "诊断印象"):
        bracketed = bracketed.replace(f"{heading}：", f"【{heading}】")
    assert sections(bracketed) == found
    assert sections("本次检查所见正常，印象良好") == {}


@pytest.mark.parametrize("heading", CHINESE_SECTIONS)
def test_every_chinese_heading_is_found(heading: str) -> None:
    assert sections(f"{heading}：正常。") == {CHINESE_SECTIONS[heading]: "正常。"}
    assert sections(f"【{heading}】正常。") == {CHINESE_SECTIONS[heading]: "正常。"}


def test_a_decimal_point_ends_no_sentence() -> None:
    assert sentences("A mass of 1.8 cm. It is 2.5x3.0 cm in size; stable!  No effusion?") == [
        "A mass of 1.8 cm.", "It is 2.5x3.0 cm in size;", "stable!", "No effusion?",
    ]  # fmt: skip


def test_chinese_sentences_end_without_spaces() -> None:
    assert sentences("右肺上叶1.8 cm结节。无胸腔积液；心影不大。") == [
        "右肺上叶1.8 cm结节。",
        "无胸腔积液；",
        "心影不大。",
    ]


@given(text=st.text())
def test_sentences_lose_nothing_but_white_space(text: str) -> None:
    assert "".join("".join(sentences(text)).split()) == "".join(text.split())


@given(text=st.text("ab _.[*]\n"))
def test_cleaning_leaves_one_line_without_marks_and_is_done_once(text: str) -> None:
    once = clean(text)
    assert "\n" not in once
    assert "__" not in once
    assert clean(once) == once


def test_the_marks_of_deidentification_are_removed() -> None:
    assert clean("Seen by Dr. ___ on [**2101-3-4**],\n stable.") == "Seen by Dr. on , stable."


def test_all_wordings_of_a_record_come_caption_first_without_doubles() -> None:
    wordings = prompts_of(record(caption="Chest CT, nodule", organ="chest"))
    assert wordings[0] == "Chest CT, nodule"
    assert wordings[1].startswith("INDICATION: Cough for weeks. FINDINGS:")
    assert wordings[2] == "CT chest impression: Left upper lobe nodule; follow-up is advised."
    assert wordings[3] == "CT chest findings: There is a 1.8 cm nodule in the left upper lobe. No effusion."
    assert len(wordings) == 4
    assert prompts_of(record("Chest CT", caption="Chest CT")) == ("Chest CT",)


def test_wordings_of_a_chinese_report_are_chinese() -> None:
    wordings = prompts_of(record(CHINESE, organ="chest"))
    assert wordings[1] == "胸部CT诊断印象：左肺上叶结节，建议随访。"
    assert wordings[2] == "胸部CT检查所见：左肺上叶见一枚结节，直径约1.8 cm。未见胸腔积液。"
    assert len(wordings) == 3
    assert prompts_of(record("诊断印象：正常。", modality="X-ray", organ="chest"))[1] == "胸部X线诊断印象：正常。"


def test_wordings_of_grey_ct_begin_by_saying_so() -> None:
    assert prompts_of(record("Chest CT", hounsfield=False)) == ("Greyscale Chest CT",)
    assert all(w.startswith("灰度") for w in prompts_of(record(CHINESE, hounsfield=False)))
    assert prompts_of(record("Brain", modality="MRI", hounsfield=False)) == ("Brain",)


def test_one_chinese_character_makes_a_text_chinese() -> None:
    assert is_chinese("CT示结节")
    assert not is_chinese("CT, 12 mm, naïve")


def test_a_record_without_text_has_no_wordings() -> None:
    assert prompts_of(record("")) == ()
    assert prompts_of(record("___")) == ()


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("Nodule in the left lung, right side clear", "Nodule in the right lung, left side clear"),
        ("LEFT lobe. Right-sided effusion", "RIGHT lobe. Left-sided effusion"),
        ("shifted leftward", "shifted rightward"),
        ("bright and leftover signal, copyright", None),
        ("no side is named", None),
        ("effusions on the left and on the right", None),
        ("in both the left and the right lung", None),
        ("left and right lung, left nodule", "left and right lung, right nodule"),
        ("a mass on the left and a right-sided infarct", "a mass on the right and a left-sided infarct"),
        ("左肺结节，右侧胸腔积液", "右肺结节，左侧胸腔积液"),
        ("CT示左侧气胸", "CT示右侧气胸"),
        ("双侧胸腔积液", None),
        ("左、右肺实变", None),
        ("大小约12 mm左右", None),
        ("左肺结节，直径12 mm左右", "右肺结节，直径12 mm左右"),
    ],
)
def test_sides_are_swapped_with_their_case_and_only_where_one_is_named(text: str, other: str | None) -> None:
    assert swap_sides(text) == other


@given(
    text=st.lists(st.sampled_from(["left", "Right", "LEFT", "lung", "and", "rightward"]), min_size=1).map(" ".join)
    | st.text("左右肺、双侧及12", min_size=1)
)
def test_swapping_twice_gives_the_text_back(text: str) -> None:
    swapped = swap_sides(text)
    assert swapped is None or swap_sides(swapped) == text


ULTRASOUND = """检查部位：甲状腺
主诉：颈部肿物1月。
超声所见：左叶见一低回声结节，大小约12mm×8mm。提示血供不丰富。
超声提示：左叶结节，TI-RADS 3类。
建议：3个月后复查。
备注：本报告仅供临床参考。"""

PATHOLOGY = """FINAL DIAGNOSIS
A. Breast, left: invasive ductal carcinoma.

CLINICAL INFORMATION:
Palpable mass; differential diagnosis: fibroadenoma.

GROSS DESCRIPTION:
A 2.1 cm firm mass. In summary: one nodule.

MICROSCOPIC DESCRIPTION:
Sheets of atypical cells.

ADDENDUM:
HER2 is negative."""

RADIOLOGY = """EXAMINATION: CHEST RADIOGRAPH
REASON FOR EXAM: Fever, rule out pneumonia.
PROCEDURE:
PA and lateral views.
COMPARISON: None.
FINDINGS:
The final diagnosis is open. The patient's opinion: better. No effusion.
OPINION:
Clear lungs.
RECOMMENDATION: None."""


@pytest.mark.parametrize(
    ("report", "found"),
    [
        (ULTRASOUND, {
            "examination": "甲状腺", "indication": "颈部肿物1月。",
            "findings": "左叶见一低回声结节，大小约12mm×8mm。提示血供不丰富。",
            "impression": "左叶结节，TI-RADS 3类。", "recommendation": "3个月后复查。", "note": "本报告仅供临床参考。",
        }),
        (PATHOLOGY, {
            "impression": "A. Breast, left: invasive ductal carcinoma.",
            "clinical history": "Palpable mass; differential diagnosis: fibroadenoma.",
            "gross description": "A 2.1 cm firm mass. In summary: one nodule.",
            "findings": "Sheets of atypical cells.", "addendum": "HER2 is negative.",
        }),
        (RADIOLOGY, {
            "examination": "CHEST RADIOGRAPH", "indication": "Fever, rule out pneumonia.",
            "procedure": "PA and lateral views.", "comparison": "None.",
            "findings": "The final diagnosis is open. The patient's opinion: better. No effusion.",
            "impression": "Clear lungs.", "recommendation": "None.",
        }),
    ],
)  # fmt: skip
def test_whole_reports_are_divided_as_hospitals_write_them(report: str, found: dict[str, str]) -> None:
    assert sections(report) == found
    assert sections(report.replace(":", "：")) == {k: v.replace(":", "：") for k, v in found.items()}
    assert sections(report.replace("\n", "\r\n")) == {k: v.replace("\n", "\r\n") for k, v in found.items()}
    numbered = "\n".join(f"{i}. {line}" for i, line in enumerate(report.splitlines(), 1) if line)
    assert sections(numbered).keys() == found.keys()


@pytest.mark.parametrize(
    "report",
    [
        "1. FINDINGS: Clear.\n2. IMPRESSION: Normal.", "一、检查所见：Clear.\n二、诊断结论：Normal.",
        "（1）超声所见：Clear.\n（2）提示：Normal.", "【放射学表现】Clear.【放射学诊断】Normal.",
        "【检查所见】：Clear.\n【检查结论】：Normal.", "[影像表现] Clear.\n[影像结论] Normal.",
        "FINDINGS\nClear.\nSUMMARY\nNormal.",
        "**Findings:** Clear.\n**Diagnosis**: Normal.", "- Findings: Clear.\n- Opinion: Normal.",
        "Findings: Clear. Final diagnosis: Normal.", "FINDINGS:\n\nClear.\n\n\nIMPRESSION/RECOMMENDATION:\nNormal.",
        "检查所见：Clear. 提示：Normal.", "Microscopic description : Clear.\nIMPRESSION AND RECOMMENDATIONS: Normal.",
    ],
)  # fmt: skip
def test_headings_are_found_in_capitals_numbered_bracketed_and_marked(report: str) -> None:
    assert sections(report) == {"findings": "Clear.", "impression": "Normal."}


@pytest.mark.parametrize(
    "text",
    [
        "左肺斑片影，提示肺炎。建议随访。", "CT提示：肺炎可能", "结合病史，提示：肺炎", "入院诊断：肺炎",
        "In summary, no change. The procedure was well tolerated.", "The differential diagnosis: pneumonia or edema",
        "Her opinion: none", "Physical examination: normal", "The exam is limited.\nSummary of the above",
        "a recommendation: see below", "Summary", "Diagnosis unclear: see text", "no 备注：", "images[3] show a mass",
    ],
)  # fmt: skip
def test_words_of_running_text_are_no_headings(text: str) -> None:
    assert sections(text) == {}


def test_sections_of_one_name_are_joined() -> None:
    assert sections("DIAGNOSIS: A.\nFINDINGS: B.\nSUMMARY: C.") == {"impression": "A.\nC.", "findings": "B."}


def test_headings_are_searched_in_linear_time() -> None:
    for text in ("\n" * 200_000, " " * 200_000, "1. " * 100_000, "【" * 200_000, "summary " * 50_000, "(" * 200_000):
        begun = time.process_time()
        assert sections(text) == {}
        assert time.process_time() - begun < 1
