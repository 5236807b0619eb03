"""Pixels in and out."""

from __future__ import annotations

import io
import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.images.image import (
    MAX_PIXELS,
    fit_image,
    from_tensor_range,
    load_square,
    read_image,
    read_recipe,
    to_tensor_range,
    write_png,
)  # fmt: skip
from vesalius.data.modality import MODALITIES

CT, PATHOLOGY = MODALITIES["CT"], MODALITIES["pathology"]


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_windowed_and_does_not_saturate(tmp_path: Path, kind: str) -> None:
    ramp = np.linspace(0, 4095, 4096).astype(np.uint16).reshape(64, 64)
    Image.fromarray(ramp).save(tmp_path / "a", format=kind)
    image = read_image(tmp_path / "a")
    assert image.shape == (64, 64, 1)
    assert len(np.unique(image)) == 256
    assert abs(float(np.median(image)) - 127.5) <= 1


@pytest.mark.parametrize(
    ("mode", "channels"), [("L", 1), ("1", 1), ("LA", 1), ("RGB", 3), ("RGBA", 3), ("P", 3), ("CMYK", 3)]
)
def test_every_mode_becomes_one_or_three_channels(tmp_path: Path, mode: str, channels: int) -> None:
    Image.fromarray(noise(8, 6, 3)).convert(mode).save(tmp_path / "a", format="TIFF")
    image = read_image(tmp_path / "a")
    assert image.shape == (8, 6, channels)
    assert image.dtype == np.uint8


def test_turned_photographs_are_turned_back(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(8, 4, 3)).save(tmp_path / "a.png", exif=exif)
    assert read_image(tmp_path / "a.png").shape == (4, 8, 3)


def test_not_a_number_is_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), np.nan, np.float32)).save(tmp_path / "a.tif")
    with pytest.raises(ValueError, match=r"a.tif: holds NaN"):
        read_image(tmp_path / "a.tif")


def test_decompression_bombs_are_refused_before_decoding(tmp_path: Path) -> None:
    path = tmp_path / "a.pgm"
    path.write_bytes(f"P5 {MAX_PIXELS // 1000 + 1} 1001 255\n".encode())
    with pytest.raises(ValueError, match=rf"a.pgm: larger than {MAX_PIXELS} pixels"):
        read_image(path)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM"])
@pytest.mark.filterwarnings("ignore")
def test_damaged_files_are_value_errors_with_their_name(tmp_path: Path, kind: str) -> None:
    buffer, rng, path = io.BytesIO(), random.Random(0), tmp_path / "a"
    Image.fromarray(noise(16, 16, 3)).save(buffer, kind)
    messages = []
    for i in range(120):
        content = bytearray(buffer.getvalue())
        if i % 2:
            del content[rng.randrange(len(content)) :]
        else:
            content[rng.randrange(min(len(content), 100))] = rng.randrange(256)
        path.write_bytes(content)
        try:
            read_image(path)
        except ValueError as error:
            messages.append(str(error))
    assert len(messages) > 30
    assert all(message.startswith(f"{path}: ") for message in messages)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nowhere: no such image file"):
        read_image(tmp_path / "nowhere")


def test_pad_keeps_the_whole_body_and_crop_the_scale() -> None:
    image = np.full((20, 40, 1), 200, np.uint8)
    padded = fit_image(image, CT, (40, 40))[..., 0]
    assert (padded[:10] == 0).all()
    assert (padded[10:30] == 200).all()
    assert (fit_image(image, PATHOLOGY, (40, 40)) == 200).all()


def test_an_image_that_is_not_square_is_never_stretched() -> None:
    image = np.zeros((30, 60, 1), np.uint8)
    image[10:20, 25:35] = 200  # a square in the middle
    for modality, shape in (
        (CT, (20, 40)),
        (CT, (40, 40)),
        (CT, (40, 20)),
        (PATHOLOGY, (20, 40)),
        (PATHOLOGY, (40, 20)),
    ):
        shown = fit_image(image, modality, shape)[..., 0] > 100
        assert shown.shape == shape
        assert abs(shown.any(0).sum() - shown.any(1).sum()) <= 1, (modality.name, shape)
    assert (fit_image(np.full((30, 60, 1), 200, np.uint8), PATHOLOGY, (40, 20)) == 200).all()


def test_grey_modalities_have_three_equal_channels(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", noise(8, 8, 3))
    image = load_square(tmp_path / "a.png", CT, 16)
    assert image.shape == (16, 16, 3)
    assert (image == image[..., :1]).all()
    assert not (load_square(tmp_path / "a.png", PATHOLOGY, 8) == noise(8, 8, 3)[..., :1]).all()


def test_tensor_range_and_back_is_exact() -> None:
    image = noise(8, 8, 3)
    tensor = to_tensor_range(image)
    assert tensor.shape == (3, 8, 8)
    assert tensor.min() >= -1
    assert tensor.max() <= 1
    assert (from_tensor_range(tensor, PATHOLOGY).image == image).all()
    assert from_tensor_range(tensor, CT).image.shape == (8, 8, 1)


def test_png_carries_its_recipe(tmp_path: Path) -> None:
    recipe = {"prompt": "左肺结节", "seed": 1, "synthetic": True}
    write_png(tmp_path / "a.png", noise(4, 4, 1), recipe)
    assert read_recipe(tmp_path / "a.png") == recipe
    assert Image.open(tmp_path / "a.png").text["Comment"] == "Synthetic: not for diagnosis"  # type: ignore[attr-defined]
    assert (read_image(tmp_path / "a.png") == noise(4, 4, 1)).all()
    write_png(tmp_path / "b.png", noise(4, 4, 1))
    with pytest.raises(ValueError, match="carries no Vesalius recipe"):
        read_recipe(tmp_path / "b.png")
