"""Pictures to start from: opened as the model sees them, and put together again with what was drawn into them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from stat import S_ISDIR
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from vesalius.data.images.image import (
    Float32,
    Shape,
    fit_image,
    image_shape,
    is_transparent,
    load_fitted,
    read_image,
    read_recipe,
    to_tensor_range,
)
from vesalius.data.modality import Modality, find_modality
from vesalius.data.record import digest_file
from vesalius.inference.request import Request, Source, request_modality

FEATHER = 4
"""Pixels inside a mask over which what is drawn comes in, so that no edge shows."""


@dataclass(frozen=True, kw_only=True)
class Start:
    """An opened source. pixels: CHW float32 in [-1, 1], of 3 channels. mask: HW bool, where it is drawn anew."""

    pixels: Float32
    strength: float
    mask: NDArray[np.bool_] | None = None

    def cells(self, shape: Sequence[int]) -> NDArray[np.bool_]:
        """The cells of a latent grid (height, width) that the mask touches, HW bool."""
        assert self.mask is not None
        (height, width), (high, wide) = self.mask.shape, shape
        grid = self.mask.reshape(high, height // high, wide, width // wide)
        cells: NDArray[np.bool_] = grid.max(axis=(1, 3))
        return cells


KEPT = 8
"""Opened pictures that are kept: a run draws many from one, or each from its own."""


def check_source(source: Source, steps: int, modality: str, shape: Shape) -> bool:
    """ValueError where image, mask or strength of a source cannot be used for pictures of that height and width; it
    begins with the row that brought it. Returns whether something of the image is transparent."""
    try:
        check_strength(source, steps)
        return _check_files(source, modality, shape, _stamp(source))
    except ValueError as error:
        raise ValueError(f"{source.where}: {str(error).removeprefix('--')}" if source.where else str(error)) from None


@lru_cache(maxsize=KEPT)
def _check_files(source: Source, modality: str, shape: Shape, stamp: object) -> bool:
    read_image(source.image)
    if source.mask is not None:
        _fit_mask(source, find_modality(modality), shape)
    return is_transparent(source.image)


def check_strength(source: Source, steps: int) -> None:
    """ValueError where the strength leaves none of the steps."""
    if int(steps * source.strength) < 1:
        raise ValueError(
            f"--strength {source.strength:g} of {steps} steps leaves none to draw; raise it to {1 / steps:.2g} or more"
        )


def _read_mask(source: Source) -> NDArray[np.uint8]:
    """The mask of a source, HW1 uint8, 255 where it is drawn anew. ValueError where it is none for this image."""
    assert source.mask is not None
    grey = read_image(source.mask).max(axis=2, keepdims=True)
    with Image.open(source.mask if isinstance(source.mask, Path) else source.mask.open()) as image:
        if "A" in image.getbands():  # what is transparent is not painted
            grey = np.minimum(grey, np.asarray(ImageOps.exif_transpose(image).getchannel("A"))[..., None])
    shown: NDArray[np.uint8] = np.where(grey > source.above, 255, 0).astype(np.uint8)
    height, width = image_shape(source.image)
    if shown.shape[:2] != (height, width):
        raise ValueError(
            f"{source.mask}: is {shown.shape[0]} x {shown.shape[1]} pixels (height x width), and {source.image} "
            f"{height} x {width}; a mask has the size of its image"
        )
    if not shown.any():
        raise ValueError(
            f"{source.mask}: is black all over, at most {grey.max()}; paint white (above {source.above}) what is to be "
            "drawn anew"
        )
    return shown


def _fit_mask(source: Source, kind: Modality, shape: Shape) -> NDArray[np.bool_]:
    """The mask of a source, fitted as its image is, HW bool. ValueError as `_read_mask`, and where nothing is left."""
    mask = fit_image(_read_mask(source), kind, shape)[..., 0] > 127
    if not mask.any():
        raise ValueError(
            f"{source.mask}: what is white lies outside of what is drawn, {shape[0]} x {shape[1]} pixels from the "
            "middle of the image; give --size, or paint larger"
        )
    return mask


def _stamp(source: Source) -> tuple[tuple[int, int], ...]:
    """What tells that a source's files changed. ValueError where one is not there."""
    files = []
    for path in (source.image, source.mask):
        if path is not None:
            try:
                files.append(path.stat())
            except (FileNotFoundError, NotADirectoryError):
                raise ValueError(f"{path}: no such image file; correct the path") from None
            except OSError as error:  # too long a name, links in a circle, no permission
                raise ValueError(f"{path}: cannot be read ({error.strerror}); name another file") from None
            if S_ISDIR(files[-1].st_mode):
                raise ValueError(f"{path}: is a folder; name an image in it")
    return tuple((file.st_mtime_ns, file.st_size) for file in files)


@lru_cache(maxsize=KEPT)
def _open(source: Source, modality: str, shape: Shape, stamp: object) -> Start:
    """`source` as the model sees it, in a shape. Kept, since a run draws many pictures from one."""
    kind = find_modality(modality)
    pixels = to_tensor_range(load_fitted(source.image, kind, shape))
    if source.mask is None:
        return Start(pixels=pixels, strength=source.strength)
    return Start(pixels=pixels, strength=source.strength, mask=_fit_mask(source, kind, shape))


def open_starts(batch: Sequence[Request], shape: Shape, steps: int) -> list[Start]:
    """The pictures that the requests of a batch start from, in their order. ValueError where one cannot be had, or of
    `steps` none would be left."""
    for request in batch:
        if request.source:
            check_strength(request.source, steps)
    return [
        _open(source, request_modality(request).name, shape, _stamp(source))
        for request in batch
        if (source := request.source)
    ]


def composite(pixels: Float32, starts: Sequence[Start]) -> Float32:
    """What was drawn [N, 3, H, W], and outside the masks the pictures that it was drawn into, to the very grey."""
    from scipy.ndimage import distance_transform_edt

    together = pixels.copy()
    for image, start in zip(together, starts, strict=True):
        if start.mask is not None:
            share = np.clip(distance_transform_edt(start.mask) / FEATHER, 0, 1).astype(np.float32)
            image += (1 - share) * (start.pixels - image)
            image[:, ~start.mask] = start.pixels[:, ~start.mask]
    return together


def source_facts(source: Source, depth: int) -> dict[str, Any]:
    """What a sample tells of its source, as fields of `Sample`. depth: of what the drawing itself is made with.

    A synthetic source, which has a recipe, is a generation of its own.
    """
    facts = _facts(source, _stamp(source))
    return {**facts, "depth": max(depth, facts["depth"])}


@lru_cache(maxsize=KEPT)
def _facts(source: Source, stamp: object) -> dict[str, Any]:
    try:
        below = int(read_recipe(source.image).get("depth", 0))
    except (ValueError, TypeError, AttributeError, OSError):
        below = 0
    return {
        "source": source.image.name or str(source.image), "source_sha256": digest_file(source.image),
        "mask_sha256": digest_file(source.mask) if source.mask else "", "strength": source.strength, "depth": 1 + below,
    }  # fmt: skip
