"""Square pixels, and a longest side."""

from __future__ import annotations

import numpy as np
import pytest

from vesalius.data.images.resample import fitted, squared


def test_high_pixels_gain_rows_and_wide_ones_columns() -> None:
    image = np.tile(np.arange(20, dtype=np.float32), (10, 1))
    assert squared(image, 3.0).shape == (30, 20)
    assert squared(image, 0.5).shape == (10, 40)
    assert squared(image, 1.001) is image
    assert squared(image.astype(np.uint8)[..., None], 2.0).shape == (20, 20, 1)
    assert np.abs(squared(image, 3.0)[15] - image[5]).max() < 1e-3


def test_pixels_that_no_scanner_has_are_refused() -> None:
    with pytest.raises(ValueError, match="1000 times as high as wide"):
        squared(np.zeros((4, 4), np.float32), 1000.0)


def test_fitting_never_enlarges() -> None:
    colour = np.zeros((40, 20, 3), np.uint8)
    assert fitted(colour, 10).shape == (10, 5, 3)
    assert fitted(colour, 100) is colour
    assert fitted(colour, 0) is colour
