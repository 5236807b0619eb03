"""What pages and scripts send as settings, and PNGs that give theirs back."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vesalius.data.images.image import write_png
from vesalius.demo.create.settings import FROM_PROMPT, new_seed, order_from, order_of_upload, remark, settings_of
from vesalius.demo.drawing.model import Model
from vesalius.demo.orders import MAX_TEXT, Ask, Order
from vesalius.inference.sample import Sample

PROMPT = "Chest CT with a nodule in the left lung."
SETTINGS: dict[str, Any] = {
    "prompt": PROMPT, "modality": FROM_PROMPT, "num": 1, "seed": 3, "steps": 2, "guidance": 3.0, "negative": "",
}  # fmt: skip
SAMPLE = Sample(
    file_name="a.png", text=PROMPT, modality="CT", seed=5, steps=2, guidance=3.0, negative="effusion",
    base_digest="b" * 64,
)  # fmt: skip
MODEL = Model(base="nano", base_digest="b" * 64, adapter_digest=None, image_size=128, steps=12, guidance=3.0)


def png(path: Path, recipe: dict[str, Any] | None, edge: int = 32) -> Path:
    write_png(path, np.zeros((edge, edge, 1), np.uint8), recipe)
    return path


@pytest.mark.parametrize(("changes", "message"), [
    ({"prompt": ""}, "prompt is empty"), ({"prompt": " \n"}, "prompt is empty"),
    ({"prompt": "😀😀"}, "names no modality"), ({"prompt": "CT " + "x" * 100_000}, f"at most {MAX_TEXT}"),
    ({"prompt": 7}, "expected text"), ({"prompt": "A nodule"}, "choose one under 'Modality'"),
    ({"modality": "PET"}, "'PET' is not known; expected one of CT"), ({"modality": "x" * 100_000}, "at most 60"),
    ({"num": math.nan}, "number of pictures must be a finite"), ({"num": "2"}, "must be a number"),
    ({"num": 1.5}, "whole number"), ({"num": 9}, "9; expected 1 to 8"), ({"num": True}, "must be a number"),
    ({"seed": -1}, "seed is -1"), ({"seed": math.inf}, "finite"), ({"seed": None}, "must be a number"),
    ({"seed": 2**60}, "expected 0 to"), ({"steps": 1000}, "1000; expected 1 to 100"),
    ({"guidance": math.nan}, "guidance must be a finite"), ({"guidance": "high"}, "must be a number"),
    ({"guidance": 99}, "expected 1"), ({"negative": "x" * (MAX_TEXT + 1)}, "negative prompt has"),
])  # fmt: skip
def test_what_cannot_be_drawn_is_refused_in_words(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        order_from(**{**SETTINGS, **changes})


def test_an_order_becomes_settings_and_an_order_again() -> None:
    order = order_from(**{**SETTINGS, "modality": "MRI", "negative": "effusion", "seed": 5.0})
    assert order == Order(
        asks=(Ask(prompt=PROMPT, seed=5, modality="MRI"),), steps=2, guidance=3.0, negative="effusion"
    )
    assert order_from(*settings_of(order)) == order
    assert 0 <= new_seed() < 10**9


def test_a_png_recalls_the_order_that_drew_it(tmp_path: Path) -> None:
    order, recipe = order_of_upload(png(tmp_path / "a.png", SAMPLE.recipe()))
    assert settings_of(order) == (PROMPT, "CT", 1, 5, 2, 3.0, "effusion")
    assert "the same" in remark(MODEL, recipe, "en")
    assert "another base" in remark(MODEL, {**recipe, "base_digest": "0" * 64}, "en")
    assert "another adapter" in remark(MODEL, {**recipe, "adapter_digest": "1"}, "en")
    assert "适配器" in remark(MODEL, {**recipe, "adapter_digest": "1"}, "zh")


@pytest.mark.parametrize("recipe", [
    None, {}, {"text": PROMPT}, {"text": PROMPT, "modality": "CT", "seed": 1e999},
    {**SAMPLE.recipe(), "seed": 2**60}, {**SAMPLE.recipe(), "steps": -1}, {**SAMPLE.recipe(), "modality": "PET"},
])  # fmt: skip
def test_a_png_without_a_whole_recipe_is_refused(tmp_path: Path, recipe: dict[str, Any] | None) -> None:
    with pytest.raises(ValueError, match="recipe"):
        order_of_upload(png(tmp_path / "a.png", recipe))


def test_files_that_are_no_pictures_of_ours_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("<script>alert(1)</script>")
    whole = png(tmp_path / "whole.png", SAMPLE.recipe()).read_bytes()
    (tmp_path / "torn.png").write_bytes(whole[:40])
    Image.new("RGB", (8, 8)).save(tmp_path / "a.jpg")
    for name in ("text.png", "torn.png", "a.jpg", "missing.png"):
        with pytest.raises(ValueError, match=r"no PNG|no Vesalius recipe"):
            order_of_upload(tmp_path / name)
    with pytest.raises(ValueError, match="5000 x 5000 pixels; at most"):
        order_of_upload(png(tmp_path / "large.png", SAMPLE.recipe(), edge=5000))
