"""Writing in pictures, as a detector's features: how many words there are that could name somebody."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import numpy as np
import torch
from PIL import Image

from vesalius.data.images.burned_in import PAGES, can_search, words_in_each
from vesalius.data.images.image import Uint8
from vesalius.models.detectors.detector import Window

LEAST_EDGE = 512
"""Pictures are enlarged to that for the search: letters of ten pixels are read, and of those five pixels high few."""
WORKERS = 2


class Written:
    """uint8 [N, 3, H, W] -> float32 [N, 1], how many words tesseract reads in it; -1 where it failed."""

    name, resize = "words", f"bicubic, to {LEAST_EDGE}"
    window: Window = "display"
    image_size = 256

    def __init__(self) -> None:
        self.digest = f"{tesseract_version()}, {LEAST_EDGE}, {PAGES}"

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        pictures = images.permute(0, 2, 3, 1).numpy()
        shares = [pictures[start::WORKERS] for start in range(WORKERS)]
        counts = np.empty(len(pictures), np.float32)
        with ThreadPoolExecutor(max_workers=WORKERS) as pool:  # each waits for a process of its own
            for start, found in enumerate(pool.map(_counts, shares)):
                counts[start::WORKERS] = found
        return torch.from_numpy(counts)[:, None]


@lru_cache(maxsize=1)
def tesseract_version() -> str:
    """The first line of what tesseract says of itself; "" where it is not installed."""
    if not can_search():
        return ""
    told = subprocess.run(["tesseract", "--version"], capture_output=True, text=True, check=False)
    return (told.stdout or told.stderr).splitlines()[0]


def _counts(images: Uint8) -> list[float]:
    edge = max(LEAST_EDGE, *images.shape[1:3])
    enlarged = [np.asarray(Image.fromarray(i).resize((edge, edge), Image.Resampling.BICUBIC)) for i in images]
    return [-1.0 if words is None else float(len(words)) for words in words_in_each(enlarged)]
