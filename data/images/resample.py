"""Pixels resampled: to square ones, and to a longest side."""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Pixels = TypeVar("Pixels", bound=NDArray[Any])
MOST_OBLONG = 20.0
"""Longest edge of a voxel in its shortest beyond which a header is wrong rather than a scan thick."""


def fitted(image: Pixels, size: int) -> Pixels:
    """HWC uint8, or HW float32 or int16: longest side at most `size` pixels; 0 keeps it, and none is enlarged."""
    height, width = image.shape[:2]
    if not size or max(height, width) <= size:
        return image
    scale = size / max(height, width)
    return _resized(image, round(height * scale), round(width * scale))


def squared(image: Pixels, aspect: float) -> Pixels:
    """HWC uint8, or HW float32 or int16: square pixels; aspect: a pixel's height in widths. The longer edge gains
    pixels.

    ValueError where the edges differ more than any scanner's.
    """
    if not 1 / MOST_OBLONG <= aspect <= MOST_OBLONG:
        raise ValueError(f"its pixels are {aspect:g} times as high as wide; correct the spacing in its header")
    height, width = image.shape[:2]
    if abs(aspect - 1) * max(height, width) < 1:
        return image
    return _resized(image, round(height * max(aspect, 1)), round(width * max(1 / aspect, 1)))


def _resized(image: Pixels, height: int, width: int) -> Pixels:
    """Whole numbers become float32, since a resized one is between them."""
    if image.dtype == np.int16:
        image = image.astype(np.float32)  # type: ignore[assignment]
    grey = image.ndim == 2 or image.shape[2] == 1
    picture = Image.fromarray(image[..., 0] if grey and image.ndim == 3 else image)
    resized = np.asarray(picture.resize((max(width, 1), max(height, 1)), Image.Resampling.LANCZOS))
    return resized[..., None] if grey and image.ndim == 3 else resized  # type: ignore[return-value]
