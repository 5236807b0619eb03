"""Whether an image file says of itself that a model drew it, however it came here: without its row, or renamed.

Asked of PNG: the recipe that `vesalius.data.images.image.write_png` puts into the text chunk `vesalius`, its plain
comment, and a C2PA manifest or XMP that names IPTC's source type for media of trained models, which others' generators
write too. Of JPEG: the manifest and XMP. What another program saved again may have lost
them: nothing can be told of it.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator
from typing import IO

from vesalius.data.sources.archive import Place

RECIPE, COMMENT = "vesalius", "Synthetic: not for diagnosis"
"""The keyword of a PNG's text chunk with the recipe, and the text of another, for people."""
_MODEL = b"rainedAlgorithmicMedia"
"""The end of IPTC's terms trainedAlgorithmicMedia and compositeWithTrainedAlgorithmicMedia."""
_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_TEXTS = (b"tEXt", b"zTXt", b"iTXt")
_MANIFEST = b"caBX"
_SEGMENTS = (0xE1, 0xEB)
"""Of JPEG: APP1, which holds XMP, and APP11, which holds C2PA."""
MOST = 1 << 20
"""Bytes that are looked at of one chunk, and most of its text once unpacked."""
MOST_CHUNKS = 100_000


def drawn_depth(place: Place) -> int | None:
    """The generation depth of an image that says that a model drew it, 1 where it does not tell how deep; else None.

    Reads the heads of its chunks and what is text, never its pixels. A file that is damaged says what it says until
    there; whoever decodes it tells the rest. OSError where it cannot be read.
    """
    with place.open("rb") as file:
        head = file.read(8)
        if head == _PNG:
            depths = [d for kind, content in _png_chunks(file) if (d := _chunk_depth(kind, content)) is not None]
            return max(depths, default=None)
        if head.startswith(_JPEG):
            file.seek(2)
            return 1 if any(_MODEL in content for content in _jpeg_segments(file)) else None
    return None


def _png_chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Kind and content of the chunks that may tell; they stand before the pixels or, as some programs write, after."""
    for _ in range(MOST_CHUNKS):
        head = file.read(8)
        length, kind = int.from_bytes(head[:4], "big"), head[4:]
        if len(head) < 8 or kind == b"IEND":
            return
        if kind in _TEXTS or kind == _MANIFEST:
            content = file.read(min(length, MOST))
            yield kind, content
            file.seek(length - len(content) + 4, 1)
        else:
            file.seek(length + 4, 1)


def _chunk_depth(kind: bytes, content: bytes) -> int | None:
    if _MODEL in content:
        return 1
    if kind == _MANIFEST:
        return None
    keyword, _, rest = content.partition(b"\0")
    text = _unpacked(kind, rest)
    if keyword == RECIPE.encode():
        return _recipe_depth(text)
    return 1 if _MODEL in text or text.startswith(COMMENT.encode()) else None


def _unpacked(kind: bytes, rest: bytes) -> bytes:
    """The text after a chunk's keyword (PNG specification, 11.3.3)."""
    packed, fields = kind == b"zTXt", rest[2:].split(b"\0", 2)
    if kind == b"zTXt":
        rest = rest[1:]
    elif kind == b"iTXt":  # language and translated keyword stand between
        packed, rest = rest[:1] == b"\1", fields[2] if len(fields) == 3 else b""
    if not packed:
        return rest
    try:
        return zlib.decompressobj().decompress(rest, MOST)
    except zlib.error:
        return b""


def _recipe_depth(text: bytes) -> int | None:
    """What a recipe tells. One that cannot be read is ours all the same; one that says synthetic false is none."""
    try:
        recipe = json.loads(text)
    except (ValueError, RecursionError):
        return 1
    if not isinstance(recipe, dict):
        return 1
    if recipe.get("synthetic") is False:
        return None
    depth = recipe.get("depth")
    return max(depth, 1) if type(depth) is int else 1


def _jpeg_segments(file: IO[bytes]) -> Iterator[bytes]:
    """The contents of the segments before the pixels that may tell."""
    for _ in range(MOST_CHUNKS):
        head = file.read(4)
        if len(head) < 4 or head[0] != 0xFF or head[1] == 0xDA:
            return
        length = max(int.from_bytes(head[2:], "big") - 2, 0)
        if head[1] in _SEGMENTS:
            yield file.read(length)
        else:
            file.seek(length, 1)
