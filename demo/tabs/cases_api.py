"""Cases for scripts: gradio endpoints with named parameters."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gradio as gr

from vesalius.demo.cases.case import Case, case_of
from vesalius.demo.cases.routes import KINDS, export_path
from vesalius.demo.export import pacs
from vesalius.demo.export.archive import take_in
from vesalius.demo.export.sheet import sheet_of_id
from vesalius.demo.page import Desk, forget, plainly, teacher_of
from vesalius.demo.sentences import Refusal
from vesalius.demo.store import cases as store


def add_api(desk: Desk) -> None:
    """Add the endpoints to the page that is being laid out."""

    def save_case(
        id: str = "", title: str = "", history: str = "", images: list[dict[str, Any]] | None = None,
        findings: str = "", diagnosis: str = "", differential: list[str] | None = None, discussion: str = "",
        level: str = "", language: str = "en", keywords: list[str] | None = None,
        references: list[str] | None = None, updated: float = 0.0, request: gr.Request | None = None,
    ) -> dict[str, Any]:  # fmt: skip
        """Keep a case: a new one without an id, else the changed one, whose `updated` is the one that was read.

        images: [{"picture": ID, "caption": TEXT, "in_answer": false}, ...] in their order.
        """
        account = teacher_of(desk, request)
        row = {
            "title": title, "history": history, "images": images, "findings": findings, "diagnosis": diagnosis,
            "differential": differential, "discussion": discussion, "level": level, "language": language,
            "keywords": keywords, "references": references,
        }  # fmt: skip
        return told(store.save_case(desk.store, account.name, replace(case_of(row), id=id), seen=updated))

    def cases(
        text: str = "", level: str = "", modality: str = "", request: gr.Request | None = None
    ) -> list[dict[str, Any]]:
        """Your cases that say all words of a text, of a level and a modality where these are given."""
        account = teacher_of(desk, request)
        return [told(c) for c in store.find_cases(desk.store, account.name, text=text, level=level, modality=modality)]

    def case(id: str, request: gr.Request | None = None) -> dict[str, Any]:
        """One case."""
        return told(store.find_case(desk.store, teacher_of(desk, request).name, id))

    def duplicate_case(id: str, request: gr.Request | None = None) -> dict[str, Any]:
        """A copy of a case, with the same pictures."""
        return told(store.duplicate_case(desk.store, teacher_of(desk, request).name, id))

    def delete_case(id: str, request: gr.Request | None = None) -> str:
        """Delete a case; its pictures stay."""
        store.delete_case(desk.store, teacher_of(desk, request).name, id)
        return id

    def export_case(id: str, kind: str = "pptx", unknown: bool = False, request: gr.Request | None = None) -> str:
        """Where a case is fetched as pptx, html, zip or dcm.zip; with `unknown` nothing in it tells the answer."""
        found = store.find_case(desk.store, teacher_of(desk, request).name, id)
        if kind not in KINDS:
            raise Refusal(
                f"Cases are exported as {', '.join(KINDS)}, not as '{kind[:40]}'",
                f"病例可导出为 {'、'.join(KINDS)}，不能导出为“{kind[:40]}”",
            )
        return export_path(found.id, kind, unknown=unknown)

    def send_case(id: str, unknown: bool = False, request: gr.Request | None = None) -> dict[str, Any]:
        """Send a case to the image archive that this page was started with."""
        account = teacher_of(desk, request).name
        sent = pacs.send(desk.store, sheet_of_id(desk.store, account, id, unknown=unknown), desk.config.pacs)
        return vars(sent)

    def import_case(file: str, request: gr.Request | None = None) -> dict[str, Any]:
        return told(taken_in(desk, file, request))

    for action in (save_case, cases, case, duplicate_case, delete_case, export_case, send_case):
        gr.api(plainly(action), api_name=action.__name__)
    with gr.Row(visible=False):
        file, result = gr.File(file_types=[".zip"], label="file"), gr.JSON(label="case")
        gr.Button("import").click(
            plainly(import_case), inputs=file, outputs=result, api_name="import_case",
            api_description="Keep the case of a ZIP file that was exported with its answer, as a new one.",
        )  # fmt: skip


def taken_in(desk: Desk, file: str | None, request: gr.Request | None) -> Case:
    """The new case of a ZIP file that was uploaded, of which nothing stays beside the case."""
    try:
        account = teacher_of(desk, request)
        if not file:
            raise Refusal(
                "No file came; give a ZIP file that the tab 'Cases' exported",
                "未收到文件；请提供由“病例”页导出的 ZIP 文件",
            )
        return take_in(desk.store, account.name, Path(file))
    finally:
        forget(file)


def told(case: Case) -> dict[str, Any]:
    """A case as JSON."""
    return {"id": case.id, **case.body(), "created": case.created, "updated": case.updated}
