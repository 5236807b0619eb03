"""The stain of H&E tiles brought to one reference, by torchstain."""

from __future__ import annotations

from typing import Any

import numpy as np

from vesalius.data.images.image import Uint8

LIGHT, FAINT = 240, 0.15
"""Intensity of the light that passes glass, and the optical density below which a pixel is glass (Macenko's own)."""
MIN_STAINED = 0.02
"""Least share of stained pixels from which two stains can be told."""


def open_normalizer() -> Any:
    """Torchstain's normalizer. ValueError where the library is missing."""
    try:
        from torchstain.numpy.normalizers.macenko import NumpyMacenkoNormalizer
    except ImportError:
        raise ValueError('--stain macenko needs the library torchstain; `pip install "vesalius[slides]"`') from None
    return NumpyMacenkoNormalizer()


def macenko(image: Uint8) -> Uint8:
    """An HWC uint8 RGB tile in the hematoxylin and eosin of Macenko et al. (ISBI 2009), as strong as theirs.

    It takes what it is given for H&E; other stains, and blood smears, come out in false colours.
    ValueError where torchstain is missing, or too little of the tile is stained.
    """
    normalizer = open_normalizer()
    stained = (-np.log((image.astype(np.float32) + 1) / LIGHT) >= FAINT).all(axis=2).mean()
    told = f"only {stained:.1%} of it is stained"
    if stained >= MIN_STAINED:
        try:
            normalised: Uint8 = normalizer.normalize(image, Io=LIGHT, beta=FAINT, stains=False)[0]
            return normalised
        except np.linalg.LinAlgError:
            told = "its colours do not tell two stains apart"
    raise ValueError(f"its stain cannot be normalised, {told}; leave it out, or build without --stain")
