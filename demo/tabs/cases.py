"""The tab 'Cases': teaching cases as sheets, that are listed, written, shown without their answers, and exported."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import gradio as gr
from gradio.context import Context

from vesalius.demo.cases.case import MOST_IMAGES, Case, CaseImage, case_of, first_draft, told_by_title, told_early
from vesalius.demo.export import pacs
from vesalius.demo.export.page import article
from vesalius.demo.export.sheet import sheet_of, sheet_of_id
from vesalius.demo.page import Desk, Language, Words, language_of, plainly, say, teacher_of
from vesalius.demo.sentences import Refusal
from vesalius.demo.store import cases as store
from vesalius.demo.store.cases import CaseChanged
from vesalius.demo.store.pictures import find_picture, pictures_of
from vesalius.demo.tabs.cases_api import add_api, taken_in
from vesalius.demo.tabs.cases_html import links_html, list_html, note_html, pictures_html, recent_html
from vesalius.demo.tabs.cases_layout import Editor, lay_out
from vesalius.demo.tabs.cases_words import WORDS as CASES_WORDS

WORDS: Words = CASES_WORDS
MOST_LISTED = 60
MOST_RECENT = 24
Update = dict[Any, Any]
"""Components, and what they are to show."""


def build(desk: Desk) -> None:
    """Lay the tab out."""
    tab = Context.block
    editor, buttons = lay_out(desk)
    actions = Actions(desk, editor)
    seen = [editor.text, editor.level, editor.modality, editor.unknown]
    private: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}

    def on(trigger: Callable[..., Any], action: Callable[..., Any], inputs: list[Any], *outputs: Any) -> None:
        trigger(plainly(action), inputs=inputs, outputs=list(outputs) or actions.all, **private)

    if isinstance(tab, gr.Tab):
        on(tab.select, actions.enter, [*seen, *editor.written])
    for each in seen[:3]:
        on(each.change, actions.search, seen, editor.listed)
    on(editor.unknown.change, actions.hide, [*seen, *editor.written])
    for name in ("open", "add", "autosave"):
        on(buttons[name].input, getattr(actions, name), [buttons[name], editor.unknown, *editor.written])
    for name in ("new", "save", "copy", "fill", "show", "reopen", "go_on", "discard"):
        on(buttons[name].click, getattr(actions, name), [editor.unknown, *editor.written])
    for name in ("close", "delete"):
        on(buttons[name].click, getattr(actions, name), [*seen, *editor.written])
    on(buttons["ask"].click, lambda: gr.update(visible=True), [], editor.really)
    on(buttons["import"].upload, actions.take_in, [buttons["import"], editor.unknown])
    on(desk.links["to_case"].input, actions.receive, [desk.links["to_case"], editor.unknown, *editor.written])
    if desk.config.pacs:
        buttons["send"].click(
            plainly(actions.send), [editor.unknown, editor.id], [editor.note], api_visibility="private"
        )
    add_api(desk)


class Actions:
    """What the buttons do. Each gives what changes on the page; a case that is open is in the page's own fields."""

    def __init__(self, desk: Desk, editor: Editor) -> None:
        self.desk, self.editor, self.store = desk, editor, desk.store
        e = editor
        self.all = [
            e.note, e.listed, e.draft, e.draft_note, e.sheet, e.writing, e.pictures, e.recent, e.links, e.preview,
            e.really, e.copies, *e.written,
        ]  # fmt: skip

    # ------------------------------------------------------------------------------------------------- the list

    def search(self, text: str, level: str, modality: str, unknown: bool, request: gr.Request) -> str:
        """The list of those that are looked for."""
        account, language = teacher_of(self.desk, request).name, language_of(request)
        found = store.find_cases(
            self.store,
            account,
            text=text or "",
            level=level or "",
            modality=modality or "",
            most=MOST_LISTED + 1,
        )
        listed = list_html(self.store, account, found[:MOST_LISTED], language, unknown=unknown)
        if len(found) <= MOST_LISTED:
            return listed
        return listed + note_html(say(WORDS, "cases.more", language, shown=MOST_LISTED))

    def enter(
        self, text: str, level: str, modality: str, unknown: bool, request: gr.Request, *written: Any
    ) -> Update:  # fmt: skip
        """Show the list, and offer the draft that was not saved; none beside a case that is open."""
        account, language = teacher_of(self.desk, request).name, language_of(request)
        recent = recent_html(pictures_of(self.store, account, most=MOST_RECENT), language)
        listed = self.search(text, level, modality, unknown, request)
        offer = self._offer(account, language, unknown or _is_open(self._read(written)))
        return {self.editor.listed: listed, self.editor.recent: recent, **offer}

    def _offer(self, account: str, language: Language, hidden: bool) -> Update:
        """The newest draft, to go on with. hidden: where it would tell an answer, or is what is being written."""
        draft = store.newest_draft(self.store, account)
        if draft is None or hidden:
            return {self.editor.draft: gr.update(visible=False)}
        title = draft.case.title or say(WORDS, "cases.untitled", language)
        told = say(WORDS, "cases.draft", language, time=_clock(draft.kept), title=title)
        return {self.editor.draft: gr.update(visible=True), self.editor.draft_note: note_html(told)}

    # ---------------------------------------------------------------------------------------------- one case

    def open(self, wish: str, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Open a case of the list."""
        case = store.find_case(self.store, teacher_of(self.desk, request).name, wish.partition("#")[0])
        return self._shown(case, unknown, request)

    def new(self, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Begin an empty case."""
        store.set_aside(self.store, teacher_of(self.desk, request).name)
        return self._shown(Case(language=language_of(request)), unknown, request)

    def receive(self, wish: str, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Add pictures that another tab hands over to the case that is open; else begin one, filled in from them."""
        account, language = teacher_of(self.desk, request).name, language_of(request)
        ids = [each for each in wish.partition("#")[0].split(",") if each]
        pictures = [find_picture(self.store, account, each) for each in ids[:MOST_IMAGES]]
        case = self._read(written)
        images = tuple(CaseImage(picture=p.id) for p in pictures)
        if not _is_open(case):
            store.set_aside(self.store, account)
            row = first_draft([p.sample for p in pictures], language)
            case = case_of({**row, "language": language})
        case = _with(case, images)
        store.keep_draft(self.store, account, case, seen=case.updated)
        told = say(WORDS, "cases.added", language, count=len(pictures))
        return self._shown(case, unknown, request, told=told)

    def add(self, wish: str, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Add one of the newest pictures."""
        account, language = teacher_of(self.desk, request).name, language_of(request)
        picture = find_picture(self.store, account, wish.partition("#")[0])
        case = _with(self._read(written), (CaseImage(picture=picture.id),))
        store.keep_draft(self.store, account, case, seen=case.updated)
        e = self.editor
        return {
            e.pictures: pictures_html(self.store, account, case.images, language), e.images: _images_json(case),
            e.note: note_html(say(WORDS, "cases.added", language, count=1)),
        }  # fmt: skip

    def save(self, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Keep the case; where it was changed meanwhile, offer ways in which nothing is lost."""
        account, language = teacher_of(self.desk, request).name, language_of(request)
        case = self._read(written)
        try:
            kept = store.save_case(self.store, account, case, seen=case.updated)
        except CaseChanged as error:
            store.keep_draft(self.store, account, case, seen=case.updated)
            return {
                self.editor.note: note_html(error.spoken(language), kind="alert"),
                self.editor.copies: gr.update(visible=True),
            }
        told = [say(WORDS, "cases.saved", language, time=_clock(kept.updated))]
        if early := told_early(kept):
            told.append(say(WORDS, "cases.early", language, named=", ".join(early)))
        if named := told_by_title(kept):
            told.append(say(WORDS, "cases.title_tells", language, named=", ".join(named)))
        return self._shown(kept, unknown, request, told=". ".join(told))

    def copy(self, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Keep what is written as a case of its own."""
        account = teacher_of(self.desk, request).name
        case = self._read(written)
        kept = store.save_case(self.store, account, replace(case, id="", updated=0.0))
        store.drop_draft(self.store, account, case.id)
        told = say(WORDS, "cases.saved", language_of(request), time=_clock(kept.updated))
        return self._shown(kept, unknown, request, told=told)

    def reopen(self, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Open the case as it was saved."""
        case = store.find_case(self.store, teacher_of(self.desk, request).name, self._read(written).id)
        return self._shown(case, unknown, request)

    def delete(
        self, text: str, level: str, modality: str, unknown: bool, request: gr.Request, *written: Any
    ) -> Update:  # fmt: skip
        """Delete the case that is open."""
        account, case = teacher_of(self.desk, request).name, self._read(written)
        if case.id:
            store.delete_case(self.store, account, case.id)
        store.drop_draft(self.store, account, case.id)
        return self._closed(text, level, modality, unknown, request, key="cases.deleted")

    def close(
        self, text: str, level: str, modality: str, unknown: bool, request: gr.Request, *written: Any
    ) -> Update:  # fmt: skip
        """Back to the list; a draft that was kept is offered there."""
        teacher_of(self.desk, request)
        return self._closed(text, level, modality, unknown, request)

    def take_in(self, file: str | None, unknown: bool, request: gr.Request) -> Update:
        """Open the new case of a ZIP file."""
        case = taken_in(self.desk, file, request)
        return self._shown(case, unknown, request, told=say(WORDS, "cases.imported", language_of(request)))

    # ------------------------------------------------------------------------------------ drafts and previews

    def autosave(self, wish: str, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Keep what is written as a draft."""
        account, case = teacher_of(self.desk, request).name, self._read(written)
        store.keep_draft(self.store, account, case, seen=case.updated)
        return {self.editor.note: note_html(say(WORDS, "cases.kept", language_of(request), time=_clock(time.time())))}

    def go_on(self, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Open the newest draft."""
        draft = store.newest_draft(self.store, teacher_of(self.desk, request).name)
        if draft is None:
            return {self.editor.draft: gr.update(visible=False)}
        return self._shown(draft.case, unknown, request, seen=draft.seen)

    def discard(self, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Forget the newest draft."""
        account = teacher_of(self.desk, request).name
        if (draft := store.newest_draft(self.store, account)) is not None:
            store.drop_draft(self.store, account, draft.case.id)
        return self._offer(account, language_of(request), unknown)

    def fill(self, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Fill what is empty from the prompts of the pictures."""
        account, language = teacher_of(self.desk, request).name, language_of(request)
        case = self._read(written)
        figures = sheet_of(self.store, account, case, unknown=False).figures
        drawn = first_draft([figure.picture.sample for figure in figures], case.language)
        told = case.body()
        filled = case_of({**told, **{k: v for k, v in drawn.items() if not told[k]}})
        values = {self.editor.fields[k]: _value(getattr(filled, k)) for k in drawn}
        return {**values, self.editor.note: note_html(say(WORDS, "cases.filled", language))}

    def show(self, unknown: bool, request: gr.Request, *written: Any) -> Update:
        """Show the case as a sheet, as it is written now."""
        account, case = teacher_of(self.desk, request).name, self._read(written)
        return {self.editor.preview: article(sheet_of(self.store, account, case, unknown=unknown), heading=3)}

    def hide(
        self, text: str, level: str, modality: str, unknown: bool, request: gr.Request, *written: Any
    ) -> Update:  # fmt: skip
        """Into unknown mode, where answers are nowhere on the page, and back to what was being written."""
        account, language, e = teacher_of(self.desk, request).name, language_of(request), self.editor
        case = self._read(written)
        shown = {}
        if case.id or case.images:
            shown = {
                e.preview: article(sheet_of(self.store, account, case, unknown=True), heading=3) if unknown else "",
                e.links: links_html(case, language, unknown=unknown),
                e.pictures: "" if unknown else pictures_html(self.store, account, case.images, language),
            }  # fmt: skip
        return {
            e.listed: self.search(text, level, modality, unknown, request), e.writing: gr.update(visible=not unknown),
            **self._offer(account, language, unknown or _is_open(case)), **shown, e.note: "",
        }  # fmt: skip

    def send(self, unknown: bool, case: str, request: gr.Request) -> str:
        """Send the case, as it was saved, to the image archive."""
        account = teacher_of(self.desk, request).name
        sheet = sheet_of_id(self.store, account, case, unknown=unknown)
        sent = pacs.send(self.store, sheet, self.desk.config.pacs)
        return note_html(say(WORDS, "cases.sent", language_of(request), new=sent.new, there=sent.there))

    # --------------------------------------------------------------------------------------------------- parts

    def _read(self, written: tuple[Any, ...]) -> Case:
        """The case that the page's fields hold; its stamp is the one it began from."""
        id, seen, images, *values = written
        try:
            rows = json.loads(images or "[]") if len(images or "") < 50_000 else None
            stamp = float(seen or 0)
        except (ValueError, RecursionError):
            rows, stamp = None, 0.0
        if not isinstance(rows, list) or not isinstance(id or "", str):
            raise Refusal(
                "The pictures of this case could not be read; reload the page", "无法读取该病例的图像；请重新载入页面"
            )
        row = dict(zip(self.editor.fields, values, strict=True))
        return replace(case_of({**row, "images": rows}), id=(id or "")[:100], updated=stamp)

    def _shown(
        self, case: Case, unknown: bool, request: gr.Request, *, told: str = "", seen: float | None = None
    ) -> Update:  # fmt: skip
        """A case in the editor, or in unknown mode its sheet. seen: the stamp that a draft began from."""
        account, language, e = teacher_of(self.desk, request).name, language_of(request), self.editor
        sheet = sheet_of(self.store, account, case, unknown=True) if unknown else None
        return {
            e.note: note_html(told), e.listed: gr.update(visible=False), e.draft: gr.update(visible=False),
            e.sheet: gr.update(visible=True), e.writing: gr.update(visible=not unknown),
            e.pictures: "" if unknown else pictures_html(self.store, account, case.images, language),
            e.recent: recent_html(pictures_of(self.store, account, most=MOST_RECENT), language),
            e.links: links_html(case, language, unknown=unknown),
            e.preview: "" if sheet is None else article(sheet, heading=3), e.really: gr.update(visible=False),
            e.copies: gr.update(visible=False), e.id: case.id, e.seen: repr(case.updated if seen is None else seen),
            e.images: _images_json(case),
            **{component: _value(getattr(case, name)) for name, component in e.fields.items()},
        }  # fmt: skip

    def _closed(
        self, text: str, level: str, modality: str, unknown: bool, request: gr.Request, *, key: str = ""
    ) -> Update:  # fmt: skip
        """The list again, and an empty editor."""
        account, language, e = teacher_of(self.desk, request).name, language_of(request), self.editor
        empty = {component: _value(getattr(Case(), name)) for name, component in e.fields.items()}
        listed = self.search(text, level, modality, unknown, request)
        return {
            e.note: note_html(say(WORDS, key, language)) if key else "", e.sheet: gr.update(visible=False), e.id: "",
            e.listed: gr.update(value=listed, visible=True), e.seen: "0.0", e.images: "[]", e.preview: "",
            e.pictures: "", **empty, **self._offer(account, language, unknown),
        }  # fmt: skip


def _is_open(case: Case) -> bool:
    """Whether the page's fields hold a case, be it one that was never saved."""
    return bool(case.id or case.images or case.written.strip())


def _with(case: Case, images: tuple[CaseImage, ...]) -> Case:
    """The case with further pictures. ValueError where they are too many."""
    there = {image.picture for image in case.images}
    rows = [vars(i) for i in (*case.images, *(i for i in images if i.picture not in there))]
    return replace(case_of({**case.body(), "images": rows}), id=case.id, updated=case.updated)


def _images_json(case: Case) -> str:
    return json.dumps([vars(image) for image in case.images], ensure_ascii=False)


def _value(value: Any) -> Any:
    """A field as its component shows it."""
    return "\n".join(value) if isinstance(value, tuple) else value


def _clock(seconds: float) -> str:
    return time.strftime("%H:%M", time.localtime(seconds))
