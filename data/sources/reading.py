"""How sources are read, made from a build's configuration."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import TYPE_CHECKING

from vesalius.data.building.pseudonyms import Pseudonyms
from vesalius.data.command.counted import counted
from vesalius.data.modality import Modality, find_modality

if TYPE_CHECKING:
    from vesalius.data.building.config import BuildConfig
    from vesalius.data.command.workers import Workers
    from vesalius.data.sources.reports import Reports


@dataclass(frozen=True, kw_only=True)
class Reading:
    """How to read sources.

    modality: for sources that do not say theirs; organ: the one that its word names ("chest X-ray").
    names: what stands for identifiers.
    slices: "middle", "every:N" or "all" of a series or volume. plane: of volumes, "axial", "coronal" or "sagittal";
    None: across their longest voxel edge. size: longest side of stored images in pixels, 0 for as they are, and the
    edge of a slide's tiles (0: 256). mpp: microns per pixel of tiles, None for the slide's own. tiles: most of a slide,
    0 for all. stain: of pathology, "macenko" or None. reports: texts by accession number, study UID or file name.
    workers: who reads the headers of many files; None: this process.
    """

    modality: Modality | None = None
    organ: str | None = None
    names: Pseudonyms = dataclasses.field(default_factory=Pseudonyms)
    allow_burned_in: bool = False
    slices: str = "all"
    plane: str | None = None
    size: int = 0
    mpp: float | None = 1.0
    tiles: int = 16
    stain: str | None = None
    reports: Reports | None = None
    workers: Workers | None = None


def reading_of(config: BuildConfig, workers: Workers) -> Reading:
    """ValueError where the reports cannot be read or the modality is not known."""
    from vesalius.data.sources.reports import Reports
    from vesalius.data.tables.label_text import organ_in

    return Reading(
        modality=find_modality(config.modality) if config.modality else None,
        organ=organ_in(config.modality) if config.modality else None,
        names=Pseudonyms(config.salt, keep=config.mapping is not None),
        reports=Reports(config.reports) if config.reports else None,
        workers=workers,
        **{
            name: getattr(config, name)
            for name in ("allow_burned_in", "slices", "plane", "size", "mpp", "tiles", "stain")
        },
    )


def notes_of(reading: Reading, num_to_search: int, num_synthetic: int) -> list[str]:
    """What the first pass has to tell: reports paired, text that was not looked for in so many images, and how many
    images models drew."""
    from vesalius.data.images.burned_in import can_search

    notes = [reading.reports.note()] if reading.reports else []
    if num_to_search and not can_search():
        notes.append(
            f"{counted(num_to_search, 'image')} of kinds that often have text burned in "
            f"{'was' if num_to_search == 1 else 'were'} not searched for it, since tesseract is not installed"
        )
    if num_synthetic:
        notes.append(
            f"{counted(num_synthetic, 'image was', 'images were')} drawn by a model, as the rows or the files say: "
            "the origin is synthetic"
        )
    return notes
