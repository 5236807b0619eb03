"""Quizzes and what learners answer, in the store."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vesalius.data.images.image import png_bytes
from vesalius.demo.store.pictures import add_picture
from vesalius.demo.store.quizzes import (
    Circle,
    Quiz,
    add_quiz,
    copy_quiz,
    delete_quiz,
    find_quiz,
    open_quiz,
    quiz_from,
    quiz_of_token,
    quizzes_of,
    save_quiz,
)
from vesalius.demo.store.schema import Store
from vesalius.demo.store.sittings import (
    RefusedError,
    answer,
    choices_of,
    delete_sittings,
    find_sitting,
    order_of,
    results_csv,
    sit,
    sittings_of,
    tally,
)
from vesalius.inference.sample import Sample

SECRET = "s" * 32


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


def a_picture(store: Store, number: int = 0, account: str = "anna") -> str:
    text = "Chest CT with a nodule on the left."
    sample = Sample(file_name="a.png", text=text, modality="CT", seed=number, steps=1, guidance=1.0)
    image = np.random.default_rng(number).integers(0, 255, (40, 80, 1), np.uint8)
    png = png_bytes(image, sample.recipe())
    return add_picture(store, account=account, job="job", number=number, sample=sample, png=png).id


def told(store: Store) -> dict[str, Any]:
    picture = a_picture(store)
    base = {"picture": picture, "text": "What is it?", "explanation": "Look at the left lung."}
    return {
        "title": "Chest", "note": "Take your time.",
        "questions": [
            {**base, "kind": "single", "choices": ["nodule", "mass", "none"], "right": [0]},
            {**base, "kind": "multiple", "choices": ["left", "right", "round"], "right": [2, 0]},
            {**base, "kind": "point", "circle": {"x": 0.25, "y": 0.5, "radius": 0.1}},
            {**base, "kind": "normal", "right": [1]},
            {**base, "kind": "text"},
        ],
    }  # fmt: skip


def made(store: Store, **changes: Any) -> Quiz:
    return add_quiz(store, "anna", quiz_from(store, "anna", {**told(store), **changes}))


RIGHT: list[Any] = [[0], [0, 2], {"x": 0.3, "y": 0.5}, [1], "a round thing"]


def test_a_quiz_is_kept_as_it_was_told(store: Store) -> None:
    quiz = made(store)
    assert find_quiz(store, "anna", quiz.id) == quiz == quiz_of_token(store, quiz.token)
    assert quizzes_of(store, "anna") == [quiz]
    assert len(quiz.token) >= 32
    assert quiz.questions[1].right == (0, 2)
    assert quiz.questions[2].circle == Circle(x=0.25, y=0.5, radius=0.1, aspect=0.5)


def test_nobody_has_anothers_quiz(store: Store) -> None:
    quiz = made(store)
    assert quizzes_of(store, "bert") == []
    for deed in (
        lambda: find_quiz(store, "bert", quiz.id), lambda: copy_quiz(store, "bert", quiz.id),
        lambda: delete_quiz(store, "bert", quiz.id), lambda: open_quiz(store, "bert", quiz.id, is_open=False),
        lambda: save_quiz(store, "bert", quiz.id, quiz), lambda: sittings_of(store, "bert", quiz.id),
        lambda: delete_sittings(store, "bert", quiz.id),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="someone else's"):
            deed()
    with pytest.raises(ValueError, match="someone else's"):
        quiz_from(store, "bert", told(store))  # of anna's pictures


WRONG = {
    "Give the quiz a title": {"title": " "},
    "The title has 500 characters": {"title": "x" * 500},
    "1 to 50 questions": {"questions": []},
    "after 'each' answer": {"tell": "never"},
    "the kind is one of": {"kind": "essay"},
    "write what is asked": {"text": ""},
    "someone else's": {"picture": "../../etc/passwd"},
    "give 2 to 8 choices": {"choices": ["one"]},
    "a choice is empty": {"choices": ["one", " "]},
    "two choices are the same": {"choices": ["one", "One"]},
    "mark the one right choice": {"right": [0, 1]},
    "by its place": {"right": [7]},
    "say whether the picture is normal": {"kind": "normal", "right": [3]},
    "draw a circle": {"kind": "point", "circle": {"x": float("nan"), "y": 0, "radius": 1}},
}


def test_a_question_that_is_a_mere_text_is_refused_with_its_place(store: Store) -> None:
    whole = told(store)
    whole["questions"].insert(1, "What is it?")
    with pytest.raises(ValueError, match="Question 2: expected kind, picture and text"):
        quiz_from(store, "anna", whole)


def test_quizzes_of_one_person_are_bounded(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.demo.store.quizzes.MOST_QUIZZES", 1)
    quiz = made(store)
    with pytest.raises(ValueError, match="You have 1 quizzes, and no more are kept; delete one that is over"):
        add_quiz(store, "anna", quiz)
    assert add_quiz(store, "bert", quiz).account == "bert"


def test_a_quiz_that_is_deleted_while_a_learner_enters_is_unknown(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    quiz = made(store)

    def after_it_is_gone(*asked: Any) -> Any:
        delete_quiz(store, "anna", quiz.id)
        return find_sitting(*asked)

    monkeypatch.setattr("vesalius.demo.store.sittings.find_sitting", after_it_is_gone)
    with pytest.raises(RefusedError, match="unknown"):
        sit(store, quiz, SECRET, "")


@pytest.mark.parametrize("words", WRONG)
def test_what_is_no_quiz_is_refused_in_words(store: Store, words: str) -> None:
    whole = told(store)
    wrong = WRONG[words]
    if set(wrong) <= {"title", "questions", "tell"}:
        whole |= wrong
    else:
        whole["questions"] = [{**whole["questions"][0], **wrong}]
    with pytest.raises(ValueError, match=words):
        quiz_from(store, "anna", whole)


def test_the_first_answer_counts_and_all_of_them_end_the_sitting(store: Store) -> None:
    quiz = made(store)
    sit(store, quiz, SECRET, "  Ann \n the  2nd ")
    for number, said in enumerate(RIGHT):
        answer(store, quiz, SECRET, number, said)
        answer(store, quiz, SECRET, number, said)
    done = answer(store, quiz, SECRET, 0, [1])  # too late
    assert done.learner == "Ann the 2nd"
    assert done.score(quiz) == (4, 4)
    assert done.ended is not None
    assert sittings_of(store, "anna", quiz.id) == [done]


def test_a_point_is_right_within_the_circle_as_the_picture_is_shown() -> None:
    circle = Circle(x=0.5, y=0.5, radius=0.1, aspect=0.5)  # twice as wide as high
    assert circle.holds(0.5, 0.69)
    assert not circle.holds(0.5, 0.71)
    assert not circle.holds(0.61, 0.5)


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, [3]), (0, [0, 1]), (0, [True]), (0, "0"), (0, []), (1, [0] * 9), (2, {"x": 2, "y": 0}), (2, {"x": "1"}),
        (2, [1]), (3, [2]), (4, "x" * 1001), (4, 5), (5, [0]), (-1, [0]), (0, None), (0, [10**30]),
    ],
)  # fmt: skip
def test_what_is_no_answer_is_refused(store: Store, number: int, said: Any) -> None:
    quiz = made(store)
    sit(store, quiz, SECRET, "")
    with pytest.raises(RefusedError, match="bad"):
        answer(store, quiz, SECRET, number, said)
    assert sittings_of(store, "anna", quiz.id)[0].answers == {}


def test_a_closed_quiz_takes_nothing_new_and_shows_what_was_answered(store: Store) -> None:
    quiz = made(store)
    sit(store, quiz, SECRET, "")
    answer(store, quiz, SECRET, 0, [0])
    open_quiz(store, "anna", quiz.id, is_open=False)
    with pytest.raises(RefusedError, match="closed"):
        answer(store, quiz, SECRET, 1, [0])
    with pytest.raises(RefusedError, match="closed"):
        sit(store, quiz, "t" * 32, "")
    assert answer(store, quiz, SECRET, 0, [0]).answers.keys() == {0}  # one that was sent again
    assert find_sitting(store, quiz, SECRET) == sit(store, quiz, SECRET, "")
    open_quiz(store, "anna", quiz.id, is_open=True)
    assert answer(store, quiz, SECRET, 1, [0]).answers.keys() == {0, 1}


def test_sittings_are_bounded_and_keyed_by_a_secret_that_is_not_kept(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vesalius.demo.store.sittings.MOST_SITTINGS", 1)
    quiz = made(store)
    assert SECRET not in sit(store, quiz, SECRET, "").id
    assert SECRET.encode() not in store.path.read_bytes()
    with pytest.raises(RefusedError, match="full"):
        sit(store, quiz, "t" * 32, "")
    for secret in ("short", "x" * 65, "../" * 12):
        with pytest.raises(RefusedError, match="bad"):
            sit(store, quiz, secret, "")
    with pytest.raises(RefusedError, match="bad"):
        sit(store, quiz, "t" * 32, "x" * 41)
    other = made(store, title="Another")
    assert find_sitting(store, other, SECRET) is None  # it is another quiz's
    with pytest.raises(RefusedError, match="unknown"):
        answer(store, other, SECRET, 0, [0])


def test_each_learner_has_an_order_of_their_own_which_lasts(store: Store) -> None:
    quiz = made(store)
    orders = {tuple(order_of(quiz, f"{i:032}")) for i in range(20)}
    assert len(orders) > 10
    assert order_of(quiz, SECRET) == order_of(quiz, SECRET)
    assert sorted(choices_of(quiz, SECRET, 0)) == [0, 1, 2]
    plain = made(store, shuffled=False)
    assert order_of(plain, SECRET) == [0, 1, 2, 3, 4]


def test_a_quiz_that_was_started_stays_as_it_is_until_its_results_are_deleted(store: Store) -> None:
    quiz = made(store)
    sit(store, quiz, SECRET, "")
    new = quiz_from(store, "anna", {**told(store), "title": "New"})
    with pytest.raises(ValueError, match="duplicate it"):
        save_quiz(store, "anna", quiz.id, new)
    copied = copy_quiz(store, "anna", quiz.id)
    assert copied.questions == quiz.questions
    assert copied.token != quiz.token
    assert delete_sittings(store, "anna", quiz.id) == 1
    assert save_quiz(store, "anna", quiz.id, new).title == "New"


def test_deleting_a_quiz_deletes_what_was_answered(store: Store) -> None:
    quiz = made(store)
    sit(store, quiz, SECRET, "")
    answer(store, quiz, SECRET, 0, [0])
    delete_quiz(store, "anna", quiz.id)
    with store.read() as db:
        assert [db.execute(f"SELECT COUNT(*) FROM {t}").fetchone()[0] for t in ("sittings", "answers")] == [0, 0]
    assert quiz_of_token(store, quiz.token) is None


def test_results_tell_which_wrong_answers_were_given(store: Store) -> None:
    quiz = made(store)
    for i, said in enumerate(([0], [1], [1])):
        secret = f"{i:032}"
        sit(store, quiz, secret, f"learner {i}")
        answer(store, quiz, secret, 0, said)
    row = tally(quiz, sittings_of(store, "anna", quiz.id))[0]
    assert (row["answered"], row["right"], row["others"]) == (3, 1, [("mass", 2)])


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", " =1", "＝1"])
def test_no_cell_of_the_table_is_a_formula(store: Store, name: str) -> None:
    quiz = made(store)
    sit(store, quiz, SECRET, name)
    answer(store, quiz, SECRET, 4, '=HYPERLINK("http://evil.example","x")')
    content = results_csv(quiz, sittings_of(store, "anna", quiz.id))
    assert content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
    assert len(rows) == 2
    assert all(not cell.strip().startswith(("=", "+", "-", "@", "＝")) for row in rows for cell in row)
    assert rows[1][0].strip().startswith("'")
