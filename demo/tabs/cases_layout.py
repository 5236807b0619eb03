"""How the tab 'Cases' is laid out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr

from vesalius.data.modality import MODALITIES
from vesalius.demo.cases.case import LEVELS, LISTS, TEXTS
from vesalius.demo.page import Desk, t


@dataclass(kw_only=True)
class Editor:
    """The components of the tab, by what they are for. Which case is open the browser says, as its id and the stamp
    that it began from: so a server that was started again knows it too."""

    text: gr.Textbox
    level: gr.Dropdown
    modality: gr.Dropdown
    unknown: gr.Checkbox
    note: gr.HTML
    listed: gr.HTML
    draft: gr.Row
    draft_note: gr.HTML
    sheet: gr.Column
    writing: gr.Column
    pictures: gr.HTML
    recent: gr.HTML
    links: gr.HTML
    preview: gr.HTML
    really: gr.Button
    copies: gr.Row
    id: gr.Textbox
    seen: gr.Textbox
    images: gr.Textbox
    fields: dict[str, Any]

    @property
    def written(self) -> list[Any]:
        """What a case is read from."""
        return [self.id, self.seen, self.images, *self.fields.values()]


def lay_out(desk: Desk) -> tuple[Editor, dict[str, Any]]:
    """The components, and those that start an action."""
    b: dict[str, Any] = {}
    any_level = [(t("cases.any"), ""), *((t(f"cases.{level}"), level) for level in LEVELS)]
    no_level = [("-", ""), *((t(f"cases.{level}"), level) for level in LEVELS)]
    with gr.Row(equal_height=True):
        text = gr.Textbox(label=t("cases.search"), scale=3, elem_id="cases-search", max_lines=1, type="text")
        level = gr.Dropdown(any_level, value="", label=t("cases.level"), min_width=120)
        modality = gr.Dropdown(
            [(t("cases.any"), ""), *((t(f"modality.{name}"), name) for name in MODALITIES)], value="",
            label=t("cases.modality"), min_width=120,
        )  # fmt: skip
    with gr.Row(equal_height=True):
        unknown = gr.Checkbox(label=t("cases.unknown"), info=t("cases.unknown_info"), elem_id="cases-unknown", scale=3)
        b["new"] = gr.Button(t("cases.new"), variant="primary", elem_id="cases-new", min_width=120)
        b["import"] = gr.UploadButton(t("cases.import"), file_types=[".zip"], elem_id="cases-import", min_width=120)
    with gr.Row(visible=False, elem_id="cases-draft") as draft:
        draft_note = gr.HTML(padding=False)
        b["go_on"] = gr.Button(t("cases.go_on"), variant="primary", min_width=120, elem_id="cases-go-on")
        b["discard"] = gr.Button(t("cases.discard"), min_width=120, elem_id="cases-discard")
    note = gr.HTML(elem_id="cases-note", padding=False)
    with gr.Column(visible=False, elem_id="cases-sheet") as sheet:
        with gr.Column(elem_id="cases-writing") as writing:
            title = _text("title", info=True)
            pictures = gr.HTML(elem_id="cases-pictures", padding=False)
            with gr.Accordion(t("cases.recent"), open=False, elem_id="cases-recent"):
                recent = gr.HTML(padding=False)
            history = _text("history", lines=3, info=True)
            with gr.Row():
                findings = _text("findings", lines=5, info=True)
                with gr.Column(min_width=260):
                    diagnosis = _text("diagnosis", lines=2)
                    case_level = gr.Dropdown(no_level, value="", label=t("cases.level"), elem_id="cases-level")
            with gr.Row():
                differential = _text("differential", lines=4)
                discussion = _text("discussion", lines=4)
            with gr.Accordion(t("cases.more_fields"), open=False):
                keywords, references = _text("keywords", lines=2), _text("references", lines=2)
                language = gr.Dropdown(
                    [("English", "en"), ("中文", "zh")], value="en", label=t("cases.language"), elem_id="cases-language"
                )
            with gr.Row():
                b["save"] = gr.Button(t("cases.save"), variant="primary", elem_id="cases-save", min_width=110)
                b["show"] = gr.Button(t("cases.preview"), elem_id="cases-show", min_width=110)
                b["fill"] = gr.Button(t("cases.fill"), elem_id="cases-fill", min_width=110)
                b["copy"] = gr.Button(t("cases.copy"), elem_id="cases-copy", min_width=110)
                b["ask"] = gr.Button(t("cases.delete"), elem_id="cases-delete", min_width=110)
            with gr.Row(visible=False) as copies:
                b["reopen"] = gr.Button(t("cases.reopen"), elem_id="cases-reopen")
            b["delete"] = gr.Button(t("cases.really"), variant="stop", visible=False, elem_id="cases-really")
        with gr.Row():
            b["close"] = gr.Button(t("cases.close"), elem_id="cases-close", min_width=110)
            b["send"] = gr.Button(t("cases.send"), visible=bool(desk.config.pacs), elem_id="cases-send", min_width=110)
        links = gr.HTML(elem_id="cases-links", padding=False)
        preview = gr.HTML(elem_id="cases-preview", padding=False)
    listed = gr.HTML(elem_id="cases-listed", padding=False)
    for name in ("open", "add", "autosave"):
        b[name] = _hidden(f"cases-{name}")
    fields = {
        "title": title, "history": history, "findings": findings, "diagnosis": diagnosis, "discussion": discussion,
        "differential": differential, "keywords": keywords, "references": references, "level": case_level,
        "language": language,
    }  # fmt: skip
    editor = Editor(
        text=text, level=level, modality=modality, unknown=unknown, note=note, listed=listed, draft=draft,
        draft_note=draft_note, sheet=sheet, writing=writing, pictures=pictures, recent=recent, links=links,
        preview=preview, really=b["delete"], copies=copies, id=_hidden("cases-id"), seen=_hidden("cases-seen"),
        images=_hidden("cases-images"), fields=fields,
    )  # fmt: skip
    return editor, b


def _text(name: str, *, lines: int = 1, info: bool = False) -> gr.Textbox:
    """A field of the sheet; a list's lines are a text's."""
    most = TEXTS[name][1] if name in TEXTS else LISTS[name][1] * (LISTS[name][2] + 1)
    return gr.Textbox(
        label=t(f"cases.{name}"), info=t(f"cases.{name}_info") if info else None, lines=lines,
        max_lines=max(lines, 12) if lines > 1 else 1, max_length=most, elem_id=f"cases-{name}", min_width=260,
    )  # fmt: skip


def _hidden(name: str) -> gr.Textbox:
    return gr.Textbox(visible="hidden", elem_id=name, label=name)
