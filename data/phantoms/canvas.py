"""Drawing in millimetres: shapes to anti-aliased coverage, tissue texture, and the rules that a finding obeys.

A scene is described by points in a patient frame (x to the image's right = the patient's left, y downwards, origin at
the centre of the field), so that one seed gives one scene at any number of pixels.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vesalius.data.images.image import Float32, Uint8

Points = NDArray[np.float64]  # N2, x and y
Line = tuple[Points, float]  # a path and its width


@dataclass(frozen=True, kw_only=True)
class FindingRule:
    """What a kind of finding may be.

    sides: the sides it may take, () where it has none. size_mm: the range of its longest diameter, None where it has
    none. max_count: the most of them in one image.
    """

    sides: tuple[str, ...] = ()
    size_mm: tuple[int, int] | None = None
    max_count: int = 1


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A drawing: image HWC uint8, mask HW uint8, and the words that it settled for the report (sequence, level).

    hu: Hounsfield units HW float32, of CT.
    """

    image: Uint8
    mask: Uint8
    hu: Float32 | None = None
    words: dict[str, str] = field(default_factory=dict)


class Canvas:
    """Coverage maps of shapes, size x size float32 in [0, 1], of a square field, after a rigid move of the patient."""

    def __init__(self, size: int, field: float, *, angle: float = 0.0, shift: tuple[float, float] = (0.0, 0.0)) -> None:
        self.size, self.field = size, field
        self.fold = max(2, min(8, 256 // size))
        self.unit = size * self.fold / field  # fine pixels per millimetre
        cos, sin = math.cos(angle), math.sin(angle)
        self.turn = np.array([[cos, sin], [-sin, cos]])
        self.shift = np.array(shift)

    def grid(self) -> tuple[Float32, Float32]:
        """x and y of each pixel's centre in the patient frame, HW float32."""
        axis = (np.arange(self.size) + 0.5) * (self.field / self.size) - self.field / 2
        x, y = axis[None, :] - self.shift[0], axis[:, None] - self.shift[1]
        back = self.turn.T
        return (x * back[0, 0] + y * back[1, 0]).astype(np.float32), (x * back[0, 1] + y * back[1, 1]).astype(
            np.float32
        )

    def _pixels(self, points: Points) -> list[tuple[float, float]]:
        moved = (points @ self.turn + self.shift + self.field / 2) * self.unit - 0.5
        return list(map(tuple, moved.tolist()))

    def cover(self, *shapes: Points, lines: Iterable[Line] = (), inks: Sequence[float] = ()) -> Float32:
        """Coverage of closed shapes, painted in order with their inks in [0, 1], with the lines on top."""
        extent = self.size * self.fold
        image = Image.new("L", (extent, extent))
        draw = ImageDraw.Draw(image)
        for number, shape in enumerate(shapes):
            draw.polygon(self._pixels(shape), fill=round(255 * inks[number]) if inks else 255)
        for path, width in lines:
            draw.line(self._pixels(path), fill=255, width=max(1, round(width * self.unit)), joint="curve")
        return np.asarray(image.reduce(self.fold), dtype=np.float32) / 255.0


def paint(image: Float32, cover: Float32, value: float | Float32) -> None:
    """Lay a value over the image, in place, where the coverage says."""
    image += cover * (value - image)


@functools.lru_cache(maxsize=64)
def _weights(size: int, field: float, grain: float) -> Float32:
    num = math.ceil(field / grain) + 5
    pixel = field / size
    nodes = (np.arange(num) - 2) * grain
    centres = (np.arange(size) + 0.5) * pixel
    sigma = math.hypot(0.6 * grain, 0.3 * pixel)
    raw = np.exp(-0.5 * ((centres[:, None] - nodes[None, :]) / sigma) ** 2)
    norm = sigma * math.sqrt(2 * math.pi) / grain
    # variance of the sum of independent nodes: grain / (2 sqrt(pi) sigma); scaled to one where the pixel is fine
    unit = math.sqrt(2 * math.sqrt(math.pi) * 0.6)
    return (raw / norm * unit).astype(np.float32)


def texture(rng: np.random.Generator, size: int, field: float, grain: float) -> Float32:
    """A smooth random field, HW, of zero mean and about unit deviation, whose blobs are `grain` wide."""
    weights = _weights(size, field, grain)
    nodes = rng.standard_normal((weights.shape[1], weights.shape[1]), dtype=np.float32)
    return (weights @ nodes @ weights.T).astype(np.float32, copy=False)


def blob(
    rng: np.random.Generator | None,
    centre: tuple[float, float],
    rx: float,
    ry: float,
    *,
    angle: float = 0.0,
    wobble: float = 0.0,
    power: float = 2.0,
    num: int = 48,
    harmonics: tuple[int, int] = (2, 7),
) -> Points:
    """A closed superellipse whose radius wavers by about `wobble` of itself."""
    theta = np.arange(num) * (2 * np.pi / num)
    cos, sin = np.cos(theta), np.sin(theta)
    points = np.stack(
        [rx * np.sign(cos) * np.abs(cos) ** (2 / power), ry * np.sign(sin) * np.abs(sin) ** (2 / power)], axis=1
    )
    if rng is not None and wobble:
        waves = np.arange(*harmonics)
        height = rng.normal(size=waves.size) * wobble / np.sqrt(waves)
        phase = rng.uniform(0, 2 * np.pi, waves.size)
        points *= (1 + (height * np.cos(theta[:, None] * waves + phase)).sum(axis=1))[:, None].clip(0.35, 1.8)
    c, s = math.cos(angle), math.sin(angle)
    turned: Points = points @ np.array([[c, s], [-s, c]]) + np.array(centre)
    return turned


def with_diameter(points: Points, diameter: float) -> Points:
    """The shape scaled about its middle so that its longest diameter is `diameter`."""
    middle = (points.max(axis=0) + points.min(axis=0)) / 2
    gaps = points[:, None] - points[None, :]
    scaled: Points = (points - middle) * (diameter / math.sqrt(float((gaps**2).sum(axis=2).max()))) + middle
    return scaled


def paths(
    rng: np.random.Generator, starts: Points, angles: Points, lengths: Points, *, bend: float = 0.3, num: int = 4
) -> Points:
    """Gently bending paths, one per start, N x (num + 1) x 2."""
    turns = angles[:, None] + np.cumsum(rng.normal(0, bend, (len(angles), num)), axis=1)
    steps = np.stack([np.cos(turns), np.sin(turns)], axis=2) * (lengths[:, None, None] / num)
    return np.concatenate([starts[:, None], starts[:, None] + np.cumsum(steps, axis=1)], axis=1)


def discs(centres: Points, radii: Points, *, num: int = 10) -> list[Points]:
    """A round shape per centre."""
    theta = np.arange(num) * (2 * np.pi / num)
    circle = np.stack([np.cos(theta), np.sin(theta)], axis=1)
    return list(centres[:, None] + radii[:, None, None] * circle)


def closed(shape: Points) -> Points:
    """The outline of a shape as a path that ends where it began."""
    return np.concatenate([shape, shape[:1]])


def rounded(shape: Points, rounds: int = 2) -> Points:
    """A shape with its corners cut (Chaikin 1974)."""
    for _ in range(rounds):
        following = np.roll(shape, -1, axis=0)
        shape = np.stack([0.75 * shape + 0.25 * following, 0.25 * shape + 0.75 * following], axis=1).reshape(-1, 2)
    return shape


def sides_of(side: str | None) -> tuple[int, ...]:
    """Signs of x of a patient's side: left is +1, the image's right."""
    return {"left": (1,), "right": (-1,)}.get(side or "", (1, -1))
