"""Where masks lie on the latent grid, so that a loss can weigh it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional

from vesalius.data.datasets.streamed import place_of
from vesalius.data.images.image import Shape, fit_image, read_image
from vesalius.data.modality import find_modality
from vesalius.data.record import Record
from vesalius.finetune.feeding.buckets import Buckets

MARGIN = 2
"""Latent cells around a finding that weigh as much as it."""


def lesion_grid(members: Sequence[tuple[Path, Record]], shape: Shape, cell: int) -> torch.Tensor:
    """Where the masks of the records show a finding, or within MARGIN cells of one, bool [N, 1, H, W].

    shape: height and width in pixels at which the images are shown, in cells of `cell` pixels. A mask is cropped or
    padded as its image is.

    A weight that depends on the target moves the optimum from its mean: on the finding alone it made lesions larger,
    nodules nearly three times. Around it too, it says that there is one, and not how far it reaches.
    """
    height, width = shape[0] // cell, shape[1] // cell
    grid = torch.zeros(len(members), 1, height, width, dtype=torch.bool)
    for i, (folder, record) in enumerate(members):
        if record.mask:
            shown = (read_image(place_of(folder, record.mask))[..., :1] > 0).astype(np.uint8) * 255
            if shown.shape[0] * width != shown.shape[1] * height:  # else all of it is seen
                shown = fit_image(shown, find_modality(record.modality), shape)
            grid[i] = (
                functional.adaptive_max_pool2d(torch.from_numpy(shown[None, ..., 0].copy()).float(), (height, width))
                > 0
            )
    around = 2 * MARGIN + 1
    for part in grid.split(1024):
        part.copy_(functional.max_pool2d(part.float(), around, stride=1, padding=MARGIN) > 0)
    return grid


def lesion_grids(members: Sequence[tuple[Path, Record]], buckets: Buckets, cell: int) -> list[torch.Tensor]:
    """As `lesion_grid`, of each record in the shape of its bucket, bool [1, H, W]."""
    grids = dict[int, torch.Tensor]()
    for shape, mine in zip(buckets.shapes, buckets.members, strict=True):
        grids.update(zip(mine.tolist(), lesion_grid([members[i] for i in mine], shape, cell), strict=True))
    return [grids[i] for i in range(len(members))]
