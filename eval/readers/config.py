"""What a reader study is, and what scoring one is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class ReadersMakeConfig(Settled):
    """Make a blinded reader study: real and synthetic images, as many of each in each modality and label, shuffled."""

    samples: tyro.conf.Positional[Path]
    """samples folder, as `vesalius generate` writes it"""
    real: Path
    """dataset folder of real (or phantom) images"""
    out: Path
    """folder of the study: page/ is for the readers, key.json and pictures/ are for you alone"""
    num: int = 40
    """different images, half of them real; fewer where fewer agree in modality and label"""
    repeats: float = 0.2
    """share of them that is shown a second time, to see whether a reader agrees with themselves"""
    split: Literal["train", "val", "test"] = "test"
    """split of --real that the real images are of"""
    size: int | None = None
    """pixels along an edge at which all are shown; none: the smallest edge among them, so that none is enlarged"""
    window: Literal["wide", "lung", "soft tissue", "bone", "brain"] = "wide"
    """through which CT in Hounsfield units is shown, whatever its text says; wide: from lung to bone at once"""
    seed: int = 0
    """seed of choice and order"""
    title: str = "Reader study"
    """what the page is called"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """choose, and say what would be shown; write nothing"""


@dataclass(frozen=True, kw_only=True)
class ReadersScoreConfig(Settled):
    """Score the answers of one or many readers against the key of their study."""

    study: tyro.conf.Positional[Path]
    """folder of the study, as `vesalius readers make` wrote it"""
    answers: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    """files that the readers' pages saved (.jsonl or .csv), in any order"""
    out: Path | None = None
    """folder of the report; none: scores/ in the study"""
    partial: bool = False
    """take readers who have not answered all"""
    seed: int = 0
    """seed of the resampling behind the intervals"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check the answers, compute nothing"""
