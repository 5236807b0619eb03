"""What a plan is: a fine-tuning run's configuration, and the card and the price that it is planned for."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from vesalius.finetune.config import FinetuneConfig

GpuName = Literal["cpu", "l4", "a10g", "4090", "a100", "h100", "h200"]


@dataclass(frozen=True, kw_only=True)
class PlanConfig(FinetuneConfig):
    """What a fine-tuning run will need, before anyone pays: memory, hours, money, and what to change.

    Takes a recipe and the fields of `vesalius finetune`. For cpu, and on the card itself, a few steps are measured.
    """

    gpu: GpuName = "cpu"
    """the card that it is to run on; cpu: this machine without one"""
    price: float | None = None
    """what an hour costs, in dollars; none: no sum is told"""
    data: tuple[Path, ...] = ()
    """dataset folders or shards, read for counts and texts; none: `steps` alone are planned, texts of one context"""
    out: Path = Path("run")
    """run folder; nothing is written there"""

    def check(self) -> None:
        """ValueError where the numbers do not fit together. Cheap: nothing is loaded."""
        if self.price is not None and not 0 <= self.price < math.inf:
            raise ValueError(f"--price is {self.price}; expected dollars per hour, 0 or more")
        fields = {f.name: getattr(self, f.name) for f in dataclasses.fields(FinetuneConfig)}
        FinetuneConfig(**{**fields, "data": self.data or (Path(),)}).check()
