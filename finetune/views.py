"""Views of one image: flipped where that is safe, else turned, scaled and moved by a little.

Real images are few. Seen once and again in the very same pixels they are learnt by heart; views put between them what a
scanner and a patient's posture would.
"""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from vesalius.data.archive import Place
from vesalius.data.image import Shape, Uint8, load_fitted
from vesalius.data.modality import find_modality, safe_flips
from vesalius.data.record import Record

BICUBIC = Image.Resampling.BICUBIC
TURN, SCALE, SHIFT = 5.0, 0.08, 0.04
"""Most degrees, most relative change of scale, and most of the image's edge by which a view is moved."""


def load_view(path: Place, record: Record, shape: Shape, view: int) -> Uint8:
    """View number `view` of a record's image as the model sees it, (height, width) x 3 uint8; view 0 is the image
    itself.

    A pure function of (name of the file, view). Where the modality allows both flips and the text names no side, one
    of the eight flips and quarter turns (of an image that is not square, one of the four that keep its shape); else a
    small affine change, drawn at twice the size. ValueError as `load_fitted`.
    """
    modality = find_modality(record.modality)
    if view == 0:
        return load_fitted(path, modality, shape)
    height, width = shape
    if len(safe_flips(modality, record.text)) == 2:
        turns = 1 if height == width else 2
        turned = np.rot90(load_fitted(path, modality, shape), view * turns % 4)
        return np.ascontiguousarray(turned[:, ::-1] if view * turns // 4 % 2 else turned)
    seed = hashlib.blake2b(f"{record.file_name}/{view}".encode(), digest_size=8).digest()
    turn, scale, right, down = np.random.default_rng(int.from_bytes(seed, "big")).uniform(-1, 1, 4)
    image = load_fitted(path, modality, (2 * height, 2 * width))
    above, beside = height // 2, width // 2  # mirrored around, or corners of nothing would be learnt with the picture
    image = np.pad(image, ((above, above), (beside, beside), (0, 0)), mode="reflect")
    angle, factor = np.deg2rad(turn * TURN), 1 + scale * SCALE
    cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
    # Pillow asks where each pixel of the result comes from: the inverse of turning and scaling about the middle.
    x, y = width * (1 + 2 * SHIFT * right), height * (1 + 2 * SHIFT * down)
    inverse = (cos, sin, beside + width - cos * x - sin * y, -sin, cos, above + height + sin * x - cos * y)
    moved = Image.fromarray(image).transform((2 * width, 2 * height), Image.Transform.AFFINE, inverse, BICUBIC)
    return np.asarray(moved.resize((width, height), Image.Resampling.LANCZOS))
