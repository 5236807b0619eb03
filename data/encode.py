"""A draft's file -> the PNG that a dataset holds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from vesalius.data.cells import Cell
from vesalius.data.dicom import read_dicom
from vesalius.data.hounsfield import hu_png
from vesalius.data.image import Float32, Uint8, png_bytes, read_hu, read_image
from vesalius.data.modality import MODALITIES
from vesalius.data.sources import Draft


def encode(draft: Draft, size: int = 0) -> tuple[bytes, str | None]:
    """The PNG of a draft (8 bits; one channel for grey modalities) and the window it was seen through.

    size: longest side in pixels, never enlarged; 0 keeps the image as it is.
    ValueError begins with `draft.where`: corrupt, too large, blank, or not decodable.
    """
    modality, window = MODALITIES[draft.record.modality], None
    image: Uint8
    try:
        if draft.record.hounsfield:
            return _encode_hu(read_hu(draft.path), draft.path, size), None
        if draft.dicom:
            assert isinstance(draft.path, Path)
            image, window = read_dicom(draft.path, modality)
        else:
            image = read_image(draft.path)
        if image.min() == image.max():
            raise ValueError(f"{draft.path}: blank, every pixel is {image.min()}; replace or remove it")
    except ValueError as error:
        message = str(error) if draft.where == str(draft.path) else f"{draft.where}: {error}"
        raise ValueError(message) from None
    if modality.channels == 1 and image.shape[2] == 3:
        image = np.rint(image.astype(np.float32).mean(axis=2, keepdims=True)).astype(np.uint8)
    if size and max(image.shape[:2]) > size:
        scale = size / max(image.shape[:2])
        height, width = (max(1, round(edge * scale)) for edge in image.shape[:2])
        picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
        image = np.asarray(picture.resize((width, height), Image.Resampling.LANCZOS)).reshape(
            height, width, image.shape[2]
        )
    return png_bytes(image), window


def _encode_hu(hu: Float32, path: Path | Cell, size: int) -> bytes:
    """The 16-bit PNG of Hounsfield units. ValueError where they are all one."""
    if hu.min() == hu.max():
        raise ValueError(f"{path}: blank, every pixel is {hu.min():g} HU; replace or remove it")
    if size and max(hu.shape) > size:
        scale = size / max(hu.shape)
        height, width = (max(1, round(edge * scale)) for edge in hu.shape)
        hu = np.asarray(Image.fromarray(hu).resize((width, height), Image.Resampling.LANCZOS))
    return hu_png(hu)
