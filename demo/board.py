"""Pictures as figures of the page: alt text, the label, what was checked, and what can be done with each.

A figure is HTML; `web/board.js` listens for its buttons, wherever on the page it is.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from vesalius.data.texts.prompt import clean
from vesalius.demo.page import WORDS as PAGE
from vesalius.demo.page import Language, Words, say
from vesalius.demo.terms import REASONS, term

if TYPE_CHECKING:
    from vesalius.demo.store.pictures import Check, StoredPicture

ACTIONS = ("recall", "to_compare", "to_case", "download")
"""Buttons of a figure, unless other ones are asked for. "dicom" is one more."""
MOST_ALT = 300
MAGNIFIED = 3
"""Times that a picture is shown larger than it is at most; beyond, a viewer is better."""
SIGNS = {"yes": "✓", "no": "✗", "unsure": "?"}
WORDS: Words = {
    "board.asked": ("Asked for: {text}", "按以下描述生成：{text}"),
    "board.hidden": ("An image to look at", "供判读的图像"),
    "board.larger": ("Open larger", "放大查看"),
    "board.actions": ("What to do with this picture", "对此图像的操作"),
    "board.seed": ("seed {seed}", "种子 {seed}"),
    "board.recall": ("Use its settings", "调用其设置"),
    "board.to_compare": ("Compare", "对比"),
    "board.to_case": ("Add to case", "加入病例"),
    "board.download": ("Download PNG", "下载 PNG"),
    "board.dicom": ("Download DICOM", "下载 DICOM"),
    "board.checks": ("Does it show what was asked?", "是否符合要求？"),
    "board.yes": ("yes", "符合"),
    "board.no": ("no", "不符合"),
    "board.unsure": ("unsure", "不确定"),
    "board.unchecked": ("cannot be checked", "无法检查"),
    "board.seen": ("Seen: {seen}.", "所见：{seen}。"),
    "board.rate": (
        "Looked at by {checker}, which is wrong in {rate} of such images whose truth is known.",
        "由{checker}判读；在已知真值的同类图像中，其错误率为 {rate}。",
    ),
    "board.unrated": (
        "Looked at by {checker}; how often it is wrong here was never measured.",
        "由{checker}判读；其在此类图像中的错误率尚未测量。",
    ),
}  # fmt: skip


def picture_figure(
    picture: StoredPicture,
    language: Language,
    *,
    actions: Sequence[str] = ACTIONS,
    src: str | None = None,
    tells: bool = True,
) -> str:
    """One picture as HTML. src: its address, where it is not the owner's. tells False: nothing says what was asked
    for, alt text, label and badges included, for those who are to find out."""
    page, label = html.escape(src or f"/pictures/{picture.id}.png"), html.escape(PAGE["label"][language == "zh"])
    sample = picture.sample
    width = f' style="--board-most: {MAGNIFIED * sample.width}px"' if sample.width else ""
    size = f' width="{sample.width}" height="{sample.height}"' if sample.width and sample.height else ""
    alt = html.escape(alt_text(picture, language, tells=tells))
    image = f'<img src="{page}" loading="lazy" decoding="async" alt="{alt}"{size}>'
    view = f'class="board-view" aria-haspopup="dialog" title="{_words("larger", language)}"'
    parts = [f'<button type="button" {view}>{image}</button>', f'<p class="board-label">{label}</p>']
    if tells:
        caption = " · ".join(filter(None, [picture.label, say(WORDS, "board.seed", language, seed=sample.seed)]))
        parts.append(f"<figcaption>{html.escape(caption)}</figcaption>")
        parts.append(badges(picture.checks or (), language))
    if actions:
        buttons = "".join(_action(each, picture.id, page, language) for each in actions)
        parts.append(
            f'<div class="board-actions" role="group" aria-label="{_words("actions", language)}">{buttons}</div>'
        )
    return f'<figure class="board-figure" data-picture="{html.escape(picture.id)}"{width}>{"".join(parts)}</figure>'


def board(pictures: Iterable[StoredPicture], language: Language, *, actions: Sequence[str] = ACTIONS) -> str:
    """Figures side by side."""
    return f'<div class="board">{"".join(picture_figure(p, language, actions=actions) for p in pictures)}</div>'


def alt_text(picture: StoredPicture, language: Language, *, tells: bool = True) -> str:
    """What stands for a picture where it cannot be seen: the label first, then what was asked for."""
    asked = clean(picture.sample.text)
    short = asked if len(asked) <= MOST_ALT else f"{asked[: MOST_ALT - 1]}…"
    rest = say(WORDS, "board.asked", language, text=short) if tells else say(WORDS, "board.hidden", language)
    return f"{PAGE['label'][language == 'zh']}{'。' if language == 'zh' else '. '}{rest}"


def badges(checks: Sequence[Check], language: Language) -> str:
    """What was checked, each with a sign, a word, and on request who looked and how often they are wrong."""
    if not checks:
        return ""
    told = "".join(f"<li>{_badge(check, language)}</li>" for check in checks)
    return f'<ul class="board-checks" aria-label="{_words("checks", language)}">{told}</ul>'


def _badge(check: Check, language: Language) -> str:
    word = say(WORDS, f"board.{'unchecked' if check.seen in REASONS else check.said}", language)
    if check.said == "no":
        word = f"{word} ({term(check.seen, language)})"
    asked = html.escape(term(check.asked, language))
    why = html.escape(reason(check, language))
    return (
        f'<details class="board-check board-{html.escape(check.said)}"><summary title="{why}">'
        f'<span aria-hidden="true">{SIGNS.get(check.said, "?")}</span> {asked}: {html.escape(word)}'
        f'<span class="board-unseen"> {why}</span></summary><p aria-hidden="true">{why}</p></details>'
    )


def reason(check: Check, language: Language) -> str:
    """Who looked, what they saw, and how often they are wrong."""
    if check.seen in REASONS:
        seen = REASONS[check.seen][language == "zh"]
        if not check.checker:
            return seen
    else:
        seen = say(WORDS, "board.seen", language, seen=term(check.seen, language))
    checker = term(check.checker, language)
    if check.error_rate is None:
        rest = say(WORDS, "board.unrated", language, checker=checker)
    else:
        rest = say(WORDS, "board.rate", language, checker=checker, rate=percent(check.error_rate))
    return f"{seen} {rest}"


def percent(share: float) -> str:
    """A share in words that claim no more than was measured."""
    return "< 1 %" if share < 0.01 else f"{share * 100:.0f} %"


def _action(action: str, picture: str, page: str, language: Language) -> str:
    text, ident = _words(action, language), html.escape(picture)
    if action == "download":
        return f'<a href="{page}?download=1" download="synthetic-{ident}.png">{text}</a>'
    if action == "dicom":
        return f'<a href="/pictures/{ident}.dcm" download="synthetic-{ident}.dcm">{text}</a>'
    return f'<button type="button" data-board="{html.escape(action)}">{text}</button>'


def _words(key: str, language: Language) -> str:
    return html.escape(say(WORDS, f"board.{key}", language))
