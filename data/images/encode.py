"""A draft -> the PNG that a dataset holds."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np

from vesalius.data.dicom.frames import read_dicom, read_dicom_hu
from vesalius.data.dicom.native import Int16
from vesalius.data.hounsfield import hu_png
from vesalius.data.images.burned_in import can_search, words_in
from vesalius.data.images.image import Float32, Uint8, png_bytes, read_hu, read_image
from vesalius.data.images.resample import fitted
from vesalius.data.modality import MODALITIES
from vesalius.data.sources.draft import Draft, Encoded


def encode(draft: Draft, size: int = 0) -> tuple[bytes, str | None]:
    """The PNG of a draft (8 bits, one channel for grey modalities; or Hounsfield units) and the window it was seen
    through.

    size: longest side in pixels, never enlarged; 0 keeps the image as it is.
    ValueError begins with `draft.where`: corrupt, too large, blank, not decodable, or with text burned into it.
    """
    try:
        if draft.record.hounsfield:
            return _hu_png(_hounsfield(draft), draft, size), None
        return _png(draft, size)
    except ValueError as error:
        raise ValueError(str(error) if draft.where == str(draft.path) else f"{draft.where}: {error}") from None


def encode_to(task: tuple[Draft, Path], size: int) -> Encoded:
    """Decode a draft and write its PNG to a path. ValueError as `encode`. Not synced: whoever names the file syncs them
    all."""
    draft, path = task
    content, window = encode(draft, size)
    try:
        path.write_bytes(content)
    except OSError as error:
        error.filename = error.filename or str(path)
        raise
    return Encoded(path=path, sha256=hashlib.sha256(content).hexdigest(), window=window)


def _png(draft: Draft, size: int) -> tuple[bytes, str | None]:
    modality = MODALITIES[draft.record.modality]
    image, window = _picture(draft)
    if image.min() == image.max():
        raise ValueError(f"{draft.path}: blank, every pixel is {image.min()}; replace or remove it")
    if draft.search_text and can_search() and (words := words_in(image)):
        raise ValueError(
            f"{draft.path}: {len(words)} words seem to be burned into its pixels; redact it, or pass --allow-burned-in "
            "where they name nobody"
        )
    if draft.stain:
        from vesalius.data.images.stain import macenko

        try:
            image = macenko(image)
        except ValueError as error:
            raise ValueError(f"{draft.path}: {error}") from None
    if modality.channels == 1 and image.shape[2] == 3:
        image = np.rint(image.astype(np.float32).mean(axis=2, keepdims=True)).astype(np.uint8)
    return png_bytes(fitted(image, size)), window


def _picture(draft: Draft) -> tuple[Uint8, str | None]:
    if draft.kind == "dicom":
        return read_dicom(draft.path, MODALITIES[draft.record.modality], *draft.part)
    if draft.kind == "nifti":
        from vesalius.data.sources.nifti import read_slice

        return read_slice(draft.path, *draft.part)
    if draft.kind == "slide":
        assert isinstance(draft.path, Path)
        from vesalius.data.sources.slides import read_tile

        return read_tile(draft.path, *draft.part), None
    return read_image(draft.path), None


def _hounsfield(draft: Draft) -> Float32 | Int16:
    if draft.kind == "dicom":
        return read_dicom_hu(draft.path, *draft.part)
    if draft.kind == "nifti":
        from vesalius.data.sources.nifti import read_slice_hu

        return read_slice_hu(draft.path, *draft.part)
    return read_hu(draft.path)


def _hu_png(hu: Float32 | Int16, draft: Draft, size: int) -> bytes:
    """The 16-bit PNG of Hounsfield units. ValueError where they are all one."""
    if hu.min() == hu.max():
        raise ValueError(f"{draft.path}: blank, every pixel is {hu.min():g} HU; replace or remove it")
    return hu_png(fitted(hu, size))
