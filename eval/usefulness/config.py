"""What a measure of usefulness is; apart from the training, so that `--help` needs no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class UsefulnessConfig(Settled):
    """Whether samples help to train a classifier for real images, over real images alone and over repeating those.

    The same line continues a stopped run, and more seeds, ratios or shares add to it.
    """

    samples: tyro.conf.Positional[Path]
    """samples folder of `vesalius generate`, or a dataset with synthetic records (`vesalius augment`)"""
    real: Path
    """dataset of real (or phantom) images with a train and a test split, whose patients differ"""
    out: Path
    """folder of the report, and of the trainings that are finished"""
    label: str = "label"
    """what is told apart: label, modality, organ, another column, or finding:KIND (shown or not)"""
    modality: tuple[str, ...] = ()
    """modalities to measure; none: all that the samples have"""
    organ: tuple[str, ...] = ()
    """organs to measure (the records' `organ`, and that of the record whose caption was the prompt); none: all"""
    train: Path | None = None
    """dataset whose training split the model has seen; none: what its base says of itself"""
    task: Literal["classification", "segmentation", "retrieval"] = "classification"
    """segmentation: outline what the masks of the records show; retrieval: find an image's own report or caption"""
    classifier: str = "convnet"
    """convnet, witness (a linear head on its frozen features), or your own: MODULE:FUNCTION or FILE.py:FUNCTION"""
    ratios: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
    """synthetic images for each real one"""
    shares: tuple[float, ...] = (0.1, 0.05, 0.01)
    """shares of the real patients that are measured beside all of them"""
    share_ratios: tuple[float, ...] = (1.0, 10.0)
    """ratios at those shares"""
    self_supervised: bool = False
    """one more arm: synthetic images without their labels first (SimCLR), then real ones"""
    subgroup: str | None = None
    """column by whose values the worst subgroup is found, such as sex or source"""
    seeds: int = 5
    """trainings of each arm"""
    size: int = 64
    """pixels along an edge"""
    updates: int = 300
    """optimizer updates of every training, whatever its arm"""
    batch_size: int = 32
    """images of an update"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """count the trainings and say about how long they take"""

    def check(self) -> None:
        """ValueError where a setting cannot be."""
        if self.seeds < 2:
            raise ValueError(f"--seeds {self.seeds}: an interval needs at least 2 (5 are usual)")
        for name, values, low, high in (
            ("--ratios", self.ratios, 0.0, 100.0),
            ("--share-ratios", self.share_ratios, 0.0, 100.0),
            ("--shares", self.shares, 0.0, 1.0),
        ):
            bad = [v for v in values if not (math.isfinite(v) and low < v <= high) or (high == 1 and v == 1)]
            if bad:
                told = "below 1" if high == 1 else f"up to {high:g}"
                raise ValueError(f"{name} {bad[0]:g}: expected numbers above {low:g} and {told}")
        if not self.ratios:
            raise ValueError("--ratios is empty; give at least one, such as 1")
        if self.shares and not self.share_ratios:
            raise ValueError("--share-ratios is empty; give at least one, or none of --shares")
        if not 16 <= self.size <= 512 or self.size % 8:
            raise ValueError(f"--size {self.size}: expected a multiple of 8 from 16 to 512")
        if self.updates < 2 or self.batch_size < 2:
            raise ValueError(f"--updates {self.updates} and --batch-size {self.batch_size} must be at least 2")
        if self.task == "segmentation" and self.classifier == "witness":
            raise ValueError("--classifier witness names pictures and outlines nothing; give convnet, or your own")
        if self.task == "retrieval" and self.classifier != "convnet":
            raise ValueError(f"--task retrieval has networks of its own; leave out --classifier {self.classifier}")
        if self.task == "retrieval" and self.size % 16:
            raise ValueError(f"--size {self.size}: --task retrieval expects a multiple of 16")
        if self.task != "classification" and self.self_supervised:
            raise ValueError(f"--self-supervised is for classification; leave it out with --task {self.task}")
