"""Quizzes as learners' and teachers' browsers fetch them."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from fastapi import FastAPI, Request
from fastapi.testclient import TestClient
from PIL import Image

from vesalius.demo import DemoConfig
from vesalius.demo.guard.guard import Guard
from vesalius.demo.guard.limits import Limit, unnamed_address
from vesalius.demo.page import Desk, Model
from vesalius.demo.quiz.desk import origin_of
from vesalius.demo.quiz.routes import add_quiz_routes
from vesalius.demo.routes import add_routes
from vesalius.demo.store.accounts import LOCAL
from vesalius.demo.store.pictures import file_of
from vesalius.demo.store.quizzes import MOST_CHOICES
from vesalius.demo.store.schema import Store

SECRET = "s" * 32
ANSWER, WHY = "pneumothorax", "The pleural line is seen."


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Desk:
    config = DemoConfig(store=tmp_path_factory.mktemp("quiz") / "store")
    model = Model(base="tiny", base_digest="b", adapter_digest=None, image_size=32, steps=1, guidance=1.0)
    return Desk(config=config, store=Store(config.store), model=model, support=None)


def serve(desk: Desk) -> TestClient:
    """Our own routes behind the guard, without gradio's."""
    app = FastAPI()
    add_routes(app, desk)
    add_quiz_routes(app, desk)
    app.add_middleware(Guard, host="127.0.0.1", needs_login=False, is_known=lambda _: True)
    return TestClient(app, base_url="http://127.0.0.1:7860")


@pytest.fixture(scope="module")
def http(desk: Desk) -> TestClient:
    return serve(desk)


@pytest.fixture(scope="module")
def pictures(desk: Desk, keep_picture: Any) -> list[str]:
    return [keep_picture(desk.store, seed=n, text=f"Chest CT, {ANSWER}.").id for n in range(3)]


def told(pictures: list[str], **changes: Any) -> dict[str, Any]:
    base = {"text": "What is it?", "explanation": WHY}
    circle = {"x": 0.3, "y": 0.4, "radius": 0.1}
    questions = [
        {**base, "kind": "single", "picture": pictures[0], "choices": [ANSWER, "mass", "nodule", "cyst"], "right": [0]},
        {**base, "kind": "point", "picture": pictures[1], "circle": circle},
        {**base, "kind": "text", "picture": pictures[2]},
    ]
    return {"title": "Chest <b>", "note": "Hello", "questions": questions, "shuffled": False, **changes}


def make(http: Any, pictures: list[str], **changes: Any) -> tuple[str, str]:
    """A new quiz's id and its learners' path."""
    quiz = http.post("/quizzes", json=told(pictures, **changes)).json()
    return quiz["id"], f"/quiz/{quiz['token']}"


def test_a_learner_goes_through_a_quiz_without_a_login(http: Any, pictures: list[str]) -> None:
    quiz, path = make(http, pictures)
    page = http.get(path)
    assert page.status_code == 200
    assert "Chest &lt;b&gt;" in page.text
    state = http.put(f"{path}/sittings/{SECRET}", json={"name": "Ann"}).json()
    assert [q["kind"] for q in state["questions"]] == ["single", "point", "text"]
    said = [[0], {"x": 0.31, "y": 0.4}, "air"]
    tells = [http.put(f"{path}/sittings/{SECRET}/answers/{n}", json={"said": s}).json() for n, s in enumerate(said)]
    assert [t["right"] for t in tells] == [True, True, None]
    assert tells[0] == {"said": [0], "right": True, "answer": [0], "explanation": WHY}
    assert tells[1]["answer"] == {"x": 0.3, "y": 0.4, "radius": 0.1}
    assert http.get(f"{path}/sittings/{SECRET}").json()["is_over"]
    results = http.get(f"/quizzes/{quiz}/results").json()
    assert [(r["learner"], r["score"], r["of"]) for r in results["learners"]] == [("Ann", 2, 2)]


def test_nothing_a_learner_fetches_holds_the_answer_before_it_is_given(http: Any, pictures: list[str]) -> None:
    for tell in ("each", "end"):
        _, path = make(http, pictures, tell=tell, shuffled=True)
        answers = [http.get(path), http.put(f"{path}/sittings/{SECRET}", json={"name": ""})]
        answers += [http.get(f"{path}/picture/{n}") for n in range(3)]
        for answer in answers:
            everything = answer.content + str(answer.headers.raw).encode()
            assert WHY.encode() not in everything
            assert b"radius" not in everything
            assert b'"right"' not in everything
            for picture in pictures:
                assert picture.encode() not in everything
        assert all(ANSWER.encode() not in a.content for a in answers[2:])
        assert ANSWER not in answers[0].text
        one = http.put(f"{path}/sittings/{SECRET}/answers/0", json={"said": [0]}).json()
        assert ("explanation" in one) == (tell == "each")
        others = http.get(f"{path}/sittings/{SECRET}").json()["answers"]
        assert list(others) == ["0"]


def test_a_quiz_that_tells_at_the_end_tells_all_then(http: Any, pictures: list[str]) -> None:
    _, path = make(http, pictures, tell="end")
    http.put(f"{path}/sittings/{SECRET}", json={})
    tells = [
        http.put(f"{path}/sittings/{SECRET}/answers/{n}", json={"said": s}).json()
        for n, s in enumerate(([1], {"x": 0, "y": 0}, ""))
    ]
    assert [set(t) == {"said"} for t in tells] == [True, True, False]
    answers = http.get(f"{path}/sittings/{SECRET}").json()["answers"]
    assert [answers[n]["right"] for n in "012"] == [False, False, None]


def test_a_picture_is_pixels_and_nothing_else(http: Any, pictures: list[str]) -> None:
    _, path = make(http, pictures)
    own, seen = (http.get(f"/pictures/{pictures[0]}.png"), http.get(f"{path}/picture/0"))
    with Image.open(io.BytesIO(own.content)) as a, Image.open(io.BytesIO(seen.content)) as b:
        assert a.tobytes() == b.tobytes()
        assert a.info
        assert not b.info
    assert [seen.content[i : i + 4] for i in (12, 37)] == [b"IHDR", b"IDAT"]
    assert len({http.get(f"{path}/picture/{n}").headers["content-length"] for n in range(3)}) == 1
    assert http.get(f"{path}/picture/3").status_code == 404


def test_a_shuffled_learner_answers_in_an_order_of_their_own(http: Any, pictures: list[str]) -> None:
    _, path = make(http, pictures, shuffled=True)
    for i in range(6):
        secret = f"{i:032}"
        state = http.put(f"{path}/sittings/{secret}", json={}).json()
        place = next(q for q in state["questions"] if q["number"] == 0)["choices"].index(ANSWER)
        answer = http.put(f"{path}/sittings/{secret}/answers/0", json={"said": [place]}).json()
        assert (answer["right"], answer["answer"]) == (True, [place])


def test_a_closed_quiz_says_so_and_a_wrong_token_is_not_found(http: Any, pictures: list[str]) -> None:
    quiz, path = make(http, pictures)
    http.put(f"{path}/sittings/{SECRET}", json={})
    http.put(f"/quizzes/{quiz}/open", json={"open": False})
    assert "This quiz is closed" in http.get(path).text
    late = http.put(f"{path}/sittings/{SECRET}/answers/0", json={"said": [0]})
    assert (late.status_code, late.json()) == (403, {"error": "closed"})
    assert http.put(f"{path}/sittings/{'t' * 32}", json={}).json() == {"error": "closed"}
    for wrong in ("/quiz/" + "x" * 32, path[:-1], "/quiz/%00", f"{path}/picture/0".replace("/quiz/", "/quiz/x")):
        assert http.get(wrong).status_code == 404
    assert "There is no quiz at this address" in http.get("/quiz/" + "x" * 32).text


def test_bad_and_long_bodies_are_refused_without_a_trace(http: Any, pictures: list[str]) -> None:
    _, path = make(http, pictures)
    http.put(f"{path}/sittings/{SECRET}", json={})
    url = f"{path}/sittings/{SECRET}/answers/0"
    bodies = (b"{", b"[" * 20_000, json.dumps({"said": 0}).encode(), b"null", b'{"said": [1e999]}', b"\xff")
    for body in (*bodies, b'{"said": "' + b"x" * 70_000 + b'"}'):
        answer = http.put(url, content=body, headers={"content-type": "application/json"})
        assert answer.status_code in (400, 413, 422)
        assert "Traceback" not in answer.text
    assert http.put(url.replace("answers/0", "answers/9"), json={"said": [0]}).json() == {"error": "bad"}
    assert http.put(url.replace(SECRET, "t" * 32), json={"said": [0]}).json() == {"error": "unknown"}


def test_one_address_cannot_ask_without_end(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    limit = Limit(3, 60)
    assert [limit.add("a") for _ in range(4)] == [True, True, True, False]
    assert limit.add("b")
    assert unnamed_address("10.0.0.1") != unnamed_address("10.0.0.2")
    assert unnamed_address("2001:db8::1") == unnamed_address("2001:db8::2")
    assert "10.0.0.1" not in unnamed_address("10.0.0.1")
    monkeypatch.setattr("vesalius.demo.quiz.routes.MOST_REQUESTS", 3)
    other = serve(desk)
    codes = [other.get(f"/quiz/x/sittings/{SECRET}").status_code for _ in range(5)]
    assert codes == [404, 404, 404, 429, 429]


def test_one_address_cannot_start_without_end_and_goes_on_with_what_it_began(
    desk: Desk, pictures: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vesalius.demo.quiz.routes.MOST_STARTS", 1)
    few = serve(desk)
    _, path = make(few, pictures)
    told = [few.put(f"{path}/sittings/{letter * 32}", json={}) for letter in "aba"]
    assert [t.status_code for t in told] == [200, 429, 200]
    assert told[1].json() == {"error": "slow"}


def test_a_sitting_that_was_not_begun_and_a_picture_that_is_gone_are_unknown(
    http: Any, desk: Desk, keep_picture: Any
) -> None:
    picture = keep_picture(desk.store, seed=9, text=f"Chest CT, {ANSWER}.")
    _, path = make(http, [picture.id] * 3)
    assert http.get(f"{path}/picture/0").status_code == 200
    file_of(desk.store, picture).unlink()
    for gone in (f"{path}/sittings/{SECRET}", f"{path}/picture/0"):
        answer = http.get(gone)
        assert (answer.status_code, answer.json()) == (404, {"error": "unknown"})


def test_the_learners_page_is_light_and_loads_nothing_else(http: Any, pictures: list[str]) -> None:
    _, path = make(http, pictures)
    page = http.get(path)
    parts = [page, http.get("/assets/learner.css"), http.get("/assets/learner.js")]
    assert sum(len(p.content) for p in parts) < 60_000
    assert "gradio" not in "".join(p.text for p in parts)
    assert page.headers["content-security-policy"].startswith("default-src 'none'; script-src 'self'")
    assert page.headers["cache-control"] == "no-store"
    assert "<noscript>" in page.text


def test_a_teacher_looks_through_a_quiz_without_a_trace(http: Any, pictures: list[str]) -> None:
    quiz, _ = make(http, pictures, tell="end")
    base = f"/quizzes/{quiz}/preview"
    assert http.get(base).status_code == 200
    assert http.get(f"{base}/picture/0").headers["content-type"] == "image/png"
    assert len(http.put(f"{base}/sittings/{SECRET}", json={}).json()["questions"]) == 3
    assert http.put(f"{base}/sittings/{SECRET}/answers/0", json={"said": [0]}).json()["right"] is True
    assert http.get(f"/quizzes/{quiz}/results").json()["learners"] == []


def test_the_teachers_routes_make_change_copy_and_delete(http: Any, pictures: list[str]) -> None:
    quiz, _ = make(http, pictures)
    assert http.put(f"/quizzes/{quiz}", json=told(pictures, title="New")).json()["title"] == "New"
    copied = http.post(f"/quizzes/{quiz}/copy").json()
    assert copied["title"] == "New (2)"
    assert http.delete(f"/quizzes/{copied['id']}").status_code == 200
    assert http.get(f"/quizzes/{copied['id']}").status_code == 404
    assert {q["id"] for q in http.get("/quizzes").json()} >= {quiz}
    wrong = http.post("/quizzes", json=told(pictures, title=""))
    assert (wrong.status_code, wrong.json()) == (400, {"error": "Give the quiz a title"})
    table = http.get(f"/quizzes/{quiz}.csv")
    assert table.headers["content-disposition"] == "attachment; filename*=UTF-8''New.csv"
    assert table.content.startswith(b"\xef\xbb\xbflearner,")


def test_the_code_leads_to_where_the_page_was_opened(http: Any, pictures: list[str]) -> None:
    quiz, _ = make(http, pictures)
    code = http.get(f"/quizzes/{quiz}/qr.svg")
    assert code.headers["content-type"] == "image/svg+xml"
    assert b"<svg" in code.content
    own = "http://127.0.0.1:7860"
    asked = Request({"type": "http", "path": "/", "server": ("127.0.0.1", 7860), "scheme": "http", "query_string": b"",
                     "headers": [(b"host", b"127.0.0.1:7860")]})  # fmt: skip
    assert origin_of(asked, "https://127.0.0.1:7860") == "https://127.0.0.1:7860"
    assert [origin_of(asked, told) for told in ("https://evil.example", "", "javascript://127.0.0.1:7860")] == [own] * 3


def test_words_are_in_the_language_of_the_browser(http: Any) -> None:
    english, chinese = (
        http.get("/quizzes/words", headers={"accept-language": each}).json()["new"] for each in ("en", "zh-CN,zh")
    )
    assert (english, chinese) == ("New quiz", "新建测验")


def test_questions_are_proposed_from_pictures(http: Any, pictures: list[str]) -> None:
    told = http.post(
        "/quizzes/propose", json={"pictures": pictures, "diagnosis": "cyst", "differential": ["mass", "nodule", "Cyst"]}
    ).json()
    assert len(told["questions"]) == 3
    for question in told["questions"]:
        assert sorted(question["choices"]) == ["cyst", "mass", "nodule"]
        assert question["choices"][question["right"][0]] == "cyst"
    assert http.post("/quizzes/propose", json={"pictures": []}).status_code == 400
    many = http.post("/quizzes/propose", json={"pictures": pictures, "differential": ["mass"] * MOST_CHOICES})
    assert (many.status_code, many.json()) == (400, {"error": f"Give at most {MOST_CHOICES - 1} other diagnoses"})


def test_a_case_gives_its_pictures_its_diagnosis_and_its_differential(
    http: Any, desk: Desk, pictures: list[str]
) -> None:
    images = [{"picture": p, "caption": f"View {i}.", "in_answer": i == 2} for i, p in enumerate(pictures)]
    body = {"title": "A case", "images": [*images, {"picture": "gone"}], "diagnosis": "cyst", "differential": ["mass"]}
    with desk.store.write() as db:
        for name, account in (("mine", LOCAL), ("theirs", "bert")):
            columns = [name, account, "A case", json.dumps(body), 0, 0]
            db.execute("INSERT INTO cases (id, account, title, body, created, updated) VALUES (?,?,?,?,?,?)", columns)
    assert http.get("/quizzes/cases").json() == [{"id": "mine", "title": "A case"}]
    questions = http.post("/quizzes/propose", json={"case": "mine"}).json()["questions"]
    assert [(q["picture"], q["explanation"]) for q in questions] == [(pictures[0], "View 0."), (pictures[1], "View 1.")]
    assert all(sorted(q["choices"]) == ["cyst", "mass"] for q in questions)
    with desk.store.write() as db:
        hidden = json.dumps({**body, "images": [images[2]]})
        db.execute("UPDATE cases SET body = ? WHERE id = 'mine'", [hidden])
    told = http.post("/quizzes/propose", json={"case": "mine"}).json()["error"]
    assert told == "No picture of this case is shown before its answer; add one to the case"
    assert "no longer here" in http.post("/quizzes/propose", json={"case": "theirs"}).json()["error"]
