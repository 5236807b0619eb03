"""What direct reward fine-tuning takes, without anything heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class TuneConfig(Settled):
    """A run in which an adapter learns to draw what prompts ask for. The same line continues it."""

    data: tuple[Path, ...]
    """dataset folders with phantoms, whose masks tell how large findings are"""
    reader: Path
    """folder of a phantom reader to learn from (RUN/reader of `vesalius.finetune.judges.reader`); the embedded one, by
    which loops and evaluations measure, is refused"""
    out: Path
    """run folder"""
    base: str = "nano"
    """base"""
    beside: tuple[str, ...] = ("nano-fast",)
    """adapters of few steps that the new one is drawn with, without guidance"""
    prompts: Path | None = None
    """prompts of a loop's round (its prompts.jsonl); none: of the phantoms' grammar, all strata in turn"""
    num_prompts: int = 4000
    """prompts of the grammar"""
    num_validation: int = 32
    """prompts that are kept from training, to measure by"""
    steps: int = 240
    """optimizer updates"""
    batch_size: int = 8
    """drawings an update, each drawn with gradients through all steps of the sampler"""
    learning_rate: float = 1e-3
    """peak, after the warm-up and before a cosine to 2 %"""
    warmup: int = 10
    """steps of linear warm-up"""
    rank: int = 16
    """rank of the adapter, and its alpha"""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    """names of the denoiser's layers that are adapted"""
    keep: float = 2.0
    """weight of the distance to the untuned drawing of the same noise, where that shows what was asked for"""
    loose: float = 0.2
    """the same where it does not, and has to change"""
    judge_weight: float = 0.3
    """weight of the judge's verdict, which tells the way where the reader sees nothing yet"""
    save_every: int = 40
    """steps between checkpoints"""
    validate_every: int = 60
    """steps between measurements"""
    seed: int = 0
    """seed of prompts, noise, order and initial weights"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    precision: str = "auto"
    """auto, bf16 or fp32; the adapter itself is always fp32 in training"""
    json: bool = False
    """print no progress"""

    def check(self) -> None:
        """ValueError where the numbers do not fit together."""
        for name in ("num_prompts", "num_validation", "steps", "batch_size", "rank", "save_every", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")
        for name in ("keep", "loose", "judge_weight"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 0 or more")
