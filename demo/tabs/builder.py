"""The builder of 'Create': choices that put the prompt into words of the training.

What the base was not trained on is greyed out in its place: it can be reached by keyboard, and says why.
`web/create.js` sends what is chosen; the whole state comes with it, so that the server keeps none.
"""

from __future__ import annotations

import html
import json
from dataclasses import asdict, fields, replace
from typing import Any

from vesalius.demo.create.choices import Choice, Menu, Wish, settled, wording
from vesalius.demo.page import Language, Words, say
from vesalius.demo.sentences import Refusal
from vesalius.demo.terms import term

MOST_CHARACTERS = 2000
"""Of a state that a browser sends."""
WORDS: Words = {
    "builder.title": ("Choose what to show", "选择要显示的内容"),
    "builder.modality": ("Modality", "成像方式"),
    "builder.organ": ("Region or organ", "部位或器官"),
    "builder.finding": ("Finding", "病变"),
    "builder.side": ("Side (the patient's)", "侧别（患者侧）"),
    "builder.size": ("Size in mm", "大小（毫米）"),
    "builder.range": ("{low} to {high} mm", "{low} 至 {high} 毫米"),
    "builder.count": ("How many", "数量"),
    "builder.second": ("Beside it", "同时伴有"),
    "builder.second_side": ("Its side", "其侧别"),
    "builder.any": ("any", "不限"),
    "builder.nothing": ("nothing", "无"),
    "builder.unnamed": ("none named", "不指明"),
    "builder.images": ("{num} training images", "{num} 幅训练图像"),
    "builder.few": ("few: {num}", "少：{num}"),
    "builder.again": ("Other words", "换一种说法"),
    "builder.use": ("Use these words", "采用此描述"),
    "builder.kept": ("Your own words were kept. Chosen: {text}", "已保留您自己的描述。所选内容：{text}"),
    "builder.untold": (
        "This base does not say what it was trained on; these are the embedded base's choices.",
        "该模型未说明其训练内容；此处列出内置模型的选项。",
    ),
    "builder.greyed": (
        "Greyed out: the base was not trained on it. Choose one to read why.",
        "灰色：该模型未经此类图像训练。选择后可查看原因。",
    ),
    "builder.why.modality": ("{value}: no training image is of it.", "{value}：该模型没有此类训练图像。"),
    "builder.why.place": (
        "{value}: no training image of {modality} shows it.", "{value}：没有显示该部位的{modality}训练图像。",
    ),
    "builder.why.none": (
        "{value}: no training image of {modality} shows it.", "{value}：没有显示该病变的{modality}训练图像。",
    ),
    "builder.why.few": (
        "{value}: only {num} training images show it, too few to be drawn.",
        "{value}：仅有 {num} 幅训练图像，数量过少，无法生成。",
    ),
    "builder.why.side": (
        "{value}: no training image shows it on this side.", "{value}：没有位于该侧的训练图像。",
    ),
    "builder.why.together": (
        "{value}: no training image shows it beside the other finding.", "{value}：没有与另一病变同时出现的训练图像。",
    ),
    "builder.why.count": (
        "{value}: training images that show it so have another number.", "{value}：此类训练图像中的数量与此不同。",
    ),
}  # fmt: skip


def builder_html(menu: Menu, wish: Wish, language: Language, *, text: str = "", kept: bool = False) -> str:
    """The whole builder in a state. text: the prompt that it made last. kept: whether the prompt is the reader's own,
    so that the words are only offered."""
    groups = [
        _group("modality", menu.modalities, wish, language),
        _group("organ", menu.organs(wish), wish, language),
        _group("finding", menu.findings(wish), wish, language),
        _group("side", menu.sides(wish), wish, language),
        _size(menu, wish, language),
        _group("count", menu.counts(wish), wish, language),
        _group("second", menu.seconds(wish), wish, language),
        _group("second_side", menu.second_sides(wish), wish, language),
    ]
    state = html.escape(json.dumps({"wish": asdict(wish), "text": text}, ensure_ascii=False))
    offer = ""
    if kept:
        told = html.escape(say(WORDS, "builder.kept", language, text=text))
        offer = f'<p class="create-kept">{told}</p><button type="button" data-use="1">{_say("use", language)}</button>'
    hint = _say("greyed" if menu.is_told else "untold", language)
    return (
        f'<div class="create-builder" data-state="{state}">{"".join(groups)}'
        f'<p class="create-why" role="status" data-hint="{hint}">{hint}</p>{offer}'
        f'<button type="button" class="create-again" data-again="1">{_say("again", language)}</button></div>'
    )


def _group(name: str, choices: list[Choice], wish: Wish, language: Language) -> str:
    """Choices of one thing: one stop of the tab key, within which the arrows move."""
    if not choices:
        return ""
    chosen = str(getattr(wish, name))
    options = "".join(_option(name, c, chosen, wish, language) for c in choices)
    legend = f'<span class="create-legend" id="create-{name}">{_say(name, language)}</span>'
    group = f'<div role="radiogroup" aria-labelledby="create-{name}" data-field="{name}">{options}</div>'
    return f'<div class="create-group">{legend}{group}</div>'


def _option(name: str, choice: Choice, chosen: str, wish: Wish, language: Language) -> str:
    is_chosen = choice.value == chosen
    label, value = html.escape(_label(name, choice.value, language)), html.escape(choice.value)
    attributes = f'role="radio" aria-checked="{str(is_chosen).lower()}" tabindex="{0 if is_chosen else -1}"'
    if choice.reason:
        why = html.escape(why_not(choice, name, wish, language))
        return (
            f'<button type="button" {attributes} aria-disabled="true" data-value="{value}" data-why="{why}" '
            f'title="{why}">{label}<span class="board-unseen"> {why}</span></button>'
        )
    images = "" if choice.num is None else html.escape(say(WORDS, "builder.images", language, num=f"{choice.num:,}"))
    few = f" <small>{html.escape(say(WORDS, 'builder.few', language, num=choice.num))}</small>"
    weak = few if choice.is_weak else ""
    return f'<button type="button" {attributes} data-value="{value}" title="{images}">{label}{weak}</button>'


def _label(name: str, value: str, language: Language) -> str:
    if value:
        return term(value, language)
    empty = {"finding": "unnamed", "second": "nothing"}.get(name, "any")
    return say(WORDS, f"builder.{empty}", language)


def why_not(choice: Choice, name: str, wish: Wish, language: Language) -> str:
    """Why something cannot be chosen, in a sentence."""
    value, modality = _label(name, choice.value, language), term(wish.modality, language)
    return say(WORDS, f"builder.why.{choice.reason}", language, value=value, modality=modality, num=choice.num or 0)


def _size(menu: Menu, wish: Wish, language: Language) -> str:
    bounds = menu.sizes(wish)
    if bounds is None or wish.size_mm is None:
        return ""
    low, high = bounds
    within = html.escape(say(WORDS, "builder.range", language, low=low, high=high))
    return (
        f'<div class="create-group"><label class="create-legend" for="create-size">{_say("size", language)}</label>'
        f'<input id="create-size" type="number" inputmode="numeric" min="{low}" max="{high}" step="1" '
        f'value="{wish.size_mm}" aria-describedby="create-range" data-size="1">'
        f'<span id="create-range">{within}</span></div>'
    )


def _say(key: str, language: Language) -> str:
    return html.escape(say(WORDS, f"builder.{key}", language))


def first_wish(menu: Menu) -> Wish:
    """What the builder shows first: what most people look for, as far as the base can draw it."""
    return settled(menu, Wish(modality="CT", organ="chest", finding="nodule", side="left"))


def picked(menu: Menu, sent: str) -> tuple[Wish, str, bool]:
    """The state after a choice, the text that the builder made before, and whether the reader asks for its words now.
    ValueError where a browser sent no state."""
    try:
        told = json.loads(sent[:MOST_CHARACTERS])
        wish, field, value = _wish(told["wish"]), str(told.get("field", "")), str(told.get("value", ""))
        text = str(told.get("text", ""))
        if field and field not in ("again", "use"):
            wish = replace(wish, **_changed(field, value))
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise Refusal(
            "The builder sent no choice that is known; reload the page", "未收到可识别的选择；请重新载入页面"
        ) from None
    if field == "again":
        return replace(wish, wording=wish.wording + 1), text, False
    if field == "use":
        return wish, text, True
    sided = {"finding": "side", "second": "second_side"}.get(field)
    if sided and not getattr(wish, sided):
        left: dict[str, Any] = {sided: "left"}
        wish = replace(wish, **left)  # training texts name a side wherever there is one
    return settled(menu, wish), text, False


def _wish(row: dict[str, Any]) -> Wish:
    """A state out of a browser's. ValueError or TypeError where it is none."""
    known = {f.name: row[f.name] for f in fields(Wish) if f.name in row}
    numbers: dict[str, Any] = {"count": int(known.get("count", 1)), "wording": int(known.get("wording", 0)) % 10_000}
    size = known.get("size_mm")
    words: dict[str, Any] = {k: str(v)[:100] for k, v in known.items() if k not in ("count", "wording", "size_mm")}
    return Wish(**words, **numbers, size_mm=None if size is None else int(size))


def _changed(field: str, value: str) -> dict[str, Any]:
    """One field's new value. ValueError where it is none."""
    if field in ("count", "size_mm"):
        return {field: int(float(value)), "wording": 0}
    if field not in {f.name for f in fields(Wish)} - {"wording"}:
        raise ValueError(field)
    return {field: value[:100], "wording": 0}


def words_of(wish: Wish, language: Language) -> str:
    """The prompt of a state in the reader's language; "" where training has no words for it."""
    try:
        return wording(wish, language)
    except ValueError:
        return ""
