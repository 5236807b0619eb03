"""What a model drew is known by its file: no folder of pictures without their rows makes them real."""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from vesalius.data.building.config import BuildConfig
from vesalius.data.building.run import build_dataset
from vesalius.data.hounsfield import hu_png
from vesalius.data.images.drawn import drawn_depth
from vesalius.data.images.image import png_bytes, recipe_texts
from vesalius.data.images.png import encode_png
from vesalius.data.record import load_records

GREY = np.random.default_rng(0).integers(0, 255, (16, 16, 1)).astype(np.uint8)
MODEL = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"


def recipe(**changes: object) -> dict[str, object]:
    return {"text": "Chest CT.", "seed": 1, "synthetic": True, "depth": 2, **changes}


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + zlib.crc32(kind + content).to_bytes(4, "big")


def with_chunk(content: bytes, new: bytes, *, last: bool = False) -> bytes:
    """A PNG with one more chunk, after its header or before its end."""
    at = content.rindex(b"IEND") - 4 if last else 33
    return content[:at] + new + content[at:]


def saved_again(path: Path, **texts: str) -> None:
    """By Pillow, with packed text chunks."""
    info = PngImagePlugin.PngInfo()
    for keyword, text in texts.items():
        info.add_itxt(keyword, text, zip=True)
    Image.fromarray(GREY[..., 0]).save(path, format="PNG", pnginfo=info)


def old_text(path: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", "Synthetic: not for diagnosis", zip=True)
    Image.fromarray(GREY[..., 0]).save(path, format="PNG", pnginfo=info)


def jpeg(path: Path) -> None:
    Image.fromarray(GREY[..., 0]).save(path, format="JPEG", xmp=f"<x>{MODEL}</x>".encode())


CASES: dict[str, tuple[Callable[[Path], object], int | None]] = {
    "a drawing": (lambda p: p.write_bytes(png_bytes(GREY, recipe())), 2),
    "a drawing of deep units": (
        lambda p: p.write_bytes(hu_png(GREY[..., 0].astype(np.float32), recipe_texts(recipe(depth=3)))),
        3,
    ),
    "a recipe without a depth": (lambda p: p.write_bytes(png_bytes(GREY, {"synthetic": True})), 1),
    "a recipe that says too little": (lambda p: p.write_bytes(png_bytes(GREY, recipe(depth=-4))), 1),
    "a damaged recipe": (lambda p: p.write_bytes(encode_png(GREY, {"vesalius": "{"})), 1),
    "saved again": (lambda p: saved_again(p, vesalius=json.dumps(recipe())), 2),
    "a comment alone": (old_text, 1),
    "written after the pixels": (
        lambda p: p.write_bytes(
            with_chunk(
                png_bytes(GREY), chunk(b"iTXt", b"vesalius" + bytes(5) + json.dumps(recipe()).encode()), last=True
            )
        ),
        2,
    ),
    "another's manifest": (
        lambda p: p.write_bytes(with_chunk(png_bytes(GREY), chunk(b"caBX", b"jumb" + MODEL.encode()))),
        1,
    ),
    "a JPEG of a model": (jpeg, 1),
    "a real PNG": (lambda p: p.write_bytes(png_bytes(GREY)), None),
    "a real one of deep units": (lambda p: p.write_bytes(hu_png(GREY[..., 0].astype(np.float32))), None),
    "a signed photograph": (
        lambda p: p.write_bytes(with_chunk(png_bytes(GREY), chunk(b"caBX", b"digitalCapture"))),
        None,
    ),
    "a real JPEG": (lambda p: Image.fromarray(GREY[..., 0]).save(p, format="JPEG"), None),
    "no image": (lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\xff" * 40), None),
    "a text that is cut off": (lambda p: p.write_bytes(png_bytes(GREY)[:33] + b"\0\0\1\0zTXtvesalius\0\0x"), 1),
    "an empty file": (lambda p: p.write_bytes(b""), None),
}


@pytest.mark.parametrize("case", CASES)
def test_an_image_tells_whether_a_model_drew_it(tmp_path: Path, case: str) -> None:
    write, depth = CASES[case]
    write(tmp_path / "image")
    assert drawn_depth(tmp_path / "image") == depth


@pytest.mark.parametrize("table", [False, True])
def test_a_drawing_without_its_row_is_never_taken_for_real(tmp_path: Path, table: bool) -> None:
    source = tmp_path / "in"
    for name, content in (("a", png_bytes(GREY, recipe())), ("b", png_bytes(GREY[::-1]))):
        path = source / "images" / f"{name}.png" if table else source / "mass" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    if table:
        rows = [{"file_name": f"images/{n}.png", "text": "Mass.", "modality": "CT", "origin": "real"} for n in "ab"]
        (source / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    modality = None if table else "CT"
    summary = build_dataset(
        BuildConfig(sources=(source,), out=tmp_path / "out", modality=modality, val=0, test=0, workers=1, json=True)
    )
    told = sorted((r.origin, r.depth) for r in load_records(tmp_path / "out"))
    assert told == [("real", 0), ("synthetic", 2)]
    assert any("1 image was drawn by a model" in note for note in summary.notes)
    assert "1 synthetic" in (tmp_path / "out" / "README.md").read_text()
