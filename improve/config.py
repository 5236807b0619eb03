"""What a self-improvement loop is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from vesalius.data.fields import Settled
from vesalius.finetune.config import REAL_FLOOR, FinetuneConfig


@dataclass(frozen=True, kw_only=True)
class ImproveConfig(Settled):
    """Rounds of generate, score, gate, add back, fine-tune, promote or roll back.

    The same line continues a stopped loop.
    """

    data: tuple[Path, ...]
    """dataset folders of real images or phantoms; their val split calibrates the gates, their test split decides"""
    out: Path
    """folder of the loop: one folder per round, a ledger, a page"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    rounds: int = 1
    """rounds after round 0, which trains on the data alone; generation depth allows 3"""
    num: int = 48
    """samples drawn per round, under captions of training records"""
    num_eval: int = 60
    """samples drawn per round to judge it, under captions of test records, the same in every round"""
    quota: float = 0.5
    """largest share of a modality's samples that is accepted, so that easy modalities do not crowd out hard ones"""
    steps: int = 300
    """optimizer updates of each round's fresh adapter"""
    batch_size: int = 16
    """images per update"""
    learning_rate: float = 5e-4
    """peak"""
    rank: int = 16
    """rank of the adapter"""
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2")
    """names of the denoiser's layers that are adapted"""
    real_share: float = REAL_FLOOR
    """share of the sampling weight for real and phantom records; at least 0.5"""
    sampling_steps: int | None = None
    """denoising steps; none: as many as suit the base"""
    guidance: float = 3.0
    """classifier-free guidance scale"""
    seed: int = 0
    """seed of everything"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check data and arithmetic; run nothing"""

    def check(self) -> None:
        """ValueError where the numbers do not fit together."""
        if not 1 <= self.rounds <= 3:
            raise ValueError(f"--rounds is {self.rounds}; expected 1 to 3: deeper generations lose rare findings")
        if not 0 < self.quota <= 1:
            raise ValueError(f"--quota is {self.quota}; expected a share above 0 and up to 1")
        if self.num < 1 or self.num_eval < 1:
            raise ValueError(f"--num {self.num} and --num-eval {self.num_eval} must be at least 1")
        self.finetune(self.out / "run", ()).check()

    def finetune(self, run: Path, pools: tuple[Path, ...]) -> FinetuneConfig:
        """The fine-tuning run of a round: a fresh adapter on the base, over the data and all accepted samples."""
        return FinetuneConfig(
            data=(*self.data, *pools), out=run, base=self.base, steps=self.steps, batch_size=self.batch_size,
            learning_rate=self.learning_rate, rank=self.rank, alpha=self.rank, targets=self.targets,
            real_share=self.real_share, validate_every=max(1, self.steps // 5), save_every=max(1, self.steps // 5),
            seed=self.seed, device="cpu" if self.device == "cpu" else "auto", json=self.json, num_pictures=0,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StatusConfig(Settled):
    """Where a loop stands: its rounds, what was accepted, what was decided."""

    folder: tyro.conf.Positional[Path]
    """folder of the loop"""
    json: bool = False
    """print one JSON object"""
