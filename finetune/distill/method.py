"""What a method of distillation is given, and what it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from accelerate import Accelerator

from vesalius.finetune.base.denoiser import Condition
from vesalius.finetune.distill.config import DistillConfig
from vesalius.finetune.distill.pairs import Pair
from vesalius.finetune.distill.sampler import Sampler
from vesalius.models.base import Base


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What every method is given. teacher: the base's DDIM under guidance; student: how the adapter will be drawn with;
    pairs: the records to learn from."""

    config: DistillConfig
    base: Base
    accelerator: Accelerator
    condition: Condition
    teacher: Sampler
    student: Sampler
    pairs: Sequence[Pair]


class Method(Protocol):
    """One way to distil. What it is made of is what it learns from, which it makes or reads when it is made."""

    def __init__(self, setting: Setting) -> None: ...

    @staticmethod
    def scheduler(config: DistillConfig, base: Base) -> Any:
        """What the student draws with, its steps set. ValueError for a base that the method cannot teach."""
        ...

    def loss(self, denoiser: Any, step: int) -> torch.Tensor:
        """The student's loss at a step, a scalar: a function of seed, step and weights alone.

        denoiser: the base's with the student's adapter on it; with that switched off it is the teacher.
        """
        ...

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a method has learnt beside the adapter, by names that begin with its own, for the checkpoint."""
        ...

    def restore(self, tensors: dict[str, torch.Tensor]) -> None:
        """The inverse of `tensors`, out of a whole checkpoint."""
        ...
