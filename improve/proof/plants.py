"""Planted faults: pictures and texts in which one thing is wrong, and what should find it.

Each plant is made from a record: a training image for copies, an honest held-out one for all else. What is drawn at
random is a function of the generator that is passed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from vesalius.data.hounsfield import from_wide, hu_png, show
from vesalius.data.images.image import Picture, png_bytes, read_hu, read_image
from vesalius.data.modality import find_modality
from vesalius.data.phantoms.phantom import ORGANS, RULES
from vesalius.data.record import Finding, Record, Side, digest_file, write_atomic
from vesalius.data.texts.prompt import is_chinese, swap_sides
from vesalius.data.texts.wording import hard_negatives, reword
from vesalius.improve.material import Member
from vesalius.inference.sample import Sample

Float32 = NDArray[np.float32]
Draw = Callable[[Picture, np.random.Generator], Picture]
Tell = Callable[[Record, Sequence[Record], np.random.Generator], "Told | None"]

OTHER_SIDE: dict[Side, Side] = {"left": "right", "right": "left"}


@dataclass(frozen=True, kw_only=True)
class Told:
    """What a plant's prompt says. modality: of the sample."""

    text: str
    modality: str
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Plant:
    """One kind of planted fault. gates: that should find it. copies: made from training images, else from honest ones.

    draw: what becomes of the picture. tell: what its text says, None where the record allows no such fault; without
    either they stay as they are. broken: what becomes of the file's bytes.
    """

    gates: tuple[str, ...]
    what: str
    copies: bool = False
    draw: Draw | None = None
    tell: Tell | None = None
    broken: Callable[[bytes], bytes] | None = None


def read_picture(member: Member) -> Picture:
    """The picture of a record, with its Hounsfield units where it has them."""
    folder, record = member
    path = folder / record.file_name
    if record.hounsfield:
        hu = read_hu(path)
        return Picture(image=show(hu)[..., None], hu=hu)
    return Picture(image=read_image(path))


def write_picture(folder: Path, name: str, picture: Picture, told: Told, plant: Plant | None = None) -> Sample:
    """Write a picture as the sample that it is taken for."""
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "raw16").mkdir(exist_ok=True)
    height, width = picture.image.shape[:2]
    broken = plant.broken if plant is not None and plant.broken is not None else bytes
    shown, raw = f"images/{name}.png", f"raw16/{name}.png" if picture.hu is not None else None
    write_atomic(folder / shown, broken(png_bytes(picture.image)))
    if raw is not None and picture.hu is not None:
        write_atomic(folder / raw, broken(hu_png(picture.hu)))
    return Sample(
        file_name=shown, text=told.text, modality=told.modality, findings=told.findings, seed=0, steps=1, guidance=1.0,
        height=height, width=width, sha256=digest_file(folder / shown), raw16=raw,
        raw16_sha256=digest_file(folder / raw) if raw else None,
    )  # fmt: skip


def told_of(record: Record) -> Told:
    return Told(
        text=record.caption or record.text, modality=find_modality(record.modality).name, findings=record.findings
    )


# Pictures


def on_greys(change: Callable[[Float32, np.random.Generator], Float32]) -> Draw:
    """A change of greys (HWC, 0 to 255), and with them of Hounsfield units through the curve that shows them."""

    def draw(picture: Picture, rng: np.random.Generator) -> Picture:
        image = np.clip(np.rint(change(picture.image.astype(np.float32), rng)), 0, 255).astype(np.uint8)
        return Picture(image=image, hu=None if picture.hu is None else from_wide(image[..., 0].astype(np.float32)))

    return draw


def mirror(picture: Picture, rng: np.random.Generator) -> Picture:
    hu = None if picture.hu is None else np.ascontiguousarray(picture.hu[:, ::-1])
    return Picture(image=np.ascontiguousarray(picture.image[:, ::-1]), hu=hu)


def crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """86 to 98 % of each edge from anywhere, enlarged to the size that it had."""
    height, width = picture.image.shape[:2]
    share = rng.uniform(0.86, 0.98)
    inner = round(height * share), round(width * share)
    top, left = (int(rng.integers(0, most - part + 1)) for most, part in zip((height, width), inner, strict=True))
    box, size = (left, top, left + inner[1], top + inner[0]), (width, height)

    def cut(plane: NDArray[np.float32]) -> Float32:
        return np.asarray(Image.fromarray(plane).resize(size, Image.Resampling.BICUBIC, box=box), dtype=np.float32)

    planes = [cut(picture.image[..., c].astype(np.float32)) for c in range(picture.image.shape[2])]
    image = np.clip(np.rint(np.stack(planes, -1)), 0, 255).astype(np.uint8)
    return Picture(image=image, hu=None if picture.hu is None else cut(picture.hu))


def letter(image: Float32, rng: np.random.Generator) -> Float32:
    """A name, a number and a date in white on a black band at the top or the bottom."""
    height, width, channels = image.shape
    size = max(11, round(0.075 * min(height, width)))
    font = ImageFont.load_default(size)
    names = ("MILLER", "SCHMIDT", "TANAKA", "GARCIA", "OKONKWO", "PATEL", "DUBOIS", "KOVACS")
    text = f"{names[int(rng.integers(len(names)))]} {int(rng.integers(10**5, 10**6))}"
    canvas = Image.fromarray(image.astype(np.uint8)[..., 0] if channels == 1 else image.astype(np.uint8))
    band = size + 4
    top = 0 if rng.random() < 0.5 else height - band
    draw = ImageDraw.Draw(canvas)
    draw.rectangle((0, top, width, top + band), fill=0)
    draw.text((4, top + 1), text, fill=255 if channels == 1 else (255, 255, 255), font=font)
    array = np.asarray(canvas, dtype=np.float32)
    return array[..., None] if channels == 1 else array


def _noise(level: float) -> Draw:
    return on_greys(lambda image, rng: image + level * rng.standard_normal(image.shape, dtype=np.float32))


def _brightness(image: Float32, rng: np.random.Generator) -> Float32:
    return image * float(rng.uniform(0.85, 1.15)) + float(rng.uniform(-12, 12))


def _blank(image: Float32, rng: np.random.Generator) -> Float32:
    return float(image.mean()) + rng.standard_normal(image.shape, dtype=np.float32)


def _saturated(image: Float32, rng: np.random.Generator) -> Float32:
    return 4 * image - 3 * float(image.mean()) + 60


def _noise_alone(image: Float32, rng: np.random.Generator) -> Float32:
    return float(image.mean()) + max(20.0, float(image.std())) * rng.standard_normal(image.shape, dtype=np.float32)


def _shift_hu(picture: Picture, rng: np.random.Generator) -> Picture:
    hu = picture.hu
    if hu is None:  # greys have no such error; the darkest part is lifted instead, as a wrong window does
        return on_greys(lambda image, _: 0.45 * image + 140)(picture, rng)
    hu = np.clip(hu - 300, -1350, 1300)
    return Picture(image=show(hu)[..., None], hu=hu)


# Texts


def other_side(record: Record, others: Sequence[Record], rng: np.random.Generator) -> Told | None:
    told = told_of(record)
    text = swap_sides(told.text)
    if text is None or any(f.side == "bilateral" for f in told.findings):
        return None
    return dataclasses.replace(
        told,
        text=text,
        findings=tuple(dataclasses.replace(f, side=OTHER_SIDE.get(f.side or "bilateral")) for f in told.findings),
    )


def _changed(change: str) -> Tell:
    """The findings of a phantom with one changed, told anew."""

    def tell(record: Record, others: Sequence[Record], rng: np.random.Generator) -> Told | None:
        told = told_of(record)
        kinds = {f.kind for f in told.findings}
        if not kinds or told.modality not in ORGANS or not kinds <= set(RULES[told.modality]):
            return None
        choices = [findings for name, findings in hard_negatives(told.findings) if name == change]
        if not choices:
            return None
        findings = choices[int(rng.integers(len(choices)))]
        language = "zh" if is_chinese(told.text) else "en"
        return dataclasses.replace(
            told, text=reword(findings, told.modality, rng, language=language), findings=findings
        )

    return tell


def _of_another(differs: Callable[[Record, Record], bool]) -> Tell:
    """The text of another record that differs in some way."""

    def tell(record: Record, others: Sequence[Record], rng: np.random.Generator) -> Told | None:
        for place in rng.permutation(len(others))[:400].tolist():
            if differs(record, others[place]):
                return told_of(others[place])
        return None

    return tell


def _name(record: Record) -> str:
    return find_modality(record.modality).name


other_modality = _of_another(lambda one, other: _name(one) != _name(other))
other_organ = _of_another(
    lambda one, other: (
        _name(one) == _name(other)
        and bool(one.organ and other.organ)
        and one.organ != other.organ
        and {one.organ, other.organ}
        not in ({"lung", "chest"}, {"lung", "trunk"}, {"abdomen", "trunk"}, {"head", "brain"})
    )
)
other_label = _of_another(
    lambda one, other: (
        _name(one) == _name(other)
        and not one.findings
        and one.organ == other.organ
        and bool(one.label and other.label)
        and one.label != other.label
    )
)

PLANTS: Mapping[str, Plant] = {
    "copy": Plant(gates=("copy",), what="a training image as it is", copies=True),
    "copy, mirrored": Plant(gates=("copy",), what="its mirror image", copies=True, draw=mirror),
    "copy, cropped": Plant(
        gates=("copy",), what="86 to 98 % of its edges, from anywhere, enlarged", copies=True, draw=crop
    ),
    "copy, noisy": Plant(gates=("copy",), what="with noise of 4 grey levels", copies=True, draw=_noise(4)),
    "copy, brightness": Plant(
        gates=("copy",), what="brightness and contrast changed by up to 15 %", copies=True, draw=on_greys(_brightness)
    ),
    "other side": Plant(gates=("side",), what="the text names the other side", tell=other_side),
    "finding denied": Plant(
        gates=("findings", "negation"), what="the text denies a finding that is there", tell=_changed("denial")
    ),
    "finding claimed": Plant(
        gates=("findings", "negation"), what="the text asks for a finding that is not there", tell=_changed("claim")
    ),
    "other diagnosis": Plant(
        gates=("findings", "prompt", "agreement"), what="the text of another label of the organ", tell=other_label
    ),
    "other organ": Plant(
        gates=("organ", "prompt", "agreement"), what="the text of another organ, same modality", tell=other_organ
    ),
    "other modality": Plant(gates=("modality",), what="the text of another modality", tell=other_modality),
    "blank": Plant(
        gates=("range",), what="one grey with noise of 1 level", draw=on_greys(_blank)
    ),
    "saturated": Plant(gates=("range",), what="contrast times 4, clipped", draw=on_greys(_saturated)),
    "noisy": Plant(gates=("range", "typical"), what="with noise of 45 grey levels", draw=_noise(45)),
    "noise alone": Plant(
        gates=("range", "typical"), what="noise of its mean and spread",
        draw=on_greys(_noise_alone),
    ),
    "wrong values": Plant(
        gates=("range", "typical"), what="300 HU too low, or greys washed out", draw=_shift_hu
    ),
    "burned-in text": Plant(gates=("text",), what="a name and a number", draw=on_greys(letter)),
    "cut file": Plant(gates=("readable",), what="the second half of the file lacks", broken=lambda b: b[: len(b) // 2]),
}  # fmt: skip
