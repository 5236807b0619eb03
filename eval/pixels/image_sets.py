"""What the pixels of a set are like beside a real one: noise, intensities or Hounsfield units, and stain.

Each picture is described by a row of numbers, a set by its rows, and two sets by a distance in the unit of what is
described. Beside it stands the distance of one half of the real pictures to the other, in sets as large.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from vesalius.data.hounsfield import decode_windows
from vesalius.eval.fidelity.metrics import MIN_IMAGES, Estimate, over_draws
from vesalius.eval.report import Section, Table

Rows = NDArray[np.float64]
Distance = Callable[[Rows, Rows], float]

TILE = 32
"""Pixels along an edge of the regions in which noise is measured."""
QUIET = 0.25
"""Share of a picture's regions in which it is measured: those of least variance, where anatomy says least."""
BLANK = 0.25
"""Standard deviation in grey levels below which a region is no picture, but what surrounds it."""
FREQUENCIES = np.arange(1, TILE // 2 + 1) / TILE
"""Cycles per pixel at which noise power is given."""
HU_EDGES = np.arange(-1350, 1311, 10.0)
STAINS = np.array([[0.650, 0.704, 0.286], [0.072, 0.990, 0.105]])
"""Optical densities of haematoxylin and eosin in red, green and blue (Ruifrok & Johnston 2001, Anal. Quant. Cytol.
Histol. 23:291-299)."""
FAINT = 0.15
"""Optical density below which a pixel is glass (Macenko et al. 2009)."""
STAIN_NAMES = (
    "haematoxylin, mean", "haematoxylin, deviation", "eosin, mean", "eosin, deviation", "stained share"
)  # fmt: skip
DRAWS = 100


def noise_power(images: torch.Tensor) -> Rows:
    """NCHW uint8 -> radial noise power spectrum of each grey picture, float64 [N, 16], at `FREQUENCIES`.

    NPS(u, v) = |DFT(r)|^2 dx dy / (Nx Ny), the mean over regions of 32 x 32 pixels that overlap by half, each less the
    plane fitted to it (ICRU report 87; IEC 62220-1). Grey levels and pixels are the units, so it is in grey levels^2
    pixels^2, and white noise of variance s^2 has s^2 at every frequency. The mean over rings of width 1/32 cycle per
    pixel. Regions are the quietest quarter of those that are not blank. NaN where a picture has none. ValueError below
    32 pixels.
    """
    if min(images.shape[-2:]) < TILE:
        raise ValueError(f"noise power needs pictures of at least {TILE} pixels, got {min(images.shape[-2:])}")
    axis = torch.linspace(-1, 1, TILE, dtype=torch.float64)
    basis = torch.stack([torch.ones(TILE, TILE), axis[:, None].expand(TILE, TILE), axis.expand(TILE, TILE)]).flatten(1)
    basis = torch.linalg.qr(basis.double().T).Q  # [pixels, 3], orthonormal
    steps = torch.fft.fftfreq(TILE, dtype=torch.float64)
    radius = (steps[:, None].square() + steps.square()).sqrt()
    rings = torch.stack([((radius - f).abs() <= 0.5 / TILE).double() for f in FREQUENCIES.tolist()]).flatten(1)
    rings /= rings.sum(1, keepdim=True)
    found = np.full((len(images), len(FREQUENCIES)), np.nan)
    for i, image in enumerate(images):
        grey = image.double().mean(0)
        tiles = grey.unfold(0, TILE, TILE // 2).unfold(1, TILE, TILE // 2).reshape(-1, TILE * TILE)
        tiles = tiles - (tiles @ basis) @ basis.T
        spread = tiles.square().mean(1).sqrt()
        kept = (spread >= BLANK).nonzero()[:, 0]
        if len(kept):
            quiet = kept[spread[kept].argsort()[: max(1, round(QUIET * len(kept)))]]
            power = torch.fft.fft2(tiles[quiet].unflatten(1, (TILE, TILE))).abs().square() / TILE**2
            found[i] = (power.flatten(1).mean(0) @ rings.T).numpy()
    return found


def intensities(images: torch.Tensor) -> Rows:
    """NCHW uint8 -> share of pixels of each grey level, float64 [N, 256]."""
    greys = images.float().mean(1).round().long().flatten(1).numpy()
    return np.stack([np.bincount(row, minlength=256) / len(row) for row in greys])


def hounsfield(images: torch.Tensor) -> Rows:
    """CT in three windows, NCHW uint8 -> share of pixels of each 10 HU from -1350 on, float64 [N, 266]."""
    rows = []
    for image in images:
        hu = decode_windows(image.permute(1, 2, 0).float().div(255).numpy())
        rows.append(np.histogram(hu, HU_EDGES)[0] / hu.size)
    return np.stack(rows)


def stains(images: torch.Tensor) -> Rows:
    """N3HW uint8 tiles -> float64 [N, 5], as `STAIN_NAMES` says.

    Optical density (base 10, of white 255) of haematoxylin and eosin by colour deconvolution, the third direction at
    right angles to both; over the pixels that are stained (a density of 0.15 in the mean over colours), and their
    share. Other stains are read as if they were these two. NaN where nothing is stained.
    """
    unit = STAINS / np.linalg.norm(STAINS, axis=1, keepdims=True)
    residual = np.cross(unit[0], unit[1])
    inverse = np.linalg.inv(np.vstack([unit, residual / np.linalg.norm(residual)]))
    found = np.full((len(images), len(STAIN_NAMES)), np.nan)
    for i, image in enumerate(images):
        density = -np.log10(np.maximum(image.numpy().astype(np.float64), 1) / 255).reshape(3, -1).T
        stained = density.mean(axis=1) >= FAINT
        found[i, 4] = stained.mean()
        if stained.any():
            amounts = density[stained] @ inverse
            found[i, :4] = amounts[:, 0].mean(), amounts[:, 0].std(), amounts[:, 1].mean(), amounts[:, 1].std()
    return found


def spectral_distance(a: Rows, b: Rows) -> float:
    """Mean over the frequencies of |10 log10 of the ratio| of two mean spectra, in dB."""
    one, two = (np.nanmean(x, axis=0) for x in (a, b))
    return float(np.abs(10 * np.log10(np.maximum(one, 1e-6) / np.maximum(two, 1e-6))).mean())


def histogram_distance(centres: NDArray[np.float64]) -> Distance:
    """Wasserstein-1 distance (scipy's) of two pooled histograms, in the unit of their centres."""
    from scipy.stats import wasserstein_distance

    def distance(a: Rows, b: Rows) -> float:
        return float(wasserstein_distance(centres, centres, a.mean(axis=0), b.mean(axis=0)))

    return distance


def value_distance(column: int) -> Distance:
    """Wasserstein-1 distance of what the pictures of two sets have in a column."""
    from scipy.stats import wasserstein_distance

    def distance(a: Rows, b: Rows) -> float:
        one, two = (x[:, column][np.isfinite(x[:, column])] for x in (a, b))
        return float(wasserstein_distance(one, two)) if len(one) and len(two) else float("nan")

    return distance


class Kind(NamedTuple):
    """One description: its rows of pictures, and the distances of two sets of rows, by name, with their unit."""

    describe: Callable[[torch.Tensor], Rows]
    distances: Mapping[str, tuple[Distance, str]]


def kinds_for(modality: str, *, windowed: bool) -> dict[str, Kind]:
    """What is described of a modality. windowed: CT in three windows, whose Hounsfield units are known."""
    kinds = {"noise": Kind(noise_power, {"noise power": (spectral_distance, "dB")})}
    if windowed:
        kinds["intensity"] = Kind(
            hounsfield, {"Hounsfield units": (histogram_distance((HU_EDGES[:-1] + HU_EDGES[1:]) / 2), "HU")}
        )
    else:
        kinds["intensity"] = Kind(intensities, {"grey levels": (histogram_distance(np.arange(256.0)), "grey levels")})
    if modality == "pathology":
        kinds["stain"] = Kind(
            stains,
            {n: (value_distance(i), "%" if "share" in n else "OD") for i, n in enumerate(STAIN_NAMES)},
        )
    return kinds


def against_floor(ours: Rows, real: Rows, distance: Distance, *, seed: int = 0) -> tuple[Estimate, Estimate]:
    """A set's distance to the real one, and that of one random half of the real one to the other.

    Both in sets of one size m, the smaller of the set and half of the real one, each drawn with replacement: what
    chance adds to a distance is the same in both. Means and 95 % of the draws.
    """
    num, rng = min(len(ours), len(real) // 2), np.random.default_rng(seed)
    values, floors = [], []
    for _ in range(DRAWS):
        order = rng.permutation(len(real))
        first, second = (real[half[rng.integers(len(half), size=num)]] for half in np.array_split(order, 2))
        values.append(distance(ours[rng.integers(len(ours), size=num)], second))
        floors.append(distance(first, second))
    # NaN where a draw has nothing stained
    return over_draws(values, num_a=num, num_b=num), over_draws(floors, num_a=num, num_b=num)


def measure(
    images: torch.Tensor,
    groups: Sequence[str],
    real_images: torch.Tensor,
    real_groups: Sequence[str],
    *,
    windowed: Sequence[str] = (),
    seed: int = 0,
) -> dict[str, Any]:
    """Distances of a set to a real one, per group of pictures, as JSON.

    images, real_images: uint8 [N, 3, H, W] of one size. groups: what each is compared within: its modality, and after a
    comma anything else, such as "CT, greyscale". windowed: the groups that are CT in three windows.
    """
    if images.shape[1:] != real_images.shape[1:]:
        raise ValueError(
            f"the pixels of {tuple(images.shape[1:])} and real ones of {tuple(real_images.shape[1:])} cannot be "
            "compared; read both at one size"
        )
    sets: tuple[dict[str, Described], ...] = ({}, {})
    for made, stack, names in zip(sets, (images, real_images), (groups, real_groups), strict=True):
        for group in set(groups):
            made[group] = Described(group, windowed=group in windowed)
            made[group].add(stack[[i for i, g in enumerate(names) if g == group]])
    return compare_rows(*sets, seed=seed)


class Described:
    """The rows of one group of pictures, by name of what is described, made as its pictures come."""

    def __init__(self, group: str, *, windowed: bool) -> None:
        self.num, self.kinds = 0, kinds_for(group.partition(",")[0], windowed=windowed)
        self._rows: dict[str, list[Rows]] = {name: [] for name in self.kinds}

    def add(self, images: torch.Tensor) -> None:
        """uint8 [N, 3, H, W]"""
        if len(images):
            self.num += len(images)
            for name, kind in self.kinds.items():
                self._rows[name].append(kind.describe(images))

    def rows(self, name: str) -> Rows:
        return np.concatenate(self._rows[name])


def compare_rows(ours: Mapping[str, Described], real: Mapping[str, Described], *, seed: int = 0) -> dict[str, Any]:
    """Distances of groups of pictures, by name, to the real ones of the same name, as JSON."""
    rows: list[dict[str, Any]] = []
    spectra: dict[str, Any] = {}
    for group, mine in sorted(ours.items()):
        theirs = real[group]
        row = {"group": group, "num": mine.num, "num_real": theirs.num}
        if mine.num < MIN_IMAGES or theirs.num < 2 * MIN_IMAGES:
            rows.append({**row, "note": f"needs {MIN_IMAGES} images and {2 * MIN_IMAGES} real ones"})
            continue
        for name, kind in mine.kinds.items():
            one, two = mine.rows(name), theirs.rows(name)
            if name == "noise":
                if np.isnan(one[:, 0]).all() or np.isnan(two[:, 0]).all():
                    rows.append({**row, "what": "noise power", "note": "all pictures are blank"})
                    continue
                one, two = one[np.isfinite(one[:, 0])], two[np.isfinite(two[:, 0])]
                spectra[group] = [np.nanmean(x, axis=0).tolist() for x in (one, two)]
            for what, (distance, unit) in kind.distances.items():
                if not np.isfinite([distance(one, two), distance(two, two)]).all():
                    rows.append({**row, "what": what, "note": "not in these pictures"})
                    continue
                value, floor = against_floor(one, two, distance, seed=seed)
                rows.append({**row, "what": what, "unit": unit, "value": asdict(value), "floor": asdict(floor)})
    return {"rows": rows, "frequencies": FREQUENCIES.tolist(), "spectra": spectra}


def sections(result: Mapping[str, Any], name: str = "samples") -> list[Section]:
    """What a page says of pixels. name: of the set that stands beside the real one."""
    from vesalius.eval.pictures import curve_svg

    table = []
    for row in result["rows"]:
        first = [row["group"], row.get("what", "")]
        if "note" in row:
            table.append([*first, f"not measured: {row['note']}", "", f"{row['num']}, {row['num_real']}"])
            continue
        cells = [f"{_told(row[k], row['unit'])}" for k in ("value", "floor")]
        table.append([*first, *cells, f"{row['num']}, {row['num_real']}"])
    head = ("pictures", "what", "distance (95 %)", "real against real (95 %)", "n, real")
    plots = []
    for group, (ours, real) in result["spectra"].items():
        levels = {
            label: [10 * float(np.log10(max(v, 1e-6))) for v in values]
            for label, values in ((name, ours), ("real", real))
        }
        curves = {label: (result["frequencies"], values) for label, values in levels.items()}
        plots.append(
            curve_svg(curves, x="cycles per pixel", y="dB of grey levels² pixels²", title=f"Noise power, {group}")
        )
    return [
        Section(
            title="Pixels: noise, intensities, stain",
            text=[
                "How far the set is from real pictures, beside one half of these from the other in sets as large "
                "(bootstrap). Noise power: radial spectrum in the quietest quarter of the regions of 32 pixels, mean "
                "difference in dB. Intensities: Wasserstein distance of the pooled histograms. Stain: Wasserstein "
                "distance of what the pictures have, in optical density (OD), by the vectors of Ruifrok and Johnston.",
            ],
            tables=[Table(head=head, rows=table)],
            plots=plots,
        )
    ]  # fmt: skip


def _told(row: Mapping[str, float], unit: str) -> str:
    scale, digits = (100, 1) if unit == "%" else (1, 3) if unit == "OD" else (1, 2)
    value, low, high = (f"{scale * row[k]:.{digits}f}" for k in ("value", "low", "high"))
    return f"{value} {unit} ({low} to {high})"
