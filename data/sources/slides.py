"""Whole slides and other large images in: tiles of tissue at a stated number of microns per pixel."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.dicom.frames import read_dicom
from vesalius.data.images.image import MAX_PIXELS, Uint8
from vesalius.data.modality import MODALITIES
from vesalius.data.sources.archive import Place

SUFFIXES = (".svs", ".ndpi", ".scn", ".bif", ".ome.tif", ".ome.tiff")
LARGE = 4096
"""Longest side from which a TIFF is read in tiles."""
OVERVIEW = 1024
MIN_TISSUE = 0.5
"""Least share of a tile that must be tissue."""
SEARCHED = 50
"""Frames of a DICOM slide that are looked at for each one wanted."""
_MIN_CHROMA = 16
_FEWEST = 64


@dataclass(frozen=True, kw_only=True)
class Tiles:
    """Corners (x, y) in pixels of the slide's first level, and a tile's edge there; mpp: of the tiles as stored."""

    corners: tuple[tuple[int, int], ...]
    edge: int
    mpp: float | None
    num_tissue: int


def is_slide(path: Path) -> bool:
    """By name, or, of a TIFF, by a size that no ordinary image has."""
    name = path.name.lower()
    if name.endswith(SUFFIXES):
        return True
    if not name.endswith((".tif", ".tiff")):
        return False
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path, formats=("TIFF",)) as image:
                return max(image.size) > LARGE
    except Image.DecompressionBombError:
        return True
    except Exception:  # no TIFF at all; its reader says so
        return False


def tiles_of(path: Path, *, mpp: float | None, size: int, most: int) -> Tiles:
    """Tiles on a grid that are at least half tissue, `most` of them (0: all) spread evenly over the slide.

    mpp: microns per pixel of the tiles, None for the slide's own. size: edge of a tile in pixels.
    ValueError names the file where it is no slide, does not state its scale, is coarser, or shows no tissue.
    """
    slide = _open(path)
    try:
        own = _own_mpp(slide, path) if mpp is not None else None
        if mpp is not None and own is not None and own > 1.05 * mpp:
            raise ValueError(
                f"{path}: has {own:g} microns per pixel, coarser than --mpp {mpp:g}; ask for {own:g} or more"
            )
        edge = round(size * mpp / own) if mpp is not None and own else size
        width, height = slide.dimensions
        if edge > min(width, height):
            raise ValueError(
                f"{path}: {width} x {height} pixels, smaller than one tile of {edge}; ask for a smaller --size or --mpp"
            )
        corners = _corners(_tissue(slide, path, edge), width, height, edge)
    except ValueError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise ValueError(_damaged(path, error)) from None
    except Exception as error:  # decoders behind tifffile raise anything over damaged files
        raise ValueError(_damaged(path, error)) from None
    if not corners:
        raise ValueError(f"{path}: no tile of {edge} pixels is half tissue; ask for a smaller --size or --mpp")
    chosen = corners if not most or len(corners) <= most else [corners[i * len(corners) // most] for i in range(most)]
    return Tiles(corners=tuple(chosen), edge=edge, mpp=mpp, num_tissue=len(corners))


def read_tile(path: Path, x: int, y: int, edge: int, size: int) -> Uint8:
    """A tile as HWC uint8 RGB, size x size, its stain as it is. ValueError names the file."""
    slide = _open(path)
    try:
        level = slide.get_best_level_for_downsample(edge / size)
        inner = max(1, round(edge / slide.level_downsamples[level]))
        tile = slide.read_region((x, y), level, (inner, inner)).convert("RGB")
        return np.asarray(tile.resize((size, size), Image.Resampling.LANCZOS))
    except Exception as error:
        raise ValueError(_damaged(path, error)) from None


def frames_with_tissue(place: Place, num: int, most: int) -> list[int]:
    """Frames of a DICOM slide, each a tile, that are at least half tissue: `most` of them (0: all), in their order.

    They are looked for all over the slide. ValueError names the file where a frame cannot be decoded or none shows any.
    """
    pathology = MODALITIES["pathology"]
    step = max(1, round(num * 0.618))
    while math.gcd(step, num) > 1:
        step += 1
    found: list[int] = []
    for i in range(num if not most else min(num, SEARCHED * most)):
        tile, _ = read_dicom(place, pathology, i * step % num)
        coloured = _chroma(tile) if tile.shape[2] == 3 else tile < np.percentile(tile, 99) - _MIN_CHROMA
        if coloured.mean() >= MIN_TISSUE:
            found.append(i * step % num)
            if len(found) == most:
                break
    if not found:
        raise ValueError(f"{place}: no frame is half tissue; leave it out")
    return sorted(found)


def _chroma(picture: NDArray[Any]) -> NDArray[np.bool_]:
    coloured: NDArray[np.bool_] = np.ptp(picture.astype(np.int16), axis=2) >= _MIN_CHROMA
    return coloured


def _damaged(path: Path, error: Exception) -> str:
    line = " ".join(str(error).split())[:200] or type(error).__name__
    return f"{path}: cannot be read as a slide ({line}); save it as a pyramidal TIFF or leave it out"


def _open(path: Path) -> Any:
    state = path.stat()
    return _opened(path, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1)
def _opened(path: Path, size: int, mtime_ns: int) -> Any:
    try:
        import tiffslide
    except ImportError:
        raise ValueError(f'{path}: slides need the library tiffslide; `pip install "vesalius[slides]"`') from None
    if not size:
        raise ValueError(f"{path}: is empty (0 bytes); copy it again or leave it out")
    try:
        slide = tiffslide.TiffSlide(path)
        page = slide.ts_tifffile.pages[0]
        biggest = int(np.prod(page.chunks))
        width, height = slide.dimensions
    except Exception as error:
        raise ValueError(_damaged(path, error)) from None
    if biggest > 4 * MAX_PIXELS or width * height > 4e11:
        raise ValueError(
            f"{path}: {width} x {height} pixels in pieces of {biggest}; save it as a tiled, pyramidal TIFF"
        )
    return slide


def _own_mpp(slide: Any, path: Path) -> float:
    values = [slide.properties.get(f"tiffslide.mpp-{axis}") for axis in "xy"]
    try:
        x, y = (float(v) for v in values)
    except (TypeError, ValueError):
        x = y = 0.0
    if not (0.01 < x < 1000 and 0.9 < x / y < 1.1):
        raise ValueError(
            f"{path}: does not state its microns per pixel; pass --mpp none to take its pixels as they are"
        )
    return (x + y) / 2


def _corners(tissue: NDArray[np.bool_], width: int, height: int, edge: int) -> list[tuple[int, int]]:
    """Of a grid in the middle of the slide, the corners of tiles that are half tissue."""
    across, down = tissue.shape[1] / width, tissue.shape[0] / height
    corners = []
    for y in range(height % edge // 2, height - edge + 1, edge):
        for x in range(width % edge // 2, width - edge + 1, edge):
            left, top = int(x * across), int(y * down)
            right, bottom = max(round((x + edge) * across), left + 1), max(round((y + edge) * down), top + 1)
            if tissue[top:bottom, left:right].mean() >= MIN_TISSUE:
                corners.append((x, y))
    return corners


def _tissue(slide: Any, path: Path, edge: int) -> NDArray[np.bool_]:
    """Where an overview of the slide is coloured: glass is grey, stains are not.

    Pale ground between stained nuclei counts as tissue too: gaps under an eighth of a tile are closed.
    """
    from scipy.ndimage import maximum_filter, minimum_filter

    width, height = slide.level_dimensions[-1]
    if width * height > MAX_PIXELS:
        raise ValueError(f"{path}: has no overview level ({width} x {height} is its smallest); save it as a pyramid")
    tissue = _chroma(np.asarray(slide.get_thumbnail((OVERVIEW, OVERVIEW)).convert("RGB")))
    if tissue.sum() < min(_FEWEST, tissue.size):
        raise ValueError(f"{path}: shows no stained tissue; leave it out")
    gap = 1 + 2 * max(1, round(edge / 16 * tissue.shape[1] / slide.dimensions[0]))
    closed: NDArray[np.bool_] = minimum_filter(maximum_filter(tissue, gap), gap)
    return closed
