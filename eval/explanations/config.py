"""What an explanation is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from vesalius.data.command.fields import Settled


@dataclass(frozen=True, kw_only=True)
class ExplainConfig(Settled):
    """Which region answered which word when a sample was drawn, and which one speaks for which finding."""

    image: Annotated[Path, tyro.conf.Positional]
    """an image, or a samples folder; what `vesalius generate` drew carries its recipe"""
    out: Path
    """folder of the page"""
    num: int = 4
    """samples of a folder that are explained, from its first on"""
    modality: str | None = None
    """modality of an image that carries no recipe"""
    findings: tuple[str, ...] = ()
    """findings to map, as the networks name them (CT/nodule); none: those asked for, or else the likeliest"""
    network: Literal["judge", "witness", "both"] = "both"
    """whose findings are mapped"""
    method: Literal["gradcam", "hirescam", "both"] = "both"
    """gradcam weighs each feature by its mean gradient; hirescam by that at the very place"""
    words: bool = True
    """draw each sample again, by its recipe, to see which region attended to which word"""
    base: str | None = None
    """base that the samples were drawn with, where that is not nano"""
    adapter: tuple[str, ...] = ()
    """adapters that they were drawn with"""
    device: str = "auto"
    """cpu, cuda, or auto"""
    json: bool = False
    """print one JSON object instead of progress"""
    dry_run: bool = False
    """look at what is given, compute nothing"""
