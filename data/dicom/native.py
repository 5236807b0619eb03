"""Grey pixels that lie in a DICOM file as they are, 16 bits each, and Hounsfield units in whole numbers.

Nearly all uncompressed CT is of this kind, and pydicom's general way through it takes longer than the rest of a file.
What is not exactly of it is None here, and goes that way.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from vesalius.data.dicom.scan import value_of

Int16 = NDArray[np.int16]
_AS_THEY_ARE = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1")
"""Implicit and explicit VR, little endian."""
_LOWEST, _HIGHEST = -(2**15), 2**15 - 1


def native_frame(dataset: Any, frame: int) -> NDArray[np.uint16] | Int16 | None:
    """One frame as stored, HW (PS3.5 8.1.1), bits that are not in use left out; None where it is of another kind."""
    content = value_of(dataset, "PixelData")
    rows, columns, bits = (value_of(dataset, name) for name in ("Rows", "Columns", "BitsStored"))
    signed = value_of(dataset, "PixelRepresentation")
    if (
        dataset.file_meta.TransferSyntaxUID not in _AS_THEY_ARE
        or value_of(dataset, "BitsAllocated") != 16
        or value_of(dataset, "SamplesPerPixel") != 1
        or value_of(dataset, "PhotometricInterpretation") not in ("MONOCHROME1", "MONOCHROME2")
        or signed not in (0, 1)
        or not all(isinstance(value, int) and value > 0 for value in (rows, columns, bits))
        or bits > 16
        or not isinstance(content, bytes)
        or len(content) < (frame + 1) * rows * columns * 2
    ):
        return None
    begin, num = frame * rows * columns * 2, rows * columns
    if not signed:
        greys: NDArray[np.uint16] = np.frombuffer(content, "<u2", num, begin).reshape(rows, columns)
        return greys if bits == 16 else greys & np.uint16(2**bits - 1)
    stored: Int16 = np.frombuffer(content, "<i2", num, begin).reshape(rows, columns)
    return stored if bits == 16 else (stored << (16 - bits)) >> (16 - bits)  # the highest bit in use is the sign


def whole_units(stored: NDArray[Any], view: Any) -> Int16 | None:
    """Stored values after a rescale by whole numbers, int16 HW; None where there is another, or they are too large."""
    slope, intercept = value_of(view, "RescaleSlope"), value_of(view, "RescaleIntercept")
    if (
        stored.dtype not in (np.uint8, np.int8, np.uint16, np.int16)
        or value_of(view, "ModalityLUTSequence") is not None
        or not isinstance(slope, float)
        or not isinstance(intercept, float)
        or not (slope.is_integer() and intercept.is_integer())
        or not (abs(slope) <= _HIGHEST and abs(intercept) <= _HIGHEST)
    ):
        return None
    ends = [int(value) * int(slope) + int(intercept) for value in (stored.min(), stored.max())]
    if min(ends) < _LOWEST or max(ends) > _HIGHEST:
        return None
    values: Int16 = stored.astype(np.int16)  # wraps around, and back again on the way
    if slope != 1:
        values *= np.int16(slope)
    values += np.int16(intercept)
    return values
