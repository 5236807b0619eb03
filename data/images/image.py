"""Pixels: files to arrays and back, without ever letting a 16-bit image saturate."""

from __future__ import annotations

import json
import struct
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from vesalius.data.command.progress import progress
from vesalius.data.hounsfield import (
    AIR,
    CHUNK,
    decode_windows,
    encode_windows,
    from_stored,
    is_windowed,
    show,
    window_named,
)
from vesalius.data.images.drawn import COMMENT, RECIPE
from vesalius.data.images.png import encode_png
from vesalius.data.modality import Modality, find_modality
from vesalius.data.record import write_atomic
from vesalius.data.sources.archive import Place

FORMATS = ("PNG", "JPEG", "TIFF", "BMP", "WEBP", "PPM")
MAX_PIXELS = 89_478_485
"""Most pixels of one image: Pillow's own limit, over which it suspects a decompression bomb."""

LANCZOS = Image.Resampling.LANCZOS

Shape = tuple[int, int]
"""Height and width in pixels."""
Uint8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


def to_uint8(values: NDArray[Any], low: float, high: float) -> Uint8:
    """Map [low, high] linearly to [0, 255], clipping outside."""
    scaled: Float32 = values.astype(np.float32)  # a copy, so the rest is done in place: a build does this to all pixels
    scaled -= low
    scaled *= 255.0 / max(high - low, 1e-6)
    np.clip(np.rint(scaled, out=scaled), 0, 255, out=scaled)
    return scaled.astype(np.uint8)


def read_image(path: Place | str, content: bytes | None = None) -> Uint8:
    """An image file as HWC uint8 with 1 or 3 channels. content: its bytes, where they are at hand.

    What is transparent is black, as no colours that hide there must show.
    Deeper greys are windowed to their own 0.5th to 99.5th percentile first (Pillow's "RGB" conversion saturates them),
    and Hounsfield units through one curve from lung to bone.
    ValueError names the file where it is corrupt, truncated, too large or no image.
    """
    array, is_hu = _decode(Path(path) if isinstance(path, str) else path, content)
    if array.dtype == np.uint8:
        return array
    if is_hu:
        return show(array)
    if not np.isfinite(array).all():
        raise ValueError(f"{path}: holds NaN or infinite pixels; replace or remove it")
    low, high = np.percentile(array, (0.5, 99.5))
    return to_uint8(array, float(low), float(high))


def read_alike(path: Place, other: Place) -> tuple[Uint8, Uint8]:
    """Two image files as `read_image` has them, but where both hold deeper greys, both through the second's window, so
    that they differ as their values do. ValueError names one that cannot be read."""
    (one, one_hu), (two, two_hu) = _decode(path), _decode(other)
    if np.uint8 in (one.dtype, two.dtype) or one_hu or two_hu:
        return read_image(path), read_image(other)
    for array, name in ((one, path), (two, other)):
        if not np.isfinite(array).all():
            raise ValueError(f"{name}: holds NaN or infinite pixels; replace or remove it")
    low, high = (float(edge) for edge in np.percentile(two, (0.5, 99.5)))
    return to_uint8(one, low, high), to_uint8(two, low, high)


def image_shape(path: Place) -> Shape:
    """Height and width of an image file, out of its header. ValueError names the file where it is no image."""
    try:
        with Image.open(path if isinstance(path, Path) else path.open(), formats=FORMATS) as image:
            turned = image.getexif().get(ExifTags.Base.Orientation, 1) >= 5  # by a quarter, as `read_image` does
            return (image.width, image.height) if turned else (image.height, image.width)
    except (OSError, SyntaxError, ValueError, struct.error, Image.DecompressionBombError):
        read_image(path)  # says what is wrong
        raise


def read_hu(path: Place) -> Float32:
    """Hounsfield units HW float32 of a PNG that `hu_png` made, or of any other 16-bit grey image of HU + 1024.

    ValueError names the file where it is neither.
    """
    array, is_hu = _decode(path)
    if array.dtype == np.uint8:
        raise ValueError(f"{path}: holds 8-bit greys, not Hounsfield units; give a 16-bit PNG of HU + 1024")
    return array[..., 0] if is_hu else array[..., 0] - 1024


def _decode(path: Place, content: bytes | None = None) -> tuple[NDArray[Any], bool]:
    """HWC, uint8 or (deeper greys) float32, and whether the values are HU. ValueError as `read_image`."""
    source: Any = BytesIO(content) if content is not None else path if isinstance(path, Path) else path.open()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(source, formats=FORMATS) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise Image.DecompressionBombError
                image.load()
                ImageOps.exif_transpose(image, in_place=True)  # cameras store the turn beside the pixels
                if image.mode.startswith(("I", "F")):
                    deep, is_hu = np.asarray(image, dtype=np.float32)[..., None], CHUNK in image.info
                    return (from_stored(deep) if is_hu else deep), is_hu
                kind = "L" if image.mode in ("L", "1", "LA") else "RGB"
                array = np.asarray((_on_black(image) if image.has_transparency_data else image).convert(kind))
                return (array if array.ndim == 3 else array[..., None]), False
    except FileNotFoundError:
        raise ValueError(f"{path}: no such image file; correct the path") from None
    except UnidentifiedImageError:
        kinds = ", ".join(FORMATS)
        raise ValueError(f"{path}: not an image ({kinds}), or its header is damaged; replace or remove it") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"{path}: larger than {MAX_PIXELS} pixels; tile it first") from None
    except (OSError, SyntaxError, EOFError, ValueError, TypeError, LookupError, ArithmeticError, struct.error) as error:
        if isinstance(error, OSError) and error.errno is not None:  # the system's fault, or the path's
            raise
        raise ValueError(f"{path}: corrupt or truncated image ({error}); replace or remove it") from None


def _on_black(image: Image.Image) -> Image.Image:
    black = Image.new("RGBA", image.size, (0, 0, 0, 255))
    black.alpha_composite(image.convert("RGBA"))
    return black


def is_transparent(path: Place) -> bool:
    """Whether any pixel of an image file is transparent, be it in part. ValueError as `read_image`."""
    with Image.open(path if isinstance(path, Path) else path.open(), formats=FORMATS) as image:
        if not image.has_transparency_data:
            return False
        low: int = image.convert("RGBA").getchannel("A").getextrema()[0]  # type: ignore[assignment]
        return low < 255


def fit_image(image: NDArray[Any], modality: Modality, shape: Shape, pad: float = 0) -> NDArray[Any]:
    """Resize HWC uint8 (or HW1 float32) to (height, width), Lanczos: cropped at the centre or padded, as the modality
    says, never stretched.

    pad: the value around a padded image.
    """
    (high, wide), (height, width) = shape, image.shape[:2]
    picture = Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    if modality.fit == "crop":
        # The largest part of the image that has the shape wanted
        inner = (min(width, max(1, round(height * wide / high))), min(height, max(1, round(width * high / wide))))
        left, top = (width - inner[0]) // 2, (height - inner[1]) // 2
        picture = picture.crop((left, top, left + inner[0], top + inner[1])).resize((wide, high), LANCZOS)
    else:
        scale = min(high / height, wide / width)
        inner = (max(1, round(width * scale)), max(1, round(height * scale)))
        canvas = Image.new(picture.mode, (wide, high), pad if picture.mode == "F" else 0)
        canvas.paste(picture.resize(inner, LANCZOS), ((wide - inner[0]) // 2, (high - inner[1]) // 2))
        picture = canvas
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array


def load_fitted(path: Place | str, modality: Modality, shape: Shape) -> Uint8:
    """One image as the model sees it: height x width x 3 uint8, `shape` being (height, width).

    Grey modalities have three equal channels; CT with known Hounsfield units has its three windows.
    """
    array, is_hu = _decode(Path(path) if isinstance(path, str) else path)
    if is_hu and modality.windows:
        return to_uint8(encode_windows(fit_image(array, modality, shape, pad=AIR)[..., 0]), 0.0, 1.0)
    image = fit_image(read_image(path), modality, shape)
    if modality.channels == 1 and image.shape[2] == 3:
        image = np.rint(image.astype(np.float32).mean(axis=2, keepdims=True)).astype(np.uint8)
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def load_square(path: Place | str, modality: Modality, size: int) -> Uint8:
    """`load_fitted` at size x size."""
    return load_fitted(path, modality, (size, size))


@dataclass(frozen=True, kw_only=True)
class Picture:
    """What a model drew. image: HWC uint8 for eyes, 1 channel or 3. hu: Hounsfield units HW float32, of CT that has."""

    image: Uint8
    hu: Float32 | None = None


def to_tensor_range(image: Uint8) -> Float32:
    """HWC uint8 -> CHW float32 in [-1, 1]."""
    return np.ascontiguousarray(image.transpose(2, 0, 1), dtype=np.float32) / 127.5 - 1.0


def from_tensor_range(pixels: Float32, modality: Modality, text: str = "") -> Picture:
    """CHW float32 in [-1, 1] -> picture; grey modalities become one exact channel, the mean of three.

    Three windows of CT become Hounsfield units, shown through the window that the text names, or from lung to bone.
    """
    array = pixels.transpose(1, 2, 0)
    if modality.windows and is_windowed(unit := np.clip(array / 2 + 0.5, 0, 1).astype(np.float32)):
        hu = decode_windows(unit)
        return Picture(image=show(hu, window_named(text))[..., None], hu=hu)
    if modality.channels == 1:
        array = array.mean(axis=2, keepdims=True)
    return Picture(image=to_uint8(array, -1.0, 1.0))


def png_bytes(image: Uint8, recipe: dict[str, Any] | None = None) -> bytes:
    """HWC uint8 as a PNG; `recipe` goes into its text chunk `vesalius` as JSON, beside a plain `Comment`."""
    return encode_png(image, None if recipe is None else recipe_texts(recipe))


def recipe_texts(recipe: dict[str, Any]) -> dict[str, str]:
    """The text chunks, by keyword, in which a PNG carries its recipe."""
    texts = {RECIPE: json.dumps(recipe, ensure_ascii=False)}
    if recipe.get("synthetic"):
        texts["Comment"] = COMMENT
    return texts


def write_png(path: Path, image: Uint8, recipe: dict[str, Any] | None = None) -> None:
    """Write HWC uint8, 1 channel or 3, as a PNG, whole or not at all. recipe: what `read_recipe` gives back."""
    write_atomic(path, png_bytes(image, recipe))


def read_recipe(path: Place) -> dict[str, Any]:
    """The recipe inside a PNG that `write_png` made. ValueError where there is none."""
    with Image.open(path if isinstance(path, Path) else path.open(), formats=("PNG",)) as image:
        text = getattr(image, "text", {}).get(RECIPE)
    if text is None:
        raise ValueError(f"{path}: carries no Vesalius recipe; give a PNG of `vesalius generate`")
    recipe: dict[str, Any] = json.loads(text)
    return recipe


def load_stack(
    members: Sequence[tuple[Place, str]], size: int, *, what: str = "reading images", quiet: bool = False
) -> Uint8:
    """(place, modality) pairs as the model sees them: NCHW uint8 [N, 3, size, size].

    ValueError names an unreadable one.
    """
    images = np.empty((len(members), 3, size, size), dtype=np.uint8)
    for i, (path, modality) in enumerate(progress(members, what, len(members), quiet=quiet)):
        images[i] = load_square(path, find_modality(modality), size).transpose(2, 0, 1)
    return images
