"""What stands before every route, gradio's and ours: who may come in, from where, with how much, and how slowly.

Plain ASGI, since streams must not be buffered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from vesalius.demo.config import LOOPBACK

# The browser itself refuses whatever gradio's own page would fetch from elsewhere. gradio makes functions and styles of
# text, so that scripts and styles cannot be told by where they come from; where they may send anything is told.
POLICY = (
    "default-src 'none'; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; media-src 'self' data: blob:; font-src 'self' data:; connect-src 'self' data: blob:; "
    "worker-src 'self' blob:; manifest-src 'self'; base-uri 'self'; form-action 'self'; object-src 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=(), payment=(), usb=()",
}
MAX_UPLOAD = 8 << 20
MAX_BODY, MAX_TALK, MAX_FORM = 2 * MAX_UPLOAD, 2 << 20, 64 << 10
"""Bytes of an upload, of what gradio's page sends besides, and of our own routes' bodies."""
BODY_SECONDS, PART_SECONDS = 300.0, 20.0
"""How long a whole body may take, and each part of it."""
SAFE = ("GET", "HEAD", "OPTIONS")
OPEN = ("/login", "/quiz/", "/assets/learner.", "/favicon.ico", "/robots.txt")
"""What is to be had without a login, where one is needed: the login, and what learners fetch."""
SHUT = (
    "/gradio_api/proxy=", "/gradio_api/dev/", "/gradio_api/vibe-", "/gradio_api/undo-vibe-", "/gradio_api/run-history",
    "/gradio_api/runs", "/gradio_api/process_recording", "/gradio_api/deep_link", "/gradio_api/profiling",
    "/gradio_api/token", "/monitoring", "/proxy=", "/gradio_api/file=", "/gradio_api/file/", "/gradio_api/stream/",
    "/file=", "/file/", "/stream/",
)  # fmt: skip
"""What gradio brings and nobody here needs: fetching other servers' pages, editing its code, watching its users, and
reading files, which what people upload is among: whoever knows its digest would be given it."""


class TooMuchError(Exception):
    """A body that is too long, or comes too slowly."""


class Guard:
    """Every request passes it. is_known: whether it is of somebody who is logged in."""

    def __init__(self, app: Any, host: str, needs_login: bool, is_known: Callable[[Any], bool]) -> None:
        self.app, self.host, self.needs_login, self.is_known = app, host, needs_login, is_known

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        if scope["type"] == "websocket":  # nothing here speaks it
            await send({"type": "websocket.close", "code": 1008})
            return
        from starlette.concurrency import run_in_threadpool
        from starlette.requests import Request
        from starlette.responses import PlainTextResponse, RedirectResponse

        request = Request(scope)
        body = Body(receive, _most(scope["path"]))
        headed = _with_headers(send, body)
        refusal = self._refusal(request, body.most)
        if refusal is not None:
            await PlainTextResponse(refusal[1], refusal[0])(scope, receive, headed)
        elif self.needs_login and not _is_open(scope["path"]) and not await run_in_threadpool(self.is_known, request):
            if scope["path"] == "/" and request.method in SAFE:
                await RedirectResponse("/login", 303)(scope, receive, headed)
            else:
                await PlainTextResponse("Log in first", 401)(scope, receive, headed)
        else:
            try:
                await self.app(scope, body.receive, headed)
            except TooMuchError:
                if not body.is_answered:
                    await PlainTextResponse("The request is too long or too slow", 413)(scope, receive, headed)

    def _refusal(self, request: Any, most: int) -> tuple[int, str] | None:
        """Status and words of why a request is not looked at any further."""
        host = request.headers.get("host", "")
        if self.host in LOOPBACK and _name(host) not in LOOPBACK:
            # Some other site's name that was made to lead here, whose pages could then read what is shown here.
            return 421, "This page answers to localhost only"
        if request.method not in SAFE and not _is_same_site(request, host):
            return 403, "This was sent by another site's page"
        path = request.scope["path"]
        if ".." in path.split("/") or any(path.startswith(each) for each in SHUT):
            return 404, "Not found"
        length = request.headers.get("content-length", "0")
        if not length.isascii() or not length.isdigit() or int(length) > most:
            return 413, "The request is too long"
        return None


class Body:
    """A request's body, counted and timed as it comes in, whatever length was told."""

    def __init__(self, receive: Any, most: int) -> None:
        self._receive, self.most, self._seen, self._is_whole = receive, most, 0, False
        self._ends = asyncio.get_running_loop().time() + BODY_SECONDS
        self.is_refused = self.is_answered = False

    async def receive(self) -> Any:
        """The next message. TooMuchError where it is more, or slower, than is allowed."""
        if self._is_whole:  # what comes now is the browser's leaving, for which a stream may wait as long as it likes
            return await self._receive()
        try:
            left = self._ends - asyncio.get_running_loop().time()
            message = await asyncio.wait_for(self._receive(), max(0.0, min(PART_SECONDS, left)))
        except TimeoutError:
            self.is_refused = True
            raise TooMuchError from None
        if message["type"] == "http.request":
            self._seen += len(message.get("body", b""))
            self._is_whole = not message.get("more_body", False)
            if self._seen > self.most:
                self.is_refused = True
                raise TooMuchError
        return message


def _with_headers(send: Any, body: Body) -> Any:
    """Adds what browsers are told of every answer; takes away what would let other sites' pages read it."""

    async def headed(message: Any) -> None:
        if message["type"] == "http.response.start":
            body.is_answered = True
            kept = [pair for pair in message.get("headers", ()) if not pair[0].lower().startswith(b"access-control-")]
            there = {name.lower() for name, _ in kept}
            told = {**HEADERS, "content-security-policy": POLICY}
            extra = [(k.encode(), v.encode()) for k, v in told.items() if k.encode() not in there]
            status = 413 if body.is_refused and message["status"] >= 400 else message["status"]
            message = {**message, "status": status, "headers": [*kept, *extra]}
        await send(message)

    return headed


def _most(path: str) -> int:
    if path.startswith("/gradio_api/upload"):
        return MAX_BODY
    return MAX_FORM if path.startswith(("/login", "/logout", "/quiz/")) else MAX_TALK


def _is_open(path: str) -> bool:
    return any(path == each or (path.startswith(each) and each[-1] in "/.") for each in OPEN)


def _name(host: str) -> str:
    """The name in a Host header, without its port."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""


def _is_same_site(request: Any, host: str) -> bool:
    """Whether a request that changes something comes from our own page, or from no page, as a script's does."""
    site = request.headers.get("sec-fetch-site")
    if site is not None:  # a browser's word, which no page can change
        return site in ("same-origin", "none")
    origin = request.headers.get("origin")
    return origin is None or urlsplit(origin).netloc == host
