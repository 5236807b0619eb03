"""What an augmentation is; apart from the drawing, so that `--help` needs no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vesalius.inference.drawing.config import DrawConfig

MAX_RATIO = 20.0


@dataclass(frozen=True, kw_only=True)
class AugmentConfig(DrawConfig):
    """Add synthetic records to a dataset's training split, more of what is rare. The same line continues.

    Adapters should have seen the training split alone.
    """

    folder: tyro.conf.Positional[Path]
    """dataset folder to augment; its val and test splits are taken over as they are"""
    out: Path
    """dataset folder to write; beside it, OUT-samples holds the drawings with their recipes"""
    ratio: float = 1.0
    """synthetic records for each training record that is there, up to 20"""
    balance: str = "label"
    """field that is to come out balanced: label, modality, organ, another column, or finding:KIND (shown or not)"""
    seed: int = 0
    """seed of the choice of captions and of the pictures"""
    steps: int | None = None
    """denoising steps; none: what the adapter or the base is used with"""
    guidance: float | None = None
    """classifier-free guidance scale; none: what the adapter was made for, else 3"""
    size: tuple[int, int] | None = None
    """height and width in pixels; none: the square that the base was made for"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """count only: how many of each value would be drawn"""
