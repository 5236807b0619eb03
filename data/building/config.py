"""What a build is: one frozen dataclass, from which the command line is made, and what is wrong with its numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vesalius.data.building.pseudonyms import OPEN_SALT
from vesalius.data.command.fields import Settled
from vesalius.data.sources.slices import check_slices


@dataclass(frozen=True, kw_only=True)
class BuildConfig(Settled):
    """Read images and their texts from any known source into one checked dataset folder. The same line goes on after a
    stop."""

    sources: tyro.conf.Positional[tuple[Path, ...]]
    """folders or files to read: metadata.jsonl folders, CSV tables, DICOM, folders named for classes"""
    out: Path
    """dataset folder to write; new, empty, or left by the same command when it was stopped"""
    keep_going: bool = False
    """set bad rows aside in quarantine.jsonl and build from the rest, instead of stopping at the first"""
    val: float = 0.1
    """share of patients in the validation split, where the sources name no split"""
    test: float = 0.1
    """share of patients in the test split, where the sources name no split"""
    seed: int = 0
    """seed of the split: a patient's split depends on it and on the patient alone, so it survives additions"""
    resplit: bool = False
    """ignore the splits that the sources name, and split by patient"""
    size: int = 0
    """longest side of the stored images in pixels, never enlarged; 0 keeps each as it is"""
    modality: str | None = None
    """modality of sources that do not say theirs, such as folders named for classes, and NIfTI"""
    slices: str = "all"
    """of a series or volume: middle, every:N or all. Slices are counted by their position; blank ones do not count."""
    plane: Literal["axial", "coronal", "sagittal"] | None = None
    """plane of the slices of NIfTI volumes; none: across their longest voxel edge, axial where all are alike"""
    mpp: float | None = 1.0
    """microns per pixel of the tiles of slides, whose edge is --size (256 where that is 0); none: the slide's own"""
    tiles: int = 16
    """most tiles of tissue from one slide, spread evenly over it; 0: all"""
    stain: Literal["macenko"] | None = None
    """bring the stain of pathology, which must be H&E, to Macenko's reference; none: it is left as it is"""
    reports: Path | None = None
    """table, text, Structured Report, or folder of them: paired by accession number, study UID or file name"""
    salt: str = OPEN_SALT
    """secret that keys the hash of identifiers and the shift of dates; set your own before you share the dataset. The
    patients that tables name are hashed under your own alone."""
    mapping: Path | None = None
    """CSV to write with what stands for each patient, study and series; keep it secret. none: not written."""
    allow_burned_in: bool = False
    """take DICOM images that say, or in which tesseract finds, that text is burned into their pixels"""
    keep_identifiers: bool = False
    """keep the names, numbers, addresses and dates that texts hold, columns that name people, and the names of files,
    all of which else are taken out"""
    read_findings: bool = False
    """read the findings of rows that list none from their texts, by rules for English and Chinese reports; what these
    leave open goes into the column `uncertain`"""
    workers: int = 0
    """processes that decode images; 0: one for each core. The dataset is the same for any number."""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """read the sources without their pixels, report, and write nothing"""

    def check(self) -> None:
        """ValueError where a number cannot be, or the dataset would lie inside a source."""
        if not self.sources:
            raise ValueError("no SOURCE; name at least one folder or file to read")
        if min(self.val, self.test) < 0 or self.val + self.test >= 1:
            raise ValueError(
                f"val {self.val} and test {self.test}: expected shares from 0 that leave some of 1 for train"
            )
        if self.workers < 0:
            raise ValueError(f"workers {self.workers}: expected a number of processes, or 0 for one on each core")
        if self.size < 0:
            raise ValueError(f"size {self.size}: expected the longest side in pixels, or 0 to keep images as they are")
        if self.tiles < 0 or (self.mpp is not None and not 0.01 <= self.mpp <= 1000):
            raise ValueError(
                f"tiles {self.tiles} and mpp {self.mpp}: expected a count from 0, and 0.01 to 1000 microns"
            )
        check_slices(self.slices)
        if self.mapping and self.mapping.resolve().is_relative_to(self.out.resolve()):
            raise ValueError(f"{self.mapping}: lies inside --out, which is shared; write the mapping elsewhere")
        out = self.out.resolve()
        for source in self.sources:
            if out.is_relative_to(source.resolve()):
                raise ValueError(f"{self.out}: lies inside the source {source}; choose another --out")
