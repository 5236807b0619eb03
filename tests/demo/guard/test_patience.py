"""Requests that are too long, of no length, or too slow."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from starlette.responses import PlainTextResponse

from vesalius.demo.guard.guard import MAX_BODY, MAX_FORM, Guard
from vesalius.demo.guard.patience import PatientProtocol


@pytest.mark.parametrize(
    ("path", "most"), [("/login", MAX_FORM), ("/quiz/x/sittings/y", MAX_FORM), ("/gradio_api/upload", MAX_BODY)]
)
@pytest.mark.parametrize("is_told", [True, False])
def test_a_body_that_is_too_long_is_refused_whatever_length_is_told(
    alone: httpx.Client, path: str, most: int, is_told: bool
) -> None:
    method = "PUT" if path.startswith("/quiz") else "POST"
    size, kind = most + 100_000, "multipart/form-data; boundary=b"
    head = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'

    def parts() -> Iterator[bytes]:
        yield head
        for _ in range(size // 65_536 + 1):
            yield b"x" * 65_536

    content: Any = head + b"x" * size if is_told else parts()
    try:
        answer = alone.request(method, path, content=content, headers={"content-type": kind})
    except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
        return  # the server shut the door while we still talked
    assert answer.status_code == 413
    assert "Traceback" not in answer.text


def test_a_length_that_is_none_is_refused(served: Any) -> None:
    port = served.desk.config.port
    for told in (b"-1", b"1e9", b"\xb2", b"9" * 30):
        with socket.create_connection(("127.0.0.1", port)) as talk:
            talk.sendall(b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: " + told + b"\r\n\r\n")
            assert talk.recv(100).split()[1] in (b"400", b"413")


def test_who_speaks_too_slowly_is_left(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vesalius.demo.guard.patience.HEAD_SECONDS", 0.2)
    monkeypatch.setattr("vesalius.demo.guard.guard.PART_SECONDS", 0.2)

    async def reader(scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        await PlainTextResponse("read")(scope, receive, send)

    app = Guard(reader, "127.0.0.1", False, lambda _: True)
    told = uvicorn.Config(app, port=port, log_level="critical", http=PatientProtocol, lifespan="off")
    server = uvicorn.Server(told)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    for head, answered in (
        (b"GET / HTTP/1.1\r\nHost: loc", b""), (b"", b""),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{", b"413"),
        (b"POST /login HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n{", b"200"),
    ):  # fmt: skip
        with socket.create_connection(("127.0.0.1", port), timeout=5) as talk:
            talk.sendall(head)
            assert talk.recv(4096)[9:12] == answered
    server.should_exit = True
    thread.join(10)
