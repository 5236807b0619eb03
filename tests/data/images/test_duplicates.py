"""Likeness: the search finds what comparing all pairs finds, and copies that were saved, resized or dimmed anew."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vesalius.data.images.duplicates import DISTANCE, Lookalikes, close_hashes, difference_hash, thumbnail
from vesalius.data.images.image import Uint8
from vesalius.data.phantoms.phantom import draw_phantom


def scene(seed: int) -> Uint8:
    return draw_phantom(seed, ("CT", "MRI", "pathology")[seed % 3], size=128).image


def pairs(*images: Uint8) -> list[list[int]]:
    looks = Lookalikes()
    for number, image in enumerate(images):
        looks.add(number, image)
    return looks.pairs().tolist()


@given(st.lists(st.integers(0, 2**128 - 1), min_size=2, max_size=30), st.data())
def test_the_search_finds_every_close_pair_and_no_other(values: list[int], data: st.DataObject) -> None:
    flips = st.lists(st.integers(0, 127), max_size=DISTANCE + 3)
    for value in list(values[:6]):  # neighbours near the limit, on both of its sides
        for bit in data.draw(flips):
            value ^= 1 << bit
        values.append(value)
    hashes = np.array([[v >> 64, v & (2**64 - 1)] for v in values], np.uint64)
    expected = [
        [i, j]
        for i in range(len(values))
        for j in range(i + 1, len(values))
        if (values[i] ^ values[j]).bit_count() <= DISTANCE
    ]
    assert close_hashes(hashes).tolist() == expected


def test_different_scenes_are_not_alike() -> None:
    assert pairs(*(scene(seed) for seed in range(90))) == []


@pytest.mark.parametrize("change", ["jpeg", "half", "dimmer", "noisy"])
def test_changed_copies_are_found(change: str) -> None:
    found = 0
    for seed in range(12):
        image = scene(seed)
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        if change == "jpeg":
            buffer = io.BytesIO()
            picture.save(buffer, "JPEG", quality=60)
            picture = Image.open(buffer)
        elif change == "half":
            picture = picture.resize((64, 64), Image.Resampling.LANCZOS)
        elif change == "dimmer":
            picture = picture.point([v * 9 // 10 for v in range(256)] * len(picture.getbands()))
        array = np.asarray(picture).reshape(picture.height, picture.width, image.shape[2])
        if change == "noisy":
            noise = np.random.default_rng(seed).normal(0, 3, array.shape)
            array = np.clip(array + noise, 0, 255).astype(np.uint8)
        found += pairs(image, array) == [[0, 1]]
    assert found >= 11, f"{found} of 12"


def test_a_dark_background_decides_no_bit() -> None:
    dark = np.random.default_rng(0).integers(0, 3, (64, 64, 1)).astype(np.uint8)
    assert not difference_hash(thumbnail(dark)).any()


def test_many_images_are_compared_in_little_time() -> None:
    rng = np.random.default_rng(0)
    hashes = rng.integers(0, 2**63, (200_000, 2)).astype(np.uint64)
    hashes[:, 0] &= np.uint64(0xFFFF)  # most bands are empty, as in dark images
    hashes[777] = hashes[5] ^ np.uint64(1)
    found = close_hashes(hashes).tolist()
    assert [5, 777] in found
