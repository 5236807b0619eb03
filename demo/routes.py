"""What the browser fetches beside gradio's page: login, pictures, scripts. Each picture only for its owner."""

from __future__ import annotations

import html
from importlib import resources
from typing import Annotated

from fastapi import FastAPI, Form, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse, JSONResponse, RedirectResponse, Response

from vesalius.demo.compare.contact_sheet import sheet_pictures, sheet_png
from vesalius.demo.compare.values import facts_of, units_of
from vesalius.demo.export.dicom import dicom_of
from vesalius.demo.guard.tries import DEVICE, Tries
from vesalius.demo.page import LABEL, WORDS, Desk, language_of
from vesalius.demo.sentences import Refusal, sentence
from vesalius.demo.store.accounts import LOCAL, SESSION_SECONDS, account_of_session, find_account, leave
from vesalius.demo.store.jobs import find_job
from vesalius.demo.store.pictures import StoredPicture, file_of, find_picture, preview_of
from vesalius.demo.tabs.jobs import listed

COOKIE, ROLE = "vesalius_session", "vesalius_role"
WRONG = "Name and password do not belong together. 用户名与密码不符。"


def account_name(desk: Desk, request: Request) -> str | None:
    """Who a request comes from: of a browser by its cookie, of a script by `Authorization: Bearer SESSION`; without a
    login the one person there is."""
    if not desk.config.needs_login:
        return LOCAL
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    secret = shown.strip() if scheme.lower() == "bearer" else request.cookies.get(COOKIE, "")
    return account_of_session(desk.store, secret) if secret else None


def required(desk: Desk, request: Request) -> str:
    """The same; 401 where nobody is logged in."""
    name = account_name(desk, request)
    if name is None:
        raise http(401, Refusal.of(WORDS["login"]), request)
    return name


def http(status: int, error: Exception, request: Request) -> HTTPException:
    """An answer that lacks what was asked for, and says why in the reader's language."""
    return HTTPException(status, sentence(error, language_of(request))[0])


def refused(error: Exception, request: Request) -> JSONResponse:
    """The same for scripts of the page that show it: {"error": sentence, "details": the original, where that is
    another}."""
    told = dict(zip(("error", "details"), filter(None, sentence(error, language_of(request))), strict=False))
    status = 400 if isinstance(error, ValueError) else 507 if isinstance(error, OSError) else 500
    return JSONResponse(told, status, headers={"cache-control": "no-store"})


def add_routes(app: FastAPI, desk: Desk) -> None:
    """Add all of them to a server."""
    web = resources.files("vesalius.demo") / "web"
    files = {p.name: p for p in web.iterdir() if p.name.endswith((".js", ".css"))}
    kinds = {"js": "text/javascript", "css": "text/css"}
    tries = Tries(desk.store)

    def asset(request: Request) -> Response:
        name = request.url.path.rpartition("/")[2]
        return Response(files[name].read_bytes(), media_type=kinds[name.rpartition(".")[2]])

    for name in files:  # no pattern: the other names under /assets are those of gradio's own page
        app.add_api_route(f"/assets/{name}", asset)

    @app.get("/pictures/{picture}.png")
    def picture(picture: str, request: Request) -> Response:
        found = owned(desk, request, picture)
        return FileResponse(file_of(desk.store, found), media_type="image/png", headers=facts_of(found))

    @app.get("/pictures/{picture}.hu")
    def units(picture: str, request: Request) -> Response:
        found = owned(desk, request, picture)
        try:
            content, shape = units_of(desk.store, found)
        except ValueError as error:
            raise http(404, error, request) from None
        rows, columns = map(str, shape)
        return Response(
            content, media_type="application/octet-stream",
            headers={**facts_of(found), "x-rows": rows, "x-columns": columns},
        )  # fmt: skip

    @app.get("/pictures/{picture}.dcm")
    def dicom(picture: str, request: Request) -> Response:
        found = owned(desk, request, picture)
        try:
            content = dicom_of(desk.store, found)
        except ValueError as error:
            raise http(422, error, request) from None
        return Response(
            content, media_type="application/dicom",
            headers={
                **facts_of(found), "content-disposition": f'attachment; filename="synthetic-{found.id}.dcm"',
            },
        )  # fmt: skip

    @app.get("/sheets/{pictures}.png")
    def sheet(pictures: str, request: Request) -> Response:
        try:
            found = sheet_pictures(desk.store, required(desk, request), pictures.split(","))
            content = sheet_png(desk.store, found)
        except ValueError as error:
            raise http(404, error, request) from None
        return Response(content, media_type="image/png", headers={"cache-control": "no-store", "x-label": LABEL})

    @app.get("/previews/{job}.png")
    def preview(job: str, request: Request) -> Response:
        try:
            path = preview_of(desk.store, find_job(desk.store, required(desk, request), job).id)
        except ValueError as error:
            raise http(404, error, request) from None
        try:
            content = path.read_bytes()
        except OSError:  # its picture is there by now, or not begun: nothing is wrong, and there is nothing to show
            return Response(status_code=204, headers={"cache-control": "no-store"})
        return Response(content, media_type="image/png", headers={"cache-control": "no-store", "x-label": LABEL})

    @app.get("/trouble")
    def trouble(request: Request) -> JSONResponse:
        required(desk, request)
        return JSONResponse({"trouble": desk.trouble()}, headers={"cache-control": "no-store"})

    @app.get("/jobs/list")
    def jobs_list(request: Request) -> JSONResponse:
        name, language = required(desk, request), language_of(request)
        return JSONResponse(listed(desk, name, language), headers={"cache-control": "no-store"})

    @app.get("/login")
    def login_page() -> HTMLResponse:
        return HTMLResponse(_login_html())

    @app.post("/login")
    def login(request: Request, name: Annotated[str, Form()] = "", password: Annotated[str, Form()] = "") -> Response:
        name = name[:100]
        try:
            secret = tries.enter(name, password, request.client and request.client.host, request.cookies.get(DEVICE))
        except BlockingIOError as error:
            return HTMLResponse(_login_html(str(error)), status_code=429)
        if secret is None:
            return HTMLResponse(_login_html(WRONG), status_code=401)
        leave(desk.store, request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/", status_code=303)
        role = find_account(desk.store, name).role  # for the page's own script, which shows no tab that would refuse
        for cookie, value in ((COOKIE, secret), (DEVICE, tries.device(name)), (ROLE, role)):
            answer.set_cookie(
                cookie, value, max_age=SESSION_SECONDS, httponly=cookie != ROLE, samesite="strict", path="/",
                secure=request.url.scheme == "https",
            )  # fmt: skip
        return answer

    @app.post("/logout")
    def logout(request: Request) -> Response:
        leave(desk.store, request.cookies.get(COOKIE, ""))
        answer = RedirectResponse("/login", status_code=303)
        answer.delete_cookie(COOKIE, path="/")
        answer.delete_cookie(ROLE, path="/")
        return answer


def owned(desk: Desk, request: Request, picture: str) -> StoredPicture:
    """A picture of who asks; 404 where they have none of that name, or its file is gone."""
    try:
        found = find_picture(desk.store, required(desk, request), picture)
        file_of(desk.store, found)
        return found
    except ValueError as error:
        raise http(404, error, request) from None


def _login_html(remark: str = "") -> str:
    page = (resources.files("vesalius.demo") / "web" / "login.html").read_text()
    return page.replace("<!--remark-->", f'<p role="alert">{html.escape(remark)}</p>' if remark else "")
