"""Views of one image: flipped where that is safe, else turned, scaled and moved by a little.

Real images are few. Seen once and again in the very same pixels they are learnt by heart; views put between them what a
scanner and a patient's posture would.
"""

from __future__ import annotations

import hashlib

import numpy as np
from PIL import Image

from vesalius.data.archive import Place
from vesalius.data.image import Uint8, load_square
from vesalius.data.modality import find_modality, safe_flips
from vesalius.data.record import Record

BICUBIC = Image.Resampling.BICUBIC
TURN, SCALE, SHIFT = 5.0, 0.08, 0.04
"""Most degrees, most relative change of scale, and most of the image's edge by which a view is moved."""


def load_view(path: Place, record: Record, size: int, view: int) -> Uint8:
    """View number `view` of a record's image as the model sees it, size x size x 3 uint8; view 0 is the image itself.

    A pure function of (name of the file, view). Where the modality allows both flips and the text names no side, one
    of the eight flips and quarter turns; else a small affine change, drawn at twice the size. ValueError as
    `load_square`.
    """
    modality = find_modality(record.modality)
    if view == 0:
        return load_square(path, modality, size)
    if len(safe_flips(modality, record.text)) == 2:
        turned = np.rot90(load_square(path, modality, size), view % 4)
        return np.ascontiguousarray(turned[:, ::-1] if view // 4 % 2 else turned)
    seed = hashlib.blake2b(f"{record.file_name}/{view}".encode(), digest_size=8).digest()
    turn, scale, right, down = np.random.default_rng(int.from_bytes(seed, "big")).uniform(-1, 1, 4)
    image = load_square(path, modality, 2 * size)
    edge = size // 2  # mirrored around, or corners of nothing would be learnt with the picture
    image = np.pad(image, ((edge, edge), (edge, edge), (0, 0)), mode="reflect")
    angle, factor = np.deg2rad(turn * TURN), 1 + scale * SCALE
    cos, sin = np.cos(angle) / factor, np.sin(angle) / factor
    # Pillow asks where each pixel of the result comes from: the inverse of turning and scaling about the middle.
    x, y = size * (1 + 2 * SHIFT * right), size * (1 + 2 * SHIFT * down)
    inverse = (cos, sin, edge + size - cos * x - sin * y, -sin, cos, edge + size + sin * x - cos * y)
    moved = Image.fromarray(image).transform((2 * size, 2 * size), Image.Transform.AFFINE, inverse, BICUBIC)
    return np.asarray(moved.resize((size, size), Image.Resampling.LANCZOS))
