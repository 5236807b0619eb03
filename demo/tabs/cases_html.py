"""What the tab 'Cases' writes into the page itself: the list, the pictures of a case, and where its files are."""

from __future__ import annotations

import base64
import html
import time
from collections.abc import Sequence
from io import BytesIO

from PIL import Image

from vesalius.data.images.drawn import COMMENT
from vesalius.data.images.image import read_image
from vesalius.demo.cases.case import Case, CaseImage, asked
from vesalius.demo.cases.routes import KINDS, export_path
from vesalius.demo.page import WORDS as PAGE
from vesalius.demo.page import Language, alt_of, say
from vesalius.demo.store.pictures import StoredPicture, file_of, find_picture
from vesalius.demo.store.schema import Store
from vesalius.demo.tabs.cases_words import WORDS
from vesalius.demo.terms import term

THUMB = 160
"""Pixels of a picture in the list where titles are hidden."""


def list_html(store: Store, account: str, cases: Sequence[Case], language: Language, *, unknown: bool) -> str:
    """The cases as buttons. unknown: nothing of them tells an answer, their pictures' files included."""
    if not cases:
        return f'<p class="cases-none">{_said("cases.none", language)}</p>'
    rows = [_row(store, account, case, number, language, unknown) for number, case in enumerate(cases, 1)]
    label = _said("cases.list", language)
    return f'<ul class="cases-list" aria-label="{label}">{"".join(rows)}</ul>'


def _row(store: Store, account: str, case: Case, number: int, language: Language, unknown: bool) -> str:
    shown = asked(case) if unknown else case
    pictures = _found(store, account, shown.images)
    title = _said("cases.numbered", language, number=number) if unknown else _escaped(case.title)
    modalities = dict.fromkeys(term(picture.sample.modality, language) for picture in pictures.values())
    level = [_said(f"cases.{case.level}", language)] if case.level else []
    when = [] if unknown else [time.strftime("%Y-%m-%d %H:%M", time.localtime(case.updated))]
    about = " · ".join([*map(_escaped, modalities), *level, *when])
    first = next(iter(pictures.values()), None)
    image = '<span class="cases-blank"></span>'
    if first is not None:
        source = _thumb(store, first) if unknown else f"/pictures/{_escaped(first.id)}.png"
        image = f'<img src="{source}" alt="{_named(first, language)}" loading="lazy">'
    name = title or _said("cases.untitled", language)
    return (
        f'<li><button type="button" data-open="{_escaped(case.id)}">{image}<span class="cases-told">'
        f'<b dir="auto">{name}</b><span>{about}</span></span></button></li>'
    )


def _named(picture: StoredPicture, language: Language) -> str:
    """What alt text begins with: the label, and of which modality a picture is."""
    return alt_of(_escaped(term(picture.sample.modality, language)), language)


def _thumb(store: Store, picture: StoredPicture) -> str:
    """A small picture inside the page, without the recipe that its file carries."""
    array = read_image(file_of(store, picture))
    image = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array)
    image.thumbnail((THUMB, THUMB))
    content = BytesIO()
    image.save(content, "JPEG", quality=85, comment=COMMENT)
    return f"data:image/jpeg;base64,{base64.b64encode(content.getvalue()).decode()}"


def _found(store: Store, account: str, images: Sequence[CaseImage]) -> dict[str, StoredPicture]:
    """The pictures that are still there, by their ids."""
    found = {}
    for image in images:
        try:
            picture = find_picture(store, account, image.picture)
            file_of(store, picture)
        except ValueError:
            continue
        found[image.picture] = picture
    return found


def pictures_html(store: Store, account: str, images: Sequence[CaseImage], language: Language) -> str:
    """A case's pictures in their order, to be captioned, moved and removed (`web/cases.js`)."""
    found = _found(store, account, images)
    rows = "".join(_picture(image, found.get(image.picture), language) for image in images)
    body = f"<ol>{rows}</ol>" if rows else f"<p>{_said('cases.no_pictures', language)}</p>"
    # The time makes what is shown new to gradio, though the browser has changed it meanwhile.
    return (
        f'<div class="cases-pictures" data-shown="{time.time_ns()}"><h3>{_said("cases.pictures", language)}</h3>{body}'
        f'<p class="cases-small">{PAGE["label"][language == "zh"]}</p><p role="status" class="cases-moved"></p></div>'
    )


def _picture(image: CaseImage, picture: StoredPicture | None, language: Language) -> str:
    if picture is None:
        shown = f'<p class="cases-blank">{_said("cases.gone", language)}</p>'
    else:
        alt = f"{_named(picture, language)}: {_escaped(picture.sample.text[:200])}"
        shown = f'<img src="/pictures/{_escaped(picture.id)}.png" alt="{alt}" loading="lazy">'
    checked = " checked" if image.in_answer else ""
    buttons = "".join(
        f'<button type="button" data-do="{do}" aria-label="{_said(f"cases.{do}", language)}" '
        f'title="{_said(f"cases.{do}", language)}">{sign}</button>'
        for do, sign in (("up", "↑"), ("down", "↓"), ("remove", "✕"))
    )
    return (
        f'<li data-picture="{_escaped(image.picture)}">{shown}<div class="cases-fields">'
        f'<label>{_said("cases.caption", language)}<input type="text" maxlength="500" dir="auto" '
        f'value="{_escaped(image.caption)}"></label>'
        f'<label class="cases-tick"><input type="checkbox"{checked}>{_said("cases.in_answer", language)}</label>'
        f'<div class="cases-moves">{buttons}</div></div></li>'
    )


def recent_html(pictures: Sequence[StoredPicture], language: Language) -> str:
    """This person's newest pictures, each a button that adds it."""
    if not pictures:
        return f"<p>{_said('cases.no_recent', language)}</p>"
    rows = []
    for picture in pictures:
        text = _escaped(picture.sample.text[:160])
        rows.append(
            f'<li><button type="button" data-add="{_escaped(picture.id)}" title="{text}">'
            f'<img src="/pictures/{_escaped(picture.id)}.png" loading="lazy" '
            f'alt="{_said("cases.add", language)}: {_named(picture, language)}, {text}"></button></li>'
        )
    label = PAGE["label"][language == "zh"]
    return f'<ul class="cases-recent">{"".join(rows)}</ul><p class="cases-small">{label}</p>'


def links_html(case: Case, language: Language, *, unknown: bool) -> str:
    """A kept case's files; "" of one that is not kept yet."""
    if not case.id:
        return f'<p class="cases-small">{_said("cases.save_first", language)}</p>'
    links = "".join(
        f'<li><a href="{_escaped(export_path(case.id, ending, unknown=unknown))}" download>'
        f"{_said('cases.as_' + ending.partition('.')[0], language)}</a></li>"
        for ending in KINDS
    )
    hide = "&amp;unknown=1" if unknown else ""
    show = f'<li><a href="/cases/{_escaped(case.id)}.html?show=1{hide}" target="_blank" rel="noopener">'
    told = _said("cases.hidden" if unknown else "cases.whole", language)
    return (
        f'<h3>{_said("cases.exports", language)}</h3><p class="cases-small">{told}</p>'
        f'<ul class="cases-links">{show}{_said("cases.present", language)}</a></li>'
        f"{links}</ul>"
    )


def note_html(text: str, *, kind: str = "note") -> str:
    """A sentence on what was done. kind: note, or alert where something needs the reader."""
    role = "alert" if kind == "alert" else "status"
    return f'<p class="cases-{kind}" role="{role}">{_escaped(text)}</p>' if text else ""


def _said(key: str, language: Language, **values: object) -> str:
    return _escaped(say(WORDS, key, language, **values))


def _escaped(text: str) -> str:
    return html.escape(text, quote=True)
