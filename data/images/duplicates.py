"""Images that look alike: a perceptual hash of 128 bits, searched without comparing all pairs.

The hash is a difference hash (Krawetz 2013) of 64 bits along rows and 64 down columns. Its differences must exceed a
tolerance, or the noise of a dark background, of which medical images have much, would decide most bits. `imagehash`
has it without the tolerance, and no search.
"""

from __future__ import annotations

import tempfile

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vesalius.data.images.image import Uint8

DISTANCE = 7
"""Most bits by which two alike images differ. One less than the number of bands: by the pigeonhole principle two
hashes that differ in at most 7 bits agree in one of 8 bands."""
TOLERANCE = 3
"""Grey levels that a difference must exceed to count."""
THUMB = 32
"""Pixels on each edge of the thumbnails by which candidates are compared."""
CORRELATION = 0.99
"""Least correlation of the thumbnails of two alike images."""
WINDOW = 256
"""Hashes compared with each one that shares a band with it; more share one only in sets of hardly any content."""

Pairs = NDArray[np.int64]


def thumbnail(image: Uint8) -> Uint8:
    """HWC uint8 -> [THUMB, THUMB] uint8, grey, box-filtered."""
    grey = image[..., 0] if image.shape[2] == 1 else np.asarray(Image.fromarray(image).convert("L"))
    picture = Image.fromarray(np.ascontiguousarray(grey)).resize((THUMB, THUMB), Image.Resampling.BOX)
    small: Uint8 = np.asarray(picture)
    return small


def difference_hash(thumb: Uint8) -> NDArray[np.uint64]:
    """[THUMB, THUMB] uint8 -> uint64 [2]: 8 x 8 differences along rows, and 8 x 8 down columns."""
    picture = Image.fromarray(thumb)
    wide = np.asarray(picture.resize((9, 8), Image.Resampling.BOX), np.int16)
    high = np.asarray(picture.resize((8, 9), Image.Resampling.BOX), np.int16)
    bits = np.concatenate([np.diff(wide, axis=1).ravel(), np.diff(high, axis=0).ravel()]) > TOLERANCE
    return np.packbits(bits).view(np.uint64)


class Lookalikes:
    """Images by number, and which of them look alike. Holds 24 bytes of each in memory; thumbnails are on disk."""

    def __init__(self) -> None:
        self._thumbs = tempfile.TemporaryFile()  # noqa: SIM115
        self._hashes, self._numbers = bytearray(), bytearray()

    def add(self, number: int, image: Uint8) -> None:
        thumb = thumbnail(image)
        self._thumbs.write(thumb.tobytes())
        self._hashes += difference_hash(thumb).tobytes()
        self._numbers += np.int64(number).tobytes()

    def pairs(self) -> Pairs:
        """[M, 2] numbers of images that look alike, smaller first, in order."""
        hashes = np.frombuffer(self._hashes, np.uint64).reshape(-1, 2)
        if len(hashes) < 2:
            return np.empty((0, 2), np.int64)
        self._thumbs.flush()
        thumbs = np.memmap(self._thumbs, np.uint8, "r", shape=(len(hashes), THUMB * THUMB))
        candidates = close_hashes(hashes)
        kept = [
            part[_correlation(thumbs[part[:, 0]], thumbs[part[:, 1]]) >= CORRELATION]
            for part in np.array_split(candidates, len(candidates) // 10_000 + 1)
        ]
        numbers = np.frombuffer(self._numbers, np.int64)
        found: Pairs = numbers[np.concatenate(kept)]
        return found


def close_hashes(hashes: NDArray[np.uint64]) -> Pairs:
    """uint64 [N, 2] -> [M, 2] places of hashes at most DISTANCE bits apart, each pair once, smaller first.

    In each of 8 bands of 16 bits hashes are sorted and compared with their neighbours as long as the band is the same,
    at most WINDOW: N log N steps instead of N squared.
    """
    bands = hashes.view(np.uint16)
    found = [np.empty((0, 2), np.int64)]
    for band in range(bands.shape[1]):
        # What shares a band is sorted by the rest, so that the nearest are neighbours where there are many.
        order = np.lexsort((hashes[:, 0], hashes[:, 1], bands[:, band]))
        keys, rows, columns = bands[order, band], hashes[order, 0], hashes[order, 1]
        for offset in range(1, min(WINDOW, len(order) - 1) + 1):
            same = keys[offset:] == keys[:-offset]
            if not same.any():
                break
            differ = np.bitwise_count(rows[offset:] ^ rows[:-offset])  # uint8, and both halves make 128 at most
            differ += np.bitwise_count(columns[offset:] ^ columns[:-offset])
            near = np.flatnonzero(same & (differ <= DISTANCE))
            found.append(np.stack([order[near], order[near + offset]], axis=1))
    pairs = np.sort(np.concatenate(found), axis=1)
    unique: Pairs = np.unique(pairs, axis=0)
    return unique


def _correlation(one: Uint8, two: Uint8) -> NDArray[np.float32]:
    """[M, P] uint8 twice -> [M]: Pearson's correlation of each pair; flat images correlate with nothing."""
    a, b = (x.astype(np.float32) - x.mean(axis=1, keepdims=True, dtype=np.float32) for x in (one, two))
    scale = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    result: NDArray[np.float32] = (a * b).sum(axis=1) / np.maximum(scale, 1e-6)
    return result
