"""Axial brain MRI drawn from findings: scalp, skull, folded cortex, white matter, deep grey nuclei and ventricles."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from vesalius.data.images.image import Float32, Uint8, to_uint8
from vesalius.data.phantoms.canvas import (
    Canvas,
    FindingRule,
    Line,
    Points,
    Scene,
    blob,
    closed,
    paint,
    paths,
    rounded,
    sides_of,
    texture,
    with_diameter,
)
from vesalius.data.record import Finding

FIELD = 212.0  # mm
RULES: dict[str, FindingRule] = {
    "mass": FindingRule(sides=("left", "right"), size_mm=(15, 55)),
    "infarct": FindingRule(sides=("left", "right", "bilateral")),
    "hemorrhage": FindingRule(sides=("left", "right"), size_mm=(15, 50)),
}
_KINDS = tuple(RULES)

# Grey of each tissue by sequence; "T1" is after contrast.
_GREYS: dict[str, dict[str, float]] = {
    "T1": {"scalp": 205, "marrow": 120, "csf": 26, "grey": 104, "white": 150, "deep": 118},
    "T2": {"scalp": 165, "marrow": 95, "csf": 232, "grey": 132, "white": 92, "deep": 112},
    "FLAIR": {"scalp": 150, "marrow": 80, "csf": 14, "grey": 138, "white": 104, "deep": 124},
}
# Grey of each lesion's parts by sequence: rim, core, and the swelling around.
_LESIONS: dict[str, dict[str, tuple[float, float, float]]] = {
    "mass": {"T1": (246, 58, 112), "T2": (142, 244, 186), "FLAIR": (248, 150, 200)},
    "hemorrhage": {"T1": (225, 240, 128), "T2": (20, 34, 170), "FLAIR": (20, 40, 185)},
    "infarct": {"T1": (78, 70, 0), "T2": (208, 214, 0), "FLAIR": (214, 226, 0)},
}


class _Head:
    """The anatomy of one patient: shapes in millimetres, drawn from the seed alone."""

    def __init__(self, rng: np.random.Generator) -> None:
        rx = rng.uniform(69, 79)
        ry = rx * rng.uniform(1.14, 1.28)
        power = rng.uniform(2.0, 2.25)
        self.egg = rng.uniform(0.02, 0.10)
        scalp, skull, gap = rng.uniform(3.5, 6), rng.uniform(5.5, 8), rng.uniform(2.0, 4.2)
        self.outer = self.ovoid(rng, rx, ry, power)
        self.skull = self.ovoid(rng, rx - scalp, ry - scalp, power)
        self.table = self.ovoid(rng, rx - scalp - skull / 2, ry - scalp - skull / 2, power)
        self.dura = self.ovoid(rng, rx - scalp - skull, ry - scalp - skull, power)
        self.rx, self.ry = rx - scalp - skull - gap, ry - scalp - skull - gap
        self.cortex = self.ovoid(rng, self.rx, self.ry, power, 0.012)
        thick = rng.uniform(3.0, 4.2)
        self.core = self.ovoid(rng, self.rx - thick, self.ry - thick, power, 0.02)
        self.level = "ventricles" if rng.random() < 0.7 else "centrum semiovale"
        self.sulci: list[Line] = []
        wide = rng.uniform(0.9, 1.5)
        for side in (1, -1):
            num = int(rng.integers(11, 15))
            theta = np.linspace(-1.38, 1.38, num) + rng.normal(0, 0.045) + rng.normal(0, 0.04, num)
            starts = np.stack([side * self.rx * np.cos(theta), self.ry * np.sin(theta)], axis=1) * 1.01
            inward = np.arctan2(-0.8 * starts[:, 1], -starts[:, 0]) + rng.normal(0, 0.2, num)
            lengths = rng.uniform(9, 22, num) * (1.5 if self.level != "ventricles" else 1.0)
            folds = paths(rng, starts, inward, lengths, bend=0.3)
            self.sulci += list(zip(folds, (wide * rng.uniform(1.1, 2.1, num)).tolist(), strict=True))
            if self.level == "ventricles":  # the Sylvian fissure
                start = np.array([[side * self.rx, self.ry * rng.uniform(-0.22, -0.08)]])
                aim = np.array([0.25 if side < 0 else math.pi - 0.25])
                self.sulci.append((paths(rng, start, aim, rng.uniform(22, 28, 1), bend=0.2)[0], wide * 2.6))
        self.fissure: list[Line] = [
            (np.array([[0, -self.ry * 1.02], [rng.normal(0, 0.8), -self.ry * 0.72], [0, -self.ry * 0.42]]), 2.2),
            (np.array([[0, self.ry * 1.02], [rng.normal(0, 0.8), self.ry * 0.75], [0, self.ry * 0.5]]), 2.2),
        ]
        k = self.rx / 62
        self.k = k
        self.deep: list[Points] = []
        self.ventricles: list[Points] = []
        self.plexus: list[Points] = []
        big = rng.uniform(0.75, 1.4)
        if self.level == "ventricles":
            for side in (1, -1):
                self.deep.append(blob(rng, (side * 13 * k, -14 * k), 5.5 * k, 9 * k, angle=side * 0.3, wobble=0.05))
                self.deep.append(blob(rng, (side * 25 * k, -3 * k), 6.5 * k, 15 * k, angle=-side * 0.25, wobble=0.05))
                self.deep.append(blob(rng, (side * 10.5 * k, 11 * k), 8 * k, 12 * k, angle=-side * 0.45, wobble=0.05))
                inner, outer = 1.5 * k, (4.5 + 4.5 * big) * k
                horn = [
                    [inner, -12],
                    [inner, -24],
                    [outer * 0.8, -30 - 3 * big],
                    [outer * 1.25, -27 - 3 * big],
                    [outer * 0.75, -19],
                    [inner + 2, -11],
                ]
                self.ventricles.append(rounded(np.array(horn) * (side, k)))
                rear = [
                    [15, 19],
                    [19, 18],
                    [23 + 4 * big, 29],
                    [22 + 3 * big, 40 + 5 * big],
                    [18, 42 + 4 * big],
                    [16.5, 31],
                ]
                self.ventricles.append(rounded(np.array(rear) * (side * k, k)))
                self.plexus.append(blob(rng, (side * 20 * k, 31 * k), 2.6 * k, 5 * k, wobble=0.1))
            self.ventricles.append(blob(None, (0, 8 * k), (1.2 + 1.3 * big) * k, 10 * k))
        elif rng.random() < 0.6:
            for side in (1, -1):
                self.ventricles.append(
                    blob(rng, (side * 9 * k, 2), (2.5 + 2.5 * big) * k, 22 * k, angle=-side * 0.06, wobble=0.04)
                )

    def ovoid(self, rng: np.random.Generator, rx: float, ry: float, power: float, wobble: float = 0.004) -> Points:
        """A head-like outline: wider behind than in front."""
        points = blob(rng, (0, 0), rx, ry, power=power, wobble=wobble, num=80)
        points[:, 0] *= 1 + self.egg * points[:, 1] / ry
        return points


def draw_brain(seed: int, size: int, findings: tuple[Finding, ...]) -> Scene:
    """One axial slice with the given present findings, in one of three sequences. Image HW1."""
    rng = np.random.default_rng([seed, 1])
    sequence = str(rng.choice(list(_GREYS), p=[0.4, 0.35, 0.25]))
    grey = {tissue: value * rng.uniform(0.94, 1.06) for tissue, value in _GREYS[sequence].items()}
    head = _Head(rng)
    canvas = Canvas(
        size, FIELD, angle=math.radians(rng.normal(0, 3)), shift=(rng.uniform(-3.5, 3.5), rng.uniform(-4, 4))
    )
    fine, coarse = texture(rng, size, FIELD, 2.2), texture(rng, size, FIELD, 11)
    pixel = size / FIELD

    image: Float32 = np.full((size, size), 4.0, np.float32)
    paint(image, canvas.cover(head.outer), grey["scalp"] + 12 * coarse)
    paint(image, canvas.cover(head.skull), 16)
    paint(image, 0.75 * canvas.cover(lines=[(closed(head.table), 2.2)]), grey["marrow"])
    paint(image, canvas.cover(head.dura), grey["csf"])
    brain = canvas.cover(head.cortex)
    paint(image, brain, grey["grey"] + 3 * coarse)
    ribbon = canvas.cover(
        lines=[(line, width + 7.5) for line, width in head.sulci] + [(line, 11.0) for line, _ in head.fissure]
    )
    white = canvas.cover(head.core) * (1 - ribbon)
    paint(image, gaussian_filter(white, 0.9 * pixel), grey["white"] + 3 * coarse)
    if head.deep:
        paint(image, gaussian_filter(canvas.cover(*head.deep), 0.8 * pixel), grey["deep"])
    paint(image, canvas.cover(lines=head.sulci + head.fissure), grey["csf"])
    if head.ventricles:
        paint(image, canvas.cover(*head.ventricles), grey["csf"])
    if head.plexus:
        paint(image, 0.7 * canvas.cover(*head.plexus), 225 if sequence == "T1" else grey["deep"])
    paint(image, 0.6 * canvas.cover(lines=[(line, 0.8) for line, _ in head.fissure]), grey["grey"])

    mask = np.zeros((size, size), np.uint8)
    x, _ = canvas.grid()
    taken: list[tuple[float, float, float]] = []
    for kind in ("infarct", "mass", "hemorrhage"):
        for finding in findings:
            if finding.kind == kind:
                lesion_rng = np.random.default_rng([seed, 3, _KINDS.index(kind)])
                for side in sides_of(finding.side):
                    half = brain * (side * x > 1.5)
                    _draw_lesion(image, mask, canvas, head, lesion_rng, finding, side, half, sequence, taken)
    bias = 1 + rng.uniform(0.02, 0.07) * texture(rng, size, FIELD, 90)
    image *= bias * np.float32(rng.uniform(0.92, 1.05))
    image += rng.uniform(2.5, 5.5) * fine + np.abs(np.random.default_rng([seed, 9, size]).normal(0, 2.2, image.shape))
    image = gaussian_filter(image, 0.35)
    return Scene(image=to_uint8(image, 0, 255)[..., None], mask=mask, words={"sequence": sequence, "level": head.level})


def _draw_lesion(
    image: Float32, mask: Uint8, canvas: Canvas, head: _Head, rng: np.random.Generator, finding: Finding,
    side: int, half: Float32, sequence: str, taken: list[tuple[float, float, float]],
) -> None:  # fmt: skip
    label = _KINDS.index(finding.kind) + 1
    rim, core, swelling = _LESIONS[finding.kind][sequence]
    pixel, size = canvas.size / FIELD, canvas.size
    mottle = texture(rng, size, FIELD, 5)
    if finding.kind == "infarct":
        cover = _wedge(canvas, head, rng, side, taken) * half
        ragged = gaussian_filter(cover, 2.5 * pixel) + 0.11 * texture(rng, size, FIELD, 6)
        soft = np.clip((ragged - 0.3) / 0.4, 0, 1) * half * gaussian_filter(cover, 1.2 * pixel).clip(0, 0.5) * 2
        paint(image, 0.9 * soft, core + 9 * mottle)
        mask[soft > 0.5] = label
        return
    assert finding.size_mm is not None
    radius = finding.size_mm / 2
    centre = _place(head, rng, side, radius, deep=finding.kind == "hemorrhage", taken=taken)
    wobble = 0.07 if finding.kind == "mass" else 0.10
    shape = with_diameter(
        blob(rng, centre, 10, rng.uniform(7.8, 9.6), angle=rng.uniform(0, 3), wobble=wobble, harmonics=(2, 6)),
        finding.size_mm,
    )
    cover = canvas.cover(shape)
    spread = rng.uniform(5, 9) if finding.kind == "mass" else 3.5
    fingers = blob(rng, centre, radius + spread, radius + spread, wobble=0.12, harmonics=(3, 9))
    halo = gaussian_filter(canvas.cover(fingers), 1.5 * pixel) * half
    paint(image, 0.85 * halo, swelling)
    paint(image, cover, rim + 5 * mottle)
    thick = max(3.0, 0.26 * radius) if finding.kind == "mass" else 2.2
    inner = (shape - np.asarray(centre)) * (1 - thick / radius) + np.asarray(centre)
    if finding.kind == "mass":
        inner = inner + rng.normal(0, 0.04 * radius, 2)
    paint(
        image, gaussian_filter(canvas.cover(inner), 0.5 * pixel), core + (16 if finding.kind == "mass" else 7) * mottle
    )
    mask[cover > 0.5] = label


def _place(
    head: _Head,
    rng: np.random.Generator,
    side: int,
    radius: float,
    *,
    deep: bool,
    taken: list[tuple[float, float, float]],
) -> tuple[float, float]:
    """A centre inside one hemisphere from which `radius` clears the midline, the surface and other lesions."""
    best, room = (side * head.rx * 0.5, 0.0), -1e9
    for attempt in range(240):
        deep = deep and attempt < 80
        px = rng.uniform(0.3, 0.6 if deep else 0.72) * head.rx
        py = rng.uniform(-0.3, 0.3) * head.ry if deep else rng.uniform(-0.66, 0.66) * head.ry
        edge = 1 - math.hypot(px / head.rx, py / head.ry)
        clear = min(px - radius - 2, edge * head.rx - radius - 2)
        clear = min([clear] + [math.hypot(side * px - ox, py - oy) - radius - other - 4 for ox, oy, other in taken])
        if clear > room:
            best, room = (side * px, py), clear
        if clear > 0:
            break
    if any(math.hypot(best[0] - ox, best[1] - oy) < radius + other for ox, oy, other in taken):
        raise ValueError(
            f"a lesion of {2 * radius:g} mm: no room is left for it beside the other findings; ask for smaller ones"
        )
    taken.append((*best, radius))
    return best


def _wedge(
    canvas: Canvas, head: _Head, rng: np.random.Generator, side: int, taken: list[tuple[float, float, float]]
) -> Float32:
    """A vascular territory: broad at the cortex, narrow towards the ventricle."""
    theta = float(rng.choice([-0.72, 0.0, 0.78])) + rng.normal(0, 0.1)
    width = rng.uniform(0.32, 0.5)
    angles = theta + np.linspace(-width, width, 9)
    arc = np.stack([side * head.rx * np.cos(angles) * 1.03, head.ry * np.sin(angles) * 1.03], axis=1)
    tip = np.array(
        [side * head.rx * rng.uniform(0.3, 0.42) * math.cos(theta), head.ry * rng.uniform(0.3, 0.42) * math.sin(theta)]
    )
    sides = [
        0.55 * arc[-1] + 0.45 * tip + rng.normal(0, 1.5, 2),
        tip,
        0.55 * arc[0] + 0.45 * tip + rng.normal(0, 1.5, 2),
    ]
    middle = arc.mean(axis=0) * 0.6 + tip * 0.4
    taken.append((float(middle[0]), float(middle[1]), 18.0))
    return canvas.cover(rounded(np.concatenate([arc, np.array(sides)]), 1))
