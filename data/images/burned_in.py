"""Text burned into pixels, found by tesseract where it is installed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from functools import lru_cache
from io import BytesIO

import numpy as np
from PIL import Image

from vesalius.data.images.image import Uint8

TIMEOUT_S = 30
MIN_CONFIDENCE = 70
NEARLY_WHITE, NEARLY_BLACK = 250, 5
LEAST_WRITTEN = 1e-4
"""Share of a picture's pixels that a word covers at the least."""
PAGES = "as it is, what is white, what is black"
"""Writing is mostly of the purest white or black, which tesseract's own threshold loses over anatomy."""
_TELLING = re.compile(r"[^\W\d_]{4,}|\d{5,}|\d{1,4}[./-]\d{1,2}[./-]\d{1,4}")
"""Words of four letters, long numbers and dates. Side markers, scales and view names are shorter."""


@lru_cache(maxsize=1)
def can_search() -> bool:
    """Whether tesseract is on this machine."""
    return shutil.which("tesseract") is not None


def words_in(image: Uint8) -> list[str]:
    """The words of an HWC uint8 picture that could name somebody, as tesseract reads them with confidence 70 up; each
    once.

    ValueError where it does not end in 30 s or fails.
    """
    return _search([image])[0]


def words_in_each(images: Sequence[Uint8]) -> list[list[str] | None]:
    """The same of several pictures by one process, whose start takes longer than a picture; None where one fails.

    30 s are for all of them: those that take longer are searched in halves, so that one that never ends costs minutes.
    """
    try:
        return list(_search(images))
    except ValueError:
        if len(images) == 1:
            return [None]
        half = len(images) // 2
        return words_in_each(images[:half]) + words_in_each(images[half:])


def _search(images: Sequence[Uint8]) -> list[list[str]]:
    if not images:
        return []
    pages = [(i, Image.fromarray(page)) for i, image in enumerate(images) for page in _pages(image)]
    # Pages of one file, through a pipe: a picture of somebody must not be left on a disk by a process that is killed.
    content = BytesIO()
    pages[0][1].save(content, "TIFF", save_all=True, append_images=[page for _, page in pages[1:]])
    try:
        done = subprocess.run(
            ["tesseract", "stdin", "stdout", "--psm", "11", "tsv"],
            input=content.getvalue(), capture_output=True, timeout=TIMEOUT_S, check=True,
            env={**os.environ, "OMP_THREAD_LIMIT": "1"},  # its threads wait for each other longer than one would take
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise ValueError(f"burned-in text could not be searched for in {TIMEOUT_S} s") from None
    except subprocess.CalledProcessError as error:
        line = error.stderr.decode("utf-8", "replace").strip().splitlines()[-1:]
        raise ValueError(f"burned-in text could not be searched for ({''.join(line)})") from None
    words: list[dict[str, None]] = [{} for _ in images]  # in order, each once
    for line in done.stdout.decode("utf-8", "replace").splitlines()[1:]:
        cells = line.split("\t")
        if len(cells) == 12 and float(cells[10]) >= MIN_CONFIDENCE and _TELLING.search(cells[11]):
            words[pages[int(cells[1]) - 1][0]][cells[11]] = None
    return [list(found) for found in words]


def _pages(image: Uint8) -> list[Uint8]:
    """What tesseract is given of a picture, `PAGES`: HW or HW3."""
    pages = [image.squeeze(2) if image.shape[2] == 1 else image]
    for written in (image.min(axis=2) >= NEARLY_WHITE, image.max(axis=2) <= NEARLY_BLACK):
        if LEAST_WRITTEN < written.mean() < 1:
            pages.append(np.where(written, 0, 255).astype(np.uint8))
    return pages
