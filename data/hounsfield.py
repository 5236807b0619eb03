"""Hounsfield units: CT as the model sees it, three windows in red, green and blue, and back to one scale of HU.

On disk HU are a 16-bit grey PNG of (HU + 1024) x 16, which says so in its text chunk `hounsfield`: whole units survive,
and every viewer shows the picture (air black, dense bone white). Everything here is elementwise and pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from vesalius.data.images.png import encode_png
from vesalius.data.modality import SHOWN, WINDOWS

Float32 = NDArray[np.float32]
Uint8 = NDArray[np.uint8]

# Lung, fat, muscle, contrast and bone in one picture: a piecewise linear VOI LUT (DICOM PS3.3 C.11.2) from HU to grey.
_WIDE_HU = np.array([-1000, -860, -100, 45, 180, 1100], np.float32)
_WIDE_GREY = np.array([0, 33, 75, 128, 170, 255], np.float32)

AIR = -1000.0
CHUNK = "hounsfield"
_OFFSET, _SCALE = 1024, 16
_LOW = np.array([WINDOWS[n][0] - WINDOWS[n][1] / 2 for n in SHOWN], np.float32)
_WIDTH = np.array([WINDOWS[n][1] for n in SHOWN], np.float32)
_KNOTS = np.sort(np.concatenate([_LOW, _LOW + _WIDTH])).astype(np.float32)
_NAMED = re.compile(r"\b(lung|soft[- ]tissue|bone|brain) window|(肺|软组织|骨|脑)窗", re.IGNORECASE)
_CHINESE = {"肺": "lung", "软组织": "soft tissue", "骨": "bone", "脑": "brain"}


def encode_windows(hu: Float32) -> Float32:
    """HU of any shape -> [..., 3] float32 in [0, 1]: lung, soft tissue and bone window."""
    values: Float32 = np.clip((hu[..., None] - _LOW) / _WIDTH, 0, 1).astype(np.float32)
    return values


def decode_windows(pixels: Float32) -> Float32:
    """[..., 3] float32 in [0, 1] -> HU [...] float32, -1350 to 1300: the HU whose encoding lies nearest.

    `encode_windows` is a polyline in the colour cube with a knot at each window's edge; this projects on each of its
    segments and keeps the nearest point. 8-bit rounding alone costs at most 4 HU; the soft-tissue window is finest.
    """
    return _nearest(pixels)[0]


def is_windowed(pixels: Float32) -> bool:
    """Whether an HWC picture in [0, 1] holds three windows rather than one grey: which of the two lies nearer."""
    grey = ((pixels - pixels.mean(axis=-1, keepdims=True)) ** 2).sum(axis=-1)
    return bool(_nearest(pixels)[1].mean() < grey.mean())


def _nearest(pixels: Float32) -> tuple[Float32, Float32]:
    """HU of the nearest point of the polyline, and the squared distance to it."""
    ends = encode_windows(_KNOTS)
    best_hu = np.zeros(pixels.shape[:-1], np.float32)
    best = np.full(pixels.shape[:-1], np.inf, np.float32)
    for i in range(len(_KNOTS) - 1):
        along = ends[i + 1] - ends[i]
        part = np.clip((pixels - ends[i]) @ along / (along @ along), 0, 1)
        distance = ((pixels - ends[i] - part[..., None] * along) ** 2).sum(axis=-1)
        closer = distance < best
        best = np.where(closer, distance, best)
        best_hu = np.where(closer, _KNOTS[i] + part * (_KNOTS[i + 1] - _KNOTS[i]), best_hu)
    return best_hu, best


def window_named(text: str) -> str | None:
    """The window that a prompt names ("bone window", "肺窗"), or None."""
    found = _NAMED.search(text)
    if found is None:
        return None
    word = found.group(1) or _CHINESE[found.group(2)]
    return word.lower().replace("-", " ")


def show(hu: Float32, window: str | None = None) -> Uint8:
    """HU -> grey uint8 through a window of `WINDOWS`; without one through a curve that shows lung to bone at once."""
    if window is None:
        grey = np.interp(hu, _WIDE_HU, _WIDE_GREY).astype(np.float32)
    else:
        centre, width = WINDOWS[window]
        grey = (hu - (centre - width / 2)) * (255 / width)
    shown: Uint8 = np.clip(np.rint(grey), 0, 255).astype(np.uint8)
    return shown


def from_wide(grey: Float32) -> Float32:
    """The inverse of `show` without a window, for greys in [0, 255]."""
    hu: Float32 = np.interp(grey, _WIDE_GREY, _WIDE_HU).astype(np.float32)
    return hu


def hu_png(hu: Float32 | NDArray[np.int16], texts: Mapping[str, str] | None = None) -> bytes:
    """HU [H, W] as a 16-bit PNG that says what its values are. HU are clipped to -1024 ... 3071 and rounded.

    texts: further chunks by keyword.
    """
    whole = hu if hu.dtype == np.int16 else np.rint(hu)
    stored = np.clip(whole, -_OFFSET, 4095 - _OFFSET)  # a copy, so the rest is done in place: a build does it to all
    stored += _OFFSET
    stored *= _SCALE  # of int16 the highest wrap around, and are whole again as uint16
    deep = stored.view(np.uint16) if stored.dtype == np.int16 else stored.astype(np.uint16)
    return encode_png(deep[..., None], {CHUNK: f"HU = value / {_SCALE} - {_OFFSET}", **(texts or {})})


def from_stored(values: Float32) -> Float32:
    """The values of a PNG that `hu_png` made -> HU, float32."""
    return values / np.float32(_SCALE) - np.float32(_OFFSET)
