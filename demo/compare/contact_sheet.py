"""Pictures side by side in one PNG, for scripts; the page draws its own in the browser, which has all letters."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vesalius.data.images.image import Uint8
from vesalius.data.images.png import encode_png
from vesalius.demo.orders import MAX_NUM
from vesalius.demo.page import LABEL, text_within
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.pictures import StoredPicture, file_of, find_picture
from vesalius.demo.store.schema import Store

EDGE, GAP, FOOT, COLUMNS = 256, 16, 64, 4


def sheet_pictures(store: Store, account: str, ids: object) -> list[StoredPicture]:
    """The pictures of a sheet. ValueError where they are too many or none, or not this person's."""
    if not isinstance(ids, list | tuple) or not 1 <= len(ids) <= MAX_NUM:
        raise Refusal(f"Name 1 to {MAX_NUM} pictures by their ids", f"请用编号指定 1 至 {MAX_NUM} 幅图像")
    return [find_picture(store, account, text_within(each, 100, "The picture's id")) for each in ids]


def sheet_path(ids: Sequence[str]) -> str:
    """Where a sheet is fetched."""
    return f"/sheets/{','.join(ids)}.png"


def sheet_png(store: Store, pictures: Sequence[StoredPicture]) -> bytes:
    """The sheet, in rows of four. Labels stand below the pictures, never on them; one in letters that the font lacks is
    told by its number, and whole in the file's text. ValueError where a picture's file is gone."""
    images = []
    for picture in pictures:
        with Image.open(file_of(store, picture), formats=("PNG",)) as image:
            shown = image.convert("RGB")
        times = max(1, EDGE // shown.height)
        images.append(shown.resize((shown.width * times, shown.height * times), Image.Resampling.BICUBIC))
    wide, high = max(EDGE, *(i.width for i in images)), max(i.height for i in images)
    columns, rows = min(COLUMNS, len(images)), -(-len(images) // COLUMNS)
    sheet = Image.new("RGB", (GAP + (wide + GAP) * columns, GAP + (high + FOOT + GAP) * rows), (255, 255, 255))
    draw = ImageDraw.Draw(sheet)
    for place, (picture, shown) in enumerate(zip(pictures, images, strict=True)):
        left, top = GAP + (wide + GAP) * (place % COLUMNS), GAP + (high + FOOT + GAP) * (place // COLUMNS)
        sheet.paste(shown, (left, top))
        label = picture.label if picture.label.isascii() else ""
        lines = (
            (f"{place + 1}. {label}", 18, "#111111"), (LABEL, 14, "#7a1f1f"),
            (f"seed {picture.sample.seed}", 12, "#444444"),
        )  # fmt: skip
        for (text, size, colour), down in zip(lines, (4, 28, 46), strict=True):
            draw.text((left, top + high + down), text, fill=colour, font=ImageFont.load_default(size))
    told = [{"label": p.label, "text": p.sample.text, "seed": p.sample.seed} for p in pictures]
    facts = json.dumps({"synthetic": True, "pictures": told}, ensure_ascii=False)
    array: Uint8 = np.asarray(sheet)
    return encode_png(array, {"Comment": LABEL, "Description": facts})
