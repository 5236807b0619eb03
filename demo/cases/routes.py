"""Cases as files, each only for its owner."""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, Request
from fastapi.responses import PlainTextResponse, StreamingResponse
from starlette.responses import Response

from vesalius.demo.export.archive import archive_bytes
from vesalius.demo.export.dicom_study import study_bytes
from vesalius.demo.export.page import page_html
from vesalius.demo.export.sheet import Sheet, disposition, file_name, sheet_of_id
from vesalius.demo.export.slides import slides_bytes
from vesalius.demo.page import LABEL, Desk, language_of
from vesalius.demo.routes import http, required
from vesalius.demo.sentences import Refusal, sentence
from vesalius.demo.store.schema import Store

Write = Callable[[Store, Sheet], bytes]
KINDS: dict[str, tuple[str, Write]] = {
    "pptx": (
        "application/vnd.openxmlformats-officedocument.presentationml.presentation",
        lambda _, sheet: slides_bytes(sheet),
    ),
    "html": ("text/html; charset=utf-8", lambda _, sheet: page_html(sheet).encode()),
    "zip": ("application/zip", archive_bytes),
    "dcm.zip": ("application/zip", study_bytes),
}  # fmt: skip
"""Endings of exports: what they are, and what writes them."""
CHUNK = 1 << 18


def add_case_routes(app: FastAPI, desk: Desk) -> None:
    """Add the exports to a server."""

    @app.get("/cases/{name}")
    def export(name: str, request: Request, unknown: bool = False, show: bool = False) -> Response:
        account = required(desk, request)
        case, _, ending = name.partition(".")
        if ending not in KINDS:
            raise http(
                404, Refusal(f"Cases are exported as {', '.join(KINDS)}", f"病例可导出为 {'、'.join(KINDS)}"), request
            )
        kind, write = KINDS[ending]
        try:
            sheet = sheet_of_id(desk.store, account, case, unknown=unknown)
            content = write(desk.store, sheet)
        except ValueError as error:
            return PlainTextResponse(sentence(error, language_of(request))[0], 404)
        called = disposition(file_name(sheet, ending), inline=show and ending == "html")
        headers = {"content-disposition": called, "content-length": str(len(content)), "cache-control": "no-store"}
        parts = (content[start : start + CHUNK] for start in range(0, len(content), CHUNK))
        return StreamingResponse(parts, media_type=kind, headers={**headers, "x-label": LABEL})


def export_path(case: str, ending: str, *, unknown: bool) -> str:
    """Where an export is fetched."""
    return f"/cases/{case}.{ending}{'?unknown=1' if unknown else ''}"
