"""The server as a hostile visitor meets it."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from gradio_client import handle_file

from vesalius.demo.guard.guard import HEADERS
from vesalius.demo.guard.tries import DEVICE, MOST_FROM_ONE
from vesalius.demo.routes import COOKIE, ROLE
from vesalius.demo.store.accounts import Account, account_of_session, add_account, enter
from vesalius.demo.store.pictures import file_of

WORD = "correct horse battery"
PEOPLE = {"anna": "teacher", "bert": "teacher", "rita": "rater"}


@pytest.fixture(scope="module")
def shared(undrawn: Callable[..., Any]) -> Any:
    """A demo that other machines reach, with three accounts."""
    house = undrawn(host="0.0.0.0")
    for name, role in PEOPLE.items():
        add_account(house.desk.store, Account(name=name, role=role), WORD)  # type: ignore[arg-type]
    return house


@pytest.fixture
def visitor(shared: Any) -> Iterator[httpx.Client]:
    """Somebody who is not logged in."""
    with httpx.Client(verify=False, base_url=shared.url) as client:
        yield client


@pytest.fixture(scope="module")
def person(shared: Any) -> Iterator[Callable[[str], httpx.Client]]:
    """A browser of somebody who is."""
    clients: dict[str, httpx.Client] = {}

    def of(name: str) -> httpx.Client:
        if name not in clients:
            clients[name] = httpx.Client(verify=False, base_url=shared.url)
            assert clients[name].post("/login", data={"name": name, "password": WORD}).status_code == 303
        return clients[name]

    yield of
    for client in clients.values():
        client.close()


# Logging in


def test_the_sessions_cookie_is_out_of_scripts_reach_and_secure_behind_https(visitor: httpx.Client) -> None:
    form = {"name": "anna", "password": WORD}
    plain = visitor.post("/login", data=form).headers.get_list("set-cookie")
    assert {c.partition("=")[0] for c in plain} == {COOKIE, DEVICE, ROLE}
    assert [c.partition("=")[0] for c in plain if "HttpOnly" not in c] == [ROLE], "by which the page shows its tabs"
    assert all("SameSite=strict" in c and "Path=/" in c and "Secure" not in c for c in plain)
    behind = visitor.post("/login", data=form, headers={"x-forwarded-proto": "https"}).headers.get_list("set-cookie")
    assert all("Secure" in c for c in behind)


def test_a_login_makes_a_new_session_and_ends_the_one_before(shared: Any, visitor: httpx.Client) -> None:
    visitor.cookies.set(COOKIE, "chosen-by-somebody-else")
    visitor.post("/login", data={"name": "anna", "password": WORD})
    first = visitor.cookies.get(COOKIE, domain="127.0.0.1")
    assert first
    assert first != "chosen-by-somebody-else"
    with httpx.Client(verify=False, base_url=shared.url, cookies={COOKIE: first}) as other:
        other.post("/login", data={"name": "anna", "password": WORD})
    assert account_of_session(shared.desk.store, first) is None


def test_a_logout_ends_the_session_on_the_server(shared: Any) -> None:
    secret = enter(shared.desk.store, "anna", WORD)
    assert secret
    with httpx.Client(verify=False, base_url=shared.url, cookies={COOKIE: secret}) as client:
        assert client.get("/quizzes").status_code == 200
        client.post("/logout")
    with httpx.Client(verify=False, base_url=shared.url, cookies={COOKIE: secret}) as client:
        assert client.get("/quizzes").status_code == 401


def test_too_many_wrong_passwords_are_told_in_words(visitor: httpx.Client) -> None:
    form = {"name": "<script>", "password": "wrong"}
    answers = [visitor.post("/login", data=form) for _ in range(MOST_FROM_ONE + 1)]
    assert [a.status_code for a in answers] == [401] * MOST_FROM_ONE + [429]
    assert "<script>" not in answers[0].text
    assert visitor.post("/login").status_code == 401
    assert visitor.post("/login", content=b"\xff\x00", headers={"content-type": "text/x"}).status_code < 500


# Without a login


SHUT = (
    "/config", "/gradio_api/info", "/gradio_api/openapi.json", "/gradio_api/startup-events", "/gradio_api/app_id",
    "/gradio_api/user", "/gradio_api/heartbeat/x", "/gradio_api/queue/data?session_hash=x",
    "/gradio_api/file=/etc/passwd", "/gradio_api/upload_progress?upload_id=x", "/gradio_api/call/quizzes/x",
    "/theme.css", "/static/img/logo.svg",
    "/assets/app.js", "/pictures/x.png", "/quizzes", "/quizzes/x.csv", "/quizzes/x/preview", "/monitoring", "/runs",
    "/manifest.json", "//", "/./", "/quiz", "/loginx", "/?view=api", "/gradio_api/stream/x/1/2/playlist.m3u8",
    "/gradio_api/custom_component/1/client/component/index.js", "/svelte/x", "/openapi.json", "/docs",
)  # fmt: skip
POSTS = (
    "/gradio_api/queue/join", "/gradio_api/upload", "/gradio_api/call/make_quiz", "/gradio_api/run/make_quiz",
    "/gradio_api/api/make_quiz", "/gradio_api/reset", "/gradio_api/cancel", "/gradio_api/component_server",
    "/gradio_api/call/v2/make_quiz", "/gradio_api/vibe-edit", "/gradio_api/process_recording", "/quizzes",
)  # fmt: skip


@pytest.mark.parametrize("path", SHUT)
def test_nothing_is_to_be_had_without_a_login(visitor: httpx.Client, path: str) -> None:
    answer = visitor.get(path)
    assert (answer.status_code, answer.text) in ((401, "Log in first"), (404, "Not found"), (303, ""))
    if answer.status_code == 303:
        assert answer.headers["location"] == "/login"


@pytest.mark.parametrize("path", POSTS)
def test_nothing_is_to_be_done_without_a_login(visitor: httpx.Client, path: str) -> None:
    assert visitor.post(path, json={"data": []}).status_code in (401, 404)
    assert visitor.request("DELETE", path).status_code in (401, 404)


def test_a_made_up_session_opens_nothing(visitor: httpx.Client) -> None:
    for secret in ("x", "' OR 1=1 --", "é", "a" * 5000):
        headers = {"cookie": f"{COOKIE}={secret}".encode(), "authorization": f"Bearer {secret}".encode()}
        assert visitor.get("/quizzes", headers=headers).status_code == 401
        assert visitor.get("/", headers=headers).status_code == 303


def test_a_script_enters_with_its_session(shared: Any) -> None:
    secret = enter(shared.desk.store, "anna", WORD)
    client = shared.client(headers={"Authorization": f"Bearer {secret}"})
    assert isinstance(client.predict(api_name="/quizzes"), list)


# Other sites, other names


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"}, {"origin": "null"}, {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"}, {"origin": "http://127.0.0.1:1"},
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["/login", "/logout", *POSTS[:7], "/quiz/x/sittings/y"])
def test_another_sites_page_changes_nothing(alone: httpx.Client, headers: dict[str, str], path: str) -> None:
    for method in ("POST", "PUT", "DELETE"):
        assert alone.request(method, path, headers=headers).status_code == 403


def test_our_own_page_and_scripts_may(alone: httpx.Client) -> None:
    own = str(alone.base_url).rstrip("/")
    for headers in ({}, {"origin": own}, {"origin": own, "sec-fetch-site": "same-origin"}):
        assert alone.post("/quizzes", json={}, headers=headers).json() == {"error": "Give the quiz a title"}


@pytest.mark.parametrize("host", ["evil.example", "evil.example:7860", "127.0.0.1.evil.example", "", "localhost@evil"])
def test_on_loopback_no_other_name_is_answered_to(alone: httpx.Client, host: str) -> None:
    for path in ("/", "/config", "/quizzes", "/gradio_api/info"):
        assert alone.get(path, headers={"host": host}).status_code in (400, 421)


def test_no_other_sites_script_may_read_an_answer(alone: httpx.Client) -> None:
    for method in ("GET", "OPTIONS"):
        headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
        answer = alone.request(method, "/config", headers=headers)
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_every_answer_says_what_the_browser_must_not_do(alone: httpx.Client, visitor: httpx.Client) -> None:
    answers = [alone.get(path) for path in ("/", "/config", "/login", "/nowhere", "/quiz/x", "/assets/app.js")]
    answers += [visitor.get("/"), visitor.get("/config"), alone.get("/", headers={"host": "evil"})]
    for answer in answers:
        assert {name: answer.headers[name] for name in HEADERS} == HEADERS
        policies = answer.headers.get_list("content-security-policy")
        assert len(policies) == 1
        assert policies[0].startswith("default-src 'none'; ")
        assert "frame-ancestors 'none'" in policies[0]
        assert "http:" not in policies[0]


# Files


@pytest.mark.parametrize(
    "path",
    [
        "gradio_api/file=/etc/passwd", "gradio_api/file=STORE/store.db", "gradio_api/file=STORE/ratings.jsonl",
        "gradio_api/file/etc/passwd", "gradio_api/file=demo/server.py", "gradio_api/file=file:///etc/passwd",
        "gradio_api/file=%2e%2e/%2e%2e/etc/passwd", "pictures/..%2f..%2fstore.db.png", "assets/..%2fserver.py",
        "assets/../server.py", "static/..%2f..%2froutes.py", "pictures/%2e%2e/store.db", "quiz/..%2fstore.db",
        "gradio_api/proxy=http://169.254.169.254/", "gradio_api/file=http://169.254.169.254/x", "svelte/..%2froutes.py",
    ],
)  # fmt: skip
def test_no_file_of_the_server_is_served(served: Any, alone: httpx.Client, path: str) -> None:
    path = path.replace("STORE", str(served.desk.store.folder))
    answer = alone.send(httpx.Request("GET", served.url + path))
    assert answer.status_code in (400, 403, 404, 405)
    assert "root:" not in answer.text
    assert b"SQLite" not in answer.content


def test_two_people_never_see_each_others_pictures_and_quizzes(shared: Any, person: Any, keep_picture: Any) -> None:
    picture = keep_picture(shared.desk.store, account="anna").id
    anna, bert, rita = person("anna"), person("bert"), person("rita")
    question = {"kind": "normal", "picture": picture, "text": "Normal?", "right": [0]}
    quiz = anna.post("/quizzes", json={"title": "Chest", "questions": [question]}).json()["id"]
    paths = (
        f"/pictures/{picture}.png", f"/quizzes/{quiz}", f"/quizzes/{quiz}.csv", f"/quizzes/{quiz}/results",
        f"/quizzes/{quiz}/qr.svg", f"/quizzes/{quiz}/preview", f"/quizzes/{quiz}/preview/picture/0",
    )  # fmt: skip
    for path in paths:
        assert [p.get(path).status_code for p in (anna, bert)] == [200, 404]
        assert rita.get(path).status_code in (403, 404)
    for method, path, body in (
        ("PUT", "", {}), ("PUT", "/open", {}), ("POST", "/copy", None), ("DELETE", "", None),
        ("DELETE", "/sittings", None), ("DELETE", "/sittings/x", None),
        ("PUT", f"/preview/sittings/{'s' * 32}", {}), ("PUT", f"/preview/sittings/{'s' * 32}/answers/0", {"said": [0]}),
    ):  # fmt: skip
        for other in (bert, rita):
            assert other.request(method, f"/quizzes/{quiz}{path}", json=body).status_code in (403, 404)
    assert bert.get("/quizzes").json() == []
    assert bert.get("/quizzes/pictures").json() == []
    stolen = bert.post("/quizzes", json={"title": "Mine", "questions": [question]})
    assert "someone else's" in stolen.json()["error"]


def test_what_was_uploaded_is_read_by_nobody_and_gone_once_it_was_taken_in(
    shared: Any, person: Any, keep_picture: Any, tmp_path: Path
) -> None:
    folder = Path(os.environ["GRADIO_TEMP_DIR"])
    sent = tmp_path / "sent.png"
    sent.write_bytes(file_of(shared.desk.store, keep_picture(shared.desk.store, account="anna")).read_bytes())
    anna, bert = person("anna"), person("bert")
    (path,) = anna.post("/gradio_api/upload", files={"files": sent.open("rb")}).json()
    assert Path(path).is_file()
    for other in (anna, bert):
        for way in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/gradio_api/stream/"):
            assert other.get(f"{way}{path}").status_code == 404
    client = shared.client(headers={"Authorization": f"Bearer {enter(shared.desk.store, 'anna', WORD)}"})
    assert client.predict(handle_file(sent), api_name="/recall")[3] == 3
    damaged = tmp_path / "sent.zip"
    damaged.write_bytes(b"no archive")
    with pytest.raises(Exception, match="no ZIP file"):
        client.predict(handle_file(damaged), api_name="/import_case")
    assert not [*folder.rglob("sent.png"), *folder.rglob("sent.zip")]


def test_a_rater_makes_nothing(shared: Any, person: Any) -> None:
    rita = person("rita")
    assert rita.get("/quizzes").status_code == 403
    assert rita.post("/quizzes", json={}).status_code == 403
    client = shared.client(headers={"Authorization": f"Bearer {enter(shared.desk.store, 'rita', WORD)}"})
    told = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    rated = ("/next_rating", "/rate", "/withdraw_rating", "/agreement")
    assert "/new_seed" not in told
    assert {*rated, "/draw", "/compare", "/jobs", "/cases", "/quizzes", "/loop", "/build_prompt"} <= set(told)
    for name in told.keys() - {*rated, "/recall", "/import_case"}:  # those two take a file that was sent first
        needed = [p["example_input"] for p in told[name]["parameters"] if not p["parameter_has_default"]]
        with pytest.raises(Exception, match=r"may rate pictures only|Raters do not|Only an owner"):
            client.predict(*needed, api_name=name)


def test_no_action_makes_a_rater_more(shared: Any, visitor: httpx.Client) -> None:
    made = ("jobs", "pictures", "cases", "quizzes", "accounts")

    def counts() -> list[int]:
        with shared.desk.store.read() as db:
            return [db.execute(f"SELECT COUNT(*) FROM {table}").fetchone()[0] for table in made]

    visitor.headers["authorization"] = f"Bearer {enter(shared.desk.store, 'rita', WORD)}"
    before, asked = counts(), 0
    for name, told in visitor.get("/gradio_api/info").json()["named_endpoints"].items():
        data = [
            p["parameter_default"] if p.get("parameter_has_default") else p.get("example_input")
            for p in told["parameters"]
        ]
        event = visitor.post(f"/gradio_api/call{name}", json={"data": data}).json()["event_id"]
        asked += bool(visitor.get(f"/gradio_api/call{name}/{event}").text)
    assert asked >= 5
    assert counts() == before


# What is told


def test_no_answer_tells_of_the_servers_folders_or_its_code(served: Any, alone: httpx.Client) -> None:
    import sys
    from pathlib import Path

    paths = (
        "/",
        "/config",
        "/gradio_api/info",
        "/gradio_api/startup-events",
        "/x",
        "/quiz/%ff%00",
        "/pictures/%ff.png",
    )
    answers = [alone.get(path) for path in paths]
    for path in ("/gradio_api/queue/join", "/gradio_api/call/make_quiz", "/gradio_api/run/quizzes", "/quizzes"):
        for body in (b"{", b"[]", b'{"data": 5}', b'{"data": [{"a": 1}], "fn_index": 99999, "session_hash": "x"}'):
            answers.append(alone.post(path, content=body, headers={"content-type": "application/json"}))
    folders = (str(served.desk.store.folder), sys.prefix, str(Path(__file__).parents[3]))
    for answer in answers:
        for word in ("Traceback", 'File "', "site-packages", *folders):
            assert word not in answer.text, (answer.url, word)


def test_secrets_are_never_in_the_logs(
    shared: Any, visitor: httpx.Client, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    visitor.post("/login", data={"name": "anna", "password": "hunter2-wrong"})
    visitor.post("/login", data={"name": "anna", "password": WORD})
    session, device = (visitor.cookies.get(name, domain="127.0.0.1") for name in (COOKIE, DEVICE))
    visitor.get("/config")
    visitor.get("/gradio_api/file=/etc/passwd")
    visitor.put(f"/quiz/{'t' * 32}/sittings/{'s' * 32}", json={"name": "Ann"})
    visitor.post("/logout")
    ours = [r.getMessage() for r in caplog.records if not r.name.startswith(("httpx", "httpcore"))]
    told = "\n".join(ours) + "".join(capfd.readouterr())
    for secret in (WORD, "hunter2-wrong", session, device, "t" * 32, "s" * 32):
        assert secret
        assert secret not in told


def test_an_error_in_an_action_is_told_without_its_cause(
    served: Any, alone: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("/secret/folder broke")

    monkeypatch.setattr("vesalius.demo.tabs.quiz.quizzes_of", broken)
    with pytest.raises(Exception, match="Something broke on the server") as told:
        served.client().predict(api_name="/quizzes")
    assert not re.search(r"secret/folder", str(told.value))
    monkeypatch.setattr("vesalius.demo.quiz.desk.quizzes_of", broken)
    answer = alone.get("/quizzes")
    assert (answer.status_code, answer.text) == (500, "Internal Server Error")
