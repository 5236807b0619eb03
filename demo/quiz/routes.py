"""What a learner's browser fetches: a light page, its questions, and what to do with each answer. No login, no gradio.

All is JSON; TOKEN is in the link that the teacher shows, SITTING a secret of 22 or more letters that the learner's
browser makes up, N the number of a question from 0.

    GET /quiz/TOKEN                            the page; 404 where no quiz has this token
    GET /quiz/TOKEN/picture/N                  the picture of a question: pixels alone, without text chunks or a name
    PUT /quiz/TOKEN/sittings/SITTING           {"name": "..."} starts, or goes on; -> state
    GET /quiz/TOKEN/sittings/SITTING           -> state
    PUT /quiz/TOKEN/sittings/SITTING/answers/N {"said": [places] | {"x", "y"} | "text"} -> told; the first answer counts

    state  {"title", "note", "tell", "is_open", "is_over", "questions": [...], "answers": {N: told}}, the questions in
           the learner's order, each with number, kind, text and choices, and nothing of what is right
    told   {"said"}, and where the learner may know it {"right": true | false | null, "answer", "explanation"}

Errors are {"error": "closed" | "full" | "unknown" | "bad" | "slow"} with 403, 409, 404, 400 and 429.
`/quizzes/ID/preview` is the same for the teacher, and keeps nothing (`vesalius.demo.quiz.desk`).
"""

from __future__ import annotations

import html
from importlib import resources
from typing import Annotated, Any

import numpy as np
from fastapi import Body, FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response
from PIL import Image

from vesalius.demo.guard.limits import Limit, unnamed_address
from vesalius.demo.page import Desk
from vesalius.demo.quiz.desk import add_desk_routes
from vesalius.demo.store.pictures import file_of, find_picture
from vesalius.demo.store.quizzes import Quiz, quiz_of_token
from vesalius.demo.store.sittings import (
    Answer,
    RefusedError,
    Sitting,
    answer,
    choices_of,
    find_sitting,
    is_right,
    order_of,
    said_of,
    sit,
)
from vesalius.eval.shown import stored_png

# Of one address within ten minutes. A class of a hundred behind one router stays below.
MOST_REQUESTS, MOST_STARTS, SECONDS = 12_000, 400, 600.0
STATUS = {"closed": 403, "full": 409, "unknown": 404, "bad": 400, "slow": 429}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
PRIVATE = {"cache-control": "no-store", "x-robots-tag": "noindex, nofollow"}
CLOSED = "This quiz is closed. 本测验已关闭。"
WRONG = "There is no quiz at this address. Check the link with your teacher. 此地址没有测验，请向老师核对链接。"
Told = Annotated[dict[str, Any], Body()]


def add_quiz_routes(app: FastAPI, desk: Desk) -> None:
    """Add the learners' and the teacher's to a server."""
    requests, starts = Limit(MOST_REQUESTS, SECONDS), Limit(MOST_STARTS, SECONDS)

    def found(request: Request, token: str) -> Quiz:
        if not requests.add(unnamed_address(request.client and request.client.host)):
            raise RefusedError("slow")
        quiz = quiz_of_token(desk.store, token)
        if quiz is None:
            raise RefusedError("unknown")
        return quiz

    @app.exception_handler(RefusedError)
    def refused(_: Request, error: Exception) -> Response:
        return JSONResponse({"error": str(error)}, STATUS[str(error)], PRIVATE)

    @app.get("/quiz/{token}")
    def page(token: str, request: Request) -> Response:
        try:
            quiz = found(request, token)
        except RefusedError as error:
            return learner_page(WRONG, status=STATUS[str(error)])
        return learner_page("" if quiz.is_open else CLOSED, quiz=quiz)

    @app.get("/quiz/{token}/picture/{number}")
    def picture(token: str, number: int, request: Request) -> Response:
        return question_picture(desk, found(request, token), number)

    @app.put("/quiz/{token}/sittings/{sitting}")
    def start(token: str, sitting: str, told: Told, request: Request) -> Response:
        quiz = found(request, token)
        if find_sitting(desk.store, quiz, sitting) is None and not starts.add(
            unnamed_address(request.client and request.client.host)
        ):
            raise RefusedError("slow")
        return JSONResponse(state(quiz, sitting, sit(desk.store, quiz, sitting, told.get("name", ""))), 200, PRIVATE)

    @app.get("/quiz/{token}/sittings/{sitting}")
    def look(token: str, sitting: str, request: Request) -> Response:
        quiz = found(request, token)
        there = find_sitting(desk.store, quiz, sitting)
        if there is None:
            raise RefusedError("unknown")
        return JSONResponse(state(quiz, sitting, there), 200, PRIVATE)

    @app.put("/quiz/{token}/sittings/{sitting}/answers/{number}")
    def say_it(token: str, sitting: str, number: int, told: Told, request: Request) -> Response:
        quiz = found(request, token)
        there = answer(desk.store, quiz, sitting, number, as_teacher(quiz, sitting, number, told.get("said")))
        return JSONResponse(state(quiz, sitting, there)["answers"][number], 200, PRIVATE)

    @app.get("/quizzes/{quiz}/preview/picture/{number}")
    def preview_picture(quiz: str, number: int, request: Request) -> Response:
        return question_picture(desk, own(request, quiz), number)

    @app.get("/quizzes/{quiz}/preview")
    def preview_page(quiz: str, request: Request) -> Response:
        return learner_page(quiz=own(request, quiz))

    @app.put("/quizzes/{quiz}/preview/sittings/{sitting}")
    def preview_start(quiz: str, sitting: str, request: Request) -> Response:
        nobody = Sitting(id="", learner="", started=0, ended=None)
        return JSONResponse({**state(own(request, quiz), sitting, nobody), "is_open": True}, 200, PRIVATE)

    @app.put("/quizzes/{quiz}/preview/sittings/{sitting}/answers/{number}")
    def preview_answer(quiz: str, sitting: str, number: int, told: Told, request: Request) -> Response:
        shown = own(request, quiz)
        said = said_of(shown, number, as_teacher(shown, sitting, number, told.get("said")))
        given = Answer(said=said, is_right=is_right(shown.questions[number], said))
        return JSONResponse(told_of_answer(shown, sitting, number, given), 200, PRIVATE)

    own = add_desk_routes(app, desk)


def learner_page(remark: str = "", *, quiz: Quiz | None = None, status: int = 200) -> Response:
    """The page with a quiz's title and introduction; a remark where it cannot be taken."""
    text = (resources.files("vesalius.demo") / "web" / "learner.html").read_text()
    text = text.replace("<!--remark-->", f'<p id="remark" role="alert">{remark}</p>' if remark else "")
    if quiz is not None:
        title, note = html.escape(quiz.title), html.escape(quiz.note)
        about = f'<div id="about"><h1>{title}</h1>' + (f'<p class="said">{note}</p>' if note else "") + "</div>"
        text = text.replace("<!--about-->", about)
    return HTMLResponse(text, status, {**PRIVATE, "content-security-policy": POLICY})


def question_picture(desk: Desk, quiz: Quiz, number: int) -> Response:
    """A question's picture as pixels alone, of a length that its size alone decides."""
    if not 0 <= number < len(quiz.questions):
        raise RefusedError("unknown")
    try:
        path = file_of(desk.store, find_picture(desk.store, quiz.account, quiz.questions[number].picture))
        with Image.open(path, formats=("PNG",)) as image:
            pixels = np.asarray(image.convert("L" if image.mode in ("L", "I;16", "1") else "RGB"))
    except (ValueError, OSError):
        raise RefusedError("unknown") from None
    png = stored_png(pixels if pixels.ndim == 3 else pixels[..., None])
    return Response(png, 200, {"cache-control": "private, max-age=3600"}, media_type="image/png")


def state(quiz: Quiz, secret: str, sitting: Sitting) -> dict[str, Any]:
    """What a learner's page is told: the questions in the learner's order, and what was answered."""
    is_over = len(sitting.answers) == len(quiz.questions)
    tells = quiz.tell == "each" or is_over or not quiz.is_open
    questions = []
    for number in order_of(quiz, secret):
        question = quiz.questions[number]
        choices = [question.choices[place] for place in choices_of(quiz, secret, number)]
        questions.append({"number": number, "kind": question.kind, "text": question.text, "choices": choices})
    answers = {n: told_of_answer(quiz, secret, n, given) for n, given in sitting.answers.items()}
    return {
        "title": quiz.title, "note": quiz.note, "tell": quiz.tell, "is_open": quiz.is_open, "is_over": is_over,
        "questions": questions, "answers": answers if tells else {n: {"said": a["said"]} for n, a in answers.items()},
    }  # fmt: skip


def told_of_answer(quiz: Quiz, secret: str, number: int, given: Answer) -> dict[str, Any]:
    """A given answer, what is right, and why, with choices by their places in the learner's order."""
    question = quiz.questions[number]
    order = choices_of(quiz, secret, number)

    def places(those: Any) -> Any:
        return sorted(order.index(p) for p in those) if question.choices else list(those)

    said = places(given.said) if isinstance(given.said, list) else given.said
    circle = question.circle and {"x": question.circle.x, "y": question.circle.y, "radius": question.circle.radius}
    return {
        "said": said, "right": given.is_right if question.is_scored else None,
        "answer": circle or places(question.right), "explanation": question.explanation,
    }  # fmt: skip


def as_teacher(quiz: Quiz, secret: str, number: int, said: Any) -> Any:
    """An answer with the places of choices as the teacher ordered them; what is no answer stays none."""
    if not 0 <= number < len(quiz.questions):
        raise RefusedError("bad")
    order = choices_of(quiz, secret, number)
    if not order or not isinstance(said, list):
        return said
    return [order[p] if type(p) is int and 0 <= p < len(order) else -1 for p in said]
