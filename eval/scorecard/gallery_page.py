"""The sheets and the page of a gallery (`vesalius.eval.scorecard.gallery`)."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from vesalius.data.images.image import read_image
from vesalius.data.record import Record
from vesalius.eval.gates.scores import Case
from vesalius.inference.sample import Sample

LABEL = "Synthetic: not for diagnosis"
FAILURES = "failures"
CELL, GAP, LINE = 128, 10, 14
"""Pixels: edge of a picture on a sheet, space between them, height of a line of text."""
_LETTER = 6  # pixels of a letter, on average


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One sample of the gallery.

    judge, texture: distances to the nearest training image of its modality in either features; nearest: that image (by
    the judge), and record: its row. agreement: cosine of picture and prompt, less the median of unseen images.
    """

    sample: Sample
    case: Case
    judge: float
    texture: float
    agreement: float
    nearest: Path
    record: Record


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What unseen images of a modality score: medians over the validation split."""

    judge: float
    texture: float
    agreement: float
    num: int


def draw_sheet(title: str, shots: Sequence[Shot], num: int) -> Image.Image:
    """A contact sheet, RGB: `num` samples in a row, each beside its nearest training image (or what that one is).

    A row of one prompt has it above; in others each sample has its own below.
    """
    rows = [shots[i : i + num] for i in range(0, len(shots), num)]
    mixed = any(len({s.sample.text for s in row}) > 1 for row in rows)
    row_height = CELL + (5 if mixed else 3) * LINE + GAP
    sheet = Image.new("RGB", (num * (2 * CELL + GAP) + GAP, 2 * LINE + GAP + len(rows) * row_height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    pen.text((GAP, GAP), f"{title}. {LABEL}.", fill="#7a1f1f", font=ImageFont.load_default(14))
    for number, row in enumerate(rows):
        top = 2 * LINE + GAP + number * row_height
        if not mixed:
            pen.text((GAP, top), _short(row[0].sample.text, sheet.width // _LETTER), fill="black", font=font)
        for i, shot in enumerate(row):
            left = GAP + i * (2 * CELL + GAP)
            sheet.paste(_picture(shot.case.path), (left, top + LINE))
            _draw_nearest(sheet, pen, shot, left + CELL, top + LINE)
            told = textwrap.wrap(f"{shot.case.modality}: {shot.sample.text}", 2 * CELL // _LETTER) if mixed else []
            lines = [
                f"seed {shot.sample.seed}, agreement {shot.agreement:+.2f}",
                f"nearest: judge {shot.judge:.2f}, texture {shot.texture:.1f}",
                *told[:2],
            ]
            for j, line in enumerate(lines):
                pen.text((left, top + LINE + CELL + 2 + j * LINE), line, fill="black", font=font)
    return sheet


def _draw_nearest(sheet: Image.Image, pen: ImageDraw.ImageDraw, shot: Shot, left: int, top: int) -> None:
    """The nearest training image: a phantom as it is, a real one by name alone."""
    if shot.record.origin == "phantom":
        sheet.paste(_picture(shot.nearest), (left, top))
        return
    pen.rectangle((left, top, left + CELL - 1, top + CELL - 1), fill="#eeeeee")
    told = ["nearest: a real image,", "not shown", "", *textwrap.wrap(shot.record.source or "source not named", 20)]
    told += textwrap.wrap(Path(shot.record.file_name).stem, 20)
    for i, line in enumerate(told[: CELL // LINE]):
        pen.text((left + 5, top + 4 + i * LINE), line, fill="#444444", font=ImageFont.load_default(11))


def _picture(path: Path) -> Image.Image:
    """An image file for eyes, CELL x CELL RGB."""
    array = read_image(path)
    picture = Image.fromarray(array[..., 0] if array.shape[2] == 1 else array).convert("RGB")
    whole = CELL % picture.width == 0  # small pictures keep their pixels
    picture.thumbnail((CELL, CELL))
    resample = Image.Resampling.NEAREST if whole else Image.Resampling.BICUBIC
    scale = CELL / max(picture.size)
    grown = picture.resize((round(picture.width * scale), round(picture.height * scale)), resample)
    square = Image.new("RGB", (CELL, CELL))
    square.paste(grown, ((CELL - grown.width) // 2, (CELL - grown.height) // 2))
    return square


def to_webp(sheet: Image.Image) -> bytes:
    buffer = BytesIO()
    sheet.save(buffer, format="WEBP", quality=88, method=6)
    return buffer.getvalue()


def sheet_file(name: str) -> str:
    return f"{name.lower().replace(' ', '-')}.webp"


def title_of(name: str) -> str:
    """The heading of a sheet."""
    return name[:1].upper() + name[1:]


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 3]}..."


def markdown(folder: str, sheets: dict[str, list[Shot]], scales: dict[str, Scale], *, num: int, seed: int) -> str:
    """The page: how the sheets were made, the numbers per modality, the sheets, and every sample's nearest image.

    folder: where the sheets lie beside the page. sheets: by modality, and the failures. num: samples of a prompt.
    """
    first = next(iter(sheets.values()))[0].sample
    lines = [
        "# Gallery", "",
        f"{LABEL}. What the base `{Path(first.base).name}` (digest {first.base_digest[:12]}) draws at {first.height} "
        f"px in {first.steps} steps with guidance {first.guidance:g}, seed {seed}. Made by "
        "`python -m vesalius.eval.scorecard.gallery`.", "",
        f"Nobody chose these pictures: the prompts are the commonest training captions of each modality, the "
        f"{num} samples of each are the first that were drawn, and the last sheet shows the "
        f"{len(sheets[FAILURES])} that agree least with their prompts. CT with Hounsfield units is shown through one "
        "curve from lung to bone.", "",
        "Beside each sample stands the training image nearest to it, in the judge's features: phantoms as pictures, "
        "real images by source and name alone, since no picture of a patient may lie here. Distances are to the "
        "nearest training image of the modality in the judge's features, and in hand-made texture features; "
        "agreement is the cosine of picture and prompt less the median of unseen images with their own captions.", "",
        "| Modality | Samples | Judge distance | of unseen images | Texture distance | of unseen images | Agreement |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]  # fmt: skip
    for name, shots in sheets.items():
        if name == FAILURES:
            continue
        scale = scales[name]
        judge, texture, agreement = (
            float(np.median([getattr(s, k) for s in shots])) for k in ("judge", "texture", "agreement")
        )
        lines.append(
            f"| {name} | {len(shots)} | {judge:.3f} | {scale.judge:.3f} (n={scale.num}) | {texture:.2f} | "
            f"{scale.texture:.2f} | {agreement:+.3f} |"
        )
    lines += ["", "Medians. A sample much nearer than unseen images are would be a copy.", ""]
    for name, shots in sheets.items():
        title = title_of(name)
        alt = f"{len(shots)} synthetic samples, {title}"
        lines += [f"## {title}", "", f"![{alt}]({folder}/{sheet_file(name)})", ""]
        lines += ["<details markdown><summary>Prompts and nearest training images</summary>", ""]
        lines += [
            "| Prompt | Seed | Agreement | Judge | Texture | Nearest training image |",
            "|---|---:|---:|---:|---:|---|",
        ]
        for s in shots:
            source = f"{s.record.source or 'source not named'}, {Path(s.record.file_name).name}"
            cells = (_cell(s.sample.text), str(s.sample.seed), f"{s.agreement:+.3f}", f"{s.judge:.3f}")
            lines.append(f"| {' | '.join(cells)} | {s.texture:.2f} | {_cell(source)} |")
        lines += ["", "</details>", ""]
    return "\n".join(lines)


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "/").split())
