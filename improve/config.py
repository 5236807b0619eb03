"""What a self-improvement loop is, and what the verbs about one take."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vesalius.data.command.fields import Settled
from vesalius.finetune.config import REAL_FLOOR, FinetuneConfig
from vesalius.improve.budget import seconds_of

REFERENCE = "reference"
"""Folder in a loop's: its data as one dataset, whose val split is the half that decides."""
Ablation = Literal["gates", "real", "guard"]


@dataclass(frozen=True, kw_only=True)
class ImproveConfig(Settled):
    """Rounds of generate, score, gate, add back, fine-tune, promote or roll back.

    The same line continues a stopped loop.
    """

    data: tuple[Path, ...]
    """dataset folders of real images or phantoms; half of the val split's patients calibrate the gates, the other half
    decide, and the test split is looked at once, after the last round"""
    out: Path
    """folder of the loop: one folder per round, a ledger, a page"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    rounds: int = 1
    """rounds after round 0, which trains on the data alone; generation depth allows 3; 0: round 0 alone"""
    num: int = 48
    """candidates drawn per round"""
    best_of: int = 1
    """candidates per prompt, of which the best that passes the gates is kept"""
    prompts: tuple[str, ...] = ("captions",)
    """what a round asks for: captions (of training records), phantoms (the phantoms' grammar), or files of prompts; of
    several in equal parts"""
    aim: Literal["even", "weak", "rare"] = "even"
    """which prompts are asked for more often: of no kind, of what the last evaluation found weakest, of what is rare
    in the data"""
    search_text: bool = True
    """search samples that pass all else for writing, where tesseract is installed (0.1 to 0.5 s each)"""
    quota: float = 0.5
    """largest share of a stratum's prompts of which a sample is kept, the same for each, so that easy ones do not crowd
    out hard ones"""
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
    learn: Literal["accepted", "weighted", "preferences"] = "accepted"
    """how a round learns: from accepted samples as they are, by weights of their ratings, or from pairs of an accepted
    and a refused sample of one prompt (Diffusion-DPO) and of clinicians' pairs"""
    real_share: float = REAL_FLOOR
    """share of the sampling weight for real and phantom records; at least 0.5"""
    ratings: tuple[Path, ...] = ()
    """ratings of samples: CSV, or the JSON lines that the demo and reader studies keep"""
    review: bool = False
    """wait after the gates of each round until `vesalius improve approve` has let its samples in"""
    num_eval: int = 60
    """samples drawn per round to judge it, under captions of the deciding half of val, the same in every round"""
    num_validation: int = 64
    """images of the deciding half of val for the validation loss"""
    usefulness: bool = False
    """measure in each round, too, whether its samples help a classifier (some minutes)"""
    witness: Path | None = None
    """folder of another witness than the embedded one; refused where it is the judge that filters, was initialised from
    it, or comes out of its training run"""
    patience: int = 2
    """rounds without gain in a row after which the loop stops"""
    beside: tuple[str, ...] = ()
    """adapters that a round's own is drawn with, each with its share, such as nano-fast for few steps"""
    sampling_steps: int | None = None
    """denoising steps; none: what those adapters were made for, else what suits the base"""
    guidance: float | None = None
    """classifier-free guidance scale; none: what those adapters were made for, else 3"""
    workers: int = 0
    """processes that draw and look at candidates; 0: one on each GPU, or one where there is none"""
    engine: Literal["local", "ray"] = "local"
    """who draws and looks at candidates: processes of this machine, or a Ray cluster"""
    budget: str | None = None
    """hours (3h) or money (20, with --price) after which the loop stops cleanly; the same line with more goes on"""
    price: float | None = None
    """of an hour of this machine, for --budget in money"""
    without: tuple[Ablation, ...] = ()
    """for experiments only, what a loop does without: gates (all samples pass), real (later rounds train on samples
    alone), guard (every round is promoted)"""
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
        if not 0 <= self.rounds <= 3:
            raise ValueError(f"--rounds is {self.rounds}; expected 0 to 3: deeper generations lose rare findings")
        if not 0 < self.quota <= 1:
            raise ValueError(f"--quota is {self.quota}; expected a share above 0 and up to 1")
        for name in ("num", "best_of", "num_eval", "patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")
        if self.best_of > self.num:
            raise ValueError(f"--best-of is {self.best_of}; expected at most --num, {self.num}")
        if self.learn == "weighted" and not self.ratings:
            raise ValueError("--learn weighted has no ratings to weigh by; give --ratings, or --learn accepted")
        if self.learn == "preferences" and self.best_of == 1 and not self.ratings:
            raise ValueError("--learn preferences has nothing to compare; give --best-of 4, or --ratings of pairs")
        if self.learn == "preferences" and self.beside:
            raise ValueError("--learn preferences makes a base of its own, which the adapters of --beside do not fit")
        if not self.prompts:
            raise ValueError("--prompts names nothing to ask for (captions, phantoms, or files)")
        if self.budget:
            seconds_of(self.budget, self.price)
        self.finetune(self.out / "run", ()).check()

    def finetune(self, run: Path, pools: tuple[Path, ...]) -> FinetuneConfig:
        """The fine-tuning run of a round: a fresh adapter on the base, over the data and all accepted samples."""
        return FinetuneConfig(
            data=(self.out / REFERENCE, *pools), out=run, base=self.base, steps=self.steps, batch_size=self.batch_size,
            learning_rate=self.learning_rate, rank=self.rank, alpha=self.rank, targets=self.targets,
            real_share=self.real_share, validate_every=max(1, self.steps // 5), save_every=max(1, self.steps // 5),
            num_validation=self.num_validation, seed=self.seed, device="cpu" if self.device == "cpu" else "auto",
            json=self.json, num_pictures=0,
            synthetic_alone="real" in self.without and bool(pools),
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class StatusConfig(Settled):
    """Where a loop stands: its rounds, what was accepted, what was decided."""

    folder: tyro.conf.Positional[Path]
    """folder of the loop"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True, kw_only=True)
class ShowConfig(Settled):
    """One round of a loop: its prompts, refusals by reason, decision in words."""

    folder: tyro.conf.Positional[Path]
    """folder of the loop"""
    round: tyro.conf.Positional[int]
    """number of the round"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True, kw_only=True)
class ApproveConfig(Settled):
    """Let the accepted samples of a waiting round into the training data, but those that are vetoed."""

    folder: tyro.conf.Positional[Path]
    """folder of the loop"""
    veto: Annotated[tuple[str, ...], tyro.conf.arg(metavar="FILE_NAME|SHA256")] = ()
    """samples to keep out, by file name or digest"""
    by: str = ""
    """who approves; kept in the ledger"""
    reason: str = ""
    """why samples are vetoed; kept in the ledger"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True, kw_only=True)
class RollbackConfig(Settled):
    """Stand by an earlier round's adapter again; later rounds stay on disk and in the ledger."""

    folder: tyro.conf.Positional[Path]
    """folder of the loop"""
    to: int | None = None
    """number of the round to stand by; none: the champion before this one"""
    by: str = ""
    """who decides; kept in the ledger"""
    reason: str = ""
    """why; kept in the ledger"""
    json: bool = False
    """print one JSON object"""


@dataclass(frozen=True, kw_only=True)
class ResumeConfig(Settled):
    """Continue a loop by its folder alone, with the configuration that is settled there."""

    folder: tyro.conf.Positional[Path]
    """folder of the loop"""
    budget: str | None = None
    """as of `improve run`"""
    price: float | None = None
    """as of `improve run`"""
    json: bool = False
    """print one JSON object instead of progress"""
