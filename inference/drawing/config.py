"""How pictures are drawn, whatever asks for them: what the configurations of drawing have in common."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class DrawConfig(Settled):
    """With what, how many at once, and within which memory."""

    base: str = "nano"
    """nano, a diffusers folder, or a hub id"""
    adapter: tuple[str, ...] = ()
    """run folders of `vesalius finetune`, adapter folders or nano-fast; PATH:0.7 for a share; several are added up"""
    scheduler: str | None = None
    """ddim, dpm++, euler, euler-a, heun, lcm, unipc ...; none: what the adapter was made for, else the base's"""
    batch_size: int = 8
    """pictures drawn at once; changes speed and memory, and of a picture at most a few pixels by one grey level"""
    memory: str | None = None
    """peak memory: 3GB, 512MB ..., or auto for what is free; chooses precision, batch, and which weights come and go"""
    attention: Literal["auto", "sdpa", "xformers"] = "auto"
    """attention kernel; auto: scaled-dot-product attention of torch"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """bf16 is twice as fast where hardware has it, a few grey levels off; auto: that where it has, else fp32"""
    device: str = "auto"
    """cpu, cuda, or auto"""

    def drawing(self) -> dict[str, Any]:
        """These fields by name, for another configuration that has them."""
        return {f.name: getattr(self, f.name) for f in dataclasses.fields(DrawConfig)}
