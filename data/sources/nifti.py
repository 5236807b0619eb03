"""NIfTI in: volumes turned to a canonical display, slice by slice.

Display is radiological, as phantoms and other sources have it: the patient's left on the right of axial and coronal
slices, anterior on top (axial) or on the left (sagittal), superior on top.
"""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.data.images.image import Float32, Uint8, to_uint8
from vesalius.data.images.resample import MOST_OBLONG, squared
from vesalius.data.sources.archive import Place
from vesalius.data.sources.slices import pick

SUFFIXES = (".nii", ".nii.gz", ".hdr", ".img")
AXES = ("sagittal", "coronal", "axial")
"""The plane across each axis (x, y, z) of the patient."""
MAX_VOXELS = 300_000_000
MAX_HEADER = 16_000_000
SLAB = 4_000_000
"""Voxels that are read at a time."""
AIR_HU = -500.0
"""A volume of CT in Hounsfield units has air below this somewhere."""
MOST_HU = 3500.0
_BODY = 0.1


@dataclass(frozen=True, kw_only=True)
class Volume:
    """values: [x, y, z] float32, towards the patient's right, anterior and superior. zooms: mm of a voxel along each.

    low, high: 0.5th and 99.5th percentile of the voxels that are not background.
    """

    values: Float32
    zooms: tuple[float, float, float]
    low: float
    high: float

    @property
    def hounsfield(self) -> bool:
        """Whether the values can be Hounsfield units: air is there, and little is denser than bone."""
        return float(self.values.min()) <= AIR_HU and self.high < MOST_HU


@dataclass(frozen=True, kw_only=True)
class Cut:
    """The chosen slices of a volume. spacing_mm: edge of a square pixel. oblique: more than 30 degrees from its plane.

    longest: pixels of a slice's longest side, before any --size.
    """

    axis: int
    slices: tuple[int, ...]
    hounsfield: bool
    spacing_mm: float
    thickness_mm: float
    longest: int


def is_nifti(place: Place) -> bool:
    return place.name.lower().endswith(SUFFIXES)


def cut(place: Place, plane: str | None, slices: str, *, hounsfield: bool) -> Cut:
    """Choose slices across an axis (plane None: across the longest voxel edge, axial where all are alike).

    Slices that show nothing are left out; "middle" and "every:N" count over those with a body in them.
    hounsfield: whether the values are to be taken as Hounsfield units where they can be.
    ValueError names the file where it cannot be read or shows nothing.
    """
    volume = load(place)
    axis = AXES.index(plane) if plane else _thickest(volume.zooms)
    hounsfield = hounsfield and volume.hounsfield
    across: Any = tuple(i for i in range(3) if i != axis)
    darkest = _shown(volume.values.min(axis=across), volume, hounsfield)
    shows = darkest != _shown(volume.values.max(axis=across), volume, hounsfield)
    seen = np.flatnonzero(shows)
    if not seen.size:
        raise ValueError(f"{place}: blank, no slice shows anything; leave it out")
    if slices != "all":
        floor = AIR_HU if hounsfield else volume.low + _BODY * (volume.high - volume.low)
        body = (volume.values > floor).sum(axis=across)
        full = np.flatnonzero((body >= _BODY * body.max()) & shows)
        seen = full if full.size else seen
    edges = [volume.zooms[i] for i in across]
    spacing = min(edges)
    if max(edges) > MOST_OBLONG * spacing:
        raise ValueError(
            f"{place}: its voxels are {max(edges):g} by {spacing:g} mm in that plane; choose another --plane"
        )
    return Cut(
        axis=axis,
        slices=tuple(int(seen[i]) for i in pick(len(seen), slices)),
        hounsfield=hounsfield,
        spacing_mm=round(spacing, 4),
        thickness_mm=round(volume.zooms[axis], 4),
        longest=max(round(volume.values.shape[i] * volume.zooms[i] / spacing) for i in across),
    )


def read_slice(place: Place, axis: int, index: int) -> tuple[Uint8, str]:
    """A slice as HW1 uint8 with square pixels, between the percentiles of its whole volume, which are named."""
    volume = load(place)
    grey = to_uint8(_display(volume, axis, index), volume.low, volume.high)
    return grey[..., None], f"volume's 0.5 to 99.5 percentile ({volume.low:g} to {volume.high:g})"


def read_slice_hu(place: Place, axis: int, index: int) -> Float32:
    """A slice of CT in Hounsfield units, HW float32, with square pixels."""
    return _display(load(place), axis, index)


def _display(volume: Volume, axis: int, index: int) -> Float32:
    """From the volume's axes to the picture's: rows downwards, columns rightwards."""
    turned = volume.values[::-1, ::-1, ::-1]  # towards left, posterior, inferior
    picture = np.take(turned, volume.values.shape[axis] - 1 - index, axis=axis).T
    width, height = (volume.zooms[i] for i in range(3) if i != axis)
    return squared(np.ascontiguousarray(picture), height / width)


def _shown(values: Float32, volume: Volume, hounsfield: bool) -> NDArray[Any]:
    """Values as a picture would hold them, to tell a blank slice from one that shows something."""
    return np.rint(np.clip(values, -1024, 3071)) if hounsfield else to_uint8(values, volume.low, volume.high)


def _thickest(zooms: tuple[float, ...]) -> int:
    thickest = max(zooms)
    return max(axis for axis, zoom in enumerate(zooms) if zoom >= 0.9 * thickest)


def load(place: Place) -> Volume:
    """A volume; of a series of them (4-D) the first. ValueError names the file, the reason and the remedy."""
    state = place.stat()
    return _loaded(place, state.st_size, state.st_mtime_ns)


@lru_cache(maxsize=1)
def _loaded(place: Place, size: int, mtime_ns: int) -> Volume:
    """The last volume is kept, since its slices are asked for one after another."""
    try:
        return _read(place)
    except _Refusal as reason:
        raise ValueError(f"{place}: {reason}") from None
    except (PermissionError, FileNotFoundError):
        raise
    except (MemoryError, zlib.error, Exception) as error:  # nibabel raises anything over damaged headers
        line = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(f"{place}: not NIfTI, or damaged ({line}); convert it again or leave it out") from None


class _Refusal(ValueError):
    """A reason and a remedy without the file's name."""


def _read(place: Place) -> Volume:
    import nibabel

    if place.name.lower().endswith((".hdr", ".img")):
        raise _Refusal(
            "a pair of header and image, whose left and right cannot be told; convert it to one NIfTI file (.nii.gz)"
        )
    with place.open("rb") as raw:
        stream: Any = gzip.GzipFile(fileobj=raw) if place.name.lower().endswith(".gz") else raw
        head = stream.read(544)
        if not head:
            raise _Refusal("is empty (0 bytes); copy it again or leave it out")
        kind = _kind(head)
        header = kind.header_class(head[: kind.header_class.sizeof_hdr], endianness=_order(head), check=False)
        shape = _check_header(header)
        stream.seek(0)
        image = kind.from_stream(stream)
        if image.header["sform_code"] == 0 and image.header["qform_code"] == 0:
            raise _Refusal(
                "states no orientation (qform and sform are 0), so left cannot be told from right; set one of them"
            )
        affine = np.asarray(image.affine, float)
        if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-9:
            raise _Refusal("its affine is not finite or flat; set its qform or sform")
        values = _first_volume(image.dataobj, shape)
    if not np.isfinite(values).all():
        raise _Refusal("holds NaN or infinite voxels; replace them (`fslmaths IN -nan OUT`) or leave it out")
    turn = nibabel.orientations.io_orientation(affine)
    values = nibabel.orientations.apply_orientation(values, turn)  # a view: a second copy would double the memory
    sizes = np.sqrt((affine[:3, :3] ** 2).sum(axis=0))
    zooms: list[float] = [0.0, 0.0, 0.0]
    for axis, size in zip(turn[:, 0].astype(int), sizes, strict=True):
        zooms[axis] = float(size)
    if not 1e-4 < min(zooms) <= max(zooms) < 1e3:
        raise _Refusal(f"its voxels are {', '.join(f'{z:g}' for z in zooms)} mm long; correct its qform or sform")
    low, high = _percentiles(values)
    return Volume(values=values, zooms=(zooms[0], zooms[1], zooms[2]), low=low, high=high)


def _first_volume(data: Any, shape: tuple[int, ...]) -> Float32:
    """Of an array on disk [x, y, z, ...] the first volume, read in slabs: scaled values are doubles meanwhile."""
    x, y, z = (*shape[:3], 1)[:3]
    values = np.empty((x, y, z), np.float32, order="F")
    rest = (0,) * max(len(shape) - 3, 0)
    step = max(1, SLAB // (x * y))
    for start in range(0, z, step):
        part = data[(..., *((slice(start, start + step),) if len(shape) > 2 else ()), *rest)]
        values[..., start : start + step] = part.reshape(x, y, -1)
    return values


def _kind(head: bytes) -> Any:
    import nibabel

    first = {head[:4], head[:4][::-1]}
    if (348).to_bytes(4, "little") in first and head[344:347] == b"n+1":
        return nibabel.Nifti1Image
    if (540).to_bytes(4, "little") in first and head[4:7] == b"n+2":
        return nibabel.Nifti2Image
    raise _Refusal("not NIfTI, or its header is damaged; convert it again or leave it out")


def _order(head: bytes) -> str:
    return "<" if int.from_bytes(head[:4], "little") in (348, 540) else ">"


def _check_header(header: Any) -> tuple[int, ...]:
    """Refuse what would take more memory than any scan, before anything of it is read."""
    shape = tuple(int(n) for n in header.get_data_shape())
    if not 2 <= len(shape) <= 7 or min(shape) < 1 or any(n != 1 for n in shape[4:]):
        raise _Refusal(f"its dimensions are {shape}; expected a volume or a series of volumes")
    if math.prod(shape[:3]) > MAX_VOXELS or math.prod(shape) > 100 * MAX_VOXELS:
        raise _Refusal(f"its dimensions are {shape}, over the limit of {MAX_VOXELS} voxels; crop or resample it")
    if not 0 <= float(header["vox_offset"]) <= MAX_HEADER:
        raise _Refusal("says that its voxels begin beyond any header; convert it again")
    if header.get_data_dtype().kind not in "iuf":
        raise _Refusal(f"holds {header.get_data_dtype()} voxels (colour or complex); convert it to one number a voxel")
    return shape


def _percentiles(values: Float32) -> tuple[float, float]:
    """Over at most about two million voxels, without those of the commonest extreme value, which is background."""
    sample = values.flat[:: max(1, values.size // 2_000_000)]
    inside = sample[sample > sample.min()]
    low, high = np.percentile(inside if inside.size else sample, (0.5, 99.5))
    return float(low if low < high else sample.min()), float(high)
