"""Views of one image: flipped where that is safe, else turned, scaled, stretched, bent and moved by a little.

Real images are few. Seen once and again in the very same pixels they are learnt by heart; views put between them what a
scanner, a patient's posture and another patient's build would.
"""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.images.image import Shape, Uint8, load_fitted
from vesalius.data.modality import find_modality, safe_flips
from vesalius.data.record import Record
from vesalius.data.sources.archive import Place

Float64 = NDArray[np.float64]
BICUBIC = Image.Resampling.BICUBIC
TURN, ZOOM, SCALE, STRETCH, SHIFT, BEND = 8.0, 0.05, 0.09, 0.05, 0.03, 0.012
"""Most degrees by which a view is turned; how much it is enlarged in the mean, and how far from that at most; most
relative change of its proportions; and how much of the image's edge it is moved and bent at most."""
MESH = 8
"""Cells along an edge of the grid on which a view is bent."""
WAYS = 8
"""Flips and quarter turns of a square, itself among them."""
KIND = 2
"""Which edition of views these are: caches of others hold other pictures."""


def load_view(path: Place, record: Record, shape: Shape, view: int) -> Uint8:
    """View number `view` of a record's image as the model sees it, (height, width) x 3 uint8; view 0 is the image
    itself.

    A pure function of (name of the file, view). Where the modality allows both flips and the text names no side, one
    of the eight flips and quarter turns (of an image that is not square, one of the four that keep its shape), and from
    view 8 on a small move too; else a small move. ValueError as `load_fitted`.
    """
    modality = find_modality(record.modality)
    if view == 0:
        return load_fitted(path, modality, shape)
    turned = len(safe_flips(modality, record.text)) == 2
    if turned and view < WAYS:
        return _turned(load_fitted(path, modality, shape), view)
    height, width = shape
    seed = hashlib.blake2b(f"{record.file_name}/{view}".encode(), digest_size=8).digest()
    image = load_fitted(path, modality, (2 * height, 2 * width))  # drawn at twice the size
    moved = _moved(image, np.random.default_rng(int.from_bytes(seed, "big")))
    seen = np.asarray(Image.fromarray(moved).resize((width, height), Image.Resampling.LANCZOS))
    return _turned(seen, view) if turned else seen


def _turned(image: Uint8, view: int) -> Uint8:
    turns = view * (1 if image.shape[0] == image.shape[1] else 2)
    turned = np.rot90(image, turns % 4)
    return np.ascontiguousarray(turned[:, ::-1] if turns // 4 % 2 else turned)


def _moved(image: Uint8, rng: np.random.Generator) -> Uint8:
    """An image under a random smooth map that is near to none, in its own size."""
    height, width = image.shape[:2]
    turn, scale, stretch, right, down = rng.uniform(-1, 1, 5)
    above, beside = height // 4, width // 4  # mirrored around, or corners of nothing would be learnt with the picture
    image = np.pad(image, ((above, above), (beside, beside), (0, 0)), mode="reflect")
    angle, factor = np.deg2rad(turn * TURN), 1 + ZOOM + scale * SCALE
    y, x = np.meshgrid(*(np.linspace(0, edge, MESH + 1).round() for edge in (height, width)), indexing="ij")
    u, v = x - width * (0.5 + SHIFT * right), y - height * (0.5 + SHIFT * down)
    # Pillow asks where each place of the result comes from: the inverse of turning and scaling about the middle.
    across = (np.cos(angle) * u + np.sin(angle) * v) / (factor * (1 + STRETCH * stretch))
    along = (np.cos(angle) * v - np.sin(angle) * u) / (factor * (1 - STRETCH * stretch))
    source_x = beside + width / 2 + across + width * _bend(x / width, y / height, rng)
    source_y = above + height / 2 + along + height * _bend(x / width, y / height, rng)
    cells = []
    for row in range(MESH):
        for column in range(MESH):
            corners = ((row, column), (row + 1, column), (row + 1, column + 1), (row, column + 1))
            box = (x[row, column], y[row, column], x[row + 1, column + 1], y[row + 1, column + 1])
            quad = [float(source[corner]) for corner in corners for source in (source_x, source_y)]
            cells.append((tuple(map(int, box)), quad))
    return np.asarray(Image.fromarray(image).transform((width, height), Image.Transform.MESH, cells, BICUBIC))


def _bend(x: Float64, y: Float64, rng: np.random.Generator) -> Float64:
    """A smooth shift at places in [0, 1], at most BEND: two waves that are at least as long as the image."""
    waves = [np.sin(2 * np.pi * (a * x + b * y + phase)) for a, b, phase in rng.uniform(-1, 1, (2, 3))]
    bent: Float64 = BEND / 2 * (waves[0] + waves[1])
    return bent
