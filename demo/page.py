"""What every tab is given: who asked, in which language, and errors in a sentence."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.context import LocalContext
from gradio.i18n import I18nData

from vesalius.demo.drawing.model import Model as Model
from vesalius.demo.sentences import RATER, Refusal, name_of, sentence
from vesalius.demo.sentences import Language as Language
from vesalius.demo.store.accounts import LOCAL, Account, find_account

if TYPE_CHECKING:
    from fastapi import Request

    from vesalius.demo.config import DemoConfig
    from vesalius.demo.store.schema import Store
    from vesalius.models.support import Support

Words = Mapping[str, tuple[str, str]]
"""What is said, by its name: in English, in Chinese."""
WORDS: dict[str, tuple[str, str]] = {
    "label": ("Synthetic: not for diagnosis", "合成图像：不可用于诊断"),
    "details": ("Details", "详情（英文）"),
    "login": ("Log in first", "请先登录"),
}
LABEL = WORDS["label"][0]


@dataclass(kw_only=True)
class Desk:
    """What the tabs share.

    support: what the base was trained on, None where that is not known. links: components by which one tab hands
    another something; setting one's value is a wish: "recall" (the id of a picture whose settings Create takes),
    "to_case" (ids of pictures, parted by commas, that Cases adds to the open case), "to_compare" (the id of a picture
    that Compare starts from), "follow" (the id of a job that Create shows). trouble: says why nothing is drawn at
    present, in English and Chinese; "" where all is well.
    """

    config: DemoConfig
    store: Store
    model: Model
    support: Support | None
    links: dict[str, gr.Textbox] = field(default_factory=dict)
    tabs: gr.Tabs | None = None
    trouble: Callable[[], str] = str


LINKS = {"recall": "create", "to_case": "cases", "to_compare": "compare", "follow": "create"}
"""Links, and the tab that each opens."""


def t(key: str) -> I18nData:
    """A label in the language of the reader's browser, by its name in a tab's `WORDS`."""
    return I18nData(key)


def begins(function: str, selector: str) -> str:
    """`js_on_load` of a room that one of our scripts fills: scripts of the page's head come when they come, so it waits
    for the function and hands it the room."""
    return (
        "(function wait(tries) { let there; try { there = " + function + "; } catch (error) {} "
        f"if (there) {function}(element.querySelector({selector!r})); "
        "else if (tries) setTimeout(wait, 50, tries - 1); })(400)"
    )


def say(words: Words, key: str, language: Language, **values: object) -> str:
    """Words that the server puts into a page; values replace {names}."""
    return words[key][language == "zh"].format(**values)


def language_of(request: gr.Request | Request | None) -> Language:
    """The language that a browser asks for first, which is the one that gradio shows labels in."""
    asked = (request.headers.get("accept-language") or "") if request is not None else ""
    return "zh" if asked.strip().lower().startswith("zh") else "en"


def account_of(desk: Desk, request: gr.Request | None) -> Account:
    """Who asks. ValueError where nobody is logged in and one has to be."""
    if not desk.config.needs_login:
        return find_account(desk.store, LOCAL)
    name = request.username if request is not None else None
    if not name:
        raise Refusal.of(WORDS["login"])
    return find_account(desk.store, name)


def teacher_of(desk: Desk, request: gr.Request | None) -> Account:
    """Who asks, if they may make pictures and cases. ValueError where they may only rate."""
    account = account_of(desk, request)
    if account.role == "rater":
        raise Refusal.of(RATER)
    return account


def plainly(action: Callable[..., Any]) -> Callable[..., Any]:
    """An action of the page whose errors a teacher understands: a ValueError is told in the reader's language, anything
    else is logged and told in a sentence. Whatever kind of function it is. It has to go through gradio's queue: of an
    event without it, a browser is told that there was an error, and not which."""
    if isasyncgenfunction(action):

        @wraps(action)
        async def streamed(*args: Any, **kwargs: Any) -> Any:
            try:
                async for each in action(*args, **kwargs):
                    yield each
            except Exception as error:
                raise told(error) from None

        return streamed
    if isgeneratorfunction(action):

        @wraps(action)
        def yielded(*args: Any, **kwargs: Any) -> Any:
            try:
                yield from action(*args, **kwargs)
            except Exception as error:
                raise told(error) from None

        return yielded
    if iscoroutinefunction(action):

        @wraps(action)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                return await action(*args, **kwargs)
            except Exception as error:
                raise told(error) from None

        return awaited

    @wraps(action)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return action(*args, **kwargs)
        except Exception as error:
            raise told(error) from None

    return called


def told(error: Exception) -> gr.Error:
    """An error as the page shows it, in the language of whose request is being answered. gradio shows HTML, so what
    people wrote is escaped."""
    if isinstance(error, gr.Error):
        return error
    language = language_of(LocalContext.request.get(None))
    return gr.Error(with_details(*sentence(error, language), language), print_exception=False)


def alt_of(shown: str, language: Language) -> str:
    """Alt text of a picture: the label, and what is shown."""
    return f"{say(WORDS, 'label', language)}{'。' if language == 'zh' else '. '}{shown}"


def with_details(text: str, details: str, language: Language) -> str:
    """A sentence as HTML, and what stands behind it where somebody asks for that."""
    shown = html.escape(text, quote=False)
    if not details:
        return shown
    summary = say(WORDS, "details", language)
    return f"{shown}<details><summary>{summary}</summary>{html.escape(details, quote=False)}</details>"


def forget(upload: str | None) -> None:
    """Delete a file that somebody sent, as soon as it was read: gradio keeps such for a day, under a name that all can
    work out who have the file."""
    if upload:
        Path(upload).unlink(missing_ok=True)


def text_within(value: object, most: int, what: str) -> str:
    """A field's text; gradio enforces no length. ValueError where it is longer, or no text."""
    text = "" if value is None else value
    if not isinstance(text, str):
        raise Refusal(f"{what}: expected text", f"{name_of(what)}：应为文字")
    if len(text) > most:
        raise Refusal(
            f"{what} has {len(text)} characters; at most {most} are kept. Shorten it",
            f"{name_of(what)}有 {len(text)} 个字符；最多保存 {most} 个。请缩短",
        )
    return text.replace("\0", "")
