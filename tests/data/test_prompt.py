"""From records to prompts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vesalius.data.prompt import clean, prompts_of, sections, sentences, swap_sides
from vesalius.data.record import Record

REPORT = """INDICATION: Cough for ___ weeks.
FINDINGS: There is a 1.8 cm nodule in the left upper lobe. No effusion.
IMPRESSION: Left upper lobe nodule; follow-up is advised."""


def record(text: str = REPORT, **fields: object) -> Record:
    return Record(file_name="a.png", text=text, modality="CT", **fields)  # type: ignore[arg-type]


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
    ],
)
def test_sides_are_swapped_with_their_case_and_only_where_one_is_named(text: str, other: str | None) -> None:
    assert swap_sides(text) == other


@given(text=st.lists(st.sampled_from(["left", "Right", "LEFT", "lung", "and", "rightward"]), min_size=1).map(" ".join))
def test_swapping_twice_gives_the_text_back(text: str) -> None:
    swapped = swap_sides(text)
    assert swapped is None or swap_sides(swapped) == text
