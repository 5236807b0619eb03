"""Hounsfield units: the three windows a model sees, the way back, and the 16-bit PNG that says what it holds."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image

from vesalius.data.hounsfield import (
    decode_windows,
    encode_windows,
    from_wide,
    hu_png,
    is_windowed,
    show,
    window_named,
)
from vesalius.data.images.image import from_tensor_range, load_square, read_hu, read_image, to_tensor_range
from vesalius.data.modality import MODALITIES
from vesalius.data.record import Record
from vesalius.data.texts.prompt import prompts_of
from vesalius.data.texts.wording import reword_record

CT = MODALITIES["CT"]
RAMP = np.linspace(-1024, 1300, 64 * 64, dtype=np.float32).reshape(64, 64)


@given(arrays(np.float32, (5, 7), elements=st.floats(-1350, 1300, width=32)))
def test_eight_bits_cost_less_than_ten_hu_within_the_windows(hu: np.ndarray) -> None:
    pixels = np.rint(encode_windows(hu) * 255).astype(np.float32) / 255
    error = np.abs(decode_windows(pixels) - hu)
    assert error.max() <= 4
    step = 400 / 255  # a value that rounds to the edge of the soft-tissue window is told by the coarser windows alone
    inside = (hu > -160 + step) & (hu < 240 - step)
    assert not inside.any() or error[inside].max() <= 1


def test_values_beyond_the_windows_end_at_their_edges() -> None:
    assert decode_windows(encode_windows(np.array([-3000.0, 3000.0], np.float32))).tolist() == [-1350, 1300]


def test_three_windows_are_told_from_one_grey_even_under_noise() -> None:
    noise = np.random.default_rng(0).normal(0, 0.03, (64, 64, 3)).astype(np.float32)
    assert is_windowed(encode_windows(RAMP) + noise)
    assert not is_windowed(np.repeat((RAMP[..., None] + 1024) / 2400, 3, axis=2) + noise)


def test_a_png_of_hu_keeps_whole_units_and_is_seen_as_three_windows(tmp_path: Path) -> None:
    hu = np.rint(RAMP)
    (tmp_path / "a.png").write_bytes(hu_png(hu))
    assert (read_hu(tmp_path / "a.png") == hu).all()
    seen = load_square(tmp_path / "a.png", CT, 64)
    assert (seen == np.rint(encode_windows(hu) * 255)).all()
    assert (read_image(tmp_path / "a.png")[..., 0] == show(hu)).all()


def test_around_a_ct_that_is_not_square_lies_air(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(hu_png(np.full((20, 40), 40, np.float32) + np.arange(40)))
    corner = load_square(tmp_path / "a.png", CT, 40)[0, 0]
    assert (corner == np.rint(encode_windows(np.float32(-1000)) * 255)).all()


def test_a_png_of_hu_is_no_black_picture_in_any_viewer() -> None:
    with Image.open(io.BytesIO(hu_png(np.array([[-1000.0, 0.0, 1000.0]])))) as image:
        grey = np.asarray(image)[0] / 65535
    assert grey[0] < 0.01 < 0.2 < grey[1] < grey[2]


def test_a_16_bit_image_without_the_mark_is_read_as_hu_plus_1024(tmp_path: Path) -> None:
    Image.fromarray((np.array([[0, 1024, 2024]])).astype(np.uint16)).save(tmp_path / "a.png")
    assert read_hu(tmp_path / "a.png").tolist() == [[-1024, 0, 1000]]


def test_an_8_bit_image_is_refused_where_hu_are_promised(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a\.png: holds 8-bit greys"):
        read_hu(tmp_path / "a.png")


def test_a_drawn_ct_comes_back_as_one_grey_channel_and_hu() -> None:
    drawn = to_tensor_range(np.rint(encode_windows(RAMP) * 255).astype(np.uint8))
    picture = from_tensor_range(drawn, CT, "Chest CT.")
    assert picture.image.shape == (64, 64, 1)
    assert picture.hu is not None
    assert np.abs(picture.hu - RAMP).max() < 4


def test_the_window_that_a_prompt_names_is_the_one_shown() -> None:
    drawn = to_tensor_range(np.rint(encode_windows(RAMP) * 255).astype(np.uint8))
    bone = from_tensor_range(drawn, CT, "Chest CT, bone window.").image[..., 0]
    assert np.abs(bone.astype(int) - show(RAMP, "bone").astype(int)).max() <= 2


@pytest.mark.parametrize(
    ("text", "window"),
    [
        ("Chest CT, lung window (W1500 L-600)", "lung"),
        ("soft-tissue window", "soft tissue"),
        ("胸部CT，肺窗", "lung"),
        ("Chest CT", None),
    ],
)
def test_windows_are_read_from_prompts(text: str, window: str | None) -> None:
    assert window_named(text) == window


def test_the_wide_curve_and_its_inverse_meet() -> None:
    grey = np.arange(0, 256, dtype=np.float32)
    assert (show(from_wide(grey)) == grey).all()


@pytest.mark.parametrize("hounsfield", [True, False])
def test_ct_without_hu_says_that_it_is_grey(hounsfield: bool) -> None:
    record = Record(file_name="a.png", text="Chest CT.", modality="CT", organ="lung", hounsfield=hounsfield)
    assert prompts_of(record)[0].startswith("Greyscale") is not hounsfield
    assert reword_record(record, np.random.default_rng(0), "en").startswith("Greyscale") is not hounsfield
    assert reword_record(record, np.random.default_rng(0), "zh").startswith("灰度") is not hounsfield
