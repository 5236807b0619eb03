"""The pixels of a DICOM dataset as one frame: 8 bits to look at, or Hounsfield units.

The grey pipeline is that of PS3.3 C.11 in its order: stored values -> Modality LUT or rescale -> VOI LUT or window ->
inversion for MONOCHROME1. Padding (PS3.3 C.7.5.1.1.2) becomes black and never takes part in a choice of window.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.data.dicom.native import Int16, native_frame, whole_units
from vesalius.data.dicom.scan import tag_of, value_of
from vesalius.data.images.image import MAX_PIXELS, Float32, Uint8, to_uint8
from vesalius.data.images.resample import squared
from vesalius.data.modality import Modality

MAX_VOXELS = 2_000_000_000
"""Most values (rows x columns x frames x channels) that a file may announce, or bytes that it may inflate to."""

RETIRED = ("HSV", "ARGB", "CMYK", "YBR_PARTIAL_422")
"""Codings of colours that decoders pass on as if they were RGB."""

LOWEST_HU = -1024.0
"""The lowest value that a record's picture keeps."""

_VIEWED = (
    "ModalityLUTSequence", "RescaleSlope", "RescaleIntercept", "RescaleType", "VOILUTSequence", "WindowCenter",
    "WindowWidth", "VOILUTFunction", "PixelSpacing", "ImagerPixelSpacing", "PixelAspectRatio", "SliceThickness",
    "ImageOrientationPatient",
)  # fmt: skip
_PIXELS = ("PixelData", "FloatPixelData", "DoubleFloatPixelData")
_MACROS = (
    "PixelValueTransformationSequence",
    "FrameVOILUTSequence",
    "PixelMeasuresSequence",
    "PlaneOrientationSequence",
)


class Refusal(ValueError):
    """A reason and a remedy without the file's name, which `read_header` and `read_dicom` add."""


def meta_of(head: bytes) -> tuple[str, int] | None:
    """The transfer syntax in a file's first bytes, and where its meta information (PS3.10 7.1) ends; in a tenth of the
    time of pydicom. None where it is not written in the usual way, or is longer than `head`."""
    at, syntax = 132, ""
    while at + 12 <= len(head):
        if head[at : at + 2] != b"\x02\x00":
            return (syntax, at) if syntax else None
        kind = head[at + 4 : at + 6]
        if kind in (b"OB", b"UN", b"OW"):
            start, length = at + 12, int.from_bytes(head[at + 8 : at + 12], "little")
        elif kind in (b"UI", b"UL", b"SH", b"AE", b"LO"):
            start, length = at + 8, int.from_bytes(head[at + 6 : at + 8], "little")
        else:
            return None
        if head[at : at + 4] == b"\x02\x00\x10\x00":
            syntax = head[start : start + length].decode("ascii", "replace").rstrip("\0 ")
        at = start + length
    return None


def check_inflated(file: Any) -> None:
    """Refuse a deflate stream, from the file's position on, that would inflate past MAX_VOXELS bytes."""
    inflate, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
    while chunk := file.read(1 << 16):
        while chunk and not inflate.eof:
            total += len(inflate.decompress(chunk, 1 << 22))
            chunk = inflate.unconsumed_tail
            if total > MAX_VOXELS:
                raise Refusal(f"inflates to more than {MAX_VOXELS} bytes; leave it out")


def number(view: Any, name: str) -> float | None:
    """The first finite number of an attribute, which files leave out, empty, or write as a list."""
    value = value_of(view, name)
    if isinstance(value, str) or value is None:
        return None
    try:
        number = float(value)
    except TypeError:
        number = float(value[0]) if len(value) else float("nan")
    return number if np.isfinite(number) else None


def flat(dataset: Any, frame: int) -> Any:
    """The attributes that govern one frame: those of its functional groups (PS3.3 C.7.6.16) over the file's own.

    Most files have neither groups nor empty attributes, and are their own view.
    """
    from pydicom.dataset import Dataset

    shared = value_of(dataset, "SharedFunctionalGroupsSequence") or []
    per_frame = value_of(dataset, "PerFrameFunctionalGroupsSequence") or []
    there = [tag_of(name) for name in _VIEWED if dataset.get_item(tag_of(name)) is not None]
    told = [tag for tag in there if not _is_empty(dataset, tag)]
    if there == told and not shared and not per_frame:
        return dataset
    view = Dataset()
    view.file_meta = dataset.file_meta
    for tag in told:
        view[tag] = dataset[tag]
    for group in (*shared[:1], *per_frame[frame : frame + 1]):
        for macro in _MACROS:
            for element in (group.get(macro) or [Dataset()])[0]:
                view[element.tag] = element
    return view


def _is_empty(dataset: Any, tag: Any) -> bool:
    element = dataset.get_item(tag)
    if element.is_raw and element.value and element.value[0] > ord(" "):  # which need not be made a value for that
        return False
    return dataset[tag].value in (None, "")


def pixel_edges(view: Any) -> tuple[float, float]:
    """Height and width of a pixel in mm; (0, 0) where a file does not tell, or tells what no scanner has."""
    for name in ("PixelSpacing", "ImagerPixelSpacing"):
        value = value_of(view, name)
        if value is not None and not isinstance(value, str) and len(value) == 2:
            height, width = (float(v) for v in value)
            if 1e-3 < height < 1e3 and 1e-3 < width < 1e3:
                return height, width
    return 0.0, 0.0


def _aspect(view: Any) -> float:
    """A pixel's height in widths."""
    height, width = pixel_edges(view)
    ratio = value_of(view, "PixelAspectRatio")
    if not height and ratio is not None and len(ratio) == 2 and all(int(v) > 0 for v in ratio):
        height, width = (float(v) for v in ratio)
    return height / width if height else 1.0


def _square(image: Any, view: Any) -> Any:
    try:
        return squared(image, _aspect(view))
    except ValueError as error:
        raise Refusal(str(error)) from None


def _frame(dataset: Any, frame: int | None) -> tuple[NDArray[Any], int]:
    """The stored values of a frame (None: the middle one) and its number. Refusal where there are none."""
    from pydicom.pixels import pixel_array

    if all(dataset.get_item(tag_of(name)) is None for name in _PIXELS):
        raise Refusal(
            "holds no pixels (a report, a directory, or cut off before them); leave it out or export it again"
        )
    frames = int(value_of(dataset, "NumberOfFrames") or 1)
    frame = frames // 2 if frame is None else frame
    _check_size(dataset, frames)
    _check_stream(dataset, frame, frames)
    stored: NDArray[Any] | None = native_frame(dataset, frame)
    if stored is None:
        stored = pixel_array(dataset, index=frame)
    if stored.dtype.kind == "f" and not np.isfinite(stored).all():
        raise Refusal("holds NaN or infinite pixels; export it again or leave it out")
    return stored, frame


def render(dataset: Any, modality: Modality, frame: int | None = None) -> tuple[Uint8, str | None]:
    """A frame as HWC uint8 with 1 or 3 channels, and the window used. Refusal where it cannot be shown."""
    from pydicom.pixels import apply_color_lut

    stored, frame = _frame(dataset, frame)
    view = flat(dataset, frame)
    kind = str(dataset.PhotometricInterpretation)
    if kind == "PALETTE COLOR":
        stored = apply_color_lut(stored, dataset)
        return _square(to_uint8(stored, 0, np.iinfo(stored.dtype).max), view), None
    if stored.ndim == 3:
        if kind in RETIRED:
            raise Refusal(f"its colours are coded as {kind}, which is retired; export it again as RGB")
        return _square(to_uint8(stored, 0, 2 ** int(dataset.BitsStored) - 1), view), None
    grey, window = _grey(stored, dataset, view, modality)
    if kind == "MONOCHROME1":
        grey = 255 - grey
    grey[_padding(stored, dataset)] = 0
    return _square(grey[..., None], view), window


def hounsfield(dataset: Any, frame: int | None = None) -> Float32 | Int16:
    """A frame of CT in Hounsfield units, HW: int16 where all are whole numbers, as CT's nearly always are, else
    float32. Refusal where its values cannot be such."""
    stored, frame = _frame(dataset, frame)
    view = flat(dataset, frame)
    values: Float32 | Int16 | None = whole_units(stored, view)
    if values is None:
        values = _rescaled(stored, view)
    padding, shown = None, values
    if value_of(dataset, "PixelPaddingValue") is not None:
        padding = _padding(stored, dataset)
        shown = values[~padding]
    if not shown.size or not _can_be_hounsfield(shown):
        raise Refusal(
            "its values are no Hounsfield units, which its header says that they are; leave it out or export it again"
        )
    if padding is not None:
        values[padding] = LOWEST_HU
    squares: Float32 | Int16 = _square(values, view)
    return squares


def _rescaled(stored: NDArray[Any], view: Any) -> Float32:
    """A copy after the Modality LUT or rescale, by pydicom."""
    from pydicom.pixels import apply_modality_lut

    values: Float32 = np.asarray(apply_modality_lut(stored, view), np.float32).copy()
    return values


def _can_be_hounsfield(values: Float32 | Int16) -> bool:
    """Whether the median is one; where all values are, it need not be found."""
    if values.min() >= -2000 and values.max() <= 4000:
        return True
    return bool(-2000 <= float(np.median(values)) <= 4000)


def _check_size(dataset: Any, frames: int) -> None:
    rows, columns = int(value_of(dataset, "Rows") or 0), int(value_of(dataset, "Columns") or 0)
    channels = int(value_of(dataset, "SamplesPerPixel") or 1)
    if rows < 1 or columns < 1:
        raise Refusal("names no rows and columns; export it again or leave it out")
    if rows * columns > MAX_PIXELS or rows * columns * channels * frames > MAX_VOXELS:
        raise Refusal(f"{rows} x {columns} pixels x {frames} frames is over the limit; tile it or export single frames")
    syntax = dataset.file_meta.TransferSyntaxUID
    if (
        dataset.get_item(tag_of("PixelData")) is not None
        and not syntax.is_compressed
        and "422" not in str(value_of(dataset, "PhotometricInterpretation"))
    ):
        need = rows * columns * channels * frames * int(value_of(dataset, "BitsAllocated") or 0) // 8
        held = len(value_of(dataset, "PixelData") or b"")
        if held < need:
            raise Refusal(f"truncated: {held} of {need} bytes of pixels; copy or export it again")


def _check_stream(dataset: Any, frame: int, frames: int) -> None:
    """A compressed frame says its own size, and decoders believe it rather than the header: compare before decoding."""
    from pydicom.encaps import get_frame

    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    stream = get_frame(dataset.PixelData, frame, number_of_frames=frames)
    size = _stream_size(stream[_boxed(stream) :])
    if size is not None and size[0] * size[1] > 4 * int(dataset.Rows) * int(dataset.Columns) + 65536:
        raise Refusal(
            f"its compressed frame says {size[0]} x {size[1]} pixels, its header {dataset.Rows} x {dataset.Columns}; "
            "leave it out"
        )


def _boxed(stream: bytes) -> int:
    """Where the JPEG 2000 codestream begins in a JP2 file (ISO/IEC 15444-1 Annex I), which some writers wrap it in; 0
    for any other stream. Refusal where a box says no length, at which pydicom 3.0.2 would turn in a circle for ever."""
    if not stream.startswith(b"\x00\x00\x00\x0cjP  "):
        return 0
    at = 12
    while at < len(stream):
        length, kind = int.from_bytes(stream[at : at + 4], "big"), stream[at + 4 : at + 8]
        if kind == b"jp2c":
            return at + 8
        if length < 8:
            raise Refusal("the boxes of its JPEG 2000 frame are damaged; export it again or leave it out")
        at += length
    return 0


def _stream_size(stream: bytes) -> tuple[int, int] | None:
    """(rows, columns) that a JPEG, JPEG-LS or JPEG 2000 stream announces; None where it is none of these."""
    if stream[:4] == b"\xff\x4f\xff\x51" and len(stream) >= 16:  # JPEG 2000: SIZ is first, with Xsiz and Ysiz
        columns, rows = struct.unpack(">II", stream[8:16])
        return rows, columns
    at = 2 if stream[:2] == b"\xff\xd8" else len(stream)
    while at + 9 <= len(stream) and stream[at] == 0xFF:
        marker, length = stream[at + 1], int.from_bytes(stream[at + 2 : at + 4], "big")
        if marker == 0xF7 or (0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC)):
            rows, columns = struct.unpack(">HH", stream[at + 5 : at + 9])
            return rows, columns
        at += 1 if marker == 0xFF else 2 + length
    return None


def _padding(stored: NDArray[Any], dataset: Any) -> NDArray[np.bool_]:
    """Where a file has no image: PixelPaddingValue up to PixelPaddingRangeLimit, both as stored."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(stored.shape, dtype=bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    bits, signed = int(dataset.BitsAllocated), int(dataset.get("PixelRepresentation") or 0) == 1
    # Writers disagree on the sign of these two attributes (63536 for -2000): read both as the pixels are read.
    ends = [v % 2**bits for v in (value, limit if isinstance(limit, int) else value)]
    low, high = sorted(v - 2**bits if signed and v >= 2 ** (bits - 1) else v for v in ends)
    mask: NDArray[np.bool_] = (stored >= low) & (stored <= high)
    return mask


def _grey(stored: NDArray[Any], dataset: Any, view: Any, modality: Modality) -> tuple[Uint8, str | None]:
    from pydicom.dataset import Dataset
    from pydicom.pixels import apply_modality_lut, apply_voi, apply_windowing

    values: NDArray[Any] = np.asarray(apply_modality_lut(stored, view))
    tables = view.get("VOILUTSequence")
    if tables and tables[0].get("LUTDescriptor") is not None and tables[0].get("LUTData") is not None:
        entries, first, bits = (int(v) for v in tables[0].LUTDescriptor)
        # Clipping here, and in integers, keeps pydicom's narrow intermediate from wrapping around.
        inside = np.clip(np.rint(values), first, first + (entries or 65536) - 1).astype(np.int64)
        return to_uint8(apply_voi(inside, view), 0, 2**bits - 1), "VOI LUT"
    center, width = number(view, "WindowCenter"), number(view, "WindowWidth")
    function = str(view.get("VOILUTFunction") or "LINEAR").upper()
    if center is not None and width is not None and (width >= 1 if function == "LINEAR" else width > 0):
        return _window(values, center, width, function, apply_windowing, Dataset())
    if modality.window is not None and {"RescaleIntercept", "RescaleSlope"} <= set(view.dir("Rescale")):
        # Hounsfield units only after the rescale
        return _window(values, *modality.window, "LINEAR", apply_windowing, Dataset())
    if np.issubdtype(stored.dtype, np.integer) and int(dataset.BitsStored) <= 8 and values is stored:
        return to_uint8(values, 0, 2 ** int(dataset.BitsStored) - 1), None  # ready for display as it is
    real = values[~_padding(stored, dataset) & np.isfinite(values)]
    low, high = np.percentile(real, (0.5, 99.5)) if real.size else (0.0, 1.0)
    return to_uint8(np.nan_to_num(values), float(low), float(high)), "0.5 to 99.5 percentile"


def _window(
    values: NDArray[Any], center: float, width: float, function: str, apply: Any, frame: Any
) -> tuple[Uint8, str | None]:
    """PS3.3 C.11.2.1.2, by pydicom; described as an unsigned 8-bit image, so that its output range is 0 to 255.

    The linear function, which nearly all files have, is equation C.11-2 in place: pydicom's masks take longer than all
    the rest of a file.
    """
    if function == "LINEAR" and width > 1:
        grey = values.astype(np.float64)
        grey -= center - 0.5
        grey *= 255 / (width - 1)
        grey += 127.5
        return to_uint8(grey, 0, 255), f"W{width:g} L{center:g}"
    frame.PhotometricInterpretation, frame.BitsStored, frame.PixelRepresentation = "MONOCHROME2", 8, 0
    frame.WindowCenter, frame.WindowWidth, frame.VOILUTFunction = f"{center:.9g}", f"{width:.9g}", function
    return to_uint8(apply(values, frame), 0, 255), f"W{width:g} L{center:g}"
