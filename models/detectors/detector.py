"""Detectors: feature networks over which sets of pictures are compared. uint8 NCHW -> float NC, one contract.

Those that are here need no download; `vesalius.models.detectors.source` opens others by name.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, Protocol

import torch
from torch.nn import functional

from vesalius.models.networks.judge import Judge
from vesalius.models.networks.witness import Witness

Window = Literal["model", "display"]
"""How Hounsfield units become 8 bits for a detector: as the generator sees them, or as people do."""

WINDOWS_TOLD: dict[Window, str] = {
    "model": "CT in Hounsfield units as three windows (lung, soft tissue, bone), other deep greys from their 0.5th to "
    "99.5th percentile, 8 bits as stored",
    "display": "CT in Hounsfield units through one curve from lung to bone, other deep greys from their 0.5th to "
    "99.5th percentile, 8 bits as stored",
}


class Detector(Protocol):
    """name, digest, resize and window say in a report what made a number.

    digest: of all that the features depend on; "" where that is not known, and then features are not kept on disk.
    image_size: pixels along an edge of the square pictures that it is given. resize: what it does to them itself.
    """

    name: str
    digest: str
    image_size: int
    resize: str
    window: Window

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """uint8 [N, 3, H, W] -> features, float32 [N, C]; H and W are `image_size`."""
        ...


class JudgeDetector:
    """The judge's image embedding, scaled to unit variance per feature: it sees what the prompts speak of."""

    name = "judge"
    resize = "none"
    window: Window = "model"

    def __init__(self, judge: Judge | None = None) -> None:
        self.judge = judge or Judge.load()
        self.digest, self.image_size = self.judge.digest, self.judge.config.image_size

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        embedded: torch.Tensor = self.judge.embed_images(images)
        return embedded * math.sqrt(embedded.shape[1])


class WitnessDetector:
    """The witness's features of a picture as a whole: learnt without labels, by a network that filters nothing."""

    name = "witness"
    resize = "none"
    window: Window = "model"

    def __init__(self, witness: Witness | None = None) -> None:
        self.witness = witness or Witness.load()
        self.digest, self.image_size = self.witness.digest, self.witness.config.image_size

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        return self.witness.embed(images)


class TextureDetector:
    """Hand-made features with no weights at all: layout, greys, and the energy of edges by scale and direction.

    At 64 px: an 8 x 8 thumbnail (64), a 16-bin histogram of luminance, mean and deviation of each colour (6), and the
    log energy (above two grey levels, below which nobody sees) of horizontal, vertical and both diagonal differences
    of a pyramid of four levels, on a 4 x 4 grid at the finest and over the picture at the others (4 x 16 + 3 x 4).
    It shares nothing with the judge and was never trained, so it cannot be gamed by what the judge filters.
    """

    name = "texture"
    digest = "texture-1"
    image_size = 128
    resize = "bilinear, antialiased, to 64"
    window: Window = "model"
    size = 64

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        pixels = images.float() / 255
        if pixels.shape[-1] != self.size:
            pixels = functional.interpolate(pixels, size=(self.size, self.size), mode="bilinear", antialias=True)
        grey = pixels.mean(1, keepdim=True)
        thumbnail = functional.avg_pool2d(grey, 8).flatten(1)
        bins = (grey.flatten(1) * 15.999).long()
        histogram = functional.one_hot(bins, 16).float().mean(1).sqrt()
        colours = torch.cat([pixels.mean((2, 3)), pixels.std((2, 3))], 1)
        energies = []
        level = grey
        for scale in range(4):
            for dy, dx in ((0, 1), (1, 0), (1, 1), (1, -1)):
                difference = level - torch.roll(level, (dy, dx), (2, 3))
                grid = functional.adaptive_avg_pool2d(difference.pow(2), 4 if scale == 0 else 1)
                energies.append(((grid.flatten(1) + 1e-4).log() + 6) / 4)
            level = functional.avg_pool2d(level, 2)
        # All are brought to about -1 ... 1: the polynomial kernel of KID is not blind to where zero lies.
        return torch.cat([2 * thumbnail - 1, 2 * histogram - 0.5, 2 * colours - 1, *energies], 1)


DETECTORS: dict[str, Callable[[], Detector]] = {
    "judge": JudgeDetector, "witness": WitnessDetector, "texture": TextureDetector,
}  # fmt: skip
"""The embedded feature networks by name, each of which is made when it is called."""
