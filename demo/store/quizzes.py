"""Quizzes: questions about pictures, which learners open by a link.

The link's token is random (192 bits) and the only key that a learner has; the quiz's id is the teacher's and is never
shown to learners. What learners answer is in `vesalius.demo.store.sittings`.
"""

from __future__ import annotations

import json
import math
import secrets
import sqlite3
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, get_args

from PIL import Image

from vesalius.demo.page import text_within
from vesalius.demo.sentences import Refusal, name_of
from vesalius.demo.store.pictures import file_of, find_picture
from vesalius.demo.store.schema import Store

Kind = Literal["single", "multiple", "point", "normal", "text"]
"""One right choice; several; a place in the picture; normal or abnormal; free text, which is kept and not scored."""
Tell = Literal["each", "end"]
"""When learners are told what is right: after each answer, or after the last."""
MOST_QUIZZES, MOST_QUESTIONS, MOST_CHOICES = 200, 50, 8
MOST_TITLE, MOST_TEXT, MOST_CHOICE, MOST_EXPLANATION = 120, 500, 200, 2000
NORMAL, ABNORMAL = 0, 1
"""What the choices of a question of kind "normal" stand for."""


@dataclass(frozen=True, kw_only=True)
class Circle:
    """A place in a picture: centre as shares of its width and height, radius as a share of its width; aspect: its
    height over its width."""

    x: float
    y: float
    radius: float
    aspect: float = 1.0

    def holds(self, x: float, y: float) -> bool:
        """Whether a point, in shares of width and height, lies in it."""
        return math.hypot(x - self.x, (y - self.y) * self.aspect) <= self.radius


@dataclass(frozen=True, kw_only=True)
class Question:
    """One question about one picture. right: places of the right choices. circle: where a point is right."""

    kind: Kind
    picture: str
    text: str
    choices: tuple[str, ...] = ()
    right: tuple[int, ...] = ()
    circle: Circle | None = None
    explanation: str = ""

    @property
    def is_scored(self) -> bool:
        return self.kind != "text"


@dataclass(frozen=True, kw_only=True)
class Quiz:
    """A teacher's quiz. shuffled: each learner gets the questions, and their choices, in an order of their own. note:
    what learners read before they start. num_sittings: learners who started."""

    title: str
    questions: tuple[Question, ...]
    shuffled: bool = True
    tell: Tell = "each"
    note: str = ""
    id: str = ""
    token: str = ""
    account: str = ""
    is_open: bool = True
    created: float = 0.0
    num_sittings: int = 0

    def to_json(self) -> dict[str, Any]:
        """All of it, for its teacher alone."""
        return asdict(self)


def quiz_from(store: Store, account: str, told: Mapping[str, Any]) -> Quiz:
    """A quiz of what a page or a script sends. ValueError where a part is missing, too long, or someone else's."""
    title = text_within(told.get("title"), MOST_TITLE, "The title").strip()
    if not title:
        raise Refusal("Give the quiz a title", "请填写测验的标题")
    rows = told.get("questions")
    if not isinstance(rows, list | tuple) or not 1 <= len(rows) <= MOST_QUESTIONS:
        raise Refusal(
            f"A quiz has 1 to {MOST_QUESTIONS} questions; add one, or split the quiz",
            f"测验应有 1 至 {MOST_QUESTIONS} 题；请添加，或拆分测验",
        )
    tell = told.get("tell", "each")
    if tell not in get_args(Tell):
        raise Refusal(
            "Learners are told what is right after 'each' answer or at the 'end'",
            "学员可在每题之后（each）或结束时（end）得知答案",
        )
    note = text_within(told.get("note"), MOST_EXPLANATION, "The introduction").strip()
    questions = tuple(_question(store, account, row, place) for place, row in enumerate(rows, 1))
    return Quiz(title=title, questions=questions, shuffled=told.get("shuffled") is not False, tell=tell, note=note)


def _question(store: Store, account: str, row: Any, place: int) -> Question:
    where = f"Question {place}"
    if not isinstance(row, Mapping):
        raise Refusal(f"{where}: expected kind, picture and text", f"{name_of(where)}：应包含 kind、picture 和 text")
    kind: Any = row.get("kind")
    if kind not in get_args(Kind):
        raise Refusal(
            f"{where}: the kind is one of {', '.join(get_args(Kind))}",
            f"{name_of(where)}：题型应为 {'、'.join(get_args(Kind))} 之一",
        )
    text = text_within(row.get("text"), MOST_TEXT, f"{where}: the question").strip()
    if not text:
        raise Refusal(f"{where}: write what is asked", f"{name_of(where)}：请写明问题")
    picture = find_picture(store, account, text_within(row.get("picture"), 100, f"{where}: the picture"))
    question = Question(
        kind=kind, picture=picture.id, text=text,
        explanation=text_within(row.get("explanation"), MOST_EXPLANATION, f"{where}: the explanation").strip(),
    )  # fmt: skip
    if kind in ("single", "multiple"):
        return _with_choices(question, row, where)
    if kind == "normal":
        right = tuple(row.get("right") or ())
        if right not in ((NORMAL,), (ABNORMAL,)):
            raise Refusal(
                f"{where}: say whether the picture is normal (0) or abnormal (1)",
                f"{name_of(where)}：请指明图像正常（0）还是异常（1）",
            )
        return replace(question, right=right)
    if kind == "point":
        with Image.open(file_of(store, picture), formats=("PNG",)) as image:
            aspect = image.height / image.width
        return replace(question, circle=_circle(row.get("circle"), aspect, where))
    return question


def _with_choices(question: Question, row: Mapping[str, Any], where: str) -> Question:
    choices = row.get("choices")
    if not isinstance(choices, list | tuple) or not 2 <= len(choices) <= MOST_CHOICES:
        raise Refusal(
            f"{where}: give 2 to {MOST_CHOICES} choices", f"{name_of(where)}：请给出 2 至 {MOST_CHOICES} 个选项"
        )
    texts = tuple(text_within(each, MOST_CHOICE, f"{where}: a choice").strip() for each in choices)
    if not all(texts):
        raise Refusal(
            f"{where}: a choice is empty; fill it in or remove it", f"{name_of(where)}：有一个选项为空；请填写或移除"
        )
    if len({each.casefold() for each in texts}) < len(texts):
        raise Refusal(
            f"{where}: two choices are the same; change one of them", f"{name_of(where)}：有两个选项相同；请修改其一"
        )
    right = row.get("right")
    if not isinstance(right, list | tuple) or not all(type(r) is int and 0 <= r < len(texts) for r in right):
        raise Refusal(
            f"{where}: mark the right choice by its place, from 0", f"{name_of(where)}：请按位置标出正确选项，从 0 数起"
        )
    marked = tuple(sorted(set(right)))
    if not marked or (question.kind == "single" and len(marked) != 1):
        raise Refusal(
            f"{where}: mark {'the one right choice' if question.kind == 'single' else 'a right choice'}",
            f"{name_of(where)}：请标出{'唯一的正确选项' if question.kind == 'single' else '一个正确选项'}",
        )
    return replace(question, choices=texts, right=marked)


def _circle(told: Any, aspect: float, where: str) -> Circle:
    numbers: list[Any] = [told.get(name) for name in ("x", "y", "radius")] if isinstance(told, Mapping) else []
    if not numbers or not all(type(n) in (int, float) and 0 <= n <= 1 for n in numbers) or numbers[2] < 0.01:
        raise Refusal(
            f"{where}: draw a circle on the picture where a click is right",
            f"{name_of(where)}：请在图像上画圈，标出点击正确的位置",
        )
    return Circle(x=float(numbers[0]), y=float(numbers[1]), radius=float(numbers[2]), aspect=aspect)


_QUIZ = "SELECT *, (SELECT COUNT(*) FROM sittings s WHERE s.quiz = quizzes.id) AS num_sittings FROM quizzes"


def add_quiz(store: Store, account: str, quiz: Quiz) -> Quiz:
    """Keep a new quiz, open, under a new link. ValueError where a person has too many."""
    quiz_id = secrets.token_urlsafe(12)
    with store.write() as db:
        (count,) = db.execute("SELECT COUNT(*) FROM quizzes WHERE account = ?", [account]).fetchone()
        if count >= MOST_QUIZZES:
            raise Refusal(
                f"You have {count} quizzes, and no more are kept; delete one that is over",
                f"您有 {count} 个测验，已达上限；请删除一个已结束的",
            )
        db.execute(
            "INSERT INTO quizzes (id, token, account, title, body, created) VALUES (?, ?, ?, ?, ?, ?)",
            [quiz_id, secrets.token_urlsafe(24), account, quiz.title, _body(quiz), time.time()],
        )
    return find_quiz(store, account, quiz_id)


def save_quiz(store: Store, account: str, quiz: str, new: Quiz) -> Quiz:
    """Change a quiz. ValueError where learners have started it, whose answers would then be to other questions."""
    find_quiz(store, account, quiz)
    with store.write() as db:
        if db.execute("SELECT 1 FROM sittings WHERE quiz = ? LIMIT 1", [quiz]).fetchone():
            raise Refusal(
                "Learners have started this quiz, so it stays as it is; duplicate it and change the copy, or delete "
                "their results first",
                "已有学员开始该测验，因此不能更改；请复制后修改副本，或先删除其结果",
            )
        db.execute(
            "UPDATE quizzes SET title = ?, body = ? WHERE id = ? AND account = ?",
            [new.title, _body(new), quiz, account],
        )
    return find_quiz(store, account, quiz)


def copy_quiz(store: Store, account: str, quiz: str) -> Quiz:
    """The same questions under a new link, without results."""
    old = find_quiz(store, account, quiz)
    return add_quiz(store, account, replace(old, title=f"{old.title[: MOST_TITLE - 4]} (2)"))


def find_quiz(store: Store, account: str, quiz: str) -> Quiz:
    """A person's quiz. ValueError where they have none of that name, whoever else may."""
    with store.read() as db:
        row = db.execute(f"{_QUIZ} WHERE id = ? AND account = ?", [quiz, account]).fetchone()
    if row is None:
        raise Refusal("This quiz is no longer here, or is someone else's", "该测验已不在此处，或属于他人")
    return _quiz(row)


def quiz_of_token(store: Store, token: str) -> Quiz | None:
    """The quiz that a learner's link opens."""
    with store.read() as db:
        row = db.execute(f"{_QUIZ} WHERE token = ?", [token]).fetchone()
    return None if row is None else _quiz(row)


def quizzes_of(store: Store, account: str) -> list[Quiz]:
    """A person's quizzes, the newest first."""
    with store.read() as db:
        rows = db.execute(f"{_QUIZ} WHERE account = ? ORDER BY created DESC", [account]).fetchall()
    return [_quiz(row) for row in rows]


def open_quiz(store: Store, account: str, quiz: str, *, is_open: bool) -> Quiz:
    """Let learners answer, or no longer."""
    find_quiz(store, account, quiz)
    with store.write() as db:
        db.execute("UPDATE quizzes SET is_open = ? WHERE id = ? AND account = ?", [is_open, quiz, account])
    return find_quiz(store, account, quiz)


def delete_quiz(store: Store, account: str, quiz: str) -> None:
    """Delete a quiz and what learners answered."""
    find_quiz(store, account, quiz)
    with store.write() as db:
        db.execute("DELETE FROM quizzes WHERE id = ? AND account = ?", [quiz, account])


def _body(quiz: Quiz) -> str:
    parts = {"questions": [asdict(q) for q in quiz.questions], "shuffled": quiz.shuffled, "tell": quiz.tell}
    return json.dumps({**parts, "note": quiz.note})


def _quiz(row: sqlite3.Row) -> Quiz:
    body = json.loads(row["body"])
    questions = tuple(
        Question(**{
            **each, "choices": tuple(each["choices"]), "right": tuple(each["right"]),
            "circle": each["circle"] and Circle(**each["circle"]),
        })
        for each in body["questions"]
    )  # fmt: skip
    return Quiz(
        title=row["title"], questions=questions, shuffled=body["shuffled"], tell=body["tell"], note=body["note"],
        id=row["id"], token=row["token"], account=row["account"], is_open=bool(row["is_open"]),
        created=row["created"], num_sittings=row["num_sittings"],
    )  # fmt: skip
