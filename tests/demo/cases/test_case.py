"""A case as a sheet."""

from __future__ import annotations

from dataclasses import replace

import pytest

from vesalius.data.record import Finding
from vesalius.demo.cases.case import Case, CaseImage, asked, case_of, first_draft, told_by_title, told_early
from vesalius.inference.sample import Sample


def sample(text: str, modality: str = "CT", findings: tuple[Finding, ...] = ()) -> Sample:
    return Sample(file_name="x", text=text, modality=modality, seed=1, steps=1, guidance=1.0, findings=findings)


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"discussion": "x" * 100_000}, "The discussion has 100000 characters; at most 20000 are kept"),
        ({"title": "x" * 201}, "The title has 201 characters"),
        ({"title": 5}, "The title: expected text"),
        ({"differential": ["x"] * 21}, "The differential has 21 lines; at most 20"),
        ({"keywords": ["x" * 61]}, "A line of keywords has 61 characters"),
        ({"keywords": {"a": 1}}, "The keywords: expected lines"),
        ({"level": "professor"}, "The level 'professor' is not known; expected one of student, resident"),
        ({"language": "fr"}, "The language 'fr' is not known"),
        ({"images": "x"}, "The images: expected a list"),
        ({"images": [{"picture": str(n)} for n in range(25)]}, "The case has 25 pictures; at most 24"),
        ({"images": [5]}, "An image of the case: expected an object"),
        ({"images": [{"picture": "a", "caption": "x" * 501}]}, "A caption has 501 characters"),
    ],
)
def test_what_cannot_be_kept_is_told_by_its_field(row: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match="(?s)" + said.replace("(", r"\(")):
        case_of(row)


def test_a_text_loses_what_no_file_can_hold_and_keeps_all_letters() -> None:
    case = case_of(
        {"history": "a\x00\x07\x9f\r\nb\ud83d \ud83d\ude00", "title": " مرحبا 😀 ", "differential": "x\n\n y "}
    )
    assert case.history == "a\nb\ufffd 😀"
    assert case.title == "مرحبا 😀"
    assert case.differential == ("x", "y")


def test_a_picture_is_in_a_case_once() -> None:
    case = case_of({"images": [{"picture": "a"}, {"picture": "b"}, {"picture": "a", "in_answer": True}]})
    assert case.images == (CaseImage(picture="a", in_answer=True), CaseImage(picture="b"))


def test_what_is_asked_keeps_nothing_of_the_answer() -> None:
    case = Case(
        title="t", history="h", images=(CaseImage(picture="q", caption="c"), CaseImage(picture="a", in_answer=True)),
        findings="f", diagnosis="d", differential=("x",), discussion="s", keywords=("k",), references=("r",),
    )  # fmt: skip
    assert asked(case) == Case(history="h", images=(CaseImage(picture="q", caption="c"),))


def test_a_question_that_says_a_word_of_the_diagnosis_is_told() -> None:
    case = Case(diagnosis="Pulmonary Hamartoma", history="After a HAMARTOMA was found", title="pulmonary")
    assert told_early(case) == ("hamartoma",)
    assert (
        told_early(replace(case, history="", images=(CaseImage(picture="p", caption="hamartoma", in_answer=True),)))
        == ()
    )
    assert told_early(Case(diagnosis="胸腔积液", history="查出胸腔问题")) == ("胸腔",)


def test_a_title_that_says_the_diagnosis_is_told() -> None:
    assert told_by_title(Case(diagnosis="Tension Pneumothorax", title="CT: pneumothorax")) == ("pneumothorax",)
    assert told_by_title(Case(diagnosis="胸腔积液", title="CT：胸腔积液")) == ("胸腔", "腔积", "积液")
    assert told_by_title(Case(diagnosis="Pneumothorax", title="A sailor with a cough")) == ()


def test_a_draft_says_what_the_prompt_asks_for_and_invents_no_diagnosis() -> None:
    drawn = sample("Chest CT. Findings: 2 nodules in the left lung, the largest 14 mm. No pneumothorax.")
    row = first_draft([drawn], "en")
    assert row["findings"].splitlines()[-1] == "No pneumothorax."
    assert "on the left" in row["findings"]
    assert "14 mm" in row["findings"]
    assert row["title"] == "CT: nodule"
    assert row["diagnosis"] == ""
    assert "history" not in row


def test_a_draft_in_chinese_names_findings_in_chinese() -> None:
    found = (Finding(kind="pleural effusion", side="right"), Finding(kind="pneumothorax", present=False))
    row = first_draft([sample("CT", findings=found)], "zh")
    assert row["findings"] == "右侧胸腔积液。\n未见气胸。"
    assert row["title"] == "CT：胸腔积液"


def test_a_diagnosis_that_the_prompt_tells_is_taken() -> None:
    assert first_draft([sample("CT. Findings: A nodule. Impression: Granuloma.")], "en")["diagnosis"] == "Granuloma."
