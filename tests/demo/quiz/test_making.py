"""Questions that are proposed about pictures."""

from __future__ import annotations

from typing import Any

import pytest

from vesalius.data.record import Finding
from vesalius.demo.quiz.making import distractors, questions_of
from vesalius.demo.store.pictures import Check, StoredPicture
from vesalius.demo.store.quizzes import ABNORMAL, NORMAL
from vesalius.inference.sample import Sample
from vesalius.models.support import Shown, Support

KINDS = ("nodule", "mass", "effusion", "pneumothorax", "cyst")
SUPPORT = Support(
    shown=tuple(Shown(modality="CT", findings=(Finding(kind=k),), num_real=90 - i) for i, k in enumerate(KINDS)),
    terms={k: (k,) for k in KINDS}, words={},
)  # fmt: skip


def a_picture(text: str, name: str = "p", **changes: Any) -> StoredPicture:
    sample = Sample(file_name="a.png", text=text, modality="CT", seed=1, steps=1, guidance=1.0)
    return StoredPicture(id=name, account="anna", job="j", number=0, sample=sample, **changes)


def test_distractors_are_findings_of_the_same_modality_that_are_not_shown() -> None:
    assert distractors(SUPPORT, "CT", ["mass"]) == ["nodule", "effusion", "pneumothorax", "cyst"]
    assert distractors(SUPPORT, "MRI", []) == []
    assert distractors(None, "CT", []) == []


def test_the_finding_that_was_asked_for_is_the_right_choice() -> None:
    (question,) = questions_of([a_picture("Chest CT with a mass, no effusion.")], SUPPORT, "en")
    assert question.choices[question.right[0]] == "mass"
    assert len(question.choices) == 4
    assert "Chest CT with a mass" in question.explanation


def test_in_chinese_the_choices_are_chinese_too() -> None:
    check = Check(attribute="finding", asked="mass", seen="none", said="no", checker="witness")
    picture = a_picture("Chest CT with a pneumothorax.", checks=(check,))
    (question,) = questions_of([picture], SUPPORT, "zh")
    assert question.choices[question.right[0]] == "气胸"
    assert {"肺结节", "占位性病变"} < set(question.choices)
    assert question.text == "此CT图像显示什么？"
    assert "见证网络" in question.explanation
    assert "肺结节" in distractors(SUPPORT, "CT", ["mass"], "zh")


def test_the_right_choice_is_not_always_at_one_place() -> None:
    pictures = [a_picture("Chest CT with a mass.", f"p{i}") for i in range(20)]
    assert len({q.right for q in questions_of(pictures, SUPPORT, "en")}) > 2


def test_a_case_gives_its_diagnosis_among_its_differential_and_its_captions() -> None:
    pictures = [a_picture("Chest CT with a mass.", f"p{i}") for i in range(2)]
    questions = questions_of(
        pictures, SUPPORT, "en", captions=["Axial."], diagnosis="lymphoma", differential=["thymoma", "teratoma"]
    )
    assert [sorted(q.choices) for q in questions] == [["lymphoma", "teratoma", "thymoma"]] * 2
    assert questions[0].explanation == "Axial."


@pytest.mark.parametrize(("text", "right"), [("A normal chest CT.", NORMAL), ("Chest CT of something.", ABNORMAL)])
def test_without_a_known_finding_it_is_asked_whether_the_picture_is_normal(text: str, right: int) -> None:
    (question,) = questions_of([a_picture(text)], None, "zh")
    assert (question.kind, question.right) == ("normal", (right,))
    assert "是否正常" in question.text


def test_a_doubt_of_the_checker_is_told() -> None:
    check = Check(attribute="finding", asked="mass", seen="none", said="no", checker="reader")
    (question,) = questions_of([a_picture("Chest CT with a mass.", checks=(check,))], SUPPORT, "en")
    assert "look before you use this question" in question.explanation
