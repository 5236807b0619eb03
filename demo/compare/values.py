"""The values of pictures: Hounsfield units as bytes, what a viewer is told of them, and what differs between two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vesalius.data.hounsfield import window_named
from vesalius.data.images.image import read_hu, read_image
from vesalius.demo.page import LABEL
from vesalius.demo.sentences import Refusal
from vesalius.demo.store.pictures import StoredPicture, file_of
from vesalius.demo.store.schema import Store

LUMA = np.array([0.299, 0.587, 0.114], np.float32)
"""Grey of a colour (ITU-R BT.601), as the viewer in the browser has it."""
SAME = 0.5
"""Difference of a pixel, in HU or grey levels, up to which it counts as unchanged."""


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What the second picture has more than the first. unit: HU where both have them, else grey levels as shown.

    changed: share of pixels that differ by more than `SAME`.
    """

    unit: str
    mean_absolute: float
    largest: float
    mean: float
    changed: float


def facts_of(picture: StoredPicture) -> dict[str, str]:
    """Headers of a picture's files, which the viewer reads: whether it has units, its spacing, the window it names."""
    named = window_named(picture.sample.text)
    return {
        "cache-control": "private, max-age=86400, immutable", "x-label": LABEL,
        **({"x-units": "HU"} if picture.sample.raw16_sha256 else {}),
        **({"x-spacing": f"{picture.spacing:.8g}"} if picture.spacing else {}),
        **({"x-window": named} if named else {}),
    }  # fmt: skip


def units_of(store: Store, picture: StoredPicture) -> tuple[bytes, tuple[int, int]]:
    """Hounsfield units row by row as int16, little-endian, and (rows, columns). ValueError where there are none."""
    hu = np.rint(read_hu(file_of(store, picture, units=True))).astype("<i2")
    return hu.tobytes(), (hu.shape[0], hu.shape[1])


def difference_of(store: Store, first: StoredPicture, second: StoredPicture) -> Difference:
    """What two pictures differ in. ValueError where they are of different sizes."""
    both = bool(first.sample.raw16_sha256 and second.sample.raw16_sha256)
    a, b = ((_units if both else _greys)(store, each) for each in (first, second))
    if a.shape != b.shape:
        raise Refusal(
            f"The pictures are of {a.shape[1]} x {a.shape[0]} and {b.shape[1]} x {b.shape[0]} pixels; "
            "only pictures of one size can be compared",
            f"两幅图像分别为 {a.shape[1]} x {a.shape[0]} 和 {b.shape[1]} x {b.shape[0]} 像素；只能比较尺寸相同的图像",
        )
    apart = b - a
    return Difference(
        unit="HU" if both else "grey levels", mean_absolute=float(np.abs(apart).mean()),
        largest=float(np.abs(apart).max()), mean=float(apart.mean()), changed=float((np.abs(apart) > SAME).mean()),
    )  # fmt: skip


def _units(store: Store, picture: StoredPicture) -> NDArray[np.float32]:
    return np.rint(read_hu(file_of(store, picture, units=True)))


def _greys(store: Store, picture: StoredPicture) -> NDArray[np.float32]:
    image = read_image(file_of(store, picture)).astype(np.float32)
    return image[..., 0] if image.shape[2] == 1 else image @ LUMA
