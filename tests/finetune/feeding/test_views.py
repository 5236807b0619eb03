"""Views: what may be turned is turned, what has sides keeps them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vesalius.data.images.image import load_square
from vesalius.data.modality import MODALITIES, find_modality
from vesalius.data.record import Record
from vesalius.finetune.feeding.views import load_view

SIZE = 64
SHAPE = (SIZE, SIZE)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A smooth picture, dark at the left and with a bright spot at the upper right."""
    y, x = np.mgrid[0:128, 0:128] / 127.0
    spot = np.exp(-((x - 0.75) ** 2 + (y - 0.25) ** 2) / 0.01)
    Image.fromarray(np.uint8(120 * x + 120 * spot)).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def record(modality: str, text: str = "A picture.") -> Record:
    return Record(file_name="a.png", text=text, modality=modality)


@pytest.mark.parametrize("modality", MODALITIES)
def test_the_first_view_is_the_image(path: Path, modality: str) -> None:
    assert np.array_equal(load_view(path, record(modality), SHAPE, 0), load_square(path, find_modality(modality), SIZE))


@pytest.mark.parametrize("modality", MODALITIES)
def test_a_view_is_the_same_each_time_and_views_differ(path: Path, modality: str) -> None:
    views = [load_view(path, record(modality), SHAPE, view) for view in range(6)]
    for view, seen in enumerate(views):
        assert seen.shape == (SIZE, SIZE, 3)
        assert seen.dtype == np.uint8
        assert np.array_equal(seen, load_view(path, record(modality), SHAPE, view))
        assert all(not np.array_equal(seen, other) for other in views[:view])


def spot(image: np.ndarray) -> tuple[float, float]:
    """Row and column of the brightest place, as shares of the edge."""
    row, column = np.unravel_index(image[..., 0].argmax(), image.shape[:2])
    return float(row) / SIZE, float(column) / SIZE


@pytest.mark.parametrize("view", range(1, 8))
def test_anatomy_is_never_mirrored(path: Path, view: int) -> None:
    for each in (record("X-ray"), record("CT"), record("pathology", "Tumour on the left.")):
        row, column = spot(load_view(path, each, SHAPE, view))
        assert row < 0.5 < column


def test_tissue_is_seen_in_all_eight_ways(path: Path) -> None:
    plain = load_view(path, record("pathology"), SHAPE, 0)
    ways = {load_view(path, record("pathology"), SHAPE, view).tobytes() for view in range(8)}
    assert len(ways) == 8
    for view in range(8):
        assert np.array_equal(
            np.sort(load_view(path, record("pathology"), SHAPE, view).ravel()), np.sort(plain.ravel())
        )


def test_no_dark_corner_comes_into_a_view(tmp_path: Path) -> None:
    Image.new("L", (128, 128), 200).save(tmp_path / "a.png")
    for view in range(1, 20):
        assert load_view(tmp_path / "a.png", record("X-ray"), SHAPE, view).min() == 200
