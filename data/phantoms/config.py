"""What a dataset of phantoms is; apart from the drawing, so that `--help` needs no NumPy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class PhantomConfig(Settled):
    """Make a dataset of phantoms: drawn CT, MRI and pathology images with reports, masks and known findings."""

    out: Path
    """folder of the dataset; the same line continues it after a stop"""
    num: int = 2000
    """number of phantoms, shared evenly between the modalities"""
    seed: int = 0
    """seed of the first phantom; another seed makes other patients"""
    size: int = 128
    """pixels on each edge, 32 to 512; a seed gives the same scene at any size"""
    modalities: tuple[str, ...] = ("CT", "MRI", "pathology")
    """which modalities to draw"""
    val: float = 0.1
    """share of patients in the validation split"""
    test: float = 0.1
    """share of patients in the test split"""
    hounsfield: bool = True
    """keep the Hounsfield units of CT, in 16-bit images that a model sees as three windows"""
    workers: int = 0
    """processes that draw; 0: one a core. The folder does not depend on it."""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check the arguments and write nothing"""
