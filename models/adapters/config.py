"""What `vesalius adapter export`, `check`, `merge` and `fuse` are told."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from vesalius.data.command.counted import counted
from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class AdapterExportConfig(Settled):
    """Write an adapter as the one file that other programs read."""

    adapter: tyro.conf.Positional[Path]
    """run folder, adapter folder or embedded adapter"""
    out: Path
    """file that ends with .safetensors, or a folder to put one in"""
    format: Literal["diffusers", "kohya"] = "diffusers"
    """diffusers: for `pipeline.load_lora_weights`; kohya: for ComfyUI and AUTOMATIC1111"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check the adapter and the place; write nothing"""


@dataclass(frozen=True, kw_only=True)
class AdapterCheckConfig(Settled):
    """Load an adapter in plain diffusers and in Vesalius, and compare what they make of it."""

    adapter: tyro.conf.Positional[Path]
    """run folder, adapter folder, embedded adapter, or a LoRA file of any program (.safetensors)"""
    base: str = "nano"
    """base to load it on: nano, a diffusers folder, or a hub id"""
    steps: int = 2
    """denoising steps of the drawing that is compared"""
    json: bool = False
    """print one JSON object instead of progress"""

    def check(self) -> None:
        """ValueError where the number of steps cannot be."""
        if not 1 <= self.steps <= 1000:
            raise ValueError(f"--steps is {self.steps}; expected from 1 to 1000")


@dataclass(frozen=True, kw_only=True)
class AdapterMergeConfig(Settled):
    """Blend adapters of one base into a new adapter."""

    adapters: tyro.conf.Positional[tuple[Path, ...]]
    """two or more run folders, adapter folders or embedded adapters"""
    out: Path
    """adapter folder to write; new or empty"""
    weights: tuple[float, ...] = ()
    """how much of each, in their order; none: equal shares of 1"""
    rank: int | None = None
    """rank of the blend, which then is an approximation; none: the sum of their ranks, and exact"""
    base: str | None = None
    """the base of all; none: the one that the adapters name"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check adapters, weights and place; write nothing"""

    def check(self) -> None:
        """ValueError where the numbers do not fit together. Cheap: nothing is read."""
        num = len(self.adapters)
        if num < 2:
            raise ValueError(f"got {counted(num, 'adapter')} to blend; name two or more")
        if self.weights and len(self.weights) != num:
            raise ValueError(
                f"--weights has {counted(len(self.weights), 'number')} for {counted(num, 'adapter')}; give one for each"
            )
        for weight in self.weights:
            if not math.isfinite(weight):
                raise ValueError(f"--weights holds {weight}; expected finite numbers, such as 0.7 0.3")
        if self.weights and not any(self.weights):
            raise ValueError("--weights are all 0, which leaves nothing; expected numbers such as 0.7 0.3")
        if self.rank is not None and self.rank < 1:
            raise ValueError(f"--rank is {self.rank}; expected at least 1")

    @property
    def shares(self) -> tuple[float, ...]:
        """The weight of each adapter."""
        return self.weights or (1 / len(self.adapters),) * len(self.adapters)


@dataclass(frozen=True, kw_only=True)
class AdapterFuseConfig(Settled):
    """Bake an adapter into a copy of its base, an ordinary diffusers folder."""

    adapter: tyro.conf.Positional[Path]
    """run folder, adapter folder or embedded adapter"""
    out: Path
    """base folder to write; new or empty"""
    base: str | None = None
    """the base that it was trained on; none: the one that the adapter names"""
    weight: float = 1.0
    """how much of the adapter; 1 is as it was trained"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """check adapter, weight and place; write nothing"""

    def check(self) -> None:
        """ValueError where the weight is no number, or none of the adapter is asked for."""
        if not math.isfinite(self.weight) or self.weight == 0:
            raise ValueError(f"--weight is {self.weight}; expected a finite number other than 0")
