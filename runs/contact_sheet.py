"""The samples of a folder as one picture: a column for each prompt, in the order of the drawing, and nothing left out.

python runs/contact_sheet.py SAMPLES OUT.webp
"""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from vesalius.inference.sample import load_samples

LABEL = "Synthetic: not for diagnosis"
EDGE, GAP, LINE = 192, 12, 18
"""Pixels: edge of a picture, space between them, height of a line of text."""


def contact_sheet(samples: Path) -> Image.Image:
    """RGB: the samples of each prompt below its text, small pictures enlarged, and the label above all.

    ValueError where the folder holds none.
    """
    columns: dict[str, list[Path]] = {}
    for sample in load_samples(samples):
        columns.setdefault(sample.text, []).append(samples / sample.file_name)
    if not columns:
        raise ValueError(f"{samples}: no samples; draw some with `vesalius generate`")
    told = {text: textwrap.wrap(text, EDGE // 8) for text in columns}
    top = GAP + 2 * LINE + max(map(len, told.values())) * LINE
    rows = max(map(len, columns.values()))
    sheet = Image.new("RGB", (GAP + len(columns) * (EDGE + GAP), top + rows * (EDGE + GAP)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    pen.text((GAP, GAP // 2), LABEL, fill="#7a1f1f", font=ImageFont.load_default(16))
    for i, (text, paths) in enumerate(columns.items()):
        left = GAP + i * (EDGE + GAP)
        for j, line in enumerate(told[text]):
            pen.text((left, GAP + (j + 1) * LINE + LINE // 2), line, fill="black", font=font)
        for j, path in enumerate(paths):
            picture = Image.open(path).convert("RGB").resize((EDGE, EDGE), Image.Resampling.BICUBIC)
            sheet.paste(picture, (left, top + j * (EDGE + GAP)))
    return sheet


if __name__ == "__main__":
    contact_sheet(Path(sys.argv[1])).save(sys.argv[2], quality=85)
