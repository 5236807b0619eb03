"""Images that show hardly anything: nearly blank, or clipped."""

from __future__ import annotations

import numpy as np

from vesalius.data.images.image import Uint8

SAME = 0.995
"""Share of pixels with one value from which an image is nearly blank."""
SPREAD = 2.0
"""Standard deviation in grey levels under which it is, too."""
WHITE = 0.25
"""Share of white pixels from which a grey image is clipped; a background is black, so white is lost detail."""


def is_blank(image: Uint8) -> bool:
    return bool(image.min() == image.max())


def exposure(image: Uint8) -> str | None:
    """What is wrong with HWC uint8, or None."""
    counts = np.bincount(image.ravel()[:: max(1, image.size // 200_000)], minlength=256)
    total = counts.sum()
    mean = (counts * np.arange(256)).sum() / total
    spread = float(np.sqrt((counts * (np.arange(256) - mean) ** 2).sum() / total))
    most = int(counts.argmax())
    if counts[most] >= SAME * total or spread < SPREAD:
        return f"nearly blank: {100 * counts[most] / total:.1f} % of its values are {most}, they spread by {spread:.1f}"
    if image.shape[2] == 1 and counts[255] >= WHITE * total:
        return f"clipped: {100 * counts[255] / total:.0f} % of its pixels are white; widen its window"
    return None
