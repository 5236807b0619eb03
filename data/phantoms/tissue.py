"""H&E-like tiles drawn from findings, in optical density of two stains (Ruifrok and Johnston 2001)."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import gaussian_filter

from vesalius.data.images.image import Float32, Uint8
from vesalius.data.phantoms.canvas import Canvas, FindingRule, Points, Scene, blob, texture
from vesalius.data.record import Finding

FIELD = 120.0  # micrometres
RULES: dict[str, FindingRule] = {
    "mitotic figures": FindingRule(max_count=5),
    "lymphocytic infiltrate": FindingRule(),
    "necrosis": FindingRule(),
    "gland": FindingRule(max_count=2),
}
_KINDS = tuple(RULES)
_HEMATOXYLIN = np.array([0.644, 0.717, 0.267], np.float32)  # optical density in red, green, blue
_EOSIN = np.array([0.093, 0.954, 0.283], np.float32)


def _scatter(
    rng: np.random.Generator,
    num: int,
    gap: float,
    low: tuple[float, float],
    high: tuple[float, float],
    taken: list[tuple[float, float, float]],
) -> list[tuple[float, float]]:
    """Up to `num` points at least `gap` apart and outside the taken discs."""
    trial = rng.uniform(low, high, (num * 3, 2))
    for ox, oy, radius in taken:
        trial = trial[(trial[:, 0] - ox) ** 2 + (trial[:, 1] - oy) ** 2 > radius**2]
    kept: list[tuple[float, float]] = []
    points = np.empty((num, 2))
    for px, py in trial.tolist():
        near = points[: len(kept)]
        if not len(kept) or ((near[:, 0] - px) ** 2 + (near[:, 1] - py) ** 2).min() > gap * gap:
            points[len(kept)] = px, py
            kept.append((px, py))
            if len(kept) == num:
                break
    return kept


def _room(
    rng: np.random.Generator,
    radius: float,
    margin: float,
    taken: list[tuple[float, float, float]],
    what: str,
    core: float = 0.0,
) -> tuple[float, float]:
    """A centre whose disc stays in the tile and off the taken discs. ValueError where there is none."""
    span = FIELD / 2 - margin
    trial = rng.uniform(-span, span, (600, 2))
    trial = trial[np.hypot(trial[:, 0], trial[:, 1]) >= min(core, span)]
    slack = np.full(len(trial), 1e9)
    for ox, oy, other in taken:
        slack = np.minimum(slack, np.hypot(trial[:, 0] - ox, trial[:, 1] - oy) - radius - other)
    pick = int(np.argmax(slack > 0)) if (slack > 0).any() else int(slack.argmax())
    if slack[pick] < -0.5 * radius:
        raise ValueError(f"{what}: no room is left for it beside the other findings; ask for fewer")
    taken.append((float(trial[pick, 0]), float(trial[pick, 1]), radius))
    return float(trial[pick, 0]), float(trial[pick, 1])


def draw_tissue(seed: int, size: int, findings: tuple[Finding, ...]) -> Scene:
    """One tile with the given present findings. Image HW3."""
    rng = np.random.default_rng([seed, 1])
    canvas = Canvas(size, FIELD)
    pixel = size / FIELD
    angle = rng.uniform(0, math.pi)
    x, y = canvas.grid()
    fine, medium, warp = texture(rng, size, FIELD, 1.6), texture(rng, size, FIELD, 6), texture(rng, size, FIELD, 30)
    along = x * math.sin(angle) + y * math.cos(angle) + 7 * warp + 1.5 * medium
    fibres = 0.5 + 0.5 * np.sin(along * (2 * math.pi / rng.uniform(7, 11)))
    eosin: Float32 = (rng.uniform(0.19, 0.31) + 0.12 * fibres**2 + 0.035 * medium + 0.02 * fine).astype(np.float32)
    clefts = np.clip(np.sin(along * (2 * math.pi / rng.uniform(24, 34)) + 2) * 4 - 3.3, 0, 1) * np.clip(
        warp * 1.5 + 0.4, 0, 1
    )
    eosin *= 1 - 0.85 * clefts
    blue: Float32 = (0.03 + 0.012 * medium).astype(np.float32).clip(0)
    mask = np.zeros((size, size), np.uint8)
    taken: list[tuple[float, float, float]] = []
    crowd = sum(finding.count for finding in findings if finding.kind != "mitotic figures")
    layers = _Layers(canvas, pixel, eosin, blue, mask, taken, crowd)

    for kind in ("necrosis", "gland", "lymphocytic infiltrate", "mitotic figures"):
        for finding in findings:
            if finding.kind == kind:
                lesion_rng = np.random.default_rng([seed, 3, _KINDS.index(kind)])
                for number in range(finding.count):
                    what = f"{kind} (number {number + 1} of {finding.count})"
                    layers.draw(lesion_rng, kind, what)
    layers.stromal_nuclei(rng, angle)
    blue, eosin = layers.blue, layers.eosin
    chroma = 1 + 0.22 * fine
    tint = _HEMATOXYLIN + rng.normal(0, 0.02, 3).astype(np.float32), _EOSIN + rng.normal(0, 0.03, 3).astype(np.float32)
    hema, pink = rng.uniform(0.85, 1.15), rng.uniform(0.8, 1.2)
    density = (blue * chroma * hema)[..., None] * tint[0] + (eosin.clip(0) * pink)[..., None] * tint[1]
    rgb = 246.0 * np.power(10.0, -density)
    rgb += np.random.default_rng([seed, 9, size]).normal(0, 1.8, rgb.shape)
    return Scene(image=np.clip(np.rint(rgb), 0, 255).astype(np.uint8), mask=mask)


class _Layers:
    """The two stains of one tile while findings are drawn into it."""

    def __init__(
        self,
        canvas: Canvas,
        pixel: float,
        eosin: Float32,
        blue: Float32,
        mask: Uint8,
        taken: list[tuple[float, float, float]],
        crowd: int,
    ) -> None:
        self.canvas, self.pixel, self.eosin, self.blue, self.mask, self.taken = canvas, pixel, eosin, blue, mask, taken
        self.scale = {0: 1.0, 1: 1.0, 2: 0.8, 3: 0.68}.get(crowd, 0.58)  # several regions share the tile
        self.core = 0.0 if crowd < 2 else 26.0

    def draw(self, rng: np.random.Generator, kind: str, what: str) -> None:
        label = _KINDS.index(kind) + 1
        if kind == "necrosis":
            self.necrosis(rng, what, label)
        elif kind == "gland":
            self.gland(rng, what, label)
        elif kind == "lymphocytic infiltrate":
            self.lymphocytes(rng, what, label)
        else:
            self.mitosis(rng, what, label)

    def nuclei(self, shapes: list[Points], inks: list[float], strength: float, soft: float = 0.35) -> None:
        if not shapes:
            return
        cover = gaussian_filter(self.canvas.cover(*shapes, inks=inks), soft * self.pixel)
        self.blue += cover * strength
        self.eosin *= 1 - 0.45 * np.minimum(cover * 1.4, 1)

    def stromal_nuclei(self, rng: np.random.Generator, angle: float) -> None:
        """Spindle nuclei along the fibres, and plump ones between them."""
        half = FIELD / 2 + 3
        centres = _scatter(rng, int(rng.integers(22, 46)), 9.5, (-half, -half), (half, half), self.taken)
        plump = rng.uniform(0.1, 0.7)
        shapes = []
        for px, py in centres:
            if rng.random() < plump:
                shapes.append(
                    blob(
                        rng,
                        (px, py),
                        rng.uniform(3.4, 4.6),
                        rng.uniform(2.8, 4),
                        angle=rng.uniform(0, 3),
                        wobble=0.06,
                        num=16,
                    )
                )
            else:
                shapes.append(
                    blob(
                        rng,
                        (px, py),
                        rng.uniform(4.2, 6.5),
                        rng.uniform(1.2, 1.9),
                        angle=rng.normal(-angle, 0.25),
                        wobble=0.05,
                        num=16,
                    )
                )
        self.nuclei(shapes, rng.uniform(0.5, 0.85, len(shapes)).tolist(), 0.9)

    def necrosis(self, rng: np.random.Generator, what: str, label: int) -> None:
        """A ragged field without living nuclei: smudged, granular and strongly eosinophilic, with nuclear dust."""
        radius = rng.uniform(27, 36) * self.scale
        px, py = _room(rng, radius * 0.9, 0.8 * radius, self.taken, what, self.core)
        shape = blob(rng, (px, py), radius, radius * rng.uniform(0.8, 1.0), angle=rng.uniform(0, 3), wobble=0.12)
        cover = gaussian_filter(self.canvas.cover(shape), 1.2 * self.pixel)
        grain = texture(rng, self.canvas.size, FIELD, 2.2)
        self.eosin += cover * (0.60 + 0.13 * grain + 0.05 * texture(rng, self.canvas.size, FIELD, 9) - self.eosin)
        self.blue += cover * (0.05 - self.blue)
        dust = [(px, py) for px, py in rng.normal((px, py), radius * 0.42, (34, 2)).tolist()]
        shapes = [blob(None, c, r, r, num=8) for c, r in zip(dust, rng.uniform(0.5, 1.3, len(dust)), strict=True)]
        self.blue += self.canvas.cover(*shapes) * cover * 0.75
        self.mask[cover > 0.5] = label

    def gland(self, rng: np.random.Generator, what: str, label: int) -> None:
        """A ring of columnar cells with basal nuclei around an empty lumen."""
        outer = rng.uniform(22, 29) * self.scale
        px, py = _room(rng, outer + 2, outer + 3, self.taken, what, self.core)
        squash, angle = rng.uniform(0.78, 1.0), rng.uniform(0, 3)
        shape = blob(rng, (px, py), outer, outer * squash, angle=angle, wobble=0.05)
        centre = np.array([px, py])
        thick = rng.uniform(0.46, 0.56)
        wall, lumen = self.canvas.cover(shape), self.canvas.cover((shape - centre) * (1 - thick) + centre)
        self.eosin += wall * (0.40 + 0.03 * texture(rng, self.canvas.size, FIELD, 2) - self.eosin)
        self.blue += wall * (0.10 - self.blue)
        lumen = gaussian_filter(lumen, 0.4 * self.pixel)
        self.eosin *= 1 - 0.97 * lumen
        self.blue *= 1 - lumen
        num = int(2 * math.pi * outer * 0.84 / 5.4)
        shapes = []
        for theta in np.arange(num) * (2 * math.pi / num) + rng.normal(0, 0.04, num):
            local = np.array([outer * math.cos(theta), outer * squash * math.sin(theta)]) * rng.uniform(0.76, 0.86)
            c, s = math.cos(angle), math.sin(angle)
            spot = (px + local[0] * c - local[1] * s, py + local[0] * s + local[1] * c)
            shapes.append(blob(rng, spot, 4.1, 2.5, angle=theta + angle + rng.normal(0, 0.1), wobble=0.04, num=16))
        self.nuclei(shapes, rng.uniform(0.7, 0.95, num).tolist(), 0.95)
        self.mask[wall > 0.5] = label

    def lymphocytes(self, rng: np.random.Generator, what: str, label: int) -> None:
        """A crowd of small, round, dark nuclei with hardly any cytoplasm."""
        radius = rng.uniform(24, 31) * self.scale
        px, py = _room(rng, radius * 0.85, 0.8 * radius, self.taken, what, self.core)
        shape = blob(rng, (px, py), radius, radius * rng.uniform(0.75, 1.0), angle=rng.uniform(0, 3), wobble=0.10)
        cover = self.canvas.cover(shape)
        coarse = Canvas(60, FIELD).cover(shape)
        pitch = 5.7  # a loose hexagonal packing
        rows, columns = np.mgrid[-12:13, -12:13].reshape(2, -1) * pitch
        lattice = np.stack([columns + 0.5 * pitch * (np.rint(rows / pitch) % 2), 0.87 * rows], axis=1)
        spots = lattice[np.hypot(*lattice.T) < 1.4 * radius] + (px, py)
        spots = spots[np.abs(spots).max(axis=1) < FIELD / 2 - 1]
        cell = ((spots / FIELD + 0.5) * 60).astype(int)
        spots = spots[(coarse[cell[:, 1], cell[:, 0]] > 0.5) & (rng.random(len(spots)) < 0.9)]
        shapes = [
            blob(rng, (sx, sy), rng.uniform(2.2, 2.9), rng.uniform(2.1, 2.7), wobble=0.05, num=14)
            for sx, sy in (spots + rng.normal(0, 0.6, spots.shape)).tolist()
        ]
        self.eosin *= 1 - 0.4 * cover
        self.blue += 0.06 * cover
        self.nuclei(shapes, rng.uniform(0.85, 1.0, len(shapes)).tolist(), 1.25, soft=0.25)
        self.mask[cover > 0.5] = label

    def mitosis(self, rng: np.random.Generator, what: str, label: int) -> None:
        """A rounded, clear cell with a black plate, two plates, or a hairy clump."""
        px, py = _room(rng, 10.5, 12, self.taken, what)
        cell = gaussian_filter(self.canvas.cover(blob(rng, (px, py), 10, 9.2, wobble=0.04)), 0.6 * self.pixel)
        self.eosin += cell * (0.13 - self.eosin)
        self.blue *= 1 - cell
        angle, form = rng.uniform(0, math.pi), rng.integers(3)
        across = np.array([-math.sin(angle), math.cos(angle)])
        if form == 0:
            plates = [blob(rng, (px, py), 6.6, 2.3, angle=angle, wobble=0.12, num=24, harmonics=(3, 10))]
        elif form == 1:
            plates = [
                blob(
                    rng,
                    tuple(np.array([px, py]) + s * 3.1 * across),
                    5.8,
                    1.7,
                    angle=angle,
                    wobble=0.12,
                    num=24,
                    harmonics=(3, 10),
                )
                for s in (1, -1)
            ]
        else:
            plates = [blob(rng, (px, py), 4.7, 4.0, angle=angle, wobble=0.22, num=32, harmonics=(4, 12))]
        self.blue += gaussian_filter(self.canvas.cover(*plates), 0.2 * self.pixel) * 1.9
        self.mask[self.canvas.cover(blob(None, (px, py), 7.2, 7.2)) > 0.5] = label
