"""What a comparison of pictures is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class CompareConfig(Settled):
    """Compare pictures with those that they should be, one by one: reconstructions, inpaintings, image-to-image."""

    drawn: tyro.conf.Positional[Path]
    """samples folder, or any folder of images"""
    truth: tyro.conf.Positional[Path]
    """folder of images to compare with, under the names of the drawn ones or of what these were drawn from"""
    masks: Path | None = None
    """folder of masks under the names of the images of TRUTH, white where it was drawn anew; none: all of it was"""
    modality: str | None = None
    """of a folder that does not say it, such as pathology, whose stain is measured too"""
    out: Path
    """folder of the page"""
    seed: int = 0
    """seed of the resampling behind the intervals"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """pair the pictures, compute nothing"""
