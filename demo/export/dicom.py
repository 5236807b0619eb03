"""A stored picture as DICOM: the file that `vesalius generate --sink dicom` writes of it, with its spacing."""

from __future__ import annotations

from vesalius.data.images.image import Picture, read_hu, read_image
from vesalius.demo.store.pictures import StoredPicture, file_of
from vesalius.demo.store.schema import Store
from vesalius.inference.writing.secondary_capture import dicom_bytes


def dicom_of(store: Store, picture: StoredPicture) -> bytes:
    """A whole file; the same picture gives the same bytes. ValueError where its file is gone or its recipe too long."""
    hu = read_hu(file_of(store, picture, units=True)) if picture.sample.raw16_sha256 else None
    shown = Picture(image=read_image(file_of(store, picture)), hu=hu)
    return dicom_bytes(picture.sample, shown, spacing=picture.spacing)
