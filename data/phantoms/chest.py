"""Axial chest CT drawn from findings: wall, ribs, spine, mediastinum at two levels, lungs with their vessels."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter

from vesalius.data.hounsfield import from_wide, show
from vesalius.data.images.image import Float32, Uint8
from vesalius.data.phantoms.canvas import (
    Canvas,
    FindingRule,
    Line,
    Points,
    Scene,
    blob,
    closed,
    discs,
    paint,
    paths,
    rounded,
    sides_of,
    texture,
    with_diameter,
)
from vesalius.data.record import Finding

FIELD = 340.0  # mm
RULES: dict[str, FindingRule] = {
    "nodule": FindingRule(sides=("left", "right", "bilateral"), size_mm=(12, 45), max_count=3),
    "pleural effusion": FindingRule(sides=("left", "right", "bilateral")),
    "pneumothorax": FindingRule(sides=("left", "right", "bilateral")),
    "consolidation": FindingRule(sides=("left", "right", "bilateral")),
}
_KINDS = tuple(RULES)
Disc = tuple[float, float, float]  # x, y and radius in millimetres
_COARSE = 72  # pixels across the grid on which lesions find their place, whatever the image's size


class _Thorax:
    """The anatomy of one patient: shapes in millimetres, drawn from the seed alone."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.half = (a := rng.uniform(136, 158)), (b := a * rng.uniform(0.70, 0.84))
        fat, wall = rng.uniform(7, 20), rng.uniform(13, 19)
        power = rng.uniform(2.15, 2.6)
        self.body = blob(rng, (0, 0), a, b, wobble=0.012, power=power, num=72)
        self.muscle = blob(rng, (0, 0.1 * fat), a - fat, b - 0.75 * fat, wobble=0.012, power=power, num=72)
        self.inner = (a - fat - wall, b - 0.75 * fat - wall)
        self.cavity = blob(rng, (0, -2), *self.inner, power=power * 0.95, wobble=0.008, num=72)
        self.scale = k = self.inner[0] / 118
        self.back = self.inner[1]
        front = -self.inner[1]
        self.level = "heart" if rng.random() < 0.6 else "hilum"
        widths = np.array([17, 20, 26, 27, 25, 30, 33]) * k * rng.uniform(0.9, 1.15) * rng.uniform(0.92, 1.08, 7)
        heights = np.linspace(front - 3, self.back + 8, 7)
        left = np.stack([widths * rng.uniform(0.95, 1.15), heights], axis=1)
        right = np.stack([-widths, heights], axis=1)
        self.mediastinum: Points = rounded(np.concatenate([left, right[::-1]]))
        self.bright: list[Points] = []
        self.airways: list[Points] = []
        tilt = rng.uniform(-0.8, -0.45)
        self.heart: Points | None = None
        if self.level == "heart":
            centre = (rng.uniform(13, 24) * k, front * rng.uniform(0.22, 0.36))
            rx, ry = rng.uniform(47, 60) * k, rng.uniform(38, 46) * k
            self.heart = blob(rng, centre, rx, ry, angle=-tilt, wobble=0.03, power=2.2)
            for dx, dy, size in ((-0.34, -0.12, 0.36), (0.3, 0.16, 0.42), (-0.12, 0.52, 0.3), (0.12, -0.38, 0.34)):
                self.bright.append(
                    blob(
                        rng,
                        (centre[0] + dx * rx, centre[1] + dy * ry),
                        size * rx,
                        size * ry * 0.9,
                        angle=-tilt,
                        wobble=0.06,
                    )
                )
        else:
            self.bright.append(blob(rng, (-14 * k, -22 * k), rng.uniform(15, 19), rng.uniform(15, 18)))
            self.bright.append(blob(rng, (15 * k, -24 * k), rng.uniform(13, 17), rng.uniform(14, 22), angle=0.5))
            self.bright.append(blob(rng, (-31 * k, -12 * k), 9, 11))
            self.bright.append(blob(rng, (2 * k, -6 * k), 26 * k, 8 * k, angle=0.2))
            self.airways = [
                blob(None, (-17 * k, 9 * k), 8.5, 6.5, angle=0.4),
                blob(None, (18 * k, 10 * k), 8, 6, angle=-0.4),
            ]
        self.bright.append(
            blob(rng, (rng.uniform(22, 28) * k, self.back - rng.uniform(28, 36) * k), *([rng.uniform(11, 15)] * 2))
        )
        self.spine_y = self.back - 13 * k
        self.ribs(rng, a - fat - wall * 0.52, b - 0.75 * fat - wall * 0.52, power)
        self.vessels(rng)

    def ribs(self, rng: np.random.Generator, rx: float, ry: float, power: float) -> None:
        """Short arcs along the wall, and the scapulae behind them."""
        self.rib_lines: list[Line] = []
        for side in (1, -1):
            starts = (
                np.linspace(-1.2, 1.28, int(rng.integers(6, 9))) + rng.normal(0, 0.05, 1) + rng.uniform(-0.05, 0.05)
            )
            for start in starts:
                theta = start + np.linspace(0, rng.uniform(0.1, 0.3), 6)
                cos, sin = np.cos(theta), np.sin(theta)
                arc = np.stack(
                    [side * rx * np.abs(cos) ** (2 / power), ry * np.sign(sin) * np.abs(sin) ** (2 / power)], axis=1
                )
                self.rib_lines.append((arc, rng.uniform(7.5, 10)))
            if self.level == "hilum" or rng.random() < 0.35:
                top = np.array([side * rx * 0.93, ry * 0.42])
                end = np.array([side * rx * 0.58, ry * 1.02])
                middle = (top + end) / 2 + np.array([side * 6, 5])
                self.rib_lines.append((np.stack([top, middle, end]) + np.array([side * 5.0, 4.0]), rng.uniform(5, 7)))

    def vessels(self, rng: np.random.Generator) -> None:
        """Trees from each hilum, thinning as they fork, and vessels cut across."""
        self.trees: list[Line] = []
        self.dots: list[Points] = []
        k = self.scale
        for side in (1, -1):
            root = np.array([side * rng.uniform(30, 38) * k, rng.uniform(-6, 6) * k])
            angles = np.linspace(-1.35, 1.35, 6) + rng.normal(0, 0.12, 6) + (0 if side > 0 else math.pi)
            starts = np.repeat(root[None], 6, axis=0)
            for lengths, widths, forks in (
                ((26, 40), (4.6, 6.8), 0.34),
                ((22, 36), (2.6, 3.8), 0.38),
                ((10, 24), (1.3, 2.2), 0),
            ):
                num = len(angles)
                branches = paths(rng, starts, angles, rng.uniform(*lengths, num) * k, bend=0.17, num=3)
                self.trees += list(zip(branches, rng.uniform(*widths, num).tolist(), strict=True))
                starts = np.repeat(branches[:, -1], 2, axis=0)
                angles = np.repeat(angles, 2) + np.tile([-forks, forks], num) + rng.normal(0, 0.12, 2 * num)
            spots = rng.uniform((38, -self.back), (self.inner[0], self.back), (22, 2)) * (side, 1)
            self.dots += discs(spots, rng.uniform(0.9, 2.4, 22))

    def solid(self) -> list[Points]:
        return [self.mediastinum] if self.heart is None else [self.mediastinum, self.heart]


def _place(
    free: NDArray[np.bool_], radius: float, rng: np.random.Generator, what: str, others: Sequence[Disc] = ()
) -> tuple[float, float]:
    """A point of the free lung from which `radius` stays inside, or else the roomiest; never over the other discs.

    ValueError where nothing is left.
    """
    step = FIELD / _COARSE
    room = distance_transform_edt(np.pad(free, 1))[1:-1, 1:-1] * step
    axis = (np.arange(_COARSE) + 0.5) * step - FIELD / 2
    for px, py, other in others:
        apart = np.hypot(axis[None, :] - px, axis[:, None] - py) >= radius + other + 3
        room = np.where(apart, room, 0.0)
    if room.max() < min(radius, 8):
        raise ValueError(f"{what}: no room is left for it beside the other findings; ask for fewer or smaller ones")
    rows, columns = np.nonzero(room >= min(radius + 3, float(room.max())))
    pick = int(rng.integers(rows.size))
    return float(axis[columns[pick]]), float(axis[rows[pick]])


def draw_chest(seed: int, size: int, findings: tuple[Finding, ...]) -> Scene:
    """One axial slice with the given present findings, painted in the greys of `show` and told in HU."""
    rng = np.random.default_rng([seed, 1])
    thorax = _Thorax(rng)
    canvas = Canvas(size, FIELD, angle=math.radians(rng.normal(0, 2.2)), shift=(rng.uniform(-7, 7), rng.uniform(-7, 7)))
    x, y = canvas.grid()
    grey = {
        "lung": rng.uniform(26, 40),
        "fat": rng.uniform(66, 84),
        "muscle": rng.uniform(120, 136),
        "vessel": rng.uniform(112, 138),
        "bone": rng.uniform(222, 245),
    }
    grey["blood"] = grey["muscle"] + (rng.uniform(28, 60) if rng.random() < 0.6 else rng.uniform(6, 14))
    fine, coarse = texture(rng, size, FIELD, 3.2), texture(rng, size, FIELD, 14)

    image: Float32 = np.full((size, size), 3.0, np.float32)
    if rng.random() < 0.7:
        arc = np.stack([np.linspace(-150, 150, 20), thorax.half[1] + 6 - 26 * (np.linspace(-1, 1, 20) ** 2)], axis=1)
        paint(image, canvas.cover(lines=[(arc, 3.0)]), 88)
    paint(image, canvas.cover(thorax.body), grey["muscle"] * 0.8)
    paint(image, canvas.cover(thorax.body * 0.985), grey["fat"] + 4 * coarse)
    paint(image, canvas.cover(thorax.muscle), grey["muscle"] + 5 * coarse)
    plane = thorax.muscle * (1 - 7 / thorax.half[0])
    paint(image, 0.45 * canvas.cover(lines=[(closed(plane), 2.2)]), grey["fat"])

    cavity = canvas.cover(thorax.cavity)
    solid = canvas.cover(*thorax.solid())
    lung = cavity * (1 - solid)
    paint(image, cavity, grey["lung"] + 2.5 * coarse + 6 * (y / thorax.back))
    vessels = canvas.cover(*thorax.dots, lines=thorax.trees) * lung
    mask = np.zeros((size, size), np.uint8)
    lesions = _Lesions(seed, thorax, canvas, lung, x, grey)
    paint(image, vessels, grey["vessel"])
    for kind in ("pneumothorax", "pleural effusion", "consolidation", "nodule"):
        for finding in findings:
            if finding.kind == kind:
                lesions.draw(image, mask, finding)

    middle = canvas.cover(thorax.mediastinum)
    paint(image, middle * cavity, grey["fat"] * 0.55 + grey["muscle"] * 0.45 + 5 * coarse)
    if thorax.heart is not None:
        paint(image, canvas.cover(thorax.heart) * cavity, grey["muscle"] + 4 + 4 * coarse)
    blood = canvas.cover(*thorax.bright)
    paint(image, gaussian_filter(blood, 1.6 * size / FIELD) * cavity, grey["blood"] + 3 * coarse)
    if thorax.airways:
        paint(image, canvas.cover(*thorax.airways), 6)
    _bones(image, canvas, thorax, grey)
    lesions.over(image, mask)
    image += (rng.uniform(2.0, 5.0) + 1.5 * (image > 60)) * fine + np.random.default_rng([seed, 9, size]).normal(
        0, 1.5, image.shape
    )
    image = gaussian_filter(image, 0.32)
    hu = from_wide(image)
    return Scene(image=show(hu)[..., None], mask=mask, words={"level": thorax.level}, hu=hu)


def _bones(image: Float32, canvas: Canvas, thorax: _Thorax, grey: dict[str, float]) -> None:
    """Ribs, sternum and a vertebra with its canal and processes."""
    k, top = thorax.scale, thorax.spine_y
    cortex, marrow = grey["bone"], grey["bone"] * 0.76
    paint(image, canvas.cover(lines=thorax.rib_lines), cortex)
    paint(image, canvas.cover(lines=[(arc, width * 0.42) for arc, width in thorax.rib_lines]), marrow)
    sternum = blob(None, (0, -thorax.inner[1] - 7), 20 * k, 6.5, power=2.6)
    body = blob(None, (0, top - 4), 19 * k, 15 * k, power=2.6)
    arch = [
        (
            np.array([[-13 * k, top + 12], [-12 * k, top + 24], [0, top + 31], [12 * k, top + 24], [13 * k, top + 12]]),
            6.0,
        ),
        (np.array([[0, top + 30], [0, top + 40]]), 6.0),
        (np.array([[12 * k, top + 20], [32 * k, top + 25]]), 7.5),
        (np.array([[-12 * k, top + 20], [-32 * k, top + 25]]), 7.5),
    ]
    paint(image, canvas.cover(sternum, body, lines=arch), cortex)
    inside = [
        blob(None, (0, -thorax.inner[1] - 7), 17 * k, 3.8, power=2.6),
        blob(None, (0, top - 4), 16 * k, 12 * k, power=2.6),
    ]
    paint(image, canvas.cover(*inside), marrow)
    paint(image, canvas.cover(blob(None, (0, top + 18), 9 * k, 7.5)), grey["muscle"] * 0.9)


class _Lesions:
    """Draws findings into one thorax, keeping count of the lung that is still free."""

    def __init__(
        self, seed: int, thorax: _Thorax, canvas: Canvas, lung: Float32, x: Float32, grey: dict[str, float]
    ) -> None:
        self.seed, self.thorax, self.canvas, self.lung, self.x, self.grey = seed, thorax, canvas, lung, x, grey
        self.coarse = Canvas(_COARSE, FIELD)
        free = self.coarse.cover(thorax.cavity) * (1 - self.coarse.cover(*thorax.solid()))
        self.free = free > 0.9
        self.coarse_x, self.coarse_y = self.coarse.grid()
        self.late: list[tuple[Float32, float, int]] = []

    def draw(self, image: Float32, mask: Uint8, finding: Finding) -> None:
        rng = np.random.default_rng([self.seed, 3, _KINDS.index(finding.kind)])
        label = _KINDS.index(finding.kind) + 1
        if finding.kind == "nodule":
            self.nodules(rng, image, mask, finding, label)
            return
        for side in sides_of(finding.side):
            half = self.lung * (side * self.x > 0)
            if finding.kind == "consolidation":
                self.consolidation(rng, image, mask, half, side, label)
            else:
                self.pleura(rng, image, mask, half, side, label, finding.kind == "pneumothorax")

    def pleura(
        self, rng: np.random.Generator, image: Float32, mask: Uint8, half: Float32, side: int, label: int, air: bool
    ) -> None:
        """A crescent between the wall and the lung, which is the cavity moved away: fluid lies behind, air in front."""
        depth = rng.uniform(26, 48) if air else rng.uniform(26, 56)
        moved = self.thorax.cavity + np.array([-side * rng.uniform(4, 14), depth if air else -depth])
        inside, coarse_inside = self.canvas.cover(moved), self.coarse.cover(moved)
        region = half * (1 - inside)
        if air:
            collapsed = half * inside
            paint(image, 0.22 * collapsed, self.grey["muscle"])
            paint(image, region, 0.0)
            rim = self.canvas.cover(lines=[(closed(moved), 3.0)]) * half
            paint(image, 0.8 * rim, self.grey["vessel"])
        else:
            paint(image, region, self.grey["muscle"] - 14)
            rim = gaussian_filter(region, 5 * self.canvas.size / FIELD) * half * (1 - region)
            paint(image, 0.7 * rim, self.grey["muscle"] + 8)
        mask[region > 0.5] = label
        self.free &= ~((side * self.coarse_x > 0) & (coarse_inside < 0.9))

    def consolidation(
        self, rng: np.random.Generator, image: Float32, mask: Uint8, half: Float32, side: int, label: int
    ) -> None:
        """A ragged airspace opacity that keeps its bronchi black."""
        size = self.canvas.size
        centre = _place(self.free & (side * self.coarse_x > 0), 10.0, rng, "consolidation")
        shape = blob(rng, centre, rng.uniform(32, 46), rng.uniform(32, 50), angle=rng.uniform(0, 3), wobble=0.12)
        ragged = gaussian_filter(self.canvas.cover(shape), 4.5 * size / FIELD) + 0.13 * texture(rng, size, FIELD, 7)
        alpha = (
            np.clip((ragged - 0.35) / 0.3, 0, 1)
            * half
            * (mask == 0)
            * (self.canvas.cover(shape * 1.18 - 0.18 * np.asarray(centre)))
        )
        paint(image, alpha, self.grey["muscle"] + 8 + 10 * texture(rng, size, FIELD, 6))
        angle = math.atan2(centre[1], centre[0])
        start = (centre[0] - 26 * math.cos(angle), centre[1] - 26 * math.sin(angle))
        turns = angle + np.array([-0.45, 0.05, 0.5])
        bronchi = [(line, 2.6) for line in paths(rng, np.array([start] * 3), turns, np.full(3, 42.0), bend=0.1)]
        paint(image, 0.8 * self.canvas.cover(lines=bronchi) * alpha, self.grey["lung"])
        mask[alpha > 0.5] = label
        self.free &= (self.coarse_x - centre[0]) ** 2 + (self.coarse_y - centre[1]) ** 2 > 48**2

    def nodules(self, rng: np.random.Generator, image: Float32, mask: Uint8, finding: Finding, label: int) -> None:
        """Solid, round or spiculated; the first has the stated size, the others are no larger."""
        assert finding.size_mm is not None
        choice = sides_of(finding.side)[:: int(rng.choice([1, -1]))]
        sides = [choice[i % len(choice)] for i in range(finding.count)]
        placed: list[Disc] = []
        for number, side in enumerate(sides):
            diameter = finding.size_mm * (1.0 if number == 0 else rng.uniform(0.65, 1.0))
            what = f"nodule of {finding.size_mm:g} mm (number {number + 1} of {finding.count})"
            centre = _place(self.free & (side * self.coarse_x > 0), diameter / 2, rng, what, placed)
            shape = blob(
                rng,
                centre,
                10,
                rng.uniform(8, 10),
                angle=rng.uniform(0, 3),
                wobble=rng.choice([0.02, 0.06]),
                harmonics=(2, 9),
            )
            cover = self.canvas.cover(with_diameter(shape, diameter))
            self.late.append((cover, rng.uniform(168, 196), label))
            placed.append((*centre, diameter / 2))

    def over(self, image: Float32, mask: Uint8) -> None:
        """Nodules last: one that reaches the wall or the mediastinum is still seen whole."""
        for cover, value, label in self.late:
            paint(image, cover, value)
            mask[cover > 0.5] = label
