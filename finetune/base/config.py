"""What a training of a base is: its data and its numbers, without anything heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vesalius.data.command.fields import Settled
from vesalius.models.architecture import NANO, Architecture


@dataclass(frozen=True, kw_only=True)
class BaseConfig(Settled):
    """A run that trains the denoiser of a base."""

    data: tuple[Path, ...]
    """dataset folders"""
    out: Path
    """run folder"""
    autoencoder: Path | None = None
    """vae folder of an autoencoder run; that of --init by default"""
    text: Path | None = None
    """folder that holds tokenizer/ and text_encoder/; that of --init by default"""
    init: Path | None = None
    """a base folder to start from, with fresh optimizer"""
    exclude: tuple[str, ...] = ()
    """real records to leave out, as "MODALITY" or "MODALITY/organ\""""
    real_share: float = 0.5
    """share of real images in a batch; the rest are phantoms"""
    weigh: tuple[str, ...] = ()
    """NAME=FACTOR: how much more often phantoms of a modality, or real images of a label or source, are drawn; above 1
    what is learnt slowly, below 1 what is so few that it is learnt by heart"""
    steps: int = 8000
    """optimizer updates"""
    batch_size: int = 64
    """images per update, over all processes"""
    learning_rate: float = 2e-3
    """peak, after the warm-up and before a cosine to 2 %"""
    warmup: int = 60
    """steps to the peak"""
    caption_dropout: float = 0.1
    """share of samples trained without text, for guidance"""
    chinese_share: float = 0.25
    """share of texts in Chinese"""
    views: int = 12
    """views of each real image: itself, and others flipped where that is safe, or moved by a little"""
    wordings: int = 3
    """texts of each record, each drawn once and encoded once"""
    kept_texts: int = 60_000
    """encoded texts kept in memory, 128 KiB each; others are encoded anew. On a GPU all are, which costs nothing"""
    lesion_weight: float = 4.0
    """weight of the loss where a mask shows a finding and around it, beside 1 elsewhere: lesions are small, and are the
    point"""
    average: float = 0.999
    """decay of the averaged weights, which are what is shipped"""
    save_every: int = 250
    """steps between checkpoints"""
    validate_every: int = 500
    """steps between validation losses (of the averaged weights)"""
    seed: int = 0
    """seed of order, noise and initial weights"""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """where it trains; auto: on a GPU where there is one"""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 where hardware has it, else fp32"""
    workers: int = -1
    """processes that make the batches ahead of the loop; -1: one a core beside a GPU, else none"""
    compile: bool = False
    """compile the denoiser: minutes at first, then faster steps on a GPU"""
    sizes: Architecture = field(default=NANO)
    """architecture"""

    def check(self, num_processes: int) -> None:
        """ValueError where a number cannot be, or the batch does not divide among the processes."""
        for name, low, high in (
            *((name, 1.0, math.inf) for name in ("steps", "batch_size", "views", "wordings", "kept_texts")),
            *((name, 1.0, math.inf) for name in ("save_every", "validate_every", "lesion_weight")),
            *((name, 0.0, 1.0) for name in ("real_share", "caption_dropout", "chinese_share", "average")),
            ("warmup", 0.0, math.inf), ("workers", -1.0, math.inf),
        ):  # fmt: skip
            if not low <= getattr(self, name) <= high:
                told = f"at least {low:g}" if high == math.inf else f"a number from {low:g} to {high:g}"
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected {told}")
        if not 0 <= self.learning_rate < math.inf:
            raise ValueError(f"--learning-rate is {self.learning_rate}; expected a number of 0 or more, such as 2e-3")
        if self.batch_size % num_processes:
            raise ValueError(
                f"--batch-size {self.batch_size} does not divide among {num_processes} processes; give a multiple"
            )
