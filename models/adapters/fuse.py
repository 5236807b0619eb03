"""An adapter baked into a copy of its base: a diffusers folder like any other, that needs no adapter any more."""

from __future__ import annotations

import dataclasses
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vesalius.data.record import write_json
from vesalius.models.adapters.adapter import AdapterCard, Sampling, adapter_folder, apply_adapter, part_folders
from vesalius.models.adapters.adapter import read_card as read_adapter_card
from vesalius.models.adapters.config import AdapterFuseConfig
from vesalius.models.adapters.export import public_name
from vesalius.models.adapters.merge import refuse_taken, whole_folder
from vesalius.models.base import base_folder, open_base, refuse_code

FILE = "fused.json"
KEPT = ("support.json", "LICENSE", "LICENSE.md", "LICENSE.txt")
"""Files of a base beside its parts that are true of the copy too."""


@dataclass(frozen=True, kw_only=True)
class AdapterFuse:
    """What was baked: the new base, and the parts that changed."""

    path: Path
    """folder of the new base"""
    base: str
    """name of the old one"""
    adapter_digest: str
    """sha256 of the adapter's weights"""
    weight: float
    """how much of it was added"""
    parts: tuple[str, ...]
    """networks that changed"""


@dataclass(frozen=True, kw_only=True)
class FusedCard:
    """Provenance of a base that holds an adapter: `fused.json` in its folder."""

    base: str
    """name of the base that was fused"""
    base_digest: str
    """sha256 of that base's files"""
    adapter_digest: str
    """sha256 of the adapter's weights"""
    weight: float
    """how much of the adapter: 1 is as it was trained"""
    depth: int
    """deepest generation depth of what either was trained on"""
    modalities: tuple[str, ...] = ()
    """that the adapter was trained on"""
    sampling: Sampling | None = None
    """how it wants to be drawn with; null: as its base"""


def fuse_adapter(config: AdapterFuseConfig) -> AdapterFuse:
    """Write a base with an adapter in its weights, float32, whole or not at all.

    ValueError where the adapter is missing or of another base, or where something lies at the place.
    """
    config.check()
    refuse_taken(config.out)
    folder = adapter_folder(config.adapter)
    refuse_code(folder)
    card = read_adapter_card(folder)
    if config.base is None and card is None:
        raise ValueError(f"{folder}: has no adapter.json that names its base; give --base")
    base = open_base(config.base or (card.base if card else ""))
    digest = apply_adapter(base, folder, config.weight)
    parts = tuple(part_folders(folder))
    if not config.dry_run:
        told = FusedCard(
            base=public_name(base.name), base_digest=base.digest, adapter_digest=digest, weight=config.weight,
            depth=max(card.depth if card else 0, fused_depth(base.name)),
            modalities=card.modalities if card else (), sampling=sampling_of(card, base.name),
        )  # fmt: skip
        write_fused(config.out, base.pipeline, base_folder(base.name), told)
    return AdapterFuse(path=config.out, base=base.name, adapter_digest=digest, weight=config.weight, parts=parts)


def sampling_of(card: AdapterCard | None, base: str) -> Sampling | None:
    """How the result wants to be drawn with: as the adapter, or as the base that was fused before."""
    if card and card.sampling:
        return card.sampling
    before = read_fused(base)
    return before.sampling if before else None


def write_fused(out: Path, pipeline: Any, source: Path, card: FusedCard) -> None:
    """A diffusers folder with `fused.json`, which says what it was made of; whole or not at all."""
    with whole_folder(out) as temporary:
        pipeline.save_pretrained(temporary, safe_serialization=True)
        for path in (temporary / "model_index.json", *temporary.glob("*/config.json")):
            config = json.loads(path.read_text())  # where the base lay on this machine is nobody's business
            write_json(path, {k: v for k, v in config.items() if k != "_name_or_path"})
        for name in KEPT:
            if (source / name).is_file():
                shutil.copyfile(source / name, temporary / name)
        write_json(temporary / FILE, dataclasses.asdict(card))


def read_fused(base: str) -> FusedCard | None:
    """The provenance of a base that holds an adapter, or None for any other. ValueError where it is damaged."""
    path = base_folder(base) / FILE
    if not path.is_file():
        return None
    try:
        row = json.loads(path.read_text())
        sampling = Sampling(**row["sampling"]) if row.get("sampling") else None
        return FusedCard(**{**row, "modalities": tuple(row.get("modalities", ())), "sampling": sampling})
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is no card of a fused base ({error}); fuse it again") from None


def fused_depth(base: str) -> int:
    """The generation depth of the data that is in a base by fusing; 0 for any other base."""
    card = read_fused(base)
    return card.depth if card else 0
