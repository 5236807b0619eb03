"""A case with its pictures at hand, with or without its answer: what every export is made from."""

from __future__ import annotations

import re
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from urllib.parse import quote

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vesalius.data.images.drawn import COMMENT
from vesalius.data.images.image import Uint8, read_image
from vesalius.data.images.png import encode_png
from vesalius.demo.cases.case import Case, asked, told_by_title
from vesalius.demo.page import LABEL, Words, say
from vesalius.demo.store.cases import find_case
from vesalius.demo.store.pictures import StoredPicture, file_of, find_picture
from vesalius.demo.store.schema import Store

WORDS: Words = {
    "unknown": ("Unknown case", "未知病例"),
    "untitled": ("Case without a title", "未命名病例"),
    "history": ("History", "病史"),
    "images": ("Images", "图像"),
    "figure": ("Figure {number} of {count}", "图 {number}（共 {count} 幅）"),
    "findings": ("Findings", "影像所见"),
    "diagnosis": ("Diagnosis", "诊断"),
    "differential": ("Differential diagnosis", "鉴别诊断"),
    "discussion": ("Discussion", "讨论"),
    "references": ("References", "参考文献"),
    "keywords": ("Keywords", "关键词"),
    "answer": ("Answer", "答案"),
    "answer_images": ("Images of the answer", "答案图像"),
    "ask": ("What do you see, and what is your diagnosis?", "您看到了什么？您的诊断是什么？"),
    "show_answer": ("Show the answer", "显示答案"),
    "level": ("Level: {level}", "级别：{level}"),
    "student": ("student", "医学生"),
    "resident": ("resident", "住院医师"),
    "fellow": ("fellow", "专科培训医师"),
    "attending": ("attending", "主治医师"),
    "made_up": (
        "Every image was drawn by a model; none shows a patient.", "所有图像均由模型生成，不对应任何患者。",
    ),
    "gone": (
        "{count} of this case's pictures were deleted and are left out.", "本病例有 {count} 幅图像已被删除，未予列出。",
    ),
    "stripped": (
        "The recipes of the images are left out, since they would tell the answer.",
        "为避免泄露答案，已去除图像的生成参数。",
    ),
    "recipe": ("Recipe of this image, which draws it again:", "本图像的生成参数（可据此重新生成）："),
    "label": (LABEL, "合成图像：不可用于诊断"),
}  # fmt: skip
SHOWN = 640
"""Pixels of the longer side of a picture on slides and pages, at least."""
STRIP = 30


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One picture of a case. number: its place among those that are shown. png: as it may leave in a file; without a
    recipe where the answer is hidden."""

    number: int
    caption: str
    in_answer: bool
    alt: str
    picture: StoredPicture
    png: bytes

    @property
    def recipe(self) -> dict[str, Any]:
        return self.picture.sample.recipe()


@dataclass(frozen=True, kw_only=True)
class Sheet:
    """A case as it is shown. case: without its answer where `unknown`. gone: pictures that were deleted meanwhile."""

    case: Case
    figures: tuple[Figure, ...]
    gone: int
    unknown: bool

    def say(self, key: str, **values: object) -> str:
        """Words in the case's language."""
        return say(WORDS, key, self.case.language, **values)

    @property
    def title(self) -> str:
        return self.say("unknown") if self.unknown else self.case.title or self.say("untitled")

    @property
    def is_title_late(self) -> bool:
        """Whether the title says the diagnosis, so that it is shown with the answer only."""
        return not self.unknown and bool(told_by_title(self.case))

    @property
    def opening(self) -> str:
        """What stands above the question."""
        return self.say("unknown") if self.is_title_late else self.title

    @property
    def level(self) -> str:
        """For whom it is, in words; "" where that is left open."""
        return self.say("level", level=self.say(self.case.level)) if self.case.level else ""

    @property
    def label(self) -> str:
        """The label, in English and in the case's language."""
        return LABEL if self.case.language == "en" else f"{LABEL} · {self.say('label')}"

    @property
    def notes(self) -> list[str]:
        """What there is to say of the pictures."""
        told = [self.say("made_up")]
        told += [self.say("gone", count=self.gone)] if self.gone else []
        return [*told, self.say("stripped")] if self.unknown else told

    def of(self, *, answer: bool) -> tuple[Figure, ...]:
        return tuple(figure for figure in self.figures if figure.in_answer is answer)


def sheet_of(store: Store, account: str, case: Case, *, unknown: bool) -> Sheet:
    """A case with what is left of its pictures. With `unknown` the answer is nowhere in it."""
    shown = asked(case) if unknown else case
    found: list[tuple[StoredPicture, str, bool]] = []
    for image in shown.images:
        try:
            picture = find_picture(store, account, image.picture)
            file_of(store, picture)
        except ValueError:
            continue
        found.append((picture, image.caption, image.in_answer))
    found.sort(key=lambda each: each[2])  # the answer's come after the question's
    figures = tuple(
        Figure(
            number=number, caption=caption, in_answer=in_answer, picture=picture,
            alt=_alt(picture, number, caption), png=_png(store, picture, unknown),
        )
        for number, (picture, caption, in_answer) in enumerate(found, 1)
    )  # fmt: skip
    return Sheet(case=shown, figures=figures, gone=len(shown.images) - len(figures), unknown=unknown)


def sheet_of_id(store: Store, account: str, case: str, *, unknown: bool) -> Sheet:
    """The same of a kept case. ValueError where this person has none of that name."""
    return sheet_of(store, account, find_case(store, account, case), unknown=unknown)


def _alt(picture: StoredPicture, number: int, caption: str) -> str:
    """Never the prompt, which tells the answer."""
    return f"{LABEL}. {picture.sample.modality}, figure {number}{f': {caption}' if caption else ''}"


def _png(store: Store, picture: StoredPicture, unknown: bool) -> bytes:
    path = file_of(store, picture)
    return encode_png(read_image(path), {"Comment": COMMENT}) if unknown else path.read_bytes()


def labelled_png(figure: Figure) -> bytes:
    """A picture for slides and pages: enlarged, and the label burned into a strip below it.

    Its pixels are no longer those that were drawn, so it carries no recipe.
    """
    with Image.open(BytesIO(figure.png), formats=("PNG",)) as image:
        picture = image.convert("RGB")
    scale = max(1, -(-SHOWN // max(picture.size)))
    size = (picture.width * scale, picture.height * scale)
    sheet = Image.new("RGB", (size[0], size[1] + STRIP), (20, 20, 24))
    sheet.paste(picture.resize(size, Image.Resampling.BICUBIC), (0, 0))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(min(18, size[0] // 16))
    draw.text((size[0] // 2, size[1] + STRIP // 2), LABEL, fill=(255, 255, 255), font=font, anchor="mm")
    array: Uint8 = np.asarray(sheet)
    return encode_png(array, {"Comment": COMMENT})


def file_name(sheet: Sheet, ending: str) -> str:
    """What an export is called: by its title, or where the answer is hidden by nothing that tells it."""
    if sheet.unknown:
        return f"unknown-case.{ending}"
    words = re.sub(r"[^\w-]+", "-", sheet.case.title).strip("-_")[:60]
    return f"{words or 'case'}.{ending}"


def disposition(name: str, *, inline: bool = False) -> str:
    """A Content-Disposition header (RFC 6266) of a file name in any letters."""
    plain = name if name.isascii() else f"case.{name.partition('.')[2]}"
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
