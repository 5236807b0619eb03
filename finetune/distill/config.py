"""What a distillation is: its method and its numbers, without anything heavy."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from vesalius.data.command.fields import Settled

TARGETS = (
    "to_q", "to_k", "to_v", "to_out.0", "ff.net.0.proj", "ff.net.2", "proj_in", "proj_out", "conv_in", "conv_out",
    "conv1", "conv2", "conv_shortcut", "conv", "time_emb_proj", "linear_1", "linear_2",
)  # fmt: skip
"""All linear and convolutional layers of a UNet: a jump over many steps changes what every one of them has to do."""

METHODS_OF: dict[str, tuple[str, ...]] = {
    "num_trajectories": ("trajectory",),
    "num_pairs": ("consistency", "adversarial"),
    "solver_steps": ("consistency",),
    "guidance_range": ("consistency",),
    "huber": ("consistency",),
    "teacher_weight": ("adversarial",),
    "penalty": ("adversarial",),
    "discriminator_rate": ("adversarial",),
}
"""Fields that mean something to some methods alone; the others hold for all."""


@dataclass(frozen=True, kw_only=True)
class DistillConfig(Settled):
    """A run that distils a base into an adapter of few steps."""

    data: tuple[Path, ...]
    """dataset folders; trajectory takes their prompts alone, the other methods their images too"""
    out: Path
    """run folder"""
    method: Literal["trajectory", "consistency", "adversarial"] = "trajectory"
    """trajectory: land where the teacher's own drawings were; consistency: predict the same picture from neighbouring
    noise levels of real images (LCM); adversarial: predictions that a discriminator cannot tell from real images"""
    base: str = "nano"
    """nano, a diffusers folder, or a hub id: the teacher"""
    exclude: tuple[str, ...] = ()
    """records to leave out, as "MODALITY" or "MODALITY/organ\""""
    real_share: float = 0.5
    """share of prompts of real images; the rest are phantoms'"""
    chinese_share: float = 0.25
    """share of prompts in Chinese"""
    num_trajectories: int = 2000
    """trajectory: trajectories that the teacher draws"""
    num_pairs: int = 20_000
    """consistency and adversarial: pairs of image and wording to learn from, drawn once"""
    num_validation: int = 64
    """pictures that the teacher draws under prompts of the validation split, to be compared with"""
    teacher_steps: int = 20
    """steps in which the teacher draws; of trajectory a multiple of --sampling-steps. The other methods see its
    drawings in validation alone"""
    guidance: float = 3.0
    """classifier-free guidance scale of the teacher"""
    guidance_range: tuple[float, float] | None = None
    """consistency: draw the scale evenly from this range for each sample instead; validation keeps --guidance"""
    sampling_steps: int = 4
    """steps of the student"""
    solver_steps: int = 50
    """consistency: noise levels between which the teacher steps; a divisor of the base's, which are mostly 1000. 50 is
    usual; fewer lead in fewer updates from the lowest to the highest"""
    huber: float = 1e-3
    """consistency: width of the pseudo-Huber loss, below which it is quadratic"""
    teacher_weight: float = 1.0
    """adversarial: weight of the distance to the teacher's prediction beside the discriminator's verdict"""
    penalty: float = 0.1
    """adversarial: weight of the discriminator's squared gradient on real images (R1)"""
    discriminator_rate: float = 1e-3
    """adversarial: learning rate of the discriminator"""
    steps: int = 600
    """optimizer updates"""
    batch_size: int = 16
    """trajectories or pairs per update"""
    learning_rate: float = 1e-3
    """peak, after the warm-up and before a cosine to 2 %"""
    warmup: int = 20
    """steps of linear warm-up"""
    rank: int = 16
    """rank of the adapter, and its alpha"""
    targets: tuple[str, ...] = TARGETS
    """names of the denoiser's layers that are adapted"""
    init: Path | None = None
    """a run or adapter folder of the same rank and targets to start from, with fresh optimizer"""
    save_every: int = 50
    """steps between checkpoints"""
    validate_every: int = 100
    """steps between measurements on the validation trajectories"""
    seed: int = 0
    """seed of prompts, noise, order and initial weights"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    precision: str = "auto"
    """auto, bf16 or fp32; the adapter itself is always fp32 in training"""
    json: bool = False
    """print no progress"""

    @property
    def num_stops(self) -> int:
        """At how many points the teacher's drawings are kept; of one, at the picture."""
        return self.sampling_steps if self.method == "trajectory" else 1

    def settings(self) -> dict[str, Any]:
        """What says the run: the fields that its method knows. The usual method has no name in it, as it had none
        before there were others, so that folders of then go on."""
        every = dataclasses.asdict(self)
        known = {k: v for k, v in every.items() if self.method in METHODS_OF.get(k, (self.method,))}
        return {k: v for k, v in known.items() if (k, v) != ("method", "trajectory")}

    def check(self) -> None:
        """ValueError where the numbers do not fit together, or mean nothing to the method."""
        usual = {f.name: f.default for f in dataclasses.fields(self)}
        for name, methods in METHODS_OF.items():
            if self.method not in methods and getattr(self, name) != usual[name]:
                raise ValueError(
                    f"--{name.replace('_', '-')} means nothing to --method {self.method}, only to "
                    f"{' and '.join(methods)}; leave it out"
                )
        for name in (
            "steps", "batch_size", "rank", "save_every", "validate_every", "num_trajectories", "num_pairs",
            "num_validation", "sampling_steps", "solver_steps",
        ):  # fmt: skip
            if getattr(self, name) < 1:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected at least 1")
        for name in ("teacher_weight", "penalty"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected 0 or more")
        for name in ("huber", "discriminator_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"--{name.replace('_', '-')} is {getattr(self, name)}; expected a number above 0")
        if self.teacher_steps < 1 or self.teacher_steps % self.num_stops:
            raise ValueError(
                f"--teacher-steps {self.teacher_steps} is no multiple of --sampling-steps {self.sampling_steps}; "
                f"the teacher has to stop where the student does, give for instance {5 * self.sampling_steps}"
            )
        if self.method == "consistency" and self.sampling_steps > self.solver_steps:
            raise ValueError(
                f"--sampling-steps {self.sampling_steps} is more than --solver-steps {self.solver_steps}; the student "
                "draws at noise levels of the solver"
            )
        if self.guidance_range is not None and not 0 <= self.guidance_range[0] <= self.guidance_range[1] < math.inf:
            raise ValueError(f"--guidance-range {self.guidance_range}: expected the lower end and then the upper")
