"""What the tab 'Quiz' fetches: a teacher's quizzes, their results, and what they are made of. Each only for its owner.

Bodies and answers are JSON; errors are {"error": a sentence for a teacher}.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from dataclasses import asdict
from typing import Annotated, Any
from urllib.parse import quote, urlsplit

import segno
from fastapi import Body, FastAPI, Request
from fastapi.responses import JSONResponse, Response

from vesalius.demo.page import LABEL, Desk, language_of, text_within
from vesalius.demo.quiz.making import cases_of, distractors, findings_of, questions_of
from vesalius.demo.quiz.words import WORDS
from vesalius.demo.routes import http, refused, required
from vesalius.demo.sentences import RATER, Refusal
from vesalius.demo.store.accounts import find_account
from vesalius.demo.store.pictures import find_picture, pictures_of
from vesalius.demo.store.quizzes import (
    MOST_CHOICE,
    MOST_CHOICES,
    MOST_QUESTIONS,
    Quiz,
    add_quiz,
    copy_quiz,
    delete_quiz,
    find_quiz,
    open_quiz,
    quiz_from,
    quizzes_of,
    save_quiz,
)
from vesalius.demo.store.sittings import delete_sittings, results_csv, sittings_of, tally

Told = Annotated[dict[str, Any], Body()]


def add_desk_routes(app: FastAPI, desk: Desk) -> Callable[[Request, str], Quiz]:
    """Add them to a server; gives what finds a quiz of who asks."""
    store = desk.store

    def teacher(request: Request) -> str:
        account = find_account(store, required(desk, request))
        if account.role == "rater":
            raise http(403, Refusal.of(RATER), request)
        return account.name

    def own(request: Request, quiz: str) -> Quiz:
        try:
            return find_quiz(store, teacher(request), quiz)
        except ValueError as error:
            raise http(404, error, request) from None

    def plain(request: Request, action: Callable[[], Any]) -> Response:
        try:
            return JSONResponse(action(), 200, {"cache-control": "no-store"})
        except ValueError as error:
            return refused(error, request)

    @app.get("/quizzes")
    def listed(request: Request) -> Response:
        account = teacher(request)
        return plain(request, lambda: [summary(quiz) for quiz in quizzes_of(store, account)])

    @app.post("/quizzes")
    def make(told: Told, request: Request) -> Response:
        account = teacher(request)
        return plain(request, lambda: add_quiz(store, account, quiz_from(store, account, told)).to_json())

    @app.get("/quizzes/words")
    def words(request: Request) -> Response:
        teacher(request)
        place = int(language_of(request) == "zh")  # type: ignore[arg-type]
        return JSONResponse({key.partition(".")[2]: said[place] for key, said in WORDS.items()})

    @app.get("/quizzes/pictures")
    def pictures(request: Request) -> Response:
        account = teacher(request)
        return plain(request, lambda: [
            {"id": p.id, "text": p.sample.text, "modality": p.sample.modality} for p in pictures_of(store, account)
        ])  # fmt: skip

    @app.get("/quizzes/cases")
    def cases(request: Request) -> Response:
        account = teacher(request)
        return plain(request, lambda: [{"id": c.id, "title": c.title} for c in cases_of(store, account)])

    @app.post("/quizzes/propose")
    def propose(told: Told, request: Request) -> Response:
        account = teacher(request)
        return plain(request, lambda: proposed(desk, account, request, told))

    @app.get("/quizzes/{quiz}.csv")
    def table(quiz: str, request: Request) -> Response:
        found = own(request, quiz)
        name = quote(re.sub(r"[^\w -]", "", found.title).strip()[:60] or "quiz")
        return Response(
            results_csv(found, sittings_of(store, found.account, found.id)), media_type="text/csv; charset=utf-8",
            headers={"content-disposition": f"attachment; filename*=UTF-8''{name}.csv", "cache-control": "no-store"},
        )  # fmt: skip

    @app.get("/quizzes/{quiz}/qr.svg")
    def code(quiz: str, request: Request, origin: str = "") -> Response:
        found = own(request, quiz)
        drawn = io.BytesIO()
        segno.make(f"{origin_of(request, origin)}/quiz/{found.token}", error="m").save(
            drawn, kind="svg", scale=8, border=4, light="#ffffff", svgclass=None, lineclass=None
        )
        return Response(drawn.getvalue(), media_type="image/svg+xml", headers={"cache-control": "no-store"})

    @app.get("/quizzes/{quiz}/results")
    def results(quiz: str, request: Request) -> Response:
        found = own(request, quiz)
        return plain(request, lambda: results_of(desk, found))

    @app.delete("/quizzes/{quiz}/sittings")
    def forget_all(quiz: str, request: Request) -> Response:
        found = own(request, quiz)
        return plain(request, lambda: {"deleted": delete_sittings(store, found.account, found.id)})

    @app.delete("/quizzes/{quiz}/sittings/{sitting}")
    def forget(quiz: str, sitting: str, request: Request) -> Response:
        found = own(request, quiz)
        return plain(request, lambda: {"deleted": delete_sittings(store, found.account, found.id, sitting)})

    @app.get("/quizzes/{quiz}")
    def whole(quiz: str, request: Request) -> Response:
        return JSONResponse(own(request, quiz).to_json(), 200, {"cache-control": "no-store"})

    @app.put("/quizzes/{quiz}")
    def save(quiz: str, told: Told, request: Request) -> Response:
        found = own(request, quiz)
        return plain(
            request, lambda: save_quiz(store, found.account, found.id, quiz_from(store, found.account, told)).to_json()
        )

    @app.put("/quizzes/{quiz}/open")
    def set_open(quiz: str, told: Told, request: Request) -> Response:
        found = own(request, quiz)
        return plain(
            request, lambda: summary(open_quiz(store, found.account, found.id, is_open=told.get("open") is True))
        )

    @app.post("/quizzes/{quiz}/copy")
    def copy(quiz: str, request: Request) -> Response:
        found = own(request, quiz)
        return plain(request, lambda: summary(copy_quiz(store, found.account, found.id)))

    @app.delete("/quizzes/{quiz}")
    def remove(quiz: str, request: Request) -> Response:
        found = own(request, quiz)
        delete_quiz(store, found.account, found.id)
        return JSONResponse({"deleted": found.id})

    return own


def summary(quiz: Quiz) -> dict[str, Any]:
    """A quiz as lists show it."""
    return {
        "id": quiz.id, "title": quiz.title, "link": f"/quiz/{quiz.token}", "is_open": quiz.is_open,
        "questions": len(quiz.questions), "sittings": quiz.num_sittings, "created": quiz.created,
    }  # fmt: skip


def results_of(desk: Desk, quiz: Quiz) -> dict[str, Any]:
    """What learners answered: of each learner, and of each question."""
    sittings = sittings_of(desk.store, quiz.account, quiz.id)
    learners = [
        {
            "id": s.id, "learner": s.learner, "started": s.started, "ended": s.ended, "answered": len(s.answers),
            "score": s.score(quiz)[0], "of": s.score(quiz)[1],
        }
        for s in sittings
    ]  # fmt: skip
    rows = [
        {**row, "picture": q.picture, "circle": q.circle and asdict(q.circle)}
        for row, q in zip(tally(quiz, sittings), quiz.questions, strict=True)
    ]
    return {**summary(quiz), "learners": learners, "by_question": rows, "label": LABEL}


def proposed(desk: Desk, account: str, request: Any, told: dict[str, Any]) -> dict[str, Any]:
    """Questions about pictures, and for each modality the findings from which further choices may be taken."""
    case = text_within(told.get("case"), 100, "The case's name")
    if case:
        found = next((c for c in cases_of(desk.store, account) if c.id == case), None)
        if found is None:
            raise Refusal("This case is no longer here, or is someone else's", "该病例已不在此处，或属于他人")
        told = {**told, "pictures": list(found.pictures), "diagnosis": found.diagnosis[:MOST_CHOICE]}
        told["differential"] = [each[:MOST_CHOICE] for each in found.differential[: MOST_CHOICES - 1]]
        captions = found.captions
        if not found.pictures:
            raise Refusal(
                "No picture of this case is shown before its answer; add one to the case",
                "该病例在答案之前没有图像；请为病例添加一幅",
            )
    else:
        captions = ()
    ids = told.get("pictures")
    if not isinstance(ids, list) or not 1 <= len(ids) <= MOST_QUESTIONS:
        raise Refusal(f"Choose 1 to {MOST_QUESTIONS} pictures", f"请选择 1 至 {MOST_QUESTIONS} 幅图像")
    pictures = [find_picture(desk.store, account, text_within(each, 100, "A picture's name")) for each in ids]
    differential = told.get("differential") or []
    if not isinstance(differential, list) or len(differential) >= MOST_CHOICES:
        raise Refusal(f"Give at most {MOST_CHOICES - 1} other diagnoses", f"最多填写 {MOST_CHOICES - 1} 个其他诊断")
    language = language_of(request)
    questions = questions_of(
        pictures, desk.support, language, captions=captions,
        diagnosis=text_within(told.get("diagnosis"), MOST_CHOICE, "The diagnosis").strip(),
        differential=[each for d in differential if (each := text_within(d, MOST_CHOICE, "A diagnosis").strip())],
    )  # fmt: skip
    shown = {p.id: [f.kind for f in findings_of(p, desk.support)] for p in pictures}
    return {
        "questions": [asdict(q) for q in questions],
        "modalities": {p.id: p.sample.modality for p in pictures},
        "others": {p.id: distractors(desk.support, p.sample.modality, shown[p.id], language)[:20] for p in pictures},
    }


def origin_of(request: Request, told: str) -> str:
    """Scheme, name and port of the page as its reader's browser knows them, which a proxy may hide from the server."""
    parts = urlsplit(told)
    if parts.scheme in ("http", "https") and parts.netloc == request.headers.get("host"):
        return f"{parts.scheme}://{parts.netloc}"
    return str(request.base_url).rstrip("/")
