"""What a fine-tuning run is: one frozen dataclass, from which recipes and the command line are made."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

REAL_FLOOR = 0.5


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Fine-tune a LoRA adapter on images and their reports. The same line continues a run that was stopped."""

    data: tuple[Path, ...]
    """dataset folders"""
    out: Path
    """run folder"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    modalities: tuple[str, ...] = ()
    """train on these modalities only; none: all"""
    organs: tuple[str, ...] = ()
    """train on these organs only (the records' `organ`); none: all"""
    steps: int = 1000
    """optimizer updates"""
    batch_size: int = 16
    """images per update over all processes"""
    learning_rate: float = 5e-4
    """peak, after the warm-up and before a cosine to 2 %"""
    warmup: int = 50
    """steps of linear warm-up"""
    rank: int = 16
    """rank of the adapter"""
    alpha: int = 16
    """scale of the adapter; alpha / rank multiplies its output"""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    """names of the denoiser's layers that are adapted"""
    weight_decay: float = 0.01
    """AdamW's"""
    clip_norm: float = 1.0
    """largest norm of the gradient"""
    caption_dropout: float = 0.1
    """share of samples trained without text, for guidance"""
    caption_share: float = 0.5
    """share of samples that show the short caption where there is one; the others show the report or a section"""
    min_snr_gamma: float | None = None
    """min-SNR weighting; 5 is usual for epsilon prediction; none: uniform"""
    real_share: float = REAL_FLOOR
    """share of the sampling weight for real and phantom records where the data holds synthetic ones; at least 0.5"""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """auto: bf16 autocast where the hardware has it. The adapter itself is always fp32"""
    validate_every: int = 100
    """steps between validation losses, on fixed images, noise and timesteps"""
    num_validation: int = 64
    """held-out images of the validation loss"""
    save_every: int = 100
    """steps between checkpoints"""
    seed: int = 0
    """seed of order, noise and initial weights"""
    resume: Literal["auto", "never"] = "auto"
    """auto: continue from the newest whole checkpoint of this run; never: refuse a folder that has one"""
    device: Literal["auto", "cpu"] = "auto"
    """cpu: stay off the GPUs"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check data, base and arithmetic; train nothing"""

    def check(self) -> None:
        """ValueError where the numbers do not fit together. Cheap: nothing is loaded."""
        for name in ("steps", "batch_size", "rank", "alpha", "validate_every", "save_every", "num_validation"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")
        if not self.data:
            raise ValueError("--data is empty; give at least one dataset folder")
        for name in ("learning_rate", "clip_norm", "min_snr_gamma"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is {value}; expected a number above 0")
        for name in ("warmup", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 0 or more")
        for name in ("caption_dropout", "caption_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(
                    f"--{name.replace('_', '-')} is {getattr(self, name)}; expected a share between 0 and 1"
                )
        if not REAL_FLOOR <= self.real_share <= 1:
            raise ValueError(
                f"--real-share is {self.real_share}; expected {REAL_FLOOR} to 1: "
                "with less real data a self-improving model collapses"
            )
        if not self.targets:
            raise ValueError("--targets is empty; name at least one kind of layer, such as to_q")
