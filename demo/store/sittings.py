"""What learners answer: a sitting is one learner's way through one quiz.

The learner's browser makes up a secret, which is the sitting's only key; its digest is kept. Nothing else is known of
the learner but the name that they may give. The first answer to a question counts, so that sending it again is safe.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import random
import re
import sqlite3
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from vesalius.demo.store.quizzes import Question, Quiz, find_quiz
from vesalius.demo.store.schema import Store

MOST_SITTINGS, MOST_NAME, MOST_SAID = 500, 40, 1000
_SECRET = re.compile(r"[A-Za-z0-9_-]{22,64}", re.ASCII)
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""A cell that begins so is a formula to a spreadsheet."""
Said = list[int] | dict[str, float] | str
"""Places of choices, as the teacher ordered them; a point {"x", "y"}; or text."""


class RefusedError(ValueError):
    """Why a learner's wish is refused: "closed", "full", "unknown", "bad" or "slow"; the page has the words."""


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a learner said to a question. is_right: False too where it is not scored."""

    said: Said
    is_right: bool


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """One learner's answers, by the numbers of the questions. id: a digest, which opens nothing."""

    id: str
    learner: str
    started: float
    ended: float | None
    answers: Mapping[int, Answer] = field(default_factory=dict)

    def score(self, quiz: Quiz) -> tuple[int, int]:
        """How many of the scored questions are right, and how many there are."""
        scored = [n for n, q in enumerate(quiz.questions) if q.is_scored]
        return sum(n in self.answers and self.answers[n].is_right for n in scored), len(scored)


def sit(store: Store, quiz: Quiz, secret: str, learner: str) -> Sitting:
    """Start a sitting, or go on with it. RefusedError where the quiz is closed or full, or secret or name is none."""
    if not _SECRET.fullmatch(secret):
        raise RefusedError("bad")
    name = " ".join(_within(learner, MOST_NAME).split())
    with store.write() as db:
        if not db.execute("SELECT 1 FROM sittings WHERE id = ?", [_key(quiz, secret)]).fetchone():
            if not _is_open(db, quiz):
                raise RefusedError("closed")
            (count,) = db.execute("SELECT COUNT(*) FROM sittings WHERE quiz = ?", [quiz.id]).fetchone()
            if count >= MOST_SITTINGS:
                raise RefusedError("full")
            db.execute(
                "INSERT INTO sittings (id, quiz, learner, started) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING",
                [_key(quiz, secret), quiz.id, name, time.time()],
            )
    found = find_sitting(store, quiz, secret)
    if found is None:
        raise RefusedError("unknown")
    return found


def find_sitting(store: Store, quiz: Quiz, secret: str) -> Sitting | None:
    """The sitting of a secret, with its answers."""
    return next(iter(_sittings(store, quiz, _key(quiz, secret))), None)


def answer(store: Store, quiz: Quiz, secret: str, number: int, said: Any) -> Sitting:
    """Keep a learner's answer; where there is one already, that one stays. RefusedError where the quiz is closed or
    the answer is none."""
    kept = said_of(quiz, number, said)
    question = quiz.questions[number]
    with store.write() as db:
        sitting = db.execute(
            "SELECT id FROM sittings WHERE id = ? AND quiz = ?", [_key(quiz, secret), quiz.id]
        ).fetchone()
        if sitting is None:
            raise RefusedError("unknown")
        told = [sitting["id"], number, json.dumps(kept), is_right(question, kept), time.time()]
        is_known = db.execute("SELECT 1 FROM answers WHERE sitting = ? AND question = ?", told[:2]).fetchone()
        if not is_known and not _is_open(db, quiz):
            raise RefusedError("closed")
        db.execute("INSERT INTO answers VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING", told)
        db.execute(
            "UPDATE sittings SET ended = ? WHERE id = ? AND ended IS NULL AND "
            "(SELECT COUNT(*) FROM answers WHERE sitting = sittings.id) >= ?",
            [time.time(), sitting["id"], len(quiz.questions)],
        )
    found = find_sitting(store, quiz, secret)
    assert found is not None
    return found


def is_right(question: Question, said: Said) -> bool:
    """Whether an answer is right; never of free text."""
    if question.kind == "point":
        assert isinstance(said, dict)
        return question.circle is not None and question.circle.holds(said["x"], said["y"])
    return question.is_scored and said == list(question.right)


def said_of(quiz: Quiz, number: int, said: Any) -> Said:
    """What is kept of what a learner sends. RefusedError where it is no answer to this question."""
    if not 0 <= number < len(quiz.questions):
        raise RefusedError("bad")
    question = quiz.questions[number]
    if question.kind == "text":
        return _within(said, MOST_SAID)
    if question.kind == "point":
        places: list[Any] = [said.get("x"), said.get("y")] if isinstance(said, dict) else []
        if len(places) != 2 or not all(type(p) in (int, float) and 0 <= p <= 1 for p in places):
            raise RefusedError("bad")
        return {"x": float(places[0]), "y": float(places[1])}
    num = 2 if question.kind == "normal" else len(question.choices)
    most = num if question.kind == "multiple" else 1
    if (
        not isinstance(said, list)
        or not 1 <= len(said) <= most
        or not all(type(s) is int and 0 <= s < num for s in said)
    ):
        raise RefusedError("bad")
    return sorted(set(said))


def order_of(quiz: Quiz, secret: str) -> list[int]:
    """The numbers of the questions in the order in which a learner meets them."""
    return _shuffled(len(quiz.questions), f"{quiz.id}/{secret}") if quiz.shuffled else [*range(len(quiz.questions))]


def choices_of(quiz: Quiz, secret: str, number: int) -> list[int]:
    """The places of a question's choices in the order in which a learner meets them.

    The quiz's id goes into it, which learners do not know: from their own order they cannot work out the teacher's.
    """
    num = len(quiz.questions[number].choices)
    return _shuffled(num, f"{quiz.id}/{secret}/{number}") if quiz.shuffled else [*range(num)]


def _shuffled(num: int, seed: str) -> list[int]:
    order = [*range(num)]
    random.Random(_digest(seed)).shuffle(order)
    return order


def sittings_of(store: Store, account: str, quiz: str) -> list[Sitting]:
    """All that learners answered to a person's quiz, the first first."""
    return _sittings(store, find_quiz(store, account, quiz))


def delete_sittings(store: Store, account: str, quiz: str, sitting: str | None = None) -> int:
    """Delete one learner's answers, or all of a quiz; says how many there were. ValueError where the quiz is none of
    the person's."""
    find_quiz(store, account, quiz)
    with store.write() as db:
        if sitting is None:
            return db.execute("DELETE FROM sittings WHERE quiz = ?", [quiz]).rowcount
        return db.execute("DELETE FROM sittings WHERE quiz = ? AND id = ?", [quiz, sitting]).rowcount


def told_of(question: Question, said: Said) -> str:
    """An answer in words."""
    if isinstance(said, str):
        return said
    if isinstance(said, dict):
        return f"({said['x']:.2f}, {said['y']:.2f})"
    names = ("normal", "abnormal") if question.kind == "normal" else question.choices
    return "; ".join(names[place] for place in said)


def tally(quiz: Quiz, sittings: list[Sitting]) -> list[dict[str, Any]]:
    """Of each question: how many answered, how many rightly, and what the others said, most often first."""
    rows = []
    for number, question in enumerate(quiz.questions):
        given = [s.answers[number] for s in sittings if number in s.answers]
        wrong = Counter(told_of(question, a.said) for a in given if not a.is_right and question.kind != "point")
        rows.append({
            "text": question.text, "kind": question.kind, "answered": len(given),
            "right": sum(a.is_right for a in given) if question.is_scored else None, "others": wrong.most_common(20),
            "points": [{**a.said, "right": a.is_right} for a in given if isinstance(a.said, dict)],
        })  # fmt: skip
    return rows


def results_csv(quiz: Quiz, sittings: list[Sitting]) -> bytes:
    """One row a learner, as spreadsheets open it; no cell is a formula."""
    rows: list[list[object]] = [["learner", "started (UTC)", "finished (UTC)", "right", "of"]]
    rows[0] += [f"{n} {what}" for n in range(1, len(quiz.questions) + 1) for what in ("answer", "right")]
    for sitting in sittings:
        row = [sitting.learner, _utc(sitting.started), _utc(sitting.ended), *sitting.score(quiz)]
        for number, question in enumerate(quiz.questions):
            given = sitting.answers.get(number)
            right = "" if given is None or not question.is_scored else int(given.is_right)
            row += ["" if given is None else told_of(question, given.said), right]
        rows.append(row)
    text = io.StringIO()
    csv.writer(text).writerows([[_cell(each) for each in row] for row in rows])
    return text.getvalue().encode("utf-8-sig")


def _within(value: object, most: int) -> str:
    if not isinstance(value, str) or len(value) > most:
        raise RefusedError("bad")
    return value.replace("\0", "").encode(errors="replace").decode()  # half a pair of UTF-16 cannot be kept


def _cell(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and value.lstrip(" \v\f\u00a0\ufeff").startswith(_FORMULA) else value


def _utc(seconds: float | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _sittings(store: Store, quiz: Quiz, only: str | None = None) -> list[Sitting]:
    where, values = ("quiz = ?", [quiz.id]) if only is None else ("quiz = ? AND id = ?", [quiz.id, only])
    with store.read() as db:
        rows = db.execute(f"SELECT * FROM sittings WHERE {where} ORDER BY started", values).fetchall()
        given = db.execute(
            f"SELECT * FROM answers WHERE sitting IN (SELECT id FROM sittings WHERE {where}) ORDER BY time", values
        ).fetchall()
    answers: dict[str, dict[int, Answer]] = {}
    for row in given:
        said = Answer(said=json.loads(row["said"]), is_right=bool(row["is_right"]))
        answers.setdefault(row["sitting"], {})[row["question"]] = said
    return [
        Sitting(
            id=r["id"], learner=r["learner"], started=r["started"], ended=r["ended"], answers=answers.get(r["id"], {})
        )
        for r in rows
    ]


def _is_open(db: sqlite3.Connection, quiz: Quiz) -> bool:
    row = db.execute("SELECT is_open FROM quizzes WHERE id = ?", [quiz.id]).fetchone()
    return bool(row and row["is_open"])


def _key(quiz: Quiz, secret: str) -> str:
    return _digest(f"{quiz.id}/{secret}")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
