"""Pictures as people are shown them: real and synthetic ones, with Hounsfield units or without, all in one way."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from PIL import Image

from vesalius.data.hounsfield import show
from vesalius.data.images.image import Uint8, fit_image, read_hu, read_image
from vesalius.data.modality import find_modality


def shown_image(path: Path, modality: str, size: int, *, window: str | None = None, hounsfield: bool = False) -> Uint8:
    """A picture file as size x size x C uint8, C by its modality alone; CT in Hounsfield units through a window
    of `vesalius.data.modality.WINDOWS`, else from lung to bone. ValueError names a file that does not open."""
    kind = find_modality(modality)
    image = show(read_hu(path), window)[..., None] if hounsfield else read_image(path)
    fitted: Uint8 = fit_image(image, kind, (size, size))
    if kind.channels == 1 and fitted.shape[2] == 3:
        fitted = fitted.mean(axis=2, keepdims=True).round().astype("uint8")
    return fitted.repeat(3, axis=2) if kind.channels == 3 and fitted.shape[2] == 1 else fitted


def stored_png(image: Uint8) -> bytes:
    """A PNG whose length depends on its shape alone: bytes are stored, not compressed, and no other chunk is there."""
    buffer = BytesIO()
    Image.fromarray(image[..., 0] if image.shape[2] == 1 else image).save(buffer, "PNG", compress_level=0)
    return buffer.getvalue()
