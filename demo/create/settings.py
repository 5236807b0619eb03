"""What a page or a script sends as settings, checked: numbers that are numbers, texts that are texts; and an order out
of them."""

from __future__ import annotations

import math
import secrets
from pathlib import Path
from typing import Any

from PIL import Image

from vesalius.data.modality import MODALITIES
from vesalius.demo.orders import MAX_TEXT, SHORT_SEED, Order, asks_of, recalled
from vesalius.demo.page import Language, Model, Words, say, text_within
from vesalius.demo.sentences import Refusal, name_of
from vesalius.demo.terms import term

FROM_PROMPT = "from the prompt"
MAX_EDGE = 4096
"""Pixels along an edge of a picture whose settings are read."""
WORDS: Words = {
    "settings.other_base": (
        "This picture was drawn by another base than the one here; the same settings give another picture.",
        "该图像由另一个基础模型生成；用相同设置会得到不同的图像。",
    ),
    "settings.other_adapter": (
        "This picture was drawn with another adapter, or none; the same settings give another picture.",
        "该图像使用了不同的适配器（或未使用）；用相同设置会得到不同的图像。",
    ),
    "settings.same": (
        "These are the settings of the picture; drawn again it is the same.", "已载入该图像的设置；再次生成结果相同。",
    ),
}  # fmt: skip


def number(value: object, what: str) -> float:
    """A number that a person or a script gave. ValueError for text, NaN, infinity, and what was left out."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Refusal(f"The {what} must be a number", f"{name_of(f'The {what}')}应为数字")
    if not math.isfinite(value):
        raise Refusal(f"The {what} must be a finite number", f"{name_of(f'The {what}')}应为有限的数字")
    return float(value)


def whole(value: object, what: str) -> int:
    """The same, without a fraction."""
    found = number(value, what)
    if found != int(found):
        raise Refusal(
            f"The {what} is {found:g}; expected a whole number", f"{name_of(f'The {what}')}为 {found:g}；应为整数"
        )
    return int(value) if isinstance(value, int) else int(found)


def modality_of(value: object) -> str | None:
    """A modality that was chosen; None where the prompt says it. ValueError where it is none."""
    text = text_within(value, 60, "The modality")
    if text in ("", FROM_PROMPT):
        return None
    if text not in MODALITIES:
        raise Refusal(
            f"The modality '{text}' is not known; expected one of {', '.join(MODALITIES)}",
            f"未知的成像方式“{text}”；应为 {term(', '.join(MODALITIES), 'zh')} 之一",
        )
    return text


def order_from(
    prompt: object, modality: object, num: object, seed: object, steps: object, guidance: object, negative: object
) -> Order:
    """An order of the page's fields. ValueError in words where it cannot be drawn."""
    text = text_within(prompt, MAX_TEXT, "The prompt")
    asks = asks_of(text, num=whole(num, "number of pictures"), seed=whole(seed, "seed"), modality=modality_of(modality))
    return Order(
        asks=asks, steps=whole(steps, "number of steps"), guidance=number(guidance, "guidance"),
        negative=text_within(negative, MAX_TEXT, "The negative prompt"),
    )  # fmt: skip


NEW_SEED = f"() => crypto.getRandomValues(new Uint32Array(1))[0] % {SHORT_SEED}"
"""A seed of the browser's making."""


def first_seed(built: int) -> str:
    """What a page does when it opens, so that each begins with another seed: it replaces the one that the page was
    built with, and no other, since a person or a link may have been faster."""
    return f"seed => seed === {built} ? ({NEW_SEED})() : seed"


def new_seed() -> int:
    """A seed that a teacher can read aloud."""
    return secrets.randbelow(SHORT_SEED)


def settings_of(order: Order) -> tuple[str, str, int, int, int, float, str]:
    """The page's fields of an order: prompt, modality, number, seed, steps, guidance, negative prompt. Of a ladder's
    they are those of its first picture."""
    ask = order.asks[0]
    num = len(order.asks) if order.kind == "create" else 1
    return (
        ask.prompt, ask.modality or FROM_PROMPT, num, ask.seed, order.steps, order.guidance_of(ask),
        order.negative,
    )  # fmt: skip


def remark(model: Model, recipe: dict[str, Any], language: Language) -> str:
    """Whether a recipe drawn here gives the same picture again."""
    if recipe.get("base_digest") != model.base_digest:
        return say(WORDS, "settings.other_base", language)
    if (recipe.get("adapter_digest") or None) != model.adapter_digest:
        return say(WORDS, "settings.other_adapter", language)
    return say(WORDS, "settings.same", language)


def order_of_upload(path: Path) -> tuple[Order, dict[str, Any]]:
    """The order of a file that somebody sent, and its recipe; nothing of the file is kept or shown. ValueError where it
    is no PNG with a whole recipe, or a picture larger than any that is drawn."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            width, height = image.size
    except Exception:  # whatever a file can hold, it is none
        raise Refusal(
            "This file is no PNG; choose a picture that was drawn here, as it was downloaded",
            "该文件不是 PNG；请选择在此处生成并下载的原始图像",
        ) from None
    if max(width, height) > MAX_EDGE:
        raise Refusal(
            f"This picture has {width} x {height} pixels; at most {MAX_EDGE} x {MAX_EDGE} are read",
            f"该图像为 {width} x {height} 像素；最多读取 {MAX_EDGE} x {MAX_EDGE}",
        )
    try:
        return recalled(path)
    except Refusal as error:  # a whole recipe, of what is not drawn here
        raise Refusal(
            f"The recipe of this picture cannot be drawn here: {error}", f"此处无法重现该图像的设置：{error.chinese}"
        ) from None
    except ValueError:
        raise Refusal(
            "This PNG carries no Vesalius recipe. Choose a picture that was drawn here, as it was downloaded: other "
            "programs leave the recipe out when they save",
            "该 PNG 不含 Vesalius 设置。请选择在此处生成并下载的原始图像：其他程序保存时会丢掉设置",
        ) from None
