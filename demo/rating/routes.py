"""What the pages 'Rate' and 'Loop' fetch: tickets and their pictures, pictures of a loop, and what is decided there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Annotated, Any

import gradio as gr
from fastapi import Body, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse, Response

from vesalius.demo.loop import loops
from vesalius.demo.loop import page as loop_page
from vesalius.demo.page import Desk, Language, language_of
from vesalius.demo.rating import views as rating_views
from vesalius.demo.rating.pool import check_folders
from vesalius.demo.rating.queue import settle
from vesalius.demo.routes import http, refused, required
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.accounts import Account, find_account

log = logging.getLogger(__name__)
BLIND_HEADERS = {"cache-control": "private, no-store", "x-label": "Synthetic or real: not for diagnosis"}
"""The same for all pictures that are rated: neither when a file was written nor what it is."""
NOT_YOURS = Refusal(
    "This picture is not yours to rate, or was taken away; reload the page",
    "该图像不由您评分，或已被移除；请重新载入页面",
)
NO_SAMPLE = Refusal("There is no such picture of a loop, or it is not for you", "循环中没有这幅图像，或您无权查看")
OTHER_PAGE = Refusal("Only this page may ask that", "只有本页可以提出此请求")
Told = Annotated[dict[str, Any], Body()]


def add_rate_routes(app: FastAPI, desk: Desk) -> None:
    """Add all of them to a server. ValueError where a folder that is to be rated is none."""
    check_folders(desk.config)
    try:
        settle(desk.store)  # what a killed server kept, and had not written to the file of ratings
    except (ValueError, OSError) as error:
        log.error("ratings that are kept are not in the file yet: %s", error)

    def account(request: Request) -> Account:
        return find_account(desk.store, required(desk, request))

    @app.get("/rate/{name}.png")
    def rated_picture(name: str, request: Request) -> Response:
        ticket, _, place = name.partition(".")
        if place not in ("", "1", "2"):
            raise http(404, NOT_YOURS, request)
        try:
            png = rating_views.ticket_png(desk, account(request), ticket, int(place or 1) - 1)
        except (ValueError, OSError) as error:
            log.info("a ticket's picture: %s", error)
            raise http(404, NOT_YOURS, request) from None
        return Response(png, media_type="image/png", headers=BLIND_HEADERS)

    @app.get("/rate/opening")
    def opening(request: Request) -> JSONResponse:
        def told() -> dict[str, Any]:
            who, language = account(request), spoken(request)
            found = rating_views.opening(desk, who, language)
            return {**found, "notes": rating_views.notes_of(desk, language)} if who.role == "owner" else found

        return answered(request, told)

    @app.post("/rate/next")
    def next_turn(request: Request, told: Told) -> JSONResponse:
        names = ("mode", "rater", "level")
        return answered(request, lambda: rating_views.next_view(desk, account(request), **only(told, names)))

    @app.post("/rate/answer")
    def answer(request: Request, told: Told) -> JSONResponse:
        def kept() -> dict[str, Any]:
            said = told.get("said")
            if not isinstance(said, dict):
                raise Refusal("Nothing was said of this picture", "没有对该图像作出任何评价")
            return rating_views.answer_view(desk, account(request), ticket=told.get("ticket", ""), said=said)

        return answered(request, kept)

    @app.post("/rate/back")
    def back(request: Request, told: Told) -> JSONResponse:
        return answered(
            request, lambda: rating_views.back_view(desk, account(request), **only(told, ("ticket", "rater")))
        )

    @app.get("/rate/agreement")
    def agreement(request: Request) -> JSONResponse:
        return answered(
            request, lambda: {"lines": rating_views.agreement_view(desk, account(request), spoken(request))["lines"]}
        )

    @app.get("/rate/put")
    def mine(request: Request) -> JSONResponse:
        return answered(request, lambda: {"pictures": rating_views.put_view(desk, account(request))})

    @app.post("/rate/put")
    def put(request: Request, told: Told) -> JSONResponse:
        return answered(
            request,
            lambda: {"on": rating_views.put(desk, account(request), told.get("pictures", []), bool(told.get("on")))},
        )

    @app.get("/loops/{place}/{number}/{digest}.png")
    def loop_picture(place: int, number: int, digest: str, request: Request) -> Response:
        try:
            png = loops.picture_of(desk, account(request), place, number, digest)
        except (ValueError, OSError) as error:
            log.info("a loop's picture: %s", error)
            raise http(404, NO_SAMPLE, request) from None
        return Response(png, media_type="image/png", headers={"cache-control": "private, max-age=3600"})

    @app.get("/loops/page")
    def page(request: Request, stamp: str = "") -> JSONResponse:
        return answered(request, lambda: loop_page.page_of(desk, account(request), spoken(request), stamp=stamp))

    @app.post("/loops/keep_out")
    def keep_out(request: Request, told: Told) -> JSONResponse:
        names = ("loop", "sample", "on")
        return answered(request, lambda: loops.keep_out(desk, account(request), **only(told, names)))

    @app.post("/loops/approve")
    def approve(request: Request, told: Told) -> JSONResponse:
        names = ("loop", "reason", "expected")
        return answered(request, lambda: loops.approve_round(desk, account(request), **only(told, names)))


def only(told: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    """What a page says under the names that are asked for."""
    return {name: told[name] for name in names if name in told}


def spoken(request: Request) -> Language:
    """The language of a request."""
    return language_of(gr.Request(request))


def answered(request: Request, action: Callable[[], dict[str, Any]]) -> JSONResponse:
    """What an action tells, or why not in a sentence. Pages of other sites are refused."""
    if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        raise http(403, OTHER_PAGE, request)
    try:
        return JSONResponse(action(), headers={"cache-control": "no-store"})
    except HTTPException:
        raise
    except Exception as error:
        return refused(error, request)
