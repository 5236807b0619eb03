"""Maps over pictures, in colours that the colour-blind can read, with a line that needs no colour at all."""

from __future__ import annotations

import base64
from io import BytesIO

import numpy as np
from PIL import Image

from vesalius.data.images.image import Float32, Uint8

COLOURS = "cividis"
"""Made to look nearly the same to people with and without a deficiency of colour vision (Nuñez et al. 2018, PLoS ONE
13(7), e0199239); its lightness rises from end to end, so that it survives a printer without colour."""
EDGE = 384
"""Pixels of an overlay's edges, at least."""


def stretched(values: Float32) -> Float32:
    """A map from its own least to its own most, in [0, 1]; all 0 of a flat one."""
    low, high = float(values.min()), float(values.max())
    shown: Float32 = (values - low) / (high - low) if high > low else np.zeros_like(values)
    return shown


def overlay(image: Uint8, values: Float32) -> Uint8:
    """A picture HWC uint8, in grey, under a map [H, W] in [0, 1]: HW3 uint8, enlarged to `EDGE` pixels or more.

    What is high is coloured the more and what is low stays the picture; a white line in a black one runs at one half.
    """
    import matplotlib

    height, width = image.shape[:2]
    scale = max(1, -(-EDGE // min(height, width)))
    size = (width * scale, height * scale)
    grey = Image.fromarray(np.rint(image.astype(np.float32).mean(axis=2)).astype(np.uint8))
    below = np.asarray(grey.resize(size, Image.Resampling.BICUBIC), np.float32)[..., None]
    above = np.clip(
        np.asarray(Image.fromarray(values.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)), 0, 1
    )
    colours = matplotlib.colormaps[COLOURS](above)[..., :3].astype(np.float32) * 255
    share = 0.8 * above[..., None]
    drawn = below + share * (colours - below)
    inside = above >= 0.5
    edge = _border(inside)
    drawn[_border(~edge) & ~edge] = 0
    drawn[edge] = 255
    blended: Uint8 = np.clip(np.rint(drawn), 0, 255).astype(np.uint8)
    return blended


def _border(inside: np.ndarray) -> np.ndarray:
    """The pixels of a region that touch its outside."""
    from scipy.ndimage import binary_erosion

    border: np.ndarray = inside & ~binary_erosion(inside, border_value=1)
    return border


def colour_stops(num: int = 9) -> list[str]:
    """The colours from least to most, as CSS has them."""
    import matplotlib

    shown = matplotlib.colormaps[COLOURS](np.linspace(0, 1, num))[:, :3]
    return [f"rgb({r:.0f}, {g:.0f}, {b:.0f})" for r, g, b in shown * 255]


def uri(image: Uint8) -> str:
    """A picture as a data: address, as WebP: a page holds dozens of overlays."""
    buffer = BytesIO()
    Image.fromarray(image).save(buffer, "WEBP", quality=88)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()
