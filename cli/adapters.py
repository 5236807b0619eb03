"""What the verbs of adapters say when they are done."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from vesalius.cli.main import CHECK, DONE, print_json
from vesalius.data.command.counted import counted

if TYPE_CHECKING:
    from vesalius.models.adapters.config import (
        AdapterCheckConfig,
        AdapterExportConfig,
        AdapterFuseConfig,
        AdapterMergeConfig,
    )


def export(config: AdapterExportConfig) -> int:
    from vesalius.models.adapters.export import export_adapter

    written = export_adapter(config)
    if config.json:
        print_json(written)
    else:
        verb = "unchanged:" if written.unchanged else "would write" if config.dry_run else "wrote"
        size = f"{written.num_bytes / 1e6:.1f} MB"
        print(f"{verb} {counted(written.num_layers, 'layer')} for {written.format}, {size}: {written.path}")
        if written.sampling:
            print(f"made to be drawn in {written.sampling}")
    return DONE


def check(config: AdapterCheckConfig) -> int:
    from vesalius.models.adapters.check import LARGEST, check_adapter

    report = check_adapter(config)
    if config.json:
        print_json({**dataclasses.asdict(report), "ok": report.ok})
    else:
        ranks, alphas = ("/".join(f"{x:g}" for x in values) for values in (report.ranks, report.alphas))
        print(f"{report.path}: a LoRA in the format of {report.format}, {report.num_bytes / 1e6:.1f} MB")
        print(f"  rank {ranks}, alpha {alphas}; trained on {report.base or 'a base that it does not name'}")
        print(f"  layers: {', '.join(f'{part} {num}' for part, num in report.parts.items())}")
        print(f"  targets: {', '.join(report.targets) or 'none that fits'}")
        print(f"  {report.num_matched} of {counted(report.num_layers, 'layer')} fit base '{config.base}'")
        if report.sampling:
            print(f"  made to be drawn in {report.sampling}")
        print(f"  effect on the denoiser: {report.effect:.3g}")
        for name, gap in report.differences.items():
            print(f"  plain diffusers and Vesalius, {name}: {gap:.1e} apart (at most {LARGEST:g})")
        for line in report.problems:
            print(f"  problem: {line}")
        print("no problem found" if report.ok else counted(len(report.problems), "problem"))
    return DONE if report.ok else CHECK


def merge(config: AdapterMergeConfig) -> int:
    from vesalius.models.adapters.merge import merge_adapters

    blend = merge_adapters(config)
    if config.json:
        print_json(blend)
    else:
        shares = " + ".join(f"{share:g} {name}" for name, share in blend.shares.items())
        print(
            f"{'would blend' if config.dry_run else 'blended'} {shares}: {blend.num_layers} layers of rank {blend.rank}"
        )
        print(f"error: {blend.error:.1e} of the sum")
        print(f"adapter: {blend.path}")
    return DONE


def fuse(config: AdapterFuseConfig) -> int:
    from vesalius.models.adapters.fuse import fuse_adapter

    fused = fuse_adapter(config)
    if config.json:
        print_json(fused)
    else:
        verb = "would bake" if config.dry_run else "baked"
        print(f"{verb} {fused.weight:g} of the adapter into '{fused.base}' ({', '.join(fused.parts)})")
        print(f"base: {fused.path}")
    return DONE
